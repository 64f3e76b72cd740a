//! Finding the levels of tensors by measuring: as many as possible in integers, within a target and never slower.
//!
//! All tensors start at the first level. Where the drift that running the result shows is over the target, every tensor is
//! quantized alone and its noise measured; noises nearly add up, so that those can be chosen which cost the least time and
//! bytes to leave out. The choice is run in turn, and repeated with what that tells about the sum. At last the result is
//! timed against the float model, and operators that integers do not speed up go back to float arithmetic.

mod cost;
mod faster;
mod items;
mod mend;
mod scores;
mod stopwatch;

use std::collections::BTreeMap;

use self::cost::Cost;
pub(super) use self::items::SIXTEEN_NOISE;
use super::base::{Base, Candidate};
use super::levels::{Level, Levels};
use super::options::Settings;
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::{Changed, Cx};
use crate::passes::common::choose::{self, choose};
use crate::passes::common::drift::Drift;
use crate::passes::common::goal::Goal;
use crate::passes::common::trial::Trial;

/// Choices that are run at most before the best of them is taken.
const MAX_CHOICES: usize = 6;

/// Corrections closer together than this lead to much the same choice.
const STEP: f64 = 1.2;

/// A choice with so many times less noise than the budget is good enough.
const NEAR: f64 = 1.4;

/// How much more a repair may do for a choice of levels than for all tensors at the first.
const GAIN_AT_MOST: f64 = 1.5;

/// One weight tensor and the levels it can have.
type Item = choose::Item<Level>;

/// The model with as much in integers, and in 8 bits at all, as the goal allows, and no slower than `float`, from which the
/// base was made.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn search<'a>(
    base: &mut Base<'a>,
    float: &Model,
    settings: &Settings,
    goal: Goal,
    cx: &mut Cx<'_>,
) -> Result<Candidate<'a>> {
    let trial = match settings.is_timed {
        true => Trial::new(base.model(), base.samples(), base.env())?,
        false => Trial::portable(base.model(), base.samples(), base.env())?,
    };
    base.measure_with(trial.backend());
    base.learn(std::slice::from_ref(settings))?;
    let first = base.candidate(settings)?;
    if first.changed == Changed::No {
        return Ok(first);
    }
    let mut search = Search { base, float, settings, trial: &trial, costs: BTreeMap::new(), gain: 1.0, items: None };
    let plain = (trial.drifts(&first.model)?, first);
    let equalized = search.equalized(plain, cx)?;
    let ranged = search.ranged(equalized, cx)?;
    let (raw, candidate) = search.rounded(ranged, cx)?;
    let unrepaired = raw.expected();
    let (drift, candidate) = search.repaired((raw, candidate))?;
    let noise = drift.expected();
    search.gain = unrepaired / noise.max(f64::MIN_POSITIVE);
    search.costs = search.kernel_costs()?;
    let budget = goal.snr_db.map_or(f64::INFINITY, |snr_db| 10f64.powf(-snr_db / 10.0));
    let first = (noise <= budget).then_some(candidate);
    let candidate = match first {
        first if goal.has_scores() => search.reach_scores(first, (noise, budget), goal, cx)?,
        Some(first) => first,
        None => search.reach(noise, budget)?,
    };
    search.explain(&candidate.levels, cx);
    if candidate.kernels == 0 || !settings.platform.is_known {
        return Ok(candidate);
    }
    search.never_slower(candidate, cx)
}

struct Search<'s, 'a> {
    base: &'s mut Base<'a>,
    /// What the result is timed against: as it came, since repairs of the base cost time.
    float: &'s Model,
    settings: &'s Settings,
    trial: &'s Trial<'a>,
    /// What the operators that can compute in integers cost, by their weights.
    costs: BTreeMap<ValueId, Cost>,
    /// What corrected biases make of the noise: it is divided by this.
    gain: f64,
    /// Every tensor with the noise of its levels, once that was measured.
    items: Option<Vec<Item>>,
}

