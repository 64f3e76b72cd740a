//! What goes by the weights themselves: by magnitude, at random, by a threshold, or by a mask the user gives.

use rayon::prelude::*;

use super::options::{Amount, Method};
use super::pattern::{Pattern, choose};
use super::select::{Cut, Score, Scored};
use super::share_of;
use super::targets::Target;
use crate::error::{Error, Result};
use crate::ir::Tensor;
use crate::pass::Env;

/// The targets with their zeros; the results do not depend on the number of threads.
///
/// # Errors
/// Fails where there is no room for new weights, or an axis is one that a tensor does not have.
pub(super) fn prune(
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
        Ok(pruned.tensor.unwrap_or_else(|| weight.tensor.clone()))
    })
    .collect()
}

fn in_pattern(target: &Target, weight: &Scored, share: f64, pattern: Pattern, env: &Env<'_>) -> Result<Tensor> {
    let power = match pattern {
        Pattern::Slices { axis, .. } if axis >= target.tensor.rank() => {
            return Err(Error::usage(format!("option `dim` of `prune` names axis {axis}, which a tensor does not have"))
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
