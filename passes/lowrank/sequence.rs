//! Layers by what they read: those of the original, or of a copy in which the layers before are factorised already.

use rayon::prelude::*;

use super::emit;
use super::factored::{self, Factored};
use super::options::Amount;
use super::plan::Candidate;
use super::solver::Goal;
use crate::calib::{self, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;
use crate::passes::common::stages::{in_order, stages};

/// Stages between which the models are run again, at most: each costs all samples.
const MAX_STAGES: usize = 24;

/// The forms that layers may have for some amounts, by their weights alone.
///
/// # Errors
/// Fails where they cannot be kept: the disk is full.
pub(super) fn by_weights(
    model: &Model,
    candidates: &[Candidate],
    amounts: &[Amount],
    env: &Env<'_>,
) -> Result<Vec<Vec<Factored>>> {
    env.progress.start("factorising layers", candidates.len() as u64);
    let all = candidates.par_iter().map(|candidate| {
        let name = model.graph.value(candidate.weights.value).name();
        let found = factored::for_amounts(candidate, Goal::Weights, amounts, name, env.scratch);
        env.progress.advance(1);
        found
    });
    let all = all.collect::<Result<Vec<Vec<Factored>>>>()?;
    env.progress.finish();
    Ok(all)
}

/// The same by what they give in the original.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn by_outputs(
    model: &Model,
    candidates: &[Candidate],
    amounts: &[Amount],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Vec<Factored>>> {
    let layers: Vec<Layer> = candidates.iter().map(|candidate| candidate.layer.clone()).collect();
    let mut found: Vec<Vec<Factored>> = vec![Vec::new(); candidates.len()];
    for round in calib::rounds(&layers) {
        let moments = calib::measure(model, &round, samples, env)?;
        env.progress.start("factorising layers", round.len() as u64);
        let of_round = found.par_iter_mut().zip(candidates).filter(|(_, candidate)| round.contains(&candidate.layer));
        of_round.try_for_each(|(found, candidate)| {
            let goal = match moments.of(&candidate.layer) {
                Some([gram]) => Goal::Outputs(gram),
                _ => Goal::Weights,
            };
            let name = model.graph.value(candidate.weights.value).name();
            *found = factored::for_amounts(candidate, goal, amounts, name, env.scratch)?;
            env.progress.advance(1);
            Ok::<(), crate::error::Error>(())
        })?;
        env.progress.finish();
    }
    Ok(found)
}

/// Layers in the forms that were chosen, by their weights alone.
///
/// # Errors
/// Fails where they cannot be kept: the disk is full.
pub(super) fn plain(
    candidates: &[Candidate],
    chosen: &[Option<Factored>],
    env: &Env<'_>,
) -> Result<Vec<Option<Factored>>> {
    let each = candidates.par_iter().zip(chosen).map(|(candidate, chosen)| match chosen {
        Some(chosen) => {
            let found = factored::in_form(candidate, Goal::Weights, chosen.form, env.scratch)?;
            Ok(Some(found.unwrap_or_else(|| chosen.clone())))
        }
        None => Ok(None),
    });
    each.collect()
}

/// Layers in the forms that were chosen, each fitted to what it gave in the original, from what those before it hand on.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn in_turn(
    model: &Model,
    candidates: &[Candidate],
    chosen: &[Option<&Factored>],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Option<Factored>>> {
    let mut copy = model.clone();
    let mut fitted: Vec<Option<Factored>> = vec![None; candidates.len()];
    let taken = candidates.iter().zip(chosen).enumerate();
    let taken: Vec<(usize, &Candidate, &Factored)> =
        taken.filter_map(|(index, (candidate, chosen))| Some((index, candidate, (*chosen)?))).collect();
    let ordered = in_order(&model.graph, taken, |(_, candidate, _)| &candidate.layer)?;
    env.progress.start("fitting layers", ordered.len() as u64);
    for stage in stages(&ordered, |(_, candidate, _)| &candidate.layer, MAX_STAGES) {
        let layers: Vec<Layer> = stage.iter().map(|(_, candidate, _)| candidate.layer.clone()).collect();
        for round in calib::rounds(&layers) {
            let moments = calib::measure_pairs(model, &copy, &round, samples, env)?;
            let of_round: Vec<_> = stage.iter().filter(|(_, candidate, _)| round.contains(&candidate.layer)).collect();
            let found = of_round.par_iter().map(|(_, candidate, chosen)| {
                let fitted = match moments.of(&candidate.layer) {
                    Some([pair]) => factored::in_form(candidate, Goal::Original(pair), chosen.form, env.scratch)?,
                    _ => None,
                };
                env.progress.advance(1);
                Ok(fitted.unwrap_or_else(|| (*chosen).clone()))
            });
            for ((index, candidate, _), found) in of_round.iter().zip(found.collect::<Result<Vec<Factored>>>()?) {
                emit::put(&model.graph, &mut copy.graph, candidate, &found)?;
                fitted[*index] = Some(found);
            }
        }
    }
    env.progress.finish();
    Ok(fitted)
}
