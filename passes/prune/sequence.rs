//! Layer after layer: what goes, and what those left become, for what the layers before really hand on.
//!
//! Each layer is fitted to what it gave in the original, from what it reads in the model pruned so far, so that errors do
//! not add up. That matters more than the rule by which weights go.

use rayon::prelude::*;

use super::measured::Measured;
use super::options::Method;
use super::pattern::{Pattern, choose};
use super::sparsegpt::{self, Wanted};
use super::targets::Target;
use crate::calib::{self, Idle, Layer, PairGram};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, Tensor};
use crate::pass::Env;
use crate::passes::common::least_squares::Equations;
use crate::passes::common::stages::stages;

/// Stages between which the models are run again, at most: each costs all samples.
const MAX_STAGES: usize = 48;

/// How the weights of one layer are pruned.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    /// Those that are not zero in this tensor stay.
    Settled(Tensor),
    /// A share goes by what the layer reads; where a pattern says how much, the share says nothing.
    Share(f64),
}

/// How all layers are pruned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'p> {
    pub(super) method: Method,
    pub(super) pattern: Pattern,
    pub(super) repairs: bool,
    /// The rule of each target.
    pub(super) rules: &'p [Rule],
}

/// What became of a layer.
#[derive(Debug)]
struct Fitted {
    rows: Vec<f64>,
    shifts: Vec<f64>,
}

/// Prunes the layers of `copy`, whose weights are `so_far`, and of which those that are zero stay so. Everything that is not
/// measured is pruned already. Says which of the targets could not be fitted: their weights go by the rule without being
/// made up for.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn prune(
    original: &Model,
    copy: &mut Model,
    (targets, so_far, measured): (&[Target], &[Tensor], &[Measured]),
    plan: Plan<'_>,
    (samples, idle): (&dyn Samples, &Idle),
    env: &Env<'_>,
) -> Result<Vec<usize>> {
    let mut unfitted = Vec::new();
    env.progress.start("pruning layers", measured.len() as u64);
    let ordered: Vec<&Measured> = measured.iter().collect();
    for stage in stages(&ordered, |one| &one.layer, MAX_STAGES) {
        let layers: Vec<Layer> = stage.iter().map(|one| one.layer.clone()).collect();
        for round in calib::rounds(&layers) {
            let moments = calib::measure_pairs_without(idle, (original, copy), &round, samples, env)?;
            for one in stage.iter().filter(|one| round.contains(&one.layer)) {
                let place = one.target;
                let (Some(target), Some(rule), Some(so_far)) =
                    (targets.get(place), plan.rules.get(place), so_far.get(place))
                else {
                    continue;
                };
                let pairs = moments.of(&one.layer);
                let fitted = pairs.and_then(|pairs| fit(one, (&target.tensor, so_far), rule, plan, pairs));
                let Some(fitted) = fitted else {
                    unfitted.push(one.target);
                    copy.graph.set_constant(target.place.1, alone(target, so_far, rule, plan)?)?;
                    env.progress.advance(1);
                    continue;
                };
                let elements = one.view.out_of_rows(&fitted.rows);
                let tensor = Tensor::from_f64(target.tensor.dtype(), target.tensor.shape(), &elements)?;
                let parked = env.scratch.park(tensor.data().clone())?;
                copy.graph.set_constant(target.place.1, Tensor::new(tensor.dtype(), tensor.shape(), parked)?)?;
                if let Some(bias) = one.bias.filter(|_| plan.repairs) {
                    bias.shift(&original.graph, &mut copy.graph, &fitted.shifts)?;
                }
                env.progress.advance(1);
            }
        }
    }
    env.progress.finish();
    Ok(unfitted)
}

/// The weights of a layer whose inputs say nothing: by magnitude.
fn alone(target: &Target, so_far: &Tensor, rule: &Rule, plan: Plan<'_>) -> Result<Tensor> {
    let share = match rule {
        Rule::Settled(tensor) => return Ok(tensor.clone()),
        Rule::Share(share) => *share,
    };
    let scores: Vec<f64> = so_far.to_f64().unwrap_or_default().iter().map(|weight| weight.abs()).collect();
    let goes = choose(&scores, &target.axes.units(plan.pattern), plan.pattern, super::share_of(scores.len(), share));
    so_far.map_f64(|element, weight| if goes.get(element) == Some(&true) { 0.0 } else { weight })
}