impl<'a> Search<'_, 'a> {
    /// Leaves out of the integers what has to be for the drift to stay within the budget; `whole` is the noise with
    /// nothing left out.
    fn reach(&mut self, whole: f64, budget: f64) -> Result<Candidate<'a>> {
        let items = match self.items.take() {
            Some(items) => items,
            None => self.measured_items(budget)?,
        };
        let candidate = self.choose_within(&items, whole, budget);
        self.items = Some(items);
        candidate
    }

    /// The cheapest levels that stay within the budget; the highest of each tensor where none do.
    fn choose_within(&mut self, items: &[Item], whole: f64, budget: f64) -> Result<Candidate<'a>> {
        // Noise of all together over the sum of the noises of each alone: 1 where they are independent. It is bracketed:
        // the largest that was too little, the smallest that did.
        let (mut too_little, mut enough) = (0.0f64, f64::INFINITY);
        let mut correction = whole / choose::predict(items, &vec![0; items.len()]).max(f64::MIN_POSITIVE);
        let mut best: Option<(bool, Drift, Candidate<'a>)> = None;
        for _ in 0..MAX_CHOICES {
            let chosen = choose(items, budget / correction);
            let levels = self.levels(items, &chosen);
            let candidate = self.build(levels)?;
            let drift = self.trial.drifts(&candidate.model)?;
            let raw = drift.expected();
            // Repairs take long: only what they may bring within the budget is worth it.
            let (noise, drift, candidate) = match raw {
                raw if raw <= budget => (raw, drift, candidate),
                raw if raw <= GAIN_AT_MOST * self.gain * budget => {
                    let (drift, candidate) = self.repaired((drift, candidate))?;
                    (drift.expected(), drift, candidate)
                }
                raw => (raw / self.gain, drift, candidate),
            };
            let predicted = choose::predict(items, &chosen).max(f64::MIN_POSITIVE);
            tracing::debug!(noise, budget, correction, predicted, "a choice of levels was run");
            let is_near = noise <= budget && noise > budget / NEAR;
            if noise <= budget {
                enough = correction;
                best = Some((raw <= budget, drift, candidate));
            } else {
                too_little = correction;
            }
            correction = match (too_little, enough) {
                // As the sum falls short of the truth here, it may everywhere.
                (_, f64::INFINITY) => (noise / predicted).max(correction * STEP),
                (0.0, _) => (noise / predicted).min(correction / STEP),
                (low, high) => (low * high).sqrt(),
            };
            if enough < too_little * STEP || is_near {
                break;
            }
        }
        match best {
            Some((true, drift, unrepaired)) => Ok(self.repaired((drift, unrepaired))?.1),
            Some((_, _, repaired)) => Ok(repaired),
            None => {
                let highest: Vec<usize> = items.iter().map(|item| item.options.len() - 1).collect();
                self.build(self.levels(items, &highest))
            }
        }
    }

    fn levels(&self, items: &[Item], chosen: &[usize]) -> Levels {
        let chosen = items.iter().zip(chosen).map(|(item, &option)| (item.value, item.options[option].level));
        chosen.fold(self.settings.levels.clone(), |levels, (value, level)| levels.with(value, level))
    }

    /// Says which tensors were left out, and what they would have cost.
    fn explain(&self, levels: &Levels, cx: &mut Cx<'_>) {
        let graph = &self.base.model().graph;
        for item in self.items.iter().flatten() {
            let (level, lowest) = (levels.of(item.value), &item.options[0]);
            if level == lowest.level {
                continue;
            }
            let kept = match level {
                Level::Weights => "float arithmetic, 8-bit weights",
                Level::Sixteen => "float arithmetic, 16-bit weights",
                _ => "float",
            };
            let worst = lowest.noise.iter().copied().fold(0.0, f64::max);
            let text =
                format!("{kept}, to reach the target: quantized alone, it leaves {:.1} dB", -10.0 * worst.log10());
            cx.skipped(graph.value_site(item.value), text);
        }
    }

    /// A candidate of these levels with what repairs do for it.
    fn rebuild(&mut self, levels: Levels) -> Result<Candidate<'a>> {
        let candidate = self.build(levels)?;
        let drift = self.trial.drifts(&candidate.model)?;
        Ok(self.repaired((drift, candidate))?.1)
    }

    fn build(&mut self, levels: Levels) -> Result<Candidate<'a>> {
        let settings = self.settings.with_levels(levels);
        self.base.learn(std::slice::from_ref(&settings))?;
        self.base.candidate(&settings)
    }
}
