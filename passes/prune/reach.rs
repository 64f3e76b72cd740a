//! How much can be pruned for the result to stay as good as asked for: found by pruning and measuring, on samples that the
//! weights were not fitted to where there are enough.

use super::options::{Amount, Settings};
use super::plan::Planned;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::goal::{Goal, Judge};
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// The least part of the weights that is tried to be left.
const LEAST_LEFT: f64 = 0.01;

/// Amounts that are tried: the part left is known to a thirtieth of itself then.
const TRIALS: usize = 7;

/// The model with the largest amount that reaches the goal; `None` where the least one tried does not.
///
/// # Errors
/// Fails where a model cannot be run, or outputs or data have not what the goal speaks of.
pub(super) fn reach(
    model: &Model,
    settings: &Settings,
    goal: Goal,
    check: &dyn Samples,
    cx: &mut Cx<'_>,
    mut prune: impl FnMut(&Amount) -> Result<Planned>,
) -> Result<Option<Planned>> {
    let trial = Trial::new(model, check, cx.env)?;
    let judge = Judge::new(model, check, trial.backend())?;
    let holds = |candidate: &Model| -> Result<bool> {
        if let Some(snr_db) = goal.snr_db {
            let drift = trial.drift(candidate)?;
            let noise = drift.iter().map(Comparison::noise_to_signal).fold(0.0, f64::max);
            if noise.is_nan() || noise > 10f64.powf(-snr_db / 10.0) {
                return Ok(false);
            }
        }
        Ok(!goal.has_scores() || judge.holds(candidate, goal)?)
    };
    let (mut too_little, mut enough) = (LEAST_LEFT.ln(), 0.0f64);
    let mut best = None;
    for _ in 0..TRIALS {
        let left = (too_little + enough) / 2.0;
        let share = 1.0 - left.exp();
        let amount = match settings.amount {
            Amount::PerLayer(_) => Amount::PerLayer(share),
            _ => Amount::Global(share),
        };
        let planned = prune(&amount)?;
        if holds(&planned.model)? {
            enough = left;
            best = Some((share, planned));
        } else {
            too_little = left;
        }
    }
    Ok(best.map(|(share, planned)| {
        cx.note(format!("{:.1} % is the most that reaches the goal on {}", share * 100.0, check.describe()));
        planned
    }))
}
