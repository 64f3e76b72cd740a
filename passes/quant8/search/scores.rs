//! Goals that are no noise: how often the best class stays the best, and what accuracy is lost.

use super::{Candidate, Goal, Search};
use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::Model;
use crate::onnx::{EncodeOptions, encode};
use crate::pass::Cx;
use crate::validate::{CompareOptions, compare};

/// So much less noise is allowed where scores fell short: 6 dB.
const STEP: f64 = 4.0;

/// How often the noise is lessened at most.
const MAX_STEPS: usize = 8;

/// The float model, to compare the scores of candidates with, on all samples.
struct Judge<'a> {
    float: Box<dyn Session>,
    samples: &'a dyn Samples,
    backend: BackendChoice,
}

impl Judge<'_> {
    fn holds(&self, candidate: &Model, goal: Goal) -> Result<bool> {
        let candidate = load(candidate, self.backend)?;
        let report = compare(&*self.float, &*candidate, self.samples, &CompareOptions::default())?;
        let mut holds = true;
        if let Some(least) = goal.top1 {
            let agreements = report.outputs.iter().filter_map(|output| output.top1);
            let worst = agreements.min_by(f64::total_cmp).ok_or_else(|| {
                Error::usage("`top1` compares the best of several scores, and no output of the model holds any")
                    .help("name a `target` in dB")
            })?;
            holds &= worst >= least;
        }
        if let Some(most) = goal.accuracy_drop {
            let accuracy = report.accuracy.as_ref().ok_or_else(|| {
                Error::usage("`acc-drop` needs to know the right classes")
                    .expected("calibration data with an array `label`")
                    .help("name `top1`, the agreement with the float model, or a `target` in dB")
            })?;
            holds &= (accuracy.before - accuracy.after) * 100.0 <= most;
        }
        tracing::debug!(holds, "scores of a candidate");
        Ok(holds)
    }
}

impl<'a> Search<'_, 'a> {
    /// Lessens the noise until scores hold as well. `first` is the candidate within the budget, or `None` where that has to
    /// be searched for; `noise` is that of everything in integers.
    pub(super) fn reach_scores(
        &mut self,
        first: Option<Candidate<'a>>,
        (noise, budget): (f64, f64),
        goal: Goal,
        cx: &mut Cx<'_>,
    ) -> Result<Candidate<'a>> {
        let samples = self.base.samples();
        let backend = self.trial.backend();
        let judge = Judge { float: load(self.base.model(), backend)?, samples, backend };
        let mut allowed = budget.min(noise);
        let mut candidate = match first {
            Some(first) => first,
            None => self.reach(noise, allowed)?,
        };
        let mut steps = 0;
        while !judge.holds(&candidate.model, goal)? {
            if steps == MAX_STEPS {
                cx.note("everything stays float: nothing else reaches the scores that were asked for");
                return self.build_float();
            }
            steps += 1;
            if steps == 1 {
                // Looked at as closely as steps to come may need.
                self.items = Some(self.measured_items(allowed / STEP.powi(2))?);
            }
            allowed /= STEP;
            candidate = self.reach(noise, allowed)?;
        }
        if steps > 0 {
            // Half of the last step may have been enough.
            let other = self.reach(noise, allowed * STEP.sqrt())?;
            if judge.holds(&other.model, goal)? {
                return Ok(other);
            }
        }
        Ok(candidate)
    }
}

fn load(model: &Model, backend: BackendChoice) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    backend::load(backend, &bytes, &LoadOptions { taps: Vec::new(), threads: 1 })
}
