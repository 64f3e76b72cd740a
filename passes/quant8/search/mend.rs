//! Repairs in the course of a search: each is used where the outputs come out closer to the float model's, also on samples
//! that it was not fitted to where there are enough.

use super::Search;
use crate::error::Result;
use crate::pass::Cx;
use crate::passes::common::drift::Drift;
use crate::passes::quant8::base::Candidate;
use crate::passes::quant8::observe::Observer;
use crate::passes::quant8::{INFO, repair};

/// Equalized channels have to take so much of the noise away, since ranges of single channels hold less firmly for other
/// data than that of all.
const LEAST_GAIN: f64 = 1.25;

/// Ways to choose ranges that are tried in place of taking all that was seen.
const OTHER_OBSERVERS: &[(Observer, &str)] = &[(Observer::Mse, "mse"), (Observer::Percentile(99.99), "percentile")];

impl<'a> Search<'_, 'a> {
    /// A candidate with less noise, made from a base with equalized channels, which takes the place of the base; else the
    /// candidate that was given.
    pub(super) fn equalized(
        &mut self,
        (drift, candidate): (Drift, Candidate<'a>),
        cx: &mut Cx<'_>,
    ) -> Result<(Drift, Candidate<'a>)> {
        if !self.settings.repairs.equalize || candidate.kernels == 0 {
            return Ok((drift, candidate));
        }
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), INFO.name));
        let mut model = self.base.model().clone();
        let groups = repair::equalize::equalize(&mut model, &plan, self.trial)?;
        if groups == 0 {
            return Ok((drift, candidate));
        }
        let mut other = self.base.with_model(model)?;
        other.learn(std::slice::from_ref(self.settings))?;
        let equalized = other.candidate(self.settings)?;
        let after = self.trial.drifts(&equalized.model)?;
        tracing::debug!(groups, noise = drift.noise(), less = after.noise(), "channels were equalized");
        if !is_much_better(&after, &drift) {
            return Ok((drift, candidate));
        }
        cx.note(format!(
            "evened out the ranges of channels in {groups} group(s) of activations: {} with all in integers",
            improvement(&drift, &after)
        ));
        *self.base = other;
        Ok((after, equalized))
    }

    /// The candidate with the least noise of some ways to choose ranges, which all later ones get as well.
    pub(super) fn ranged(
        &mut self,
        (mut drift, mut candidate): (Drift, Candidate<'a>),
        cx: &mut Cx<'_>,
    ) -> Result<(Drift, Candidate<'a>)> {
        if !self.settings.repairs.ranges || candidate.kernels == 0 {
            return Ok((drift, candidate));
        }
        for (observer, name) in OTHER_OBSERVERS {
            let before = self.base.observe_by(*observer);
            self.base.learn(std::slice::from_ref(self.settings))?;
            let other = self.base.candidate(self.settings)?;
            let after = self.trial.drifts(&other.model)?;
            tracing::debug!(name, noise = drift.noise(), less = after.noise(), "ranges were chosen");
            // Extremes were taken of all samples too: none is kept back from either.
            if after.expected() < drift.expected() {
                let gain = improvement(&drift, &after);
                cx.note(format!("ranges of activations as by observer={name}: {gain} with all in integers"));
                (drift, candidate) = (after, other);
            } else {
                self.base.observe_by(before);
            }
        }
        Ok((drift, candidate))
    }

    /// A candidate with less noise, made with weights that were rounded by what they are multiplied with, which all later ones
    /// get as well; else the candidate that was given.
    pub(super) fn rounded(
        &mut self,
        (drift, candidate): (Drift, Candidate<'a>),
        cx: &mut Cx<'_>,
    ) -> Result<(Drift, Candidate<'a>)> {
        if !self.settings.repairs.rounding || candidate.kernels == 0 {
            return Ok((drift, candidate));
        }
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), INFO.name));
        let rounded = repair::rounding::round(self.base, &self.trial.fitted(), &plan, &candidate)?;
        let count = rounded.len();
        if count == 0 {
            return Ok((drift, candidate));
        }
        let before = self.base.round(rounded);
        let other = self.base.candidate(self.settings)?;
        let after = self.trial.drifts(&other.model)?;
        tracing::debug!(count, noise = drift.noise(), less = after.noise(), "weights were rounded by their inputs");
        if !is_likely_better(&after, &drift) {
            self.base.round(before);
            return Ok((drift, candidate));
        }
        cx.note(format!(
            "rounded the weights of {count} operator(s) by what they are multiplied with: {} with all in integers",
            improvement(&drift, &after)
        ));
        Ok((after, other))
    }

    /// The candidate with corrected biases and its noise, where that is less.
    pub(super) fn repaired(&self, (drift, mut candidate): (Drift, Candidate<'a>)) -> Result<(Drift, Candidate<'a>)> {
        if !self.settings.repairs.bias || candidate.kernels == 0 {
            return Ok((drift, candidate));
        }
        let settings = self.settings.with_levels(candidate.levels.clone());
        let plan = self.base.plan(&settings, &mut Cx::new(self.base.env(), INFO.name));
        let before = candidate.model.clone();
        let count = repair::bias::correct(self.base, &plan, &mut candidate, self.trial)?;
        let after = self.trial.drifts(&candidate.model)?;
        tracing::debug!(count, noise = drift.noise(), less = after.noise(), "biases were corrected");
        if !is_likely_better(&after, &drift) {
            candidate.model = before;
            return Ok((drift, candidate));
        }
        let gain = improvement(&drift, &after);
        candidate.remarks.note(format!("corrected {count} biases for the mean errors of their channels: {gain}"));
        Ok((after, candidate))
    }
}

/// Whether there is less noise by more than [`LEAST_GAIN`], on all samples and on those that nothing was fitted to.
fn is_much_better(after: &Drift, before: &Drift) -> bool {
    let is_less = |after: f64, before: f64| after < before && after * LEAST_GAIN <= before;
    is_less(after.noise(), before.noise()) && is_less(after.noise_kept_back(), before.noise_kept_back())
}

/// Whether there is less noise, and on the few samples that nothing was fitted to no more than by chance: a repair that is
/// right for most has not to win on each of them.
fn is_likely_better(after: &Drift, before: &Drift) -> bool {
    after.noise() < before.noise() && !after.is_worse_kept_back(before)
}

/// From how many decibels to how many.
fn improvement(before: &Drift, after: &Drift) -> String {
    format!("{:.1} -> {:.1} dB", -10.0 * before.noise().log10(), -10.0 * after.noise().log10())
}
