//! How much each layer loses where exact costs of all weights take too long: more where the outputs of the model suffer less.
//!
//! Some rows of each layer are pruned to several shares, which tells how its error grows, and each layer alone to one share,
//! which tells what its error does to the outputs of the model. Both are looked at on samples that the layer was not fitted
//! to, since layers with many weights to a row look better on their own samples than they are. The noise of all layers, as
//! if it added up, is then least for the number of weights that are to go.

use rayon::prelude::*;

use super::measured::Measured;
use super::pattern::{Columns, Pattern};
use super::sparsegpt::{self, Wanted};
use super::targets::Target;
use crate::calib::{self, Gram, Idle, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, Tensor};
use crate::pass::Env;
use crate::passes::common::holdout::Parts;
use crate::passes::common::least_squares::Equations;
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// Shares that rows are pruned to, and the place of the one that layers are pruned to alone.
const SHARES: [f64; 5] = [0.2, 0.35, 0.5, 0.65, 0.8];
const ALONE: usize = 2;

/// Rows of each group of a layer that tell how its error grows, at most.
const ROWS: usize = 64;

/// Layers that are tried alone side by side: each is a loaded model.
const SIDE_BY_SIDE: usize = 4;

/// A layer keeps and loses at least so much, in hundredths.
const HUNDREDTHS: std::ops::RangeInclusive<usize> = 5..=95;

/// How often the price of a weight is halved between two prices.
const HALVINGS: usize = 60;

/// What a layer adds to the noise of the outputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub(super) target: usize,
    /// Weights there are.
    len: usize,
    /// The logarithm of the noise at each of [`SHARES`].
    noise: [f64; SHARES.len()],
}

impl Curve {
    /// `noise` at the shares is made to grow.
    fn new(target: usize, len: usize, noise: [f64; SHARES.len()]) -> Option<Self> {
        let mut rising = noise.map(f64::ln);
        (1..rising.len()).for_each(|at| rising[at] = rising[at].max(rising[at - 1]));
        rising.iter().all(|noise| noise.is_finite()).then_some(Self { target, len, noise: rising })
    }

    /// The noise at a share: what lies between two shares, or beyond the last, is on a line in logarithms.
    fn at(&self, share: f64) -> f64 {
        let place = SHARES.partition_point(|&known| known < share).clamp(1, SHARES.len() - 1);
        let (low, high) = (SHARES[place - 1], SHARES[place]);
        let slope = (self.noise[place] - self.noise[place - 1]) / (high - low);
        (self.noise[place - 1] + slope * (share - low)).exp()
    }

    /// The hundredth that is best where a weight that goes is worth `price`.
    fn best(&self, price: f64) -> usize {
        let cost = |hundredth: usize| {
            let share = hundredth as f64 / 100.0;
            self.at(share) - price * share * self.len as f64
        };
        let costs = HUNDREDTHS.map(|hundredth| (cost(hundredth), hundredth));
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(*HUNDREDTHS.start(), |(_, hundredth)| hundredth)
    }
}

/// How many weights of each layer go where `count` of all together do.
pub(super) fn counts(curves: &[Curve], count: usize) -> Vec<(usize, usize)> {
    let at_price =
        |price: f64| -> Vec<usize> { curves.iter().map(|curve| curve.best(price) * curve.len / 100).collect() };
    // Prices are compared in logarithms: noises of models differ by many powers of ten.
    let (mut low, mut high) = (-80.0f64, 20.0f64);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if at_price(middle.exp()).iter().sum::<usize>() <= count { low = middle } else { high = middle }
    }
    let mut goes = at_price(low.exp());
    // What is missing, or too much, is spread evenly over what is left of each layer.
    let total: usize = goes.iter().sum();
    let (mut missing, mut left) =
        (count.saturating_sub(total), curves.iter().map(|curve| curve.len).sum::<usize>() - total);
    let (mut excess, mut gone) = (total.saturating_sub(count), total);
    for (goes, curve) in goes.iter_mut().zip(curves) {
        let (own, own_left) = (*goes, curve.len - *goes);
        let more = (missing * own_left).div_ceil(left.max(1)).min(own_left).min(missing);
        let less = (excess * own).div_ceil(gone.max(1)).min(own).min(excess);
        *goes = own + more - less;
        (missing, left) = (missing - more, left - own_left);
        (excess, gone) = (excess - less, gone - own);
    }
    curves.iter().map(|curve| curve.target).zip(goes).collect()
}

