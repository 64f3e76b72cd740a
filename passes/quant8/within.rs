//! `quant8=weights` within a target: which weights keep 16 bits, so that no output has more noise than it may.
//!
//! All weights start in 8 bits. Where running the result shows too much noise, each tensor is quantized alone and its noise
//! measured; those that add most of it for their bytes get 16 bits.

use super::levels::{Level, Levels};
use super::options::Settings;
use super::search::SIXTEEN_NOISE;
use super::{INFO, weights};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::Cx;
use crate::passes::common::choose::{Choice, Item};
use crate::passes::common::goal::Goal;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::{Tensors, levels_within, on_samples};

/// Weights are run at no more bytes than this unless a target is told: the rest is left to be fast.
const MEASURED_BYTES: u64 = 64 << 20;

/// The target where none is told, in dB: beyond it hardly any task sees a difference.
const DEFAULT_TARGET_DB: f64 = 30.0;

/// The level of each weight tensor of the main graph with which the result stays within the target; all in 8 bits where the
/// model cannot be run, or is too large to be run unasked.
///
/// # Errors
/// Fails on data that does not fit the model.
pub(super) fn levels(model: &Model, settings: &Settings, cx: &mut Cx<'_>) -> Result<Levels> {
    let none = settings.levels.clone();
    let asked = settings.goal.and_then(|goal: Goal| goal.snr_db);
    let candidates = weights::candidates(&model.graph, settings, &none, &mut Cx::new(cx.env, INFO.name));
    let bytes: u64 = candidates.iter().map(|candidate| candidate.tensor.byte_len()).sum();
    if settings.goal.is_some_and(|goal| goal.top1.is_some() || goal.accuracy_drop.is_some()) {
        cx.note("top1 and acc-drop are not searched for where arithmetic stays float: target is");
    }
    let is_asked = asked.is_some_and(|target| target > 0.0);
    if candidates.is_empty() || asked == Some(0.0) {
        return Ok(none);
    }
    if !is_asked && bytes > MEASURED_BYTES {
        cx.note("the drift of 8-bit weights was not measured, since the model is large; target=30 does so");
        return Ok(none);
    }
    let tensors: Vec<(ValueId, u64)> = candidates.iter().map(|c| (c.value, c.tensor.byte_len())).collect();
    let target = asked.unwrap_or(DEFAULT_TARGET_DB);
    let (samples, env) = (cx.env.calibration, cx.env);
    let found = on_samples(model, samples, env, |samples| within(model, settings, &tensors, target, samples, cx));
    match found {
        // Made-up inputs suit no model for certain.
        Err(error) if samples.is_none() || error.kind().is_no_run() => {
            cx.note(format!("the drift of 8-bit weights was not measured: {}", error.what()));
            Ok(none)
        }
        found => found,
    }
}

fn within(
    model: &Model,
    settings: &Settings,
    tensors: &[(ValueId, u64)],
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Levels> {
    let trial = match settings.is_timed {
        true => Trial::new(model, samples, cx.env)?,
        false => Trial::portable(model, samples, cx.env)?,
    };
    let env = cx.env;
    let with = |levels: &[Level]| {
        let tensors = tensors.iter().zip(levels);
        tensors.fold(settings.levels.clone(), |all, (&(value, _), &level)| all.with(value, level))
    };
    let draft = |levels: &[Level]| -> Result<Model> {
        let mut draft = model.clone();
        let _ = weights::quantize(&mut draft, &settings.with_levels(with(levels)), &mut Cx::new(env, INFO.name))?;
        Ok(draft)
    };
    let item = |index: usize, eight: Vec<f64>| {
        let (value, bytes) = tensors[index];
        let sixteen = eight.iter().map(|noise| noise * SIXTEEN_NOISE).collect();
        let option = |level, noise, share: f64| Choice { level, noise, cost: bytes as f64 * share };
        Item { value, options: vec![option(Level::Weights, eight, 0.25), option(Level::Sixteen, sixteen, 0.5)] }
    };
    let lowest = vec![Level::Weights; tensors.len()];
    let tensors_of = Tensors { lowest: &lowest, float: Level::Float, draft: &draft, item: &item };
    let found = levels_within(&tensors_of, target, &trial, env)?;
    if found.alone.is_empty() {
        return Ok(settings.levels.clone());
    }
    cx.note(format!("all weights in 8 bits: {:.1} dB on {}", -10.0 * found.lowest_noise.log10(), samples.describe()));
    for ((&(value, _), &level), alone) in tensors.iter().zip(&found.levels).zip(&found.alone) {
        if level == Level::Sixteen {
            let text =
                format!("16 bits, to reach {target} dB: in 8 bits alone, it leaves {:.1} dB", -10.0 * alone.log10());
            cx.skipped(model.graph.value_site(value), text);
        }
    }
    Ok(with(&found.levels))
}