/// The new weights of a layer, and what its biases have to make up for; `None` where the moments do not serve.
fn fit(
    one: &Measured,
    (tensor, so_far): (&Tensor, &Tensor),
    rule: &Rule,
    plan: Plan<'_>,
    pairs: &[PairGram],
) -> Option<Fitted> {
    let view = one.view;
    let original = view.to_rows(&tensor.to_f64()?);
    let (start, is_settled) = match rule {
        Rule::Settled(tensor) => (tensor, true),
        Rule::Share(_) => (so_far, false),
    };
    let start = view.to_rows(&start.to_f64()?);
    let share = if let Rule::Share(share) = rule { *share } else { 0.0 };
    if pairs.len() != view.groups {
        return None;
    }
    let len = view.group_len();
    let groups: Option<Vec<Fitted>> = (pairs.par_iter().enumerate())
        .map(|(group, pair)| {
            let range = group * len..(group + 1) * len;
            fit_group(&original[range.clone()], (&start[range], is_settled), share, plan, (one, pair))
        })
        .collect();
    let groups = groups?;
    Some(Fitted {
        rows: groups.iter().flat_map(|group| group.rows.iter().copied()).collect(),
        shifts: groups.into_iter().flat_map(|group| group.shifts).collect(),
    })
}

/// The rows of one group: towards what the `original` ones gave, beginning at `start`, whose zeros stay.
fn fit_group(
    original: &[f64],
    (start, is_settled): (&[f64], bool),
    share: f64,
    plan: Plan<'_>,
    (one, pair): (&Measured, &PairGram),
) -> Option<Fitted> {
    let dim = pair.copy().dim();
    let is_centred = plan.repairs && one.bias.is_some();
    let equations = match plan.repairs {
        true => Equations::corrected(pair, original, is_centred),
        false => Equations::plain(pair.copy(), original, false),
    };
    let present: Vec<bool> = start.iter().map(|&weight| weight != 0.0).collect();
    let Some(equations) = equations else {
        // Inputs that never vary say nothing about weights.
        let stays = if is_settled { present } else { by_input(start, &vec![1.0; dim], one, plan.pattern, share) };
        let rows: Vec<f64> = start.iter().zip(&stays).map(|(&w, &stays)| if stays { w } else { 0.0 }).collect();
        return Some(Fitted { shifts: vec![0.0; rows.len() / dim], rows });
    };
    let (stays, start) = if is_settled {
        (present, start.to_vec())
    } else {
        let mut rows = if plan.repairs { equations.solve(&present, start)? } else { start.to_vec() };
        if plan.method == Method::Wanda {
            (by_input(&rows, &norms(pair), one, plan.pattern, share), rows)
        } else {
            let columns = one.view.columns(plan.pattern);
            let stays = sparsegpt::prune(&mut rows, equations.matrix(), Wanted { share, columns: &columns })?;
            if !plan.repairs {
                return Some(Fitted { shifts: vec![0.0; rows.len() / dim], rows });
            }
            (stays, rows)
        }
    };
    let rows = match (plan.repairs, plan.method) {
        (false, Method::Wanda | Method::Magnitude | Method::Random) => {
            original.iter().zip(&stays).map(|(&weight, &stays)| if stays { weight } else { 0.0 }).collect()
        }
        _ => equations.solve(&stays, &start)?,
    };
    let shifts = equations.shifts(&rows);
    Some(Fitted { rows, shifts })
}

/// The root mean square of each input.
fn norms(pair: &PairGram) -> Vec<f64> {
    let dim = pair.copy().dim();
    pair.copy().mean_products().iter().step_by(dim + 1).map(|moment| moment.max(0.0).sqrt()).collect()
}

/// Which weights stay by magnitude times the norm of the input. The authors compare weights of a row with each other for
/// language models, those of a layer for images, where rows differ; the latter is done here for all.
fn by_input(rows: &[f64], norms: &[f64], one: &Measured, pattern: Pattern, share: f64) -> Vec<bool> {
    let columns = one.view.columns(pattern);
    let scores: Vec<f64> =
        rows.chunks(norms.len()).flat_map(|row| row.iter().zip(norms)).map(|(w, norm)| w.abs() * norm).collect();
    let all: Vec<usize> = (0..norms.len()).collect();
    let goes = match columns.kept() {
        Some(_) => scores.chunks(norms.len()).flat_map(|row| choose(row, &columns.groups, pattern, 0)).collect(),
        None => {
            choose(&scores, &columns.tiles(&all, rows.len() / norms.len()), pattern, super::share_of(rows.len(), share))
        }
    };
    goes.into_iter().map(|goes| !goes).collect()
}
