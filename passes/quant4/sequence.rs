//! GPTQ layer after layer: each is rounded for what those before it, already rounded, really hand on.

use rayon::prelude::*;

use super::options::Settings;
use super::packed::Packed;
use super::plan::Candidate;
use crate::calib::{self, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;
use crate::passes::common::stages::{in_order, stages as in_stages};

/// Stretches of layers between which the model is run again, at most: each run costs all samples.
const MAX_STAGES: usize = 32;

/// All candidates in 4 bits, in their order: layers by GPTQ, the rest by themselves.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn packed(
    model: &Model,
    candidates: &[Candidate],
    settings: &Settings,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Packed>> {
    let mut working = model.clone();
    let scratch = env.scratch;
    let mut packed: Vec<Option<Packed>> = vec![None; candidates.len()];
    let alone: Vec<usize> = (0..candidates.len()).filter(|&index| candidates[index].layer.is_none()).collect();
    let coded = alone.par_iter().map(|&index| candidates[index].coded(settings, scratch));
    for (index, coded) in alone.iter().zip(coded.collect::<Result<Vec<Packed>>>()?) {
        place(&mut working, &candidates[*index], &coded)?;
        packed[*index] = Some(coded);
    }
    let stages = stages(model, candidates)?;
    env.progress.start("rounding layers", stages.iter().map(Vec::len).sum::<usize>() as u64);
    for stage in stages {
        let layers: Vec<Layer> = stage.iter().filter_map(|&index| candidates[index].layer.clone()).collect();
        for round in calib::rounds(&layers) {
            let moments = calib::measure(&working, &round, samples, env)?;
            let of_round: Vec<usize> = (stage.iter().copied())
                .filter(|&index| candidates[index].layer.as_ref().is_some_and(|l| round.contains(l)))
                .collect();
            let coded = of_round.par_iter().map(|&index| {
                let candidate = &candidates[index];
                let grams = candidate.layer.as_ref().and_then(|layer| moments.of(layer));
                let coded = grams.map(|grams| candidate.coded_with(grams, settings, scratch)).transpose()?.flatten();
                env.progress.advance(1);
                coded.map_or_else(|| candidate.coded(settings, scratch), Ok)
            });
            for (index, coded) in of_round.iter().zip(coded.collect::<Result<Vec<Packed>>>()?) {
                place(&mut working, &candidates[*index], &coded)?;
                packed[*index] = Some(coded);
            }
        }
    }
    env.progress.finish();
    Ok(packed.into_iter().flatten().collect())
}

/// Lets a model compute with what is left of the weights.
pub(super) fn place(model: &mut Model, candidate: &Candidate, packed: &Packed) -> Result<()> {
    model.graph.set_constant(candidate.value, packed.restored(&candidate.tensor)?)
}

/// The layers in the order in which the model computes them; those that read the same rows stand together.
fn stages(model: &Model, candidates: &[Candidate]) -> Result<Vec<Vec<usize>>> {
    let layers = candidates.iter().enumerate().filter_map(|(index, one)| Some((index, one.layer.as_ref()?)));
    let ordered: Vec<(usize, &Layer)> = in_order(&model.graph, layers.collect(), |(_, layer)| layer)?;
    let stages = in_stages(&ordered, |(_, layer)| layer, MAX_STAGES);
    Ok(stages.into_iter().map(|stage| stage.into_iter().map(|(index, _)| index).collect()).collect())
}
