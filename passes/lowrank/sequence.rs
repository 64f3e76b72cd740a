//! Layers by what they read: those of the original, or of a copy in which the layers before are factorised already.

use rayon::prelude::*;

use super::emit;
use super::factored::{self, Factored};
use super::options::Amount;
use super::plan::Candidate;
use super::solver::Goal;
use crate::calib::{self, Layer, PairGram};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;
use crate::passes::common::fitted;

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
    let taken = candidates.iter().zip(chosen).enumerate().filter(|(_, (_, chosen))| chosen.is_some());
    let layers = taken.map(|(index, (candidate, _))| (index, &candidate.layer)).collect();
    let fit = |index: usize, pairs: Option<&[PairGram]>| {
        let Some(chosen) = chosen[index] else { return Ok(None) };
        let found = match pairs {
            Some([pair]) => factored::in_form(&candidates[index], Goal::Original(pair), chosen.form, env.scratch)?,
            _ => None,
        };
        Ok(Some(found.unwrap_or_else(|| chosen.clone())))
    };
    fitted::in_turn(model, layers, (&mut copy, samples), env, fit, |index, found, copy| {
        if let Some(found) = &found {
            emit::put(&model.graph, &mut copy.graph, &candidates[index], found)?;
        }
        fitted[index] = found;
        Ok(())
    })?;
    Ok(fitted)
}
