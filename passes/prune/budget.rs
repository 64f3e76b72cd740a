//! What each weight costs the output of its layer, and how a budget of errors falls to layers.
//!
//! Costs are shares of the energy of a layer's output, so that those of different layers compare: the rule of section 1
//! where no gradient says more.

use rayon::prelude::*;

use super::fit::Equations;
use super::layers::Measured;
use super::obs::{self, Groups};
use super::options::Method;
use super::pattern::{Pattern, smallest};
use super::targets::Target;
use crate::calib::{self, Gram, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Env;

/// The costs of one layer's weights, in the tensor's order.
#[derive(Debug, Clone)]
pub(super) struct Costs {
    pub(super) target: usize,
    /// Infinite for what has to stay.
    pub(super) of_weights: Vec<f32>,
}

/// Measures the costs of all layers in the original; those of layers whose inputs say nothing are missing.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn costs(
    model: &Model,
    (targets, measured): (&[Target], &[Measured]),
    method: Method,
    pattern: Pattern,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Costs>> {
    let layers: Vec<Layer> = measured.iter().map(|one| one.layer.clone()).collect();
    let mut found = Vec::new();
    env.progress.start("weighing layers", measured.len() as u64);
    for round in calib::rounds(&layers) {
        let moments = calib::measure(model, &round, samples, env)?;
        for one in measured.iter().filter(|one| round.contains(&one.layer)) {
            let rows = targets.get(one.target).and_then(|target| target.tensor.to_f64());
            let rows = rows.map(|elements| one.view.to_rows(&elements));
            let costs = rows.zip(moments.of(&one.layer)).and_then(|(rows, grams)| {
                let costs = of_layer(one, &rows, grams, method, pattern)?;
                Some(Costs { target: one.target, of_weights: one.view.out_of_rows(&costs) })
            });
            found.extend(costs);
            env.progress.advance(1);
        }
    }
    env.progress.finish();
    Ok(found)
}

fn of_layer(one: &Measured, rows: &[f64], grams: &[Gram], method: Method, pattern: Pattern) -> Option<Vec<f32>> {
    let (len, dim) = (one.view.group_len(), one.view.depth);
    if grams.len() != one.view.groups {
        return None;
    }
    let columns = one.view.columns(pattern);
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
        let of_row = |row: &[f64]| match method {
            Method::Obs => obs::costs(inverse.as_ref(), row, groups),
            _ => row.iter().enumerate().map(|(i, weight)| weight * weight / inverse[(i, i)]).collect(),
        };
        costs.extend(rows.par_chunks(dim).map(of_row).collect::<Vec<Vec<f64>>>().concat());
    }
    let scale = if energy > 0.0 { 1.0 / energy } else { 1.0 };
    Some(costs.into_iter().map(|cost| (cost * scale) as f32).collect())
}

/// Which weights of each layer go where `count` of all together are to: those that cost least, whatever their layer.
pub(super) fn cheapest(costs: &[Costs], count: usize) -> Vec<Vec<bool>> {
    let all: Vec<f64> = costs.iter().flat_map(|costs| costs.of_weights.iter().map(|&cost| f64::from(cost))).collect();
    let goes = smallest(&all, &[], count);
    let mut rest = goes.as_slice();
    costs
        .iter()
        .map(|costs| {
            let (own, others) = rest.split_at(costs.of_weights.len());
            rest = others;
            own.to_vec()
        })
        .collect()
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
        assert_eq!(cheapest(&costs, 3), [vec![true, false, true], vec![false, true, false]]);
        assert_eq!(cheapest(&costs, 0), [vec![false; 3], vec![false; 3]]);
    }
}
