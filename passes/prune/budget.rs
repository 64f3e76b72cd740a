//! What each weight costs the output of its layer, and how a budget of errors falls to layers.
//!
//! Costs are shares of the energy of a layer's output, so that those of different layers compare, times what an error of
//! that share does to the outputs of the model.

use rayon::prelude::*;

use super::measured::Measured;
use super::obs::{self, Groups};
use super::pattern::{Pattern, smallest};
use super::share_of;
use super::targets::Target;
use crate::calib::{self, Gram, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, Tensor};
use crate::pass::Env;
use crate::passes::common::least_squares::Equations;
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// Shares at which layers are pruned alone: less says little, more what no layer is to suffer.
const PROBES: std::ops::RangeInclusive<f64> = 0.5..=0.9;

/// Samples that such a model runs on at most.
const PROBED_SAMPLES: usize = 16;

/// The costs of one layer's weights, in the tensor's order.
#[derive(Debug, Clone)]
pub(super) struct Costs {
    pub(super) target: usize,
    /// Infinite for what has to stay.
    pub(super) of_weights: Vec<f32>,
}

/// How costs are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing {
    /// One weight after the other, else each as if it were the only one to go.
    pub(super) is_exact: bool,
    pub(super) pattern: Pattern,
    /// The share at which each layer is pruned alone to see what that does to the outputs of the model; `None` for layers
    /// that count alike.
    pub(super) probe: Option<f64>,
}

/// Measures the costs of all layers in the original; those of layers whose inputs say nothing are missing.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn costs(
    model: &Model,
    (targets, measured): (&[Target], &[Measured]),
    weighing: Weighing,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Costs>> {
    let layers: Vec<Layer> = measured.iter().map(|one| one.layer.clone()).collect();
    let trial = weighing.probe.map(|_| Trial::new(model, samples, env)).transpose()?;
    let mut found = Vec::new();
    env.progress.start("weighing layers", measured.len() as u64);
    for round in calib::rounds(&layers) {
        let moments = calib::measure(model, &round, samples, env)?;
        for one in measured.iter().filter(|one| round.contains(&one.layer)) {
            env.progress.advance(1);
            let Some(target) = targets.get(one.target) else { continue };
            let rows = target.tensor.to_f64().map(|elements| one.view.to_rows(&elements));
            let Some((rows, grams)) = rows.zip(moments.of(&one.layer)) else { continue };
            let Some(mut costs) = of_layer(one, &rows, grams, weighing) else { continue };
            if let (Some(trial), Some(share)) = (&trial, weighing.probe) {
                let weight = sensitivity(model, target, (one, &rows, grams), &costs, share, trial)?;
                costs.iter_mut().for_each(|cost| *cost *= weight);
            }
            found.push(Costs { target: one.target, of_weights: one.view.out_of_rows(&costs) });
        }
    }
    env.progress.finish();
    Ok(found)
}

/// What an error of a layer does to the outputs of the model: their noise where the layer alone is pruned, over what that
/// costs the layer.
fn sensitivity(
    model: &Model,
    target: &Target,
    (one, rows, grams): (&Measured, &[f64], &[Gram]),
    costs: &[f32],
    share: f64,
    trial: &Trial<'_>,
) -> Result<f32> {
    let all: Vec<f64> = costs.iter().map(|&cost| f64::from(cost)).collect();
    let share = share.clamp(*PROBES.start(), *PROBES.end());
    let stays: Vec<bool> = smallest(&all, &[], share_of(all.len(), share)).into_iter().map(|goes| !goes).collect();
    let cost: f64 = all.iter().zip(&stays).filter(|(_, stays)| !**stays).map(|(cost, _)| cost).sum();
    let len = one.view.group_len();
    let groups = grams.iter().zip(rows.chunks(len)).zip(stays.chunks(len)).map(|((gram, rows), stays)| {
        let equations = Equations::plain(gram, rows, false);
        let solved = equations.and_then(|equations| equations.solve(stays, rows));
        solved.unwrap_or_else(|| rows.to_vec())
    });
    let pruned = one.view.out_of_rows(&groups.collect::<Vec<_>>().concat());
    let mut probe = model.clone();
    let tensor = Tensor::from_f64(target.tensor.dtype(), target.tensor.shape(), &pruned)?;
    probe.graph.set_constant(target.place.1, tensor)?;
    let noise: f64 = trial.drift_on(&probe, PROBED_SAMPLES)?.iter().map(Comparison::noise_to_signal).sum();
    let sensitivity = noise / cost;
    tracing::debug!(target = target.name, noise, cost, sensitivity, "a layer pruned alone");
    Ok(if sensitivity.is_finite() && sensitivity > 0.0 { sensitivity as f32 } else { 1.0 })
}

