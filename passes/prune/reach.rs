//! How much can be pruned for the result to stay as good as asked for: found by pruning and measuring, on samples that the
//! weights were not fitted to where there are enough.

use super::options::{Amount, Settings};
use super::plan::Planned;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::goal::{Goal, Judge, largest_share, reaches};
use crate::passes::common::trial::Trial;

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
    let judge = if goal.has_scores() { Some(Judge::new(model, check, trial.backend())?) } else { None };
    let make = |step: f64| {
        let share = 1.0 - LEAST_LEFT.powf(step);
        let amount = match settings.amount {
            Amount::PerLayer(_) => Amount::PerLayer(share),
            _ => Amount::Global(share),
        };
        Ok(Some((share, prune(&amount)?)))
    };
    let holds = |(_, planned): &(f64, Planned)| reaches(&planned.model, goal, &trial, judge.as_ref());
    let best = largest_share(TRIALS, make, holds)?;
    Ok(best.map(|(_, (share, planned))| {
        cx.note(format!("{:.1} % is the most that reaches the goal on {}", share * 100.0, check.describe()));
        planned
    }))
}
