//! What a compressed model has to reach, and whether it does.

use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::Model;
use crate::onnx::{EncodeOptions, encode};
use crate::validate::{CompareOptions, compare};

/// What the result has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::passes) struct Goal {
    /// The least signal-to-noise ratio in decibels of any output, measured before a last Softmax or Sigmoid.
    pub(in crate::passes) snr_db: Option<f64>,
    /// How often the best of several scores has to be that of the float model, at least.
    pub(in crate::passes) top1: Option<f64>,
    /// So many points of accuracy may be lost, on labelled data.
    pub(in crate::passes) accuracy_drop: Option<f64>,
}

impl Goal {
    /// Whether more is asked for than little noise.
    pub(in crate::passes) fn has_scores(self) -> bool {
        self.top1.is_some() || self.accuracy_drop.is_some()
    }
}

/// The float model, to compare the scores of candidates with, on all samples.
pub(in crate::passes) struct Judge<'a> {
    float: Box<dyn Session>,
    samples: &'a dyn Samples,
    backend: BackendChoice,
}

impl<'a> Judge<'a> {
    /// Loads the float model.
    ///
    /// # Errors
    /// Fails where the backend cannot run it.
    pub(in crate::passes) fn new(model: &Model, samples: &'a dyn Samples, backend: BackendChoice) -> Result<Self> {
        Ok(Self { float: load(model, backend)?, samples, backend })
    }

    /// Whether a candidate has the scores that were asked for.
    ///
    /// # Errors
    /// Fails where it cannot be run, or outputs or data have not what the goal speaks of.
    pub(in crate::passes) fn holds(&self, candidate: &Model, goal: Goal) -> Result<bool> {
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

fn load(model: &Model, backend: BackendChoice) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    backend::load(backend, &bytes, &LoadOptions { taps: Vec::new(), threads: 1 })
}
