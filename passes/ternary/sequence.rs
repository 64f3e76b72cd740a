//! Layer after layer: each is fitted to what it gave in the original, from what those before it, already coded, hand on.

use super::coded::Coded;
use super::fit;
use super::options::Settings;
use super::plan;
use crate::calib::PairGram;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;
use crate::passes::common::fitted::in_turn;
use crate::passes::common::rows::Rowed;

/// All candidates, coded: layers by what they read, the rest by themselves.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn coded(
    model: &Model,
    candidates: &[Rowed],
    settings: &Settings,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Coded>> {
    let mut copy = model.clone();
    let mut found: Vec<Option<Coded>> = vec![None; candidates.len()];
    for (index, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| candidate.layer.is_none()) {
        let coded = plan::coded(candidate, settings, env.scratch)?;
        coded.put(&model.graph, &mut copy.graph, candidate)?;
        found[index] = Some(coded);
    }
    let layers = candidates.iter().enumerate().filter_map(|(index, one)| Some((index, one.layer.as_ref()?)));
    let fit = |index: usize, pairs: Option<&[PairGram]>| {
        let candidate: &Rowed = &candidates[index];
        let rows = candidate.rows();
        let (is_centred, is_shared) = (candidate.bias.is_some(), settings.is_shared);
        match pairs.and_then(|pairs| fit::fit(&rows, pairs, is_centred, is_shared)) {
            Some(levels) => Coded::new(candidate, &rows, &levels, is_shared, env.scratch),
            None => plan::coded(candidate, settings, env.scratch),
        }
    };
    in_turn(model, layers.collect(), (&mut copy, samples), env, fit, |index, coded, copy| {
        coded.put(&model.graph, &mut copy.graph, &candidates[index])?;
        found[index] = Some(coded);
        Ok(())
    })?;
    Ok(found.into_iter().flatten().collect())
}
