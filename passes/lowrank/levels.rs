//! How much is left of each layer, so that the result reaches a target in as few bytes as can be.

use rayon::prelude::*;

use super::emit;
use super::factored::Factored;
use super::plan::Candidate;
use super::sequence;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Cx, Env};
use crate::passes::common::choose::{Choice, Item, choose, predict, settle};
use crate::passes::common::drift::LEAST_MARGIN_DB;
use crate::passes::common::goal::worst;
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// How often layers are fitted in turn, at most: each time all samples run once for each layer.
const ROUNDS: usize = 3;

/// The model with some of the layers factorised.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn draft(model: &Model, candidates: &[Candidate], chosen: &[Option<&Factored>]) -> Result<Model> {
    let mut draft = model.clone();
    for (candidate, chosen) in candidates.iter().zip(chosen) {
        if let Some(factored) = chosen {
            emit::put(&model.graph, &mut draft.graph, candidate, factored)?;
        }
    }
    Ok(draft)
}

/// Layers, and what each may become, from the smallest on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Menu<'a> {
    pub(super) model: &'a Model,
    pub(super) candidates: &'a [Candidate],
    pub(super) options: &'a [Vec<Factored>],
}

impl<'a> Menu<'a> {
    /// The middle one of what a layer may become, which is measured alone: the smallest may be noise and nothing else.
    fn middle(self, index: usize) -> Option<&'a Factored> {
        let options = self.options.get(index)?;
        options.get(options.len() / 2)
    }

    /// What was chosen for each layer.
    fn chosen(self, items: &[Item<Option<&Factored>>], chosen: &[usize]) -> Vec<Option<Factored>> {
        let level = |(item, &option): (&Item<Option<&Factored>>, &usize)| item.options.get(option)?.level.cloned();
        items.iter().zip(chosen).map(level).collect()
    }

    /// What a layer may have, for the noise that the middle one makes of each output alone; the noise of the others follows
    /// from what they lose of the layer's own output.
    fn item(self, index: usize, noise: &[f64]) -> Item<Option<&'a Factored>> {
        let weights = &self.candidates[index].weights;
        let (name, middle) = (self.model.graph.value(weights.value).name(), self.middle(index));
        let of = |factored: &'a Factored| {
            let share = middle.map_or(1.0, |middle| factored.loss / middle.loss.max(f64::MIN_POSITIVE));
            let noise = noise.iter().map(|noise| noise * share).collect();
            Choice { level: Some(factored), noise, cost: factored.stored_bytes(name) as f64 }
        };
        let whole = Choice { level: None, noise: Vec::new(), cost: weights.tensor.byte_len() as f64 };
        Item { value: weights.value, options: self.options[index].iter().map(of).chain([whole]).collect() }
    }
}

/// What each layer becomes so that every output has a signal-to-noise ratio of `target` dB, measured by running on samples
/// that nothing is fitted to; nothing where none is seen to reach it. Layers are fitted to the other samples in turn.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn reach(
    menu: Menu<'_>,
    target: f64,
    fit: Option<&dyn Samples>,
    check: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<Option<Factored>>> {
    let Menu { model, candidates, .. } = menu;
    let trial = Trial::new(model, check, cx.env)?;
    let alone = alone(menu, &trial, cx.env)?;
    let items: Vec<_> = alone.iter().enumerate().map(|(index, noise)| menu.item(index, noise)).collect();
    let budget = 10f64.powf(-(target + LEAST_MARGIN_DB) / 10.0);
    let settled = settle(&items, budget, |chosen| {
        let found = menu.chosen(&items, chosen);
        closer(model, candidates, found, None, &trial, cx.env).map(|plain| (plain.after, (chosen.to_vec(), plain)))
    })?;
    let settled = match fit {
        Some(fit) => fitted(menu, &items, budget, (settled, fit), &trial, cx.env)?,
        None => settled.map(|(_, plain)| plain),
    };
    let found = match settled {
        Some(Closer { found, before, after }) if found.iter().any(Option::is_some) => {
            let count = found.iter().flatten().count();
            let (before, after) = (-10.0 * before.log10(), -10.0 * after.log10());
            let fitted = if after > before { format!("{before:.1} dB, fitted in turn ") } else { String::new() };
            let checked = check.describe();
            cx.note(format!("{count} of {} layers get smaller: {fitted}{after:.1} dB on {checked}", found.len()));
            found
        }
        _ => {
            cx.note(format!("no layer gets smaller within {target} dB on {}", check.describe()));
            vec![None; candidates.len()]
        }
    };
    for (index, (candidate, found)) in candidates.iter().zip(&found).enumerate() {
        let Some(middle) = menu.middle(index).filter(|_| found.is_none()) else { continue };
        let noise = alone[index].iter().copied().fold(0.0, f64::max);
        let text = format!(
            "whole, to reach the target: alone, with {:.0} % of its weights, it leaves {:.1} dB",
            100.0 * middle.cost.weights as f64 / candidate.geometry.whole().weights as f64,
            -10.0 * noise.log10()
        );
        cx.skipped(model.graph.site(candidate.layer.node).with_tensor(describe(model, candidate)), text);
    }
    Ok(found)
}

