//! Finding the levels of tensors by measuring: as many as possible in integers, within a target and never slower.
//!
//! All tensors start at the first level. Where the drift that running the result shows is over the target, every tensor is
//! quantized alone and its noise measured; noises nearly add up, so that those can be chosen which cost the least time and
//! bytes to leave out. The choice is run in turn, and repeated with what that tells about the sum. At last the result is
//! timed against the float model, and operators that integers do not speed up go back to float arithmetic.

mod cost;
mod scores;
mod stopwatch;

use std::collections::BTreeMap;

use rayon::prelude::*;

use self::cost::Cost;
use self::stopwatch::Stopwatch;
use super::base::{Base, Candidate};
use super::levels::{Level, Levels};
use super::options::Settings;
use super::{calibrate, weights};
use crate::error::{ErrorKind, Result};
use crate::ir::ValueId;
use crate::pass::{Changed, Cx};
use crate::passes::common::choose::{self, Choice, settle};
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// Evaluation data is not calibration data: so much better than the target it has to be on the latter.
const MARGIN_DB: f64 = 1.0;

/// Less gain than this is noise of the clock.
const CLOCK_NOISE: f64 = 0.03;

/// One weight tensor and the levels it can have.
type Item = choose::Item<Level>;

/// What the result has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Goal {
    /// The least signal-to-noise ratio in decibels of any output, measured before a last Softmax or Sigmoid.
    pub(super) snr_db: Option<f64>,
    /// How often the best of several scores has to be that of the float model, at least.
    pub(super) top1: Option<f64>,
    /// So many points of accuracy may be lost, on labelled data.
    pub(super) accuracy_drop: Option<f64>,
}

impl Goal {
    /// Whether more is asked for than little noise.
    fn has_scores(self) -> bool {
        self.top1.is_some() || self.accuracy_drop.is_some()
    }
}

/// The model with as much in integers, and in 8 bits at all, as the goal allows.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn search<'a>(
    base: &mut Base<'a>,
    settings: &Settings,
    goal: Goal,
    cx: &mut Cx<'_>,
) -> Result<Candidate<'a>> {
    base.learn(std::slice::from_ref(settings))?;
    let first = base.candidate(settings)?;
    if first.changed == Changed::No {
        return Ok(first);
    }
    let trial = Trial::new(base.model(), base.samples(), base.env())?;
    let budget = goal.snr_db.map_or(f64::INFINITY, |snr_db| 10f64.powf(-(snr_db + MARGIN_DB) / 10.0));
    let noise = worst(&trial.drift(&first.model)?);
    let mut search = Search { base, settings, costs: BTreeMap::new(), items: None };
    search.costs = search.kernel_costs()?;
    let first = (noise <= budget).then_some(first);
    let candidate = match first {
        first if goal.has_scores() => search.reach_scores(&trial, first, (noise, budget), goal, cx)?,
        Some(first) => first,
        None => search.reach(&trial, budget)?,
    };
    search.explain(&candidate.levels, cx);
    if candidate.kernels == 0 { Ok(candidate) } else { search.never_slower(candidate, cx) }
}

struct Search<'s, 'a> {
    base: &'s mut Base<'a>,
    settings: &'s Settings,
    /// What the operators that can compute in integers cost, by their weights.
    costs: BTreeMap<ValueId, Cost>,
    /// Every tensor with the noise of its levels, once that was measured.
    items: Option<Vec<Item>>,
}

