//! A choice of channels tried out: what it makes of the model, and how far that drifts.

use super::Piece;
use super::observe::Data;
use super::repair;
use super::{data_of, pieces};
use crate::channels::Removal;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Cx, Env, counted};
use crate::passes::common::goal::{self, Goal, Judge};
use crate::passes::common::holdout::{FEW, Parts};
use crate::passes::common::trial::Trial;

/// How many times the interval of shares is halved.
const STEPS: usize = 7;

/// Evaluation data is not calibration data: so much better than the target it has to be on the latter; where scores are
/// asked for, with half of the errors.
const MARGIN_DB: f64 = 0.5;

/// What the channels that go make of a model. They are set to zero; taking them out changes nothing any more.
pub(super) struct Attempt {
    pub(super) removals: Vec<Removal>,
    pub(super) model: Model,
    /// How many layers were fitted.
    fitted: usize,
}

impl Attempt {
    /// Sets the channels to zero, and fits what reads them where there are data for that.
    ///
    /// # Errors
    /// Fails where a sample cannot be read, or no backend runs the model.
    pub(super) fn new(
        model: &Model,
        pieces: &[Piece],
        removals: Vec<Removal>,
        fits_to: Option<Data<'_>>,
    ) -> Result<Self> {
        let mut masked = model.clone();
        pieces::edit_each(&mut masked, &mut |place, graph| match (pieces.get(place), removals.get(place)) {
            (Some(piece), Some(removal)) => piece.channels.mask(graph, removal),
            _ => Ok(()),
        })?;
        let (Some(data), Some(piece), Some(removal)) = (fits_to, pieces.first(), removals.first()) else {
            return Ok(Self { removals, model: masked, fitted: 0 });
        };
        let (repaired, fitted) = repair::repaired(model, &masked, &piece.channels, removal, data)?;
        Ok(Self { removals, model: repaired, fitted })
    }

    /// The channels of a model as it is.
    pub(super) fn unrepaired(model: &Model, removals: Vec<Removal>) -> Self {
        Self { removals, model: model.clone(), fitted: 0 }
    }

    /// Takes the channels out.
    ///
    /// # Errors
    /// Fails where the model is another one than that of the pieces.
    pub(super) fn finish(self, pieces: &[Piece]) -> Result<(Model, Vec<Removal>)> {
        let Self { mut model, removals, .. } = self;
        pieces::edit_each(&mut model, &mut |place, graph| match (pieces.get(place), removals.get(place)) {
            (Some(piece), Some(removal)) => piece.channels.remove(graph, removal),
            _ => Ok(()),
        })?;
        Ok((model, removals))
    }
}

/// The better of a choice with and without the repair, by what calibration data shows: where there are few samples, by some
/// that nothing was fitted to, and what is better there is then fitted to all.
///
/// # Errors
/// Fails where a sample cannot be read, or no backend runs the model.
pub(super) fn repaired(
    model: &Model,
    pieces: &[Piece],
    removals: Vec<Removal>,
    data: Data<'_>,
    cx: &mut Cx<'_>,
) -> Result<Attempt> {
    let parts = Parts::new(Some(data.samples), data.samples.len() < FEW);
    let check = parts.check().unwrap_or(data.samples);
    let fit = parts.fit().unwrap_or(data.samples);
    let plain = Attempt::new(model, pieces, removals.clone(), None)?;
    let repaired = Attempt::new(model, pieces, removals.clone(), Some(data_of(fit, data.env)))?;
    if repaired.fitted == 0 {
        return Ok(plain);
    }
    let trial = Trial::new(model, check, data.env)?;
    let [before, after] = [&plain, &repaired].map(|attempt| trial.drift(&attempt.model));
    let (before, after) = (goal::worst(&before?), goal::worst(&after?));
    let layers = counted(repaired.fitted, "layer");
    let (before_db, after_db, on) = (decibels(before), decibels(after), check.describe());
    if after > before {
        cx.note(format!(
            "nothing is repaired: {layers} fitted to what they computed before bring {after_db}, not {before_db}, on {on}"
        ));
        return Ok(plain);
    }
    cx.note(format!(
        "{layers} fitted to what they computed before, by least squares: {after_db} on {on}, {before_db} without"
    ));
    match parts.fit() {
        Some(_) => Attempt::new(model, pieces, removals, Some(data)),
        None => Ok(repaired),
    }
}

/// The choice with the largest share that reaches a goal; `None` where none does. Where there are enough samples, fits and
/// checks are made on different ones.
///
/// # Errors
/// Fails where a sample cannot be read, no backend runs the model, or nothing tells what the goal asks for.
pub(super) fn search(
    model: &Model,
    pieces: &[Piece],
    goal: Goal,
    fits: bool,
    samples: &dyn Samples,
    env: &Env<'_>,
    plan: impl Fn(f64) -> Vec<Removal>,
) -> Result<Option<Attempt>> {
    let parts = Parts::new(Some(samples), true);
    let (fitted, checked) = (parts.fit().unwrap_or(samples), parts.check().unwrap_or(samples));
    let trial = Trial::new(model, checked, env)?;
    let judge = match goal.has_scores() {
        true => Some(Judge::new(model, checked, trial.backend())?),
        false => None,
    };
    let data = fits.then(|| data_of(fitted, env));
    let make = |share| {
        let removals = plan(share);
        if removals.iter().all(Removal::is_empty) {
            return Ok(None);
        }
        Attempt::new(model, pieces, removals, data).map(Some)
    };
    let goal = goal.with_margin(MARGIN_DB);
    let holds = |attempt: &Attempt| goal::reaches(&attempt.model, goal, &trial, judge.as_ref());
    Ok(goal::largest_share(STEPS, make, holds)?.map(|(_, attempt)| attempt))
}

fn decibels(noise: f64) -> String {
    if noise == 0.0 { "no drift".to_owned() } else { format!("{:.1} dB", -10.0 * noise.log10()) }
}
