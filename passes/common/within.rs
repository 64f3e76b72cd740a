//! The least exact level of each tensor with which a model stays within a target, measured by running it.
//!
//! All tensors start at their lowest levels. Where the result has too much noise, each is put at its lowest level alone and
//! its noise measured; those that add most of it for what they save are kept more exactly, until the whole holds.

use rayon::prelude::*;

use super::choose::{Choice, Item, settle};
use super::drift::LEAST_MARGIN_DB;
use super::goal::worst;
use super::trial::Trial;
use crate::data::{self, DataOptions, Hints, Samples};
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::{Cx, Env};
use crate::validate::Comparison;

/// What stands in for data where none was given.
const STAND_IN: &str = "synthetic:8";

/// Tensors that have levels.
pub(in crate::passes) struct Tensors<'a, L> {
    /// The lowest level of each.
    pub(in crate::passes) lowest: &'a [L],
    /// The level that leaves a tensor as it is.
    pub(in crate::passes) float: L,
    /// The model with each tensor at a level.
    pub(in crate::passes) draft: &'a (dyn Fn(&[L]) -> Result<Model> + Sync),
    /// What a tensor can have, the lowest level first, for the noise it makes of each output alone at that one.
    pub(in crate::passes) item: &'a (dyn Fn(usize, Vec<f64>) -> Item<L> + Sync),
}

/// What was found.
pub(in crate::passes) struct Found<L> {
    pub(in crate::passes) levels: Vec<L>,
    /// The noise of the worst output with all tensors at their lowest levels, of its signal.
    pub(in crate::passes) lowest_noise: f64,
    /// The same with each tensor alone at its lowest level; empty where there was no need to know.
    pub(in crate::passes) alone: Vec<f64>,
}

/// The levels with which every output has a signal-to-noise ratio of `target` dB; the highest where none are seen to. On the
/// samples it has to be better by a margin, since other data is not these.
///
/// # Errors
/// Fails where no backend can run a draft.
pub(in crate::passes) fn levels_within<L: Copy + Send + Sync>(
    tensors: &Tensors<'_, L>,
    target: f64,
    trial: &Trial<'_>,
    env: &Env<'_>,
) -> Result<Found<L>> {
    let budget = 10f64.powf(-(target + LEAST_MARGIN_DB) / 10.0);
    let lowest_noise = worst(&trial.drift(&(tensors.draft)(tensors.lowest)?)?);
    if lowest_noise <= budget {
        return Ok(Found { levels: tensors.lowest.to_vec(), lowest_noise, alone: Vec::new() });
    }
    let count = tensors.lowest.len();
    env.progress.start("measuring layers", count as u64);
    let items = (0..count)
        .into_par_iter()
        .map(|index| {
            let mut levels = vec![tensors.float; count];
            levels[index] = tensors.lowest[index];
            let drift = trial.drift_alone(&(tensors.draft)(&levels)?)?;
            env.progress.advance(1);
            let noise: Vec<f64> = drift.iter().map(Comparison::noise_to_signal).collect();
            let alone = noise.iter().copied().fold(0.0, f64::max);
            Ok((alone, (tensors.item)(index, noise)))
        })
        .collect::<Result<Vec<(f64, Item<L>)>>>()?;
    env.progress.finish();
    let (alone, items): (Vec<f64>, Vec<Item<L>>) = items.into_iter().unzip();
    let level_of =
        |item: &Item<L>, option: usize| item.options.get(option).map_or(tensors.float, |choice| choice.level);
    let settled = settle(&items, budget, |chosen| {
        let levels: Vec<L> = items.iter().zip(chosen).map(|(item, &option)| level_of(item, option)).collect();
        Ok((worst(&trial.drift(&(tensors.draft)(&levels)?)?), levels))
    })?;
    let highest = || items.iter().map(|item| level_of(item, item.options.len().saturating_sub(1))).collect();
    Ok(Found { levels: settled.unwrap_or_else(highest), lowest_noise, alone })
}

/// A tensor that may be coded or stay float.
pub(in crate::passes) struct Codable {
    pub(in crate::passes) value: ValueId,
    /// Bytes as codes, and as floats.
    pub(in crate::passes) coded_bytes: u64,
    pub(in crate::passes) float_bytes: u64,
}

/// Tensors that may be coded.
pub(in crate::passes) struct Codables<'a> {
    pub(in crate::passes) tensors: &'a [Codable],
    /// What it is called when they are.
    pub(in crate::passes) coded: &'a str,
    /// The model with those coded for which it is told so.
    pub(in crate::passes) draft: &'a (dyn Fn(&[bool]) -> Result<Model> + Sync),
}

/// Which tensors are coded, so that every output has a signal-to-noise ratio of `target` dB in as few bytes as can be; says why
/// where others stay float.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(in crate::passes) fn coded_within(
    model: &Model,
    codables: &Codables<'_>,
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<bool>> {
    let &Codables { tensors, coded, draft } = codables;
    let trial = Trial::new(model, samples, cx.env)?;
    let item = |index: usize, noise: Vec<f64>| {
        let Codable { value, coded_bytes, float_bytes } = tensors[index];
        let coded = Choice { level: true, noise, cost: coded_bytes as f64 };
        let float = Choice { level: false, noise: Vec::new(), cost: float_bytes as f64 };
        Item { value, options: vec![coded, float] }
    };
    let lowest = vec![true; tensors.len()];
    let found = levels_within(&Tensors { lowest: &lowest, float: false, draft, item: &item }, target, &trial, cx.env)?;
    let lowest_db = -10.0 * found.lowest_noise.log10();
    cx.note(format!("all of them {coded}: {lowest_db:.1} dB on {}", samples.describe()));
    for ((tensor, _), noise) in tensors.iter().zip(&found.levels).zip(&found.alone).filter(|((_, coded), _)| !**coded) {
        let alone = -10.0 * noise.log10();
        let text = format!("float, to reach the target: {coded} alone, it leaves {alone:.1} dB");
        cx.skipped(model.graph.value_site(tensor.value), text);
    }
    Ok(found.levels)
}

/// Finds levels by measuring, on the user's samples or on random ones; `otherwise` where the model cannot be run on those, with
/// a word about it.
///
/// # Errors
/// Passes on what `measure` returns, but for that.
pub(in crate::passes) fn where_it_runs<T>(
    model: &Model,
    samples: Option<&dyn Samples>,
    cx: &mut Cx<'_>,
    otherwise: impl FnOnce() -> T,
    measure: impl FnOnce(&dyn Samples, &mut Cx<'_>) -> Result<T>,
) -> Result<T> {
    let env = cx.env;
    match on_samples(model, samples, env, |samples| measure(samples, cx)) {
        Err(error) if samples.is_none() || error.kind().is_no_run() => {
            cx.note(format!("layers are not measured: {}", error.what()));
            Ok(otherwise())
        }
        result => result,
    }
}

/// Lets something be measured on the user's samples, or on random ones where there are none.
///
/// # Errors
/// Fails where no inputs can be made up for the model, and passes on what `measure` returns.
pub(in crate::passes) fn on_samples<T>(
    model: &Model,
    samples: Option<&dyn Samples>,
    env: &Env<'_>,
    measure: impl FnOnce(&dyn Samples) -> Result<T>,
) -> Result<T> {
    if let Some(samples) = samples {
        return measure(samples);
    }
    let (signature, hints) = (model.signature(), Hints::from_model(model));
    let options = DataOptions { signature: &signature, seed: env.seed, hints: &hints, limit: None };
    measure(&*data::open(STAND_IN, &options)?)
}