impl<'a> Search<'_, 'a> {
    /// Estimates what each operator costs, from the shapes of the first sample.
    fn kernel_costs(&self) -> Result<BTreeMap<ValueId, Cost>> {
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), super::INFO.name));
        let graph = &self.base.model().graph;
        let outputs: Vec<ValueId> = plan.kernels.iter().filter_map(|kernel| graph.output(kernel.node, 0)).collect();
        let shapes = calibrate::shapes(self.base.model(), &outputs, self.base.samples(), self.base.env())?;
        let mut costs: BTreeMap<ValueId, Cost> = BTreeMap::new();
        for kernel in &plan.kernels {
            let shape = graph.output(kernel.node, 0).and_then(|output| shapes.get(&output));
            let cost = Cost::of(graph, kernel.node, &kernel.tensor, shape.map_or(&[], Vec::as_slice));
            let total = costs.entry(kernel.weight).or_default();
            *total = *total + cost;
        }
        Ok(costs)
    }

    /// Leaves out of the integers what has to be for the drift to stay within the budget.
    fn reach(&mut self, trial: &Trial<'_>, budget: f64) -> Result<Candidate<'a>> {
        let items = match self.items.take() {
            Some(items) => items,
            None => self.measured_items(trial)?,
        };
        let candidate = self.choose_within(&items, trial, budget);
        self.items = Some(items);
        candidate
    }

    /// The cheapest levels that stay within the budget; the highest of each tensor where none do.
    fn choose_within(&mut self, items: &[Item], trial: &Trial<'_>, budget: f64) -> Result<Candidate<'a>> {
        let best = settle(items, budget, |chosen| {
            let candidate = self.build(self.levels(items, chosen))?;
            Ok((worst(&trial.drift(&candidate.model)?), candidate))
        })?;
        match best {
            Some(best) => Ok(best),
            None => {
                let highest: Vec<usize> = items.iter().map(|item| item.options.len() - 1).collect();
                self.build(self.levels(items, &highest))
            }
        }
    }

    /// The model with nothing quantized.
    fn build_float(&mut self) -> Result<Candidate<'a>> {
        let levels = Self::nothing(&self.options());
        self.build(levels)
    }

    /// Every tensor that can be quantized, with the noise of each of its levels measured on it alone.
    fn measured_items(&mut self, trial: &Trial<'_>) -> Result<Vec<Item>> {
        let mut options = self.options();
        let nothing = Self::nothing(&options);
        let single = |value: ValueId, level: Level| self.settings.with_levels(nothing.clone().with(value, level));
        let trials: Vec<(usize, usize, Settings)> = options
            .iter()
            .enumerate()
            .flat_map(|(index, item)| {
                item.options.iter().enumerate().map(move |(number, option)| (index, number, item.value, option.level))
            })
            .filter(|(.., level)| *level != Level::Float)
            .map(|(index, number, value, level)| (index, number, single(value, level)))
            .collect();
        let variants: Vec<Settings> = trials.iter().map(|(.., settings)| settings.clone()).collect();
        self.base.learn(&variants)?;
        let progress = self.base.env().progress;
        progress.start("measuring layers", trials.len() as u64);
        let base = &*self.base;
        let noises: Vec<Result<Vec<f64>>> = trials
            .par_iter()
            .map(|(.., settings)| {
                let drift = trial.drift(&base.candidate(settings)?.model)?;
                progress.advance(1);
                Ok(drift.iter().map(Comparison::noise_to_signal).collect())
            })
            .collect();
        progress.finish();
        for ((index, number, _), noise) in trials.iter().zip(noises) {
            options[*index].options[*number].noise = noise?;
        }
        Ok(options)
    }

    /// The tensors and their levels, without noises. Costs are shares of the time that integers save and of the bytes
    /// that 8 bits save.
    fn options(&self) -> Vec<Item> {
        let graph = &self.base.model().graph;
        let mut draft = Cx::new(self.base.env(), super::INFO.name);
        let stored: BTreeMap<ValueId, u64> =
            weights::candidates(graph, self.settings, &self.settings.levels, &mut draft)
                .into_iter()
                .map(|candidate| (candidate.value, candidate.tensor.byte_len()))
                .collect();
        let saved_ns = |value: &ValueId| self.costs.get(value).map_or(0.0, |cost| cost.saved_ns().max(0.0));
        let all_ns = self.costs.keys().map(saved_ns).sum::<f64>().max(f64::MIN_POSITIVE);
        let all_bytes = stored.values().sum::<u64>().max(1) as f64;
        let values: std::collections::BTreeSet<ValueId> = stored.keys().chain(self.costs.keys()).copied().collect();
        values
            .into_iter()
            .map(|value| {
                let time = saved_ns(&value) / all_ns;
                let bytes = stored.get(&value).copied().unwrap_or(0) as f64 / all_bytes;
                let lowest = self.settings.levels.of(value);
                let levels = [
                    self.costs.contains_key(&value).then_some((Level::Integers, 0.0)),
                    stored.contains_key(&value).then_some((Level::Weights, time)),
                    Some((Level::Float, time + bytes)),
                ];
                let allowed = levels.into_iter().flatten().filter(|(level, _)| *level >= lowest);
                let options = allowed.map(|(level, cost)| Choice { level, noise: Vec::new(), cost }).collect();
                Item { value, options }
            })
            .collect()
    }

    /// Levels at which nothing is quantized.
    fn nothing(items: &[Item]) -> Levels {
        items.iter().fold(Levels::default(), |levels, item| levels.with(item.value, Level::Float))
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
                _ => "float",
            };
            let worst = lowest.noise.iter().copied().fold(0.0, f64::max);
            let text =
                format!("{kept}, to reach the target: quantized alone, it leaves {:.1} dB", -10.0 * worst.log10());
            cx.skipped(graph.value_site(item.value), text);
        }
    }

    /// Takes operators back out of the integers where that makes the model faster.
    fn never_slower(&mut self, candidate: Candidate<'a>, cx: &mut Cx<'_>) -> Result<Candidate<'a>> {
        let thin = self.without(&candidate.levels, |cost| cost.saved_ns() <= 0.0);
        let stopwatch = match self.stopwatch()? {
            Ok(stopwatch) => stopwatch,
            Err(reason) => {
                cx.note(format!("not timed, {reason}: operators that integers slow down as a rule stay float"));
                return match thin {
                    Some(thin) => self.build(thin),
                    None => Ok(candidate),
                };
            }
        };
        let variants = [thin, self.without(&candidate.levels, |_| true)];
        let mut best = (stopwatch.speedup(&candidate.model)?, candidate);
        for levels in variants.into_iter().flatten() {
            let other = self.build(levels)?;
            let speedup = stopwatch.speedup(&other.model)?;
            tracing::debug!(speedup, kernels = other.kernels, best = best.0, "timed");
            if speedup > best.0 * (1.0 + CLOCK_NOISE) {
                best = (speedup, other);
            }
        }
        let (speedup, candidate) = best;
        cx.note(format!(
            "{} operators in integers: x{speedup:.2} of the float model's speed, in ONNX Runtime",
            candidate.kernels
        ));
        Ok(candidate)
    }

    /// The clock that may decide, or why there is none.
    fn stopwatch(&self) -> Result<std::result::Result<Stopwatch, &'static str>> {
        if !self.settings.is_timed {
            return Ok(Err("as asked"));
        }
        match Stopwatch::new(self.base.model(), self.base.samples().get(0)?) {
            Ok(stopwatch) => Ok(Ok(stopwatch)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Err("since there is no ONNX Runtime")),
            Err(error) => Err(error),
        }
    }

    /// Levels with those operators out of the integers; `None` where none of them is in.
    fn without(&self, levels: &Levels, is_out: impl Fn(Cost) -> bool) -> Option<Levels> {
        let mut changed = None;
        for (&value, &cost) in &self.costs {
            if levels.of(value) == Level::Integers && is_out(cost) {
                changed = Some(changed.unwrap_or_else(|| levels.clone()).with(value, Level::Weights));
            }
        }
        changed
    }

    fn build(&mut self, levels: Levels) -> Result<Candidate<'a>> {
        let settings = self.settings.with_levels(levels);
        self.base.learn(std::slice::from_ref(&settings))?;
        self.base.candidate(&settings)
    }
}

fn worst(drift: &[Comparison]) -> f64 {
    drift.iter().map(Comparison::noise_to_signal).fold(0.0, f64::max)
}