/// A layer as it is pruned alone.
struct Alone<'a> {
    one: &'a Measured,
    target: &'a Target,
    rows: Vec<f64>,
    shifts: Vec<f64>,
    /// The errors at each of [`SHARES`].
    errors: [f64; SHARES.len()],
}

/// Measures the curves of all layers; those of layers whose inputs say nothing are missing.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn curves(
    model: &Model,
    (targets, measured): (&[Target], &[Measured]),
    (samples, idle): (&dyn Samples, &Idle),
    env: &Env<'_>,
) -> Result<Vec<Curve>> {
    let parts = Parts::new(Some(samples), true);
    let (fit, check) = (parts.fit().unwrap_or(samples), parts.check().unwrap_or(samples));
    let layers: Vec<Layer> = measured.iter().map(|one| one.layer.clone()).collect();
    let trial = Trial::new(model, check, env)?;
    let mut curves = Vec::new();
    env.progress.start("weighing layers", measured.len() as u64);
    for round in calib::rounds(&layers) {
        let fitted = calib::measure_without(idle, model, &round, fit, env)?;
        let checked = calib::measure_without(idle, model, &round, check, env)?;
        let of_round: Vec<&Measured> = measured.iter().filter(|one| round.contains(&one.layer)).collect();
        for some in of_round.chunks(SIDE_BY_SIDE) {
            let found = some.par_iter().map(|one| {
                let target = targets.get(one.target);
                let alone = || prune_alone(one, target?, fitted.of(&one.layer)?, checked.of(&one.layer)?);
                let noise = match alone() {
                    Some(alone) => noise(model, &alone, &trial)?,
                    None => None,
                };
                env.progress.advance(1);
                Ok(noise)
            });
            curves.extend(found.collect::<Result<Vec<Option<Curve>>>>()?.into_iter().flatten());
        }
    }
    env.progress.finish();
    Ok(curves)
}

/// Prunes a layer, and some of its rows to all shares.
fn prune_alone<'a>(one: &'a Measured, target: &'a Target, fit: &[Gram], check: &[Gram]) -> Option<Alone<'a>> {
    let view = one.view;
    let original = view.to_rows(&target.tensor.to_f64()?);
    if fit.len() != view.groups || check.len() != view.groups {
        return None;
    }
    let (dim, columns, is_centred) = (view.depth, view.columns(Pattern::Free), one.bias.is_some());
    let order: Vec<usize> = columns.order(dim);
    let mut alone = Alone { one, target, rows: Vec::new(), shifts: Vec::new(), errors: [0.0; SHARES.len()] };
    for ((fit, check), rows) in fit.iter().zip(check).zip(original.chunks(view.group_len())) {
        let equations = Equations::plain(fit, rows, is_centred)?;
        let factor = sparsegpt::factor(equations.matrix(), &order)?;
        let pruned = |rows: &[f64], share: f64, columns: &Columns| {
            let mut pruned = rows.to_vec();
            sparsegpt::prune_by(&mut pruned, &factor, &order, Wanted { share, columns })?;
            Some(pruned)
        };
        let some = spread(rows, dim);
        for (error, share) in alone.errors.iter_mut().zip(SHARES) {
            *error += error_of(&some, &pruned(&some, share, &columns)?, (fit, check), is_centred);
        }
        let pruned = pruned(rows, SHARES[ALONE], &columns)?;
        alone.shifts.extend(equations.shifts(&pruned));
        alone.rows.extend(pruned);
    }
    Some(alone)
}

