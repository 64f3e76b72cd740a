//! Which tensors are generated, so that the result reaches a target in as few bytes as can be.

use super::coded::Coded;
use super::emit::stored_bytes;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::choose::{Choice, Item};
use crate::passes::common::rows::Rowed;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::{Tensors, levels_within};

/// How a tensor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Generated,
    Float,
}

/// The model with some of the candidates coded.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn draft(model: &Model, candidates: &[Rowed], coded: &[Coded], levels: &[Level]) -> Result<Model> {
    let mut draft = model.clone();
    for ((candidate, coded), level) in candidates.iter().zip(coded).zip(levels) {
        if *level == Level::Generated {
            coded.place(&model.graph, &mut draft.graph, candidate)?;
        }
    }
    Ok(draft)
}

/// The level of each candidate with which every output has a signal-to-noise ratio of `target` dB, measured by running.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn reach(
    model: &Model,
    (candidates, coded): (&[Rowed], &[Coded]),
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<Level>> {
    let trial = Trial::new(model, samples, cx.env)?;
    let with = |levels: &[Level]| draft(model, candidates, coded, levels);
    let item = |index: usize, noise: Vec<f64>| {
        let weights = &candidates[index].weights;
        let cost = stored_bytes(&coded[index], model.graph.value(weights.value).name()) as f64;
        let generated = Choice { level: Level::Generated, noise, cost };
        let float = Choice { level: Level::Float, noise: Vec::new(), cost: weights.tensor.byte_len() as f64 };
        Item { value: weights.value, options: vec![generated, float] }
    };
    let lowest = vec![Level::Generated; candidates.len()];
    let tensors = Tensors { lowest: &lowest, float: Level::Float, draft: &with, item: &item };
    let found = levels_within(&tensors, target, &trial, cx.env)?;
    let lowest_db = -10.0 * found.lowest_noise.log10();
    cx.note(format!("all of them generated: {lowest_db:.1} dB on {}", samples.describe()));
    for ((candidate, &level), noise) in candidates.iter().zip(&found.levels).zip(&found.alone) {
        if level == Level::Float {
            let alone = -10.0 * noise.log10();
            let text = format!("float, to reach the target: generated alone, it leaves {alone:.1} dB");
            cx.skipped(model.graph.value_site(candidate.weights.value), text);
        }
    }
    Ok(found.levels)
}
