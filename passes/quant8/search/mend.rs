//! Repairs in the course of a search: each is used where the outputs come out closer to the float model's.

use super::{Search, worst};
use crate::error::Result;
use crate::pass::Cx;
use crate::passes::quant8::base::Candidate;
use crate::passes::quant8::{INFO, repair};

/// Equalized channels have to take so much of the noise away, since ranges of single channels hold less firmly for other
/// data than that of all.
const LEAST_GAIN: f64 = 1.25;

impl<'a> Search<'_, 'a> {
    /// A candidate with less noise, made from a base with equalized channels, which takes the place of the base; else the
    /// candidate that was given.
    pub(super) fn equalized(
        &mut self,
        (noise, candidate): (f64, Candidate<'a>),
        cx: &mut Cx<'_>,
    ) -> Result<(f64, Candidate<'a>)> {
        if !self.settings.repairs.equalize || candidate.kernels == 0 {
            return Ok((noise, candidate));
        }
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), INFO.name));
        let mut model = self.base.model().clone();
        let groups = repair::equalize::equalize(&mut model, &plan, self.trial)?;
        if groups == 0 {
            return Ok((noise, candidate));
        }
        let mut other = self.base.with_model(model)?;
        other.learn(std::slice::from_ref(self.settings))?;
        let equalized = other.candidate(self.settings)?;
        let less = worst(&self.trial.drift(&equalized.model)?);
        tracing::debug!(groups, noise, less, "channels were equalized");
        if less * LEAST_GAIN > noise {
            return Ok((noise, candidate));
        }
        cx.note(format!(
            "evened out the ranges of channels in {groups} group(s) of activations: {} with all in integers",
            improvement(noise, less)
        ));
        *self.base = other;
        Ok((less, equalized))
    }

    /// A candidate with less noise, made with weights that were rounded by what they are multiplied with, which all later ones
    /// get as well; else the candidate that was given.
    pub(super) fn rounded(
        &mut self,
        (noise, candidate): (f64, Candidate<'a>),
        cx: &mut Cx<'_>,
    ) -> Result<(f64, Candidate<'a>)> {
        if !self.settings.repairs.rounding || candidate.kernels == 0 {
            return Ok((noise, candidate));
        }
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), INFO.name));
        let rounded = repair::rounding::round(self.base, self.base.samples(), &plan, &candidate)?;
        let count = rounded.len();
        if count == 0 {
            return Ok((noise, candidate));
        }
        let before = self.base.round(rounded);
        let other = self.base.candidate(self.settings)?;
        let less = worst(&self.trial.drift(&other.model)?);
        tracing::debug!(count, noise, less, "weights were rounded by their inputs");
        if less >= noise {
            self.base.round(before);
            return Ok((noise, candidate));
        }
        cx.note(format!(
            "rounded the weights of {count} operator(s) by what they are multiplied with: {} with all in integers",
            improvement(noise, less)
        ));
        Ok((less, other))
    }

    /// The candidate with corrected biases and its noise, where that is less.
    pub(super) fn repaired(&self, (noise, mut candidate): (f64, Candidate<'a>)) -> Result<(f64, Candidate<'a>)> {
        if !self.settings.repairs.bias || candidate.kernels == 0 {
            return Ok((noise, candidate));
        }
        let settings = self.settings.with_levels(candidate.levels.clone());
        let plan = self.base.plan(&settings, &mut Cx::new(self.base.env(), INFO.name));
        let before = candidate.model.clone();
        let count = repair::bias::correct(self.base, &plan, &mut candidate, self.trial)?;
        let less = worst(&self.trial.drift(&candidate.model)?);
        tracing::debug!(count, noise, less, "biases were corrected");
        if less >= noise {
            candidate.model = before;
            return Ok((noise, candidate));
        }
        let gain = improvement(noise, less);
        candidate.remarks.note(format!("corrected {count} biases for the mean errors of their channels: {gain}"));
        Ok((less, candidate))
    }
}

/// From how many decibels to how many.
fn improvement(before: f64, after: f64) -> String {
    format!("{:.1} -> {:.1} dB", -10.0 * before.log10(), -10.0 * after.log10())
}