fn of_layer(one: &Measured, rows: &[f64], grams: &[Gram], weighing: Weighing) -> Option<Vec<f32>> {
    let (len, dim) = (one.view.group_len(), one.view.depth);
    if grams.len() != one.view.groups {
        return None;
    }
    let columns = one.view.columns(weighing.pattern);
    let groups = columns.kept().map(|kept| Groups { of_column: &columns.groups, kept });
    let mut energy = 0.0;
    let mut costs = Vec::with_capacity(rows.len());
    for (gram, rows) in grams.iter().zip(rows.chunks(len)) {
        let equations = Equations::plain(gram, rows, one.bias.is_some());
        let Some((equations, inverse)) = equations.and_then(|e| e.inverse().map(|inverse| (e, inverse))) else {
            // Inputs that never vary cost nothing.
            costs.extend(rows.iter().map(|_| 0.0));
            continue;
        };
        energy += equations.energy(rows);
        let of_row = |row: &[f64]| match weighing.is_exact {
            true => obs::costs(&inverse, row, groups),
            false => row.iter().enumerate().map(|(i, weight)| weight * weight / inverse[i * (dim + 1)]).collect(),
        };
        costs.extend(rows.par_chunks(dim).map(of_row).collect::<Vec<Vec<f64>>>().concat());
    }
    let scale = if energy > 0.0 { 1.0 / energy } else { 1.0 };
    Some(costs.into_iter().map(|cost| (cost * scale) as f32).collect())
}

/// Which weights of each layer go where `count` of all together are to: those that cost least, whatever their layer; the
/// first of equal ones.
pub(super) fn cheapest(costs: &[&Costs], count: usize) -> Vec<Vec<bool>> {
    let mut all: Vec<f32> = costs.iter().flat_map(|costs| costs.of_weights.iter().copied()).collect();
    let count = count.min(all.len());
    let (mut highest, mut ties) = (f32::NEG_INFINITY, 0);
    if count > 0 {
        let (below, &mut last, _) = all.select_nth_unstable_by(count - 1, f32::total_cmp);
        highest = last;
        ties = count - below.iter().filter(|cost| cost.total_cmp(&last).is_lt()).count();
    }
    let mut goes = |cost: &f32| {
        let is_tie = ties > 0 && cost.total_cmp(&highest).is_eq();
        ties -= usize::from(is_tie);
        is_tie || cost.total_cmp(&highest).is_lt()
    };
    costs.iter().map(|costs| costs.of_weights.iter().map(&mut goes).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_goes_where_it_costs_least() {
        let costs = [
            Costs { target: 0, of_weights: vec![0.1, 0.9, 0.2] },
            Costs { target: 1, of_weights: vec![0.5, 0.15, f32::INFINITY] },
        ];
        assert_eq!(cheapest(&[&costs[0], &costs[1]], 3), [vec![true, false, true], vec![false, true, false]]);
        assert_eq!(cheapest(&[&costs[0], &costs[1]], 0), [vec![false; 3], vec![false; 3]]);
        let alike = [&Costs { target: 0, of_weights: vec![0.5; 3] }, &Costs { target: 1, of_weights: vec![0.5, 0.1] }];
        assert_eq!(cheapest(&alike, 3), [vec![true, true, false], vec![false, true]]);
        assert_eq!(cheapest(&alike, 9), [vec![true; 3], vec![true; 2]]);
    }
}
