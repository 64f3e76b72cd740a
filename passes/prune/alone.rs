//! What goes by the weights themselves: by magnitude, at random, by a threshold, or by a mask the user gives.

use std::path::Path;

use rayon::prelude::*;

use super::options::{Amount, Method, Settings};
use super::pattern::{Pattern, choose};
use super::select::{Cut, Score, Scored};
use super::share_of;
use super::targets::Target;
use crate::data;
use crate::error::{Error, Result, did_you_mean};
use crate::ir::Tensor;
use crate::pass::Env;

/// The targets with their zeros; the results do not depend on the number of threads.
///
/// # Errors
/// Fails where there is no room for new weights, an axis is one that a tensor does not have, or a mask does not fit.
pub(super) fn prune(
    targets: &[Target],
    amount: &Amount,
    method: Method,
    settings: &Settings,
    env: &Env<'_>,
) -> Result<Vec<Tensor>> {
    if let Amount::Mask(path) = amount {
        return by_mask(targets, path, env);
    }
    let mut results: Vec<Tensor> = targets.iter().map(|target| target.tensor.clone()).collect();
    let (own, common): (Vec<usize>, Vec<usize>) = (0..targets.len())
        .partition(|&place| targets.get(place).and_then(|target| settings.ratio_of(target)).is_some());
    let mut take = |places: &[usize], amount: &Amount| -> Result<()> {
        let chosen: Vec<&Target> = places.iter().filter_map(|&place| targets.get(place)).collect();
        for (&place, tensor) in places.iter().zip(together(&chosen, amount, method, settings.pattern, env)?) {
            if let Some(result) = results.get_mut(place) {
                *result = tensor;
            }
        }
        Ok(())
    };
    take(&common, amount)?;
    for place in own {
        if let Some(ratio) = targets.get(place).and_then(|target| settings.ratio_of(target)) {
            take(&[place], &Amount::PerLayer(ratio))?;
        }
    }
    Ok(results)
}

/// Zeros where the arrays of a file have some.
fn by_mask(targets: &[Target], path: &Path, env: &Env<'_>) -> Result<Vec<Tensor>> {
    let arrays = data::read_arrays(path)?;
    if let Some(name) = arrays.keys().find(|name| targets.iter().all(|target| target.name != **name)) {
        let known = targets.iter().map(|target| target.name.as_str());
        let error = Error::usage(format!("`{}` has a mask for `{name}`, which is no tensor to prune", path.display()));
        return Err(match did_you_mean(name, known) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help("`onnx-shrink inspect MODEL` lists operators and tensors"),
        });
    }
    let masked = |target: &Target| {
        let Some(mask) = arrays.get(&target.name) else { return Ok(target.tensor.clone()) };
        if mask.shape() != target.tensor.shape() {
            return Err(Error::invalid_data(format!("the mask in `{}` does not fit", path.display()))
                .at(target.site.clone())
                .found(mask.type_text()));
        }
        let wrong = || {
            Error::invalid_data(format!("the mask in `{}` is to hold 0 and 1", path.display()))
                .at(target.site.clone())
                .found(mask.type_text())
        };
        let goes: Option<Vec<bool>> = match mask.to_f64() {
            Some(values) => values.into_iter().map(|v| [0.0, 1.0].contains(&v).then_some(v == 0.0)).collect(),
            None if mask.dtype().bits() == 8 => {
                mask.data().iter().map(|&byte| (byte < 2).then_some(byte == 0)).collect()
            }
            None => mask
                .to_i64()
                .and_then(|values| values.into_iter().map(|v| [0, 1].contains(&v).then_some(v == 0)).collect()),
        };
        self::masked(&target.tensor, &goes.ok_or_else(wrong)?, env)
    };
    targets.iter().map(masked).collect()
}

/// Targets that one amount is for.
fn together(
    targets: &[&Target],
    amount: &Amount,
    method: Method,
    pattern: Pattern,
    env: &Env<'_>,
) -> Result<Vec<Tensor>> {
    let score = |target: &Target| match method {
        Method::Random => Score::random(env.seed, &target.name),
        _ => Score::Magnitude,
    };
    let weights: Vec<Scored> =
        targets.iter().map(|target| Scored { tensor: target.tensor.clone(), score: score(target) }).collect();
    env.progress.start("prune", weights.len() as u64);
    let results = match (pattern, amount) {
        (Pattern::Free, Amount::Global(share)) => {
            let total = weights.iter().map(|weight| weight.tensor.len()).sum();
            let cuts = Cut::smallest(&weights, share_of(total, *share) as u64).share_ties(&weights);
            cut(&weights, &cuts, env)
        }
        (Pattern::Free, Amount::Threshold(threshold)) => {
            cut(&weights, &vec![Cut::at_magnitude(*threshold); weights.len()], env)
        }
        (Pattern::Free, Amount::PerLayer(share)) => {
            let smallest = |weight: &Scored| {
                Cut::smallest(std::slice::from_ref(weight), share_of(weight.tensor.len(), *share) as u64)
            };
            cut(&weights, &weights.par_iter().map(smallest).collect::<Vec<Cut>>(), env)
        }
        (_, Amount::PerLayer(share) | Amount::Global(share)) => {
            let all = targets.par_iter().zip(&weights);
            all.map(|(target, weight)| in_pattern(target, weight, *share, pattern, env)).collect()
        }
        (_, Amount::Threshold(_) | Amount::Mask(_)) => Ok(targets.iter().map(|target| target.tensor.clone()).collect()),
    };
    env.progress.finish();
    results
}

fn cut(weights: &[Scored], cuts: &[Cut], env: &Env<'_>) -> Result<Vec<Tensor>> {
    let both = weights.par_iter().zip(cuts);
    both.map(|(weight, cut)| {
        let pruned = weight.prune(*cut, env.scratch)?;
        env.progress.advance(1);
        Ok(pruned.unwrap_or_else(|| weight.tensor.clone()))
    })
    .collect()
}

fn in_pattern(target: &Target, weight: &Scored, share: f64, pattern: Pattern, env: &Env<'_>) -> Result<Tensor> {
    let power = match pattern {
        Pattern::Slices { axis, .. } if axis >= target.tensor.rank() => {
            return Err(Error::usage(format!(
                "option `dim` of `prune` names axis {axis}, which a tensor does not have"
            ))
            .at(target.site.clone())
            .help("leave it out: exclude="));
        }
        Pattern::Slices { norm, .. } => norm,
        _ => 1.0,
    };
    let mut scores = Vec::with_capacity(weight.tensor.len());
    match weight.score {
        Score::Magnitude => weight.tensor.for_each_f64(|weight| scores.push(weight.abs().powf(power))),
        Score::Random { .. } => weight.for_each(|score| scores.push(score as f64)),
    }
    let units = target.axes.units(pattern);
    let goes = choose(&scores, &units, pattern, share_of(scores.len(), share));
    env.progress.advance(1);
    masked(&target.tensor, &goes, env)
}

/// The tensor with zeros where `goes` holds; itself where it has those already.
///
/// # Errors
/// Fails where there is no room for new weights.
pub(super) fn masked(tensor: &Tensor, goes: &[bool], env: &Env<'_>) -> Result<Tensor> {
    let mut is_changed = false;
    let new = tensor.map_f64(|element, weight| {
        let goes = goes.get(element) == Some(&true) && weight != 0.0;
        is_changed |= goes;
        if goes { 0.0 } else { weight }
    })?;
    if !is_changed {
        return Ok(tensor.clone());
    }
    Tensor::new(new.dtype(), new.shape(), env.scratch.park(new.data().clone())?)
}
