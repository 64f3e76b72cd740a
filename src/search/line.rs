//! One amount turned up and down: as far as a budget allows, in few measurements.

use super::hunt::{Hunt, Stop};
use super::measurement::Measurement;
use super::objective::Aim;
use crate::error::Result;

/// Decibels above the bound that are not worth another measurement.
const NEAR_ENOUGH_DB: f64 = 0.4;

/// Decibels that one step goes at most on what was measured.
const MOST_STEP_DB: f64 = 12.0;

/// What is turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// The target of a pass in decibels: the less, the smaller the result. What comes out moves with it.
    Decibels,
    /// A share, or a number, of what goes: the more, the smaller the result. Steps shorter than this tell nothing.
    Amount { least_step: f64 },
}

/// Pipelines that differ in one amount.
pub(super) struct Line<'a> {
    pub(super) scale: Scale,
    /// Where to begin.
    pub(super) start: f64,
    /// How far the first step goes.
    pub(super) step: f64,
    /// The least and the most.
    pub(super) range: (f64, f64),
    /// So many measurements at most.
    pub(super) most: usize,
    /// The pipeline of an amount.
    pub(super) pipeline: &'a dyn Fn(f64) -> String,
}

/// Where to look next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something smaller, further from the original.
    Harsher,
    /// Something closer to the original, larger.
    Milder,
    /// Nothing on this line is better.
    Stop,
}

impl Hunt {
    /// Walks a line; returns the amount that was best of those that hold to the bounds on drift and size.
    ///
    /// # Errors
    /// Stops where time is up or files cannot be read or written.
    pub(super) fn walk(&self, line: &Line<'_>) -> Result<Option<f64>, Stop> {
        // Harshness: the amount, or less of the target.
        let sign = if line.scale == Scale::Decibels { -1.0 } else { 1.0 };
        let (from, to) = match line.range {
            (low, high) if sign < 0.0 => (-high, -low),
            range => range,
        };
        let mut at = (sign * line.start).clamp(from, to);
        let (mut mild, mut harsh): (Option<f64>, Option<f64>) = (None, None);
        let (mut best, mut before, mut step): (Option<f64>, Option<Measurement>, f64) = (None, None, line.step);
        for _ in 0..line.most {
            let Some(measured) = self.unless_too_long(self.measure(&(line.pipeline)(sign * at)))? else { break };
            let turn = self.turn(&measured)?;
            if self.objective.is_close_enough(&measured)? && self.objective.is_small_enough(&measured) {
                best = Some(best.map_or(at, |best| match turn {
                    Turn::Milder => f64::min(best, at),
                    _ => f64::max(best, at),
                }));
            }
            // Another amount that changes nothing: this end of the line is reached.
            let is_same = before.as_ref().is_some_and(|before| before.drift == measured.drift);
            match turn {
                Turn::Harsher => mild = Some(at),
                Turn::Milder => harsh = Some(at),
                Turn::Stop => break,
            }
            if is_same && (mild.is_none() || harsh.is_none()) {
                break;
            }
            let next = self.next(line, (mild, harsh), at, &measured, step).clamp(from, to);
            step *= 2.0;
            let least = if let Scale::Amount { least_step } = line.scale { least_step } else { NEAR_ENOUGH_DB };
            if (next - at).abs() < least * 0.999 {
                break;
            }
            (at, before) = (next, Some(measured));
        }
        Ok(best.map(|best| sign * best))
    }

    fn next(
        &self,
        line: &Line<'_>,
        bracket: (Option<f64>, Option<f64>),
        at: f64,
        measured: &Measurement,
        step: f64,
    ) -> f64 {
        // What is measured moves with a target, decibel for decibel.
        let excess = match (line.scale, self.objective.budget.least_db(), measured.snr_db()) {
            (Scale::Decibels, Some(least), Some(snr)) if snr.is_finite() => Some(snr - least),
            _ => None,
        };
        let inside = |next: f64| bracket.0.is_none_or(|mild| next > mild) && bracket.1.is_none_or(|harsh| next < harsh);
        let guess = excess.map(|excess| {
            // Not quite as far, so that the bound is met from the safe side.
            at + (excess - NEAR_ENOUGH_DB / 4.0).clamp(-MOST_STEP_DB, MOST_STEP_DB)
        });
        let next = match (guess.filter(|&guess| inside(guess)), bracket) {
            (Some(guess), _) => guess,
            (None, (Some(mild), Some(harsh))) => (mild + harsh) / 2.0,
            (None, (Some(_), None)) => at + step,
            (None, _) => at - step,
        };
        match line.scale {
            // Whole steps, so that the pipeline reads well and does not hang on the last digit of a measurement.
            Scale::Decibels => (next * 10.0).round() / 10.0,
            Scale::Amount { least_step } => (next / least_step).round() * least_step,
        }
    }

    fn turn(&self, measured: &Measurement) -> Result<Turn, Stop> {
        if measured.obstacle.is_some() {
            return Ok(Turn::Stop);
        }
        let is_close = self.objective.is_close_enough(measured)?;
        let is_small = self.objective.is_small_enough(measured);
        let aim = self.objective.aims()[0];
        let found = self.found();
        // On this side all are larger still.
        let is_beaten = aim == Aim::Size
            && found.best().is_some_and(|best| measured.bytes >= best.bytes && best.pipeline != measured.pipeline);
        let excess = self.objective.budget.least_db().zip(measured.snr_db()).map(|(least, snr)| snr - least);
        Ok(match (is_close, is_small) {
            (false, false) => Turn::Stop,
            (false, true) if is_beaten => Turn::Stop,
            (false, true) => Turn::Milder,
            (true, false) => Turn::Harsher,
            (true, true) if aim == Aim::Drift => Turn::Milder,
            (true, true) if excess.is_some_and(|excess| excess < NEAR_ENOUGH_DB) => Turn::Stop,
            (true, true) => Turn::Harsher,
        })
    }
}