/// Some of the rows, spread evenly.
fn spread(rows: &[f64], dim: usize) -> Vec<f64> {
    let all = rows.len() / dim.max(1);
    let count = all.min(ROWS);
    (0..count).flat_map(|place| &rows[place * all / count * dim..][..dim]).copied().collect()
}

/// The error of the outputs of rows on what is checked, where a bias makes up for the means of what they were fitted to.
fn error_of(before: &[f64], after: &[f64], (fit, check): (&Gram, &Gram), is_centred: bool) -> f64 {
    let (dim, moments, means) = (check.dim(), check.mean_products(), check.means());
    let centre = if is_centred { fit.means() } else { vec![0.0; dim] };
    let of_row = |(before, after): (&[f64], &[f64])| {
        let change: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        let dot = |other: &[f64]| change.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        let square: f64 = change.iter().zip(moments.chunks(dim.max(1))).map(|(change, row)| change * dot(row)).sum();
        let (shift, mean) = (dot(&centre), dot(&means));
        square - 2.0 * shift * mean + shift * shift
    };
    before.chunks(dim.max(1)).zip(after.chunks(dim.max(1))).map(of_row).sum()
}

/// What the layer adds to the noise of the outputs of the model at each share; `None` where that is nothing.
fn noise(model: &Model, alone: &Alone<'_>, trial: &Trial<'_>) -> Result<Option<Curve>> {
    let tensor = &alone.target.tensor;
    let elements = alone.one.view.out_of_rows(&alone.rows);
    let mut probe = model.clone();
    probe.graph.set_constant(alone.target.place.1, Tensor::from_f64(tensor.dtype(), tensor.shape(), &elements)?)?;
    if let Some(bias) = alone.one.bias {
        bias.shift(&model.graph, &mut probe.graph, &alone.shifts)?;
    }
    let noise: f64 = trial.drift(&probe)?.iter().map(Comparison::noise_to_signal).sum();
    tracing::debug!(target = alone.target.name, noise, errors = ?alone.errors, "a layer pruned alone");
    let noises = alone.errors.map(|error| noise * error / alone.errors[ALONE]);
    Ok(Curve::new(alone.one.target, tensor.len(), noises))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(target: usize, len: usize, scale: f64) -> Curve {
        Curve::new(target, len, SHARES.map(|share| scale * (6.0 * share).exp())).unwrap()
    }

    #[test]
    fn layers_that_matter_more_lose_less() {
        let curves = [growing(3, 1000, 1.0), growing(5, 1000, 1.0), growing(7, 1000, 8.0)];
        let counts = counts(&curves, 1500);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), 1500);
        assert_eq!(counts.iter().map(|(target, _)| *target).collect::<Vec<_>>(), [3, 5, 7]);
        // Where noise grows by e in a sixth, a factor of 8 is ln(8) / 6 of the weights.
        let (less, more) = (counts[0].1 as f64 / 1000.0, counts[2].1 as f64 / 1000.0);
        assert!((less - more - 8f64.ln() / 6.0).abs() < 0.02, "{counts:?}");
    }

    #[test]
    fn the_number_is_exact_at_both_ends() {
        let curves = [growing(0, 7, 1e-9), growing(1, 90, 1e9)];
        for count in [0, 1, 50, 96, 97] {
            assert_eq!(counts(&curves, count).iter().map(|(_, count)| count).sum::<usize>(), count);
        }
        assert!(counts(&[], 3).is_empty());
    }

    #[test]
    fn errors_are_those_on_other_rows() {
        let (mut fit, mut check) = (Gram::new(2), Gram::new(2));
        fit.add(&[1.0, 1.0, 3.0, 5.0]);
        check.add(&[4.0, 2.0]);
        // The second weight goes: the output lacks x2 = 2, and has 2 * 3 on average too much with a bias for the mean 3.
        assert!((error_of(&[1.0, 2.0], &[1.0, 0.0], (&fit, &check), false) - 16.0).abs() < 1e-12);
        assert!((error_of(&[1.0, 2.0], &[1.0, 0.0], (&fit, &check), true) - 4.0).abs() < 1e-12);
    }
}
