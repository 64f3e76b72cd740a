//! Goals that are no noise: how often the best class stays the best, and what accuracy is lost.

use super::{Candidate, Search};
use crate::error::Result;
use crate::pass::Cx;
use crate::passes::common::goal::{Goal, Judge};

/// So much less noise is allowed where scores fell short: 6 dB.
const STEP: f64 = 4.0;

/// How often the noise is lessened at most.
const MAX_STEPS: usize = 8;

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
        let judge = Judge::new(self.base.model(), self.base.samples(), self.trial.backend())?;
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