/// Fits what was settled on in turn, which leaves room for less of the layers: so much less is tried, and the smallest result
/// that was seen to stay within the budget is taken.
fn fitted(
    menu: Menu<'_>,
    items: &[Item<Option<&Factored>>],
    budget: f64,
    (settled, fit): (Option<(Vec<usize>, Closer)>, &dyn Samples),
    trial: &Trial<'_>,
    env: &Env<'_>,
) -> Result<Option<Closer>> {
    let cost = |chosen: &[usize]| {
        let costs = items.iter().zip(chosen).filter_map(|(item, &option)| item.options.get(option));
        costs.map(|choice| choice.cost).sum::<f64>()
    };
    let (mut best, mut next) = match settled {
        Some((chosen, plain)) => (Some((cost(&chosen), plain)), chosen),
        None => (None, choose(items, budget)),
    };
    for round in 0..ROUNDS {
        let closer = closer(menu.model, menu.candidates, menu.chosen(items, &next), Some(fit), trial, env)?;
        let (noise, predicted, bytes) = (closer.after, predict(items, &next), cost(&next));
        tracing::debug!(round, noise, budget, predicted, bytes, "a choice of ranks was fitted and run");
        if noise <= budget && best.as_ref().is_none_or(|(least, _)| bytes <= *least) {
            best = Some((bytes, closer));
        }
        let chosen = choose(items, budget * predicted / noise.max(f64::MIN_POSITIVE));
        if predicted <= 0.0 || chosen == next {
            break;
        }
        next = chosen;
    }
    Ok(best.map(|(_, closer)| closer))
}

fn describe(model: &Model, candidate: &Candidate) -> String {
    model.graph.value(candidate.weights.value).describe()
}

/// The noise that each layer makes of each output, with nothing but it factorised.
fn alone(menu: Menu<'_>, trial: &Trial<'_>, env: &Env<'_>) -> Result<Vec<Vec<f64>>> {
    let count = menu.candidates.len();
    env.progress.start("measuring layers", count as u64);
    let noises = (0..count).into_par_iter().map(|index| {
        let mut chosen = vec![None; count];
        chosen[index] = menu.middle(index);
        let drift = trial.drift_alone(&draft(menu.model, menu.candidates, &chosen)?)?;
        env.progress.advance(1);
        Ok(drift.iter().map(Comparison::noise_to_signal).collect())
    });
    let noises = noises.collect::<Result<Vec<Vec<f64>>>>()?;
    env.progress.finish();
    Ok(noises)
}

/// Layers as they were given, or fitted in turn, whichever is closer.
pub(super) struct Closer {
    pub(super) found: Vec<Option<Factored>>,
    /// The noise of the worst output as given, and with what was found.
    pub(super) before: f64,
    pub(super) after: f64,
}

/// Fits layers in turn, and takes that where outputs are closer on the samples of the trial.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn closer(
    model: &Model,
    candidates: &[Candidate],
    given: Vec<Option<Factored>>,
    fit: Option<&dyn Samples>,
    trial: &Trial<'_>,
    env: &Env<'_>,
) -> Result<Closer> {
    let noise = |chosen: &[Option<Factored>]| -> Result<f64> {
        let chosen: Vec<Option<&Factored>> = chosen.iter().map(Option::as_ref).collect();
        Ok(worst(&trial.drift(&draft(model, candidates, &chosen)?)?))
    };
    let before = noise(&given)?;
    let Some(fit) = fit.filter(|_| given.iter().any(Option::is_some)) else {
        return Ok(Closer { found: given, before, after: before });
    };
    let chosen: Vec<Option<&Factored>> = given.iter().map(Option::as_ref).collect();
    let fitted = sequence::in_turn(model, candidates, &chosen, fit, env)?;
    let after = noise(&fitted)?;
    if after < before {
        return Ok(Closer { found: fitted, before, after });
    }
    Ok(Closer { found: given, before, after: before })
}
