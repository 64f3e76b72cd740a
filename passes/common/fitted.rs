//! Layers that are fitted, one after the other, to what they gave in the original; and whether that was worth it.

use rayon::prelude::*;

use crate::calib::{self, Layer, PairGram};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Cx, Env};
use crate::passes::common::goal::worst;
use crate::passes::common::stages::{in_order, stages};
use crate::passes::common::trial::Trial;

/// Stages between which the models are run again, at most: each costs all samples.
const MAX_STAGES: usize = 32;

/// Goes through layers, each given with a number of its own, in the order in which the model computes them. `fit` gets the
/// number and what the layer reads in the original and in the copy, where that is known; `put` puts into the copy what comes
/// of it. Layers that read what is known already are fitted side by side.
///
/// # Errors
/// Fails where no backend can run the models, or a sample cannot be read or run; passes on what `fit` and `put` return.
pub(in crate::passes) fn in_turn<T: Send>(
    model: &Model,
    layers: Vec<(usize, &Layer)>,
    (copy, samples): (&mut Model, &dyn Samples),
    env: &Env<'_>,
    fit: impl Fn(usize, Option<&[PairGram]>) -> Result<T> + Sync,
    mut put: impl FnMut(usize, T, &mut Model) -> Result<()>,
) -> Result<()> {
    let ordered: Vec<(usize, &Layer)> = in_order(&model.graph, layers, |(_, layer)| layer)?;
    env.progress.start("fitting layers", ordered.len() as u64);
    for stage in stages(&ordered, |(_, layer)| layer, MAX_STAGES) {
        let layers: Vec<Layer> = stage.iter().map(|(_, layer)| (*layer).clone()).collect();
        for round in calib::rounds(&layers) {
            let moments = calib::measure_pairs(model, copy, &round, samples, env)?;
            let of_round: Vec<(usize, &Layer)> =
                stage.iter().copied().filter(|(_, layer)| round.contains(layer)).collect();
            let found = of_round.par_iter().map(|(index, layer)| {
                let found = fit(*index, moments.of(layer));
                env.progress.advance(1);
                found
            });
            for ((index, _), found) in of_round.iter().zip(found.collect::<Result<Vec<T>>>()?) {
                put(*index, found, copy)?;
            }
        }
    }
    env.progress.finish();
    Ok(())
}

/// What is fitted to some samples, where outputs are closer with it on others that nothing was fitted to; else what is plain.
/// A word says which. `fitted` is given what will be checked on, `draft` makes a model of either.
///
/// # Errors
/// Passes on what `fitted` and `draft` return, but for a model that cannot be run.
pub(in crate::passes) fn closest<T>(
    model: &Model,
    plain: T,
    (fit, check): (&dyn Samples, &dyn Samples),
    cx: &mut Cx<'_>,
    fitted: impl FnOnce(&Trial<'_>) -> Result<T>,
    draft: impl Fn(&T) -> Result<Model>,
) -> Result<T> {
    let both = || -> Result<(T, (f64, f64))> {
        let trial = Trial::new(model, check, cx.env)?;
        let fitted = fitted(&trial)?;
        let noise = |one: &T| -> Result<f64> { Ok(worst(&trial.drift(&draft(one)?)?)) };
        let noises = (noise(&plain)?, noise(&fitted)?);
        Ok((fitted, noises))
    };
    match both() {
        Ok((fitted, (before, after))) => {
            let (before_db, after_db) = (-10.0 * before.log10(), -10.0 * after.log10());
            let is_closer = after < before;
            let used = if is_closer { "fitted to" } else { "not fitted: no closer with" };
            cx.note(format!("{used} {}: {before_db:.1} -> {after_db:.1} dB on {}", fit.describe(), check.describe()));
            Ok(if is_closer { fitted } else { plain })
        }
        Err(error) if error.kind().is_no_run() => {
            cx.note(format!("nothing is fitted to samples: {}", error.what()));
            Ok(plain)
        }
        Err(error) => Err(error),
    }
}
