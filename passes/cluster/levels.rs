//! How many values each tensor gets, so that the result reaches a target in as few bytes as can be.

use super::coded::Coded;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::choose::{Choice, Item};
use crate::passes::common::trial::Trial;
use crate::passes::common::weights::Weights;
use crate::passes::common::within::{Tensors, levels_within};

/// How a tensor is kept, from the smallest to the most accurate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// As many values as the user says.
    Few,
    /// As many as a code of a byte tells apart.
    Many,
    Float,
}

/// Weights, coded.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) weights: Weights,
    pub(super) few: Coded,
    /// Where that is another one, and smaller than floats.
    pub(super) many: Option<Coded>,
}

impl Candidate {
    /// The codes of a level; `None` where it is to stay float.
    pub(super) fn at(&self, level: Level) -> Option<&Coded> {
        match level {
            Level::Few => Some(&self.few),
            Level::Many => self.many.as_ref(),
            Level::Float => None,
        }
    }
}

/// The level of each candidate with which every output has a signal-to-noise ratio of `target` dB, measured by running.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn reach(
    model: &Model,
    candidates: &[Candidate],
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<Level>> {
    let trial = Trial::new(model, samples, cx.env)?;
    let draft = |levels: &[Level]| -> Result<Model> {
        let mut draft = model.clone();
        for (candidate, &level) in candidates.iter().zip(levels) {
            if let Some(coded) = candidate.at(level) {
                coded.place(&mut draft.graph, &candidate.weights)?;
            }
        }
        Ok(draft)
    };
    let name = |candidate: &Candidate| model.graph.value(candidate.weights.value).name().to_owned();
    // The noise of many values follows from that of few by what either loses of the weights.
    let item = |index: usize, noise: Vec<f64>| {
        let candidate: &Candidate = &candidates[index];
        let cost = |coded: &Coded| coded.stored_bytes(&name(candidate)) as f64;
        let many = candidate.many.as_ref().map(|many| {
            let share = many.error / candidate.few.error.max(f64::MIN_POSITIVE);
            let noise = noise.iter().map(|noise| noise * share).collect();
            Choice { level: Level::Many, noise, cost: cost(many) }
        });
        let float = Choice { level: Level::Float, noise: Vec::new(), cost: candidate.weights.tensor.byte_len() as f64 };
        let few = Choice { level: Level::Few, noise, cost: cost(&candidate.few) };
        Item { value: candidate.weights.value, options: [Some(few), many, Some(float)].into_iter().flatten().collect() }
    };
    let lowest = vec![Level::Few; candidates.len()];
    let tensors = Tensors { lowest: &lowest, float: Level::Float, draft: &draft, item: &item };
    let found = levels_within(&tensors, target, &trial, cx.env)?;
    let lowest_db = -10.0 * found.lowest_noise.log10();
    cx.note(format!("all with the fewest values: {lowest_db:.1} dB on {}", samples.describe()));
    for ((candidate, &level), noise) in candidates.iter().zip(&found.levels).zip(&found.alone) {
        let kept = match level {
            Level::Few => continue,
            Level::Many => "256 values",
            Level::Float => "float",
        };
        let alone = -10.0 * noise.log10();
        let text = format!("{kept}, to reach the target: with fewer values alone, it leaves {alone:.1} dB");
        cx.skipped(model.graph.value_site(candidate.weights.value), text);
    }
    Ok(found.levels)
}
