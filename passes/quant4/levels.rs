//! How many bits each tensor gets, so that the result reaches a target in as few bytes as can be.

use rayon::prelude::*;

use super::packed::Packed;
use super::plan::Candidate;
use super::sequence::place;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::choose::{Choice, Item};
use crate::passes::common::trial::Trial;
use crate::passes::common::within::{Tensors, levels_within};

/// How a tensor is kept, from the smallest to the most accurate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Four,
    Eight,
    Float,
}

impl Level {
    /// The smallest that a tensor can have.
    pub(super) fn lowest(candidate: &Candidate) -> Self {
        if candidate.gains_from_four_bits { Self::Four } else { Self::Eight }
    }
}

/// The level of each candidate with which every output has a signal-to-noise ratio of `target` dB, measured by running.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn reach(
    model: &Model,
    candidates: &[Candidate],
    packed: &[Packed],
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<Level>> {
    let trial = Trial::new(model, samples, cx.env)?;
    let eights = (candidates.par_iter()).map(|candidate| candidate.coded_in_eight_bits(cx.env.scratch));
    let eights = eights.collect::<Result<Vec<Packed>>>()?;
    let with = |levels: &[Level]| -> Result<Model> {
        let mut trial = model.clone();
        for (index, candidate) in candidates.iter().enumerate() {
            match levels[index] {
                Level::Four => place(&mut trial, candidate, &packed[index])?,
                Level::Eight => place(&mut trial, candidate, &eights[index])?,
                Level::Float => {}
            }
        }
        Ok(trial)
    };
    let lowest: Vec<Level> = candidates.iter().map(Level::lowest).collect();
    let item = |index: usize, noise| item(&candidates[index], lowest[index], &packed[index], &eights[index], noise);
    let tensors = Tensors { lowest: &lowest, float: Level::Float, draft: &with, item: &item };
    let found = levels_within(&tensors, target, &trial, cx.env)?;
    let lowest_db = -10.0 * found.lowest_noise.log10();
    cx.note(format!("all in the fewest bits: {lowest_db:.1} dB on {}", samples.describe()));
    for ((candidate, &level), noise) in candidates.iter().zip(&found.levels).zip(&found.alone) {
        if level == Level::lowest(candidate) {
            continue;
        }
        let kept = if level == Level::Eight { "8 bits" } else { "float" };
        let alone = -10.0 * noise.log10();
        let text = format!("{kept}, to reach the target: in fewer bits alone, it leaves {alone:.1} dB");
        cx.skipped(model.graph.value_site(candidate.value), text);
    }
    Ok(found.levels)
}

/// What a candidate can have and what that costs in bytes. The noise of 8 bits follows from that of 4 by what either loses
/// of the weights.
fn item(candidate: &Candidate, lowest: Level, four: &Packed, eight: &Packed, noise: Vec<f64>) -> Item<Level> {
    let float_bytes = candidate.tensor.byte_len();
    let mut options = Vec::new();
    if lowest == Level::Four {
        let share = eight.error / four.error.max(f64::MIN_POSITIVE);
        let in_eight = noise.iter().map(|noise| noise * share).collect();
        options.push(Choice { level: Level::Four, noise, cost: four.stored_bytes() as f64 });
        options.push(Choice { level: Level::Eight, noise: in_eight, cost: eight.stored_bytes() as f64 });
    } else {
        options.push(Choice { level: Level::Eight, noise, cost: eight.stored_bytes() as f64 });
    }
    options.push(Choice { level: Level::Float, noise: Vec::new(), cost: float_bytes as f64 });
    Item { value: candidate.value, options }
}
