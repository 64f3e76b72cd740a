//! What each tensor costs, and how much noise each of its levels adds, measured on it alone.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::cost::Cost;
use super::{Candidate, Item, Search};
use crate::error::Result;
use crate::ir::ValueId;
use crate::pass::Cx;
use crate::passes::common::choose::Choice;
use crate::passes::quant8::levels::{Level, Levels};
use crate::passes::quant8::options::Settings;
use crate::passes::quant8::{INFO, calibrate, weights};
use crate::validate::Comparison;

/// What of the bytes that 8 bits save is lost with 16.
const SIXTEEN_BYTES: f64 = 1.0 / 3.0;

/// The noise of 16-bit floats, of that of 8-bit integers with a scale a channel.
pub(in crate::passes::quant8) const SIXTEEN_NOISE: f64 = 5e-4;

/// Up to this part of the budget the noise of 8-bit weights in float arithmetic needs no closer look.
const LITTLE: f64 = 0.1;

impl<'a> Search<'_, 'a> {
    /// Estimates what each operator costs, from the shapes of the first sample.
    pub(super) fn kernel_costs(&self) -> Result<BTreeMap<ValueId, Cost>> {
        let plan = self.base.plan(self.settings, &mut Cx::new(self.base.env(), INFO.name));
        let graph = &self.base.model().graph;
        let outputs: Vec<ValueId> = plan.kernels.iter().filter_map(|kernel| graph.output(kernel.node, 0)).collect();
        let shapes = calibrate::shapes(self.base.model(), &outputs, self.base.samples(), self.base.measuring())?;
        let mut costs: BTreeMap<ValueId, Cost> = BTreeMap::new();
        for kernel in &plan.kernels {
            let shape = graph.output(kernel.node, 0).and_then(|output| shapes.get(&output));
            let cost = Cost::of(graph, kernel.node, &kernel.tensor, shape.map_or(&[], Vec::as_slice));
            let total = costs.entry(kernel.weight).or_default();
            *total = *total + cost;
        }
        Ok(costs)
    }

    /// Every tensor that can be quantized, with the noise of its integers measured on it alone. Noise of 8-bit weights in
    /// float arithmetic is next to nothing as a rule: that of all together is shared out by their bytes, unless it is not.
    pub(super) fn measured_items(&mut self, budget: f64) -> Result<Vec<Item>> {
        let (mut items, bytes) = self.options();
        let nothing = Self::nothing(&items);
        let all_weights = items.iter().fold(nothing.clone(), |levels, item| match place_of(item, Level::Weights) {
            Some(_) => levels.with(item.value, Level::Weights),
            None => levels,
        });
        let of_weights = noises(&self.trial.drift(&self.build(all_weights)?.model)?);
        let is_little = of_weights.iter().all(|&noise| noise <= budget * LITTLE);
        if is_little {
            let all: f64 = bytes.iter().sum();
            for (item, bytes) in items.iter_mut().zip(&bytes) {
                let share = bytes / all.max(f64::MIN_POSITIVE);
                if let Some(number) = place_of(item, Level::Weights) {
                    item.options[number].noise = of_weights.iter().map(|noise| noise * share).collect();
                }
            }
        }
        let mut trials: Vec<(usize, usize, Settings)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            for (number, option) in item.options.iter().enumerate() {
                if option.level == Level::Integers || (option.level == Level::Weights && !is_little) {
                    let levels = nothing.clone().with(item.value, option.level);
                    trials.push((index, number, self.settings.with_levels(levels)));
                }
            }
        }
        let variants: Vec<Settings> = trials.iter().map(|(.., settings)| settings.clone()).collect();
        self.base.learn(&variants)?;
        let progress = self.base.env().progress;
        progress.start("measuring layers", trials.len() as u64);
        let (base, trial) = (&*self.base, self.trial);
        let measured: Vec<Result<Vec<f64>>> = trials
            .par_iter()
            .map(|(.., settings)| {
                let drift = trial.drift_alone(&base.candidate(settings)?.model)?;
                progress.advance(1);
                Ok(noises(&drift))
            })
            .collect();
        progress.finish();
        for ((index, number, _), noise) in trials.iter().zip(measured) {
            items[*index].options[*number].noise = noise?;
        }
        for item in &mut items {
            if let (Some(eight), Some(sixteen)) = (place_of(item, Level::Weights), place_of(item, Level::Sixteen)) {
                let noise = item.options[eight].noise.iter().map(|noise| noise * SIXTEEN_NOISE).collect();
                item.options[sixteen].noise = noise;
            }
        }
        Ok(items)
    }

    /// The tensors and their levels, without noises, and the part of all bytes that each tensor has. Costs are shares of
    /// the time that integers save and of the bytes that 8 bits save.
    fn options(&self) -> (Vec<Item>, Vec<f64>) {
        let graph = &self.base.model().graph;
        let mut draft = Cx::new(self.base.env(), INFO.name);
        let stored: BTreeMap<ValueId, u64> =
            weights::candidates(graph, self.settings, &self.settings.levels, &mut draft)
                .into_iter()
                .map(|candidate| (candidate.value, candidate.tensor.byte_len()))
                .collect();
        let saved_ns = |value: &ValueId| self.costs.get(value).map_or(0.0, |cost| cost.saved_ns().max(0.0));
        let all_ns = self.costs.keys().map(saved_ns).sum::<f64>().max(f64::MIN_POSITIVE);
        let all_bytes = stored.values().sum::<u64>().max(1) as f64;
        let values: BTreeSet<ValueId> = stored.keys().chain(self.costs.keys()).copied().collect();
        values
            .into_iter()
            .map(|value| {
                let time = saved_ns(&value) / all_ns;
                let bytes = stored.get(&value).copied().unwrap_or(0) as f64 / all_bytes;
                let lowest = self.settings.levels.of(value);
                let levels = [
                    self.costs.contains_key(&value).then_some((Level::Integers, 0.0)),
                    stored.contains_key(&value).then_some((Level::Weights, time)),
                    stored.contains_key(&value).then_some((Level::Sixteen, time + bytes * SIXTEEN_BYTES)),
                    Some((Level::Float, time + bytes)),
                ];
                let allowed = levels.into_iter().flatten().filter(|(level, _)| *level >= lowest);
                let options = allowed.map(|(level, cost)| Choice { level, noise: Vec::new(), cost }).collect();
                (Item { value, options }, bytes)
            })
            .unzip()
    }

    /// The model with nothing quantized.
    pub(super) fn build_float(&mut self) -> Result<Candidate<'a>> {
        let levels = Self::nothing(&self.options().0);
        self.build(levels)
    }

    /// Levels at which nothing is quantized.
    fn nothing(items: &[Item]) -> Levels {
        items.iter().fold(Levels::default(), |levels, item| levels.with(item.value, Level::Float))
    }
}

/// The place of a level among the options of a tensor.
fn place_of(item: &Item, level: Level) -> Option<usize> {
    item.options.iter().position(|option| option.level == level)
}

fn noises(drift: &[Comparison]) -> Vec<f64> {
    drift.iter().map(Comparison::noise_to_signal).collect()
}
