//! Layer after layer: each is fitted to what it gave in the original, from what those before it, already coded, hand on.

use super::coded::Coded;
use super::fit;
use super::table::Table;
use crate::calib::PairGram;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;
use crate::passes::common::fitted::in_turn;
use crate::passes::common::rows::Rowed;

/// All candidates, coded: layers by what they read, the rest as they are in `plain`, by themselves.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn coded(
    model: &Model,
    (candidates, plain): (&[Rowed], &[Coded]),
    table: &Table,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Coded>> {
    let mut copy = model.clone();
    let mut found = plain.to_vec();
    for (candidate, coded) in candidates.iter().zip(plain).filter(|(candidate, _)| candidate.layer.is_none()) {
        coded.place(&model.graph, &mut copy.graph, candidate)?;
    }
    let layers = candidates.iter().enumerate().filter_map(|(index, one)| Some((index, one.layer.as_ref()?)));
    let fit = |index: usize, pairs: Option<&[PairGram]>| {
        let candidate: &Rowed = &candidates[index];
        let rows = candidate.rows();
        match pairs.and_then(|pairs| fit::fit(&rows, pairs, candidate.bias.is_some(), table)) {
            Some(codes) => Coded::new(candidate, &rows, codes, table, env.scratch),
            None => Ok(plain[index].clone()),
        }
    };
    in_turn(model, layers.collect(), (&mut copy, samples), env, fit, |index, coded, copy| {
        coded.place(&model.graph, &mut copy.graph, &candidates[index])?;
        found[index] = coded;
        Ok(())
    })?;
    Ok(found)
}
