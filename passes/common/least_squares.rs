//! Least squares for the weights of a layer of which only some may stay, or that may have few values only.
//!
//! The layer gave `W x` and is to give the same from what it reads now, `z`. With `H = E[z z^T]`, `C = E[x z^T]` and a
//! damping `d` that draws weights towards those they were, the weights of one row that stay, at the places `S`, solve
//! `(H + d)_SS v = (w (C + d))_S`. Where a bias can take in the means, moments are those around the means.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};
use rayon::prelude::*;

use crate::calib::{Gram, PairGram};

/// So much of the mean of the diagonal is added to it at least, which is the share of SparseGPT (Frantar and Alistarh,
/// 2023), and at most: moments of few rows say too much about some directions.
const DAMPING: std::ops::RangeInclusive<f64> = 0.01..=0.5;

/// With fewer rows than this for each number of a row, damping is at its most; from there on it falls as rows grow.
const FEW_ROWS: f64 = 1.0;

/// Up to so many unknowns of a row are solved for exactly, more by conjugate gradients.
const MOST_EXACT: usize = 256;

/// Steps of conjugate gradients at most, and what of the right side may be left over.
const MOST_STEPS: usize = 30;
const TOLERANCE: f64 = 1e-4;

/// Rows that go through conjugate gradients together, so that the matrix is read once for all of them.
const TILE_ROWS: usize = 64;

/// The equations for rows of weights that are multiplied by the same inputs.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Equations {
    pub(in crate::passes) dim: usize,
    /// `H + d`, `dim` by `dim`.
    pub(in crate::passes) own: Vec<f64>,
    /// `w (C + d)` for each row.
    goals: Vec<f64>,
    /// The means of what the layer reads now.
    means: Vec<f64>,
    /// What each row gives for the means of what the layer read before.
    given: Vec<f64>,
}

impl Equations {
    /// Towards what rows gave in the original; `None` where the moments do not serve.
    pub(in crate::passes) fn corrected(pair: &PairGram, rows: &[f64], is_centred: bool) -> Option<Self> {
        let dim = pair.copy().dim();
        let (means, original) = (pair.copy().means(), pair.original_means());
        let (mut own, mut cross) = (pair.copy().mean_products(), pair.mean_cross_products());
        if is_centred {
            centre(&mut own, &means, &means);
            centre(&mut cross, &original, &means);
        }
        let damping = damp(&mut own, dim, pair.copy().rows())?;
        (0..dim).for_each(|i| cross[i * dim + i] += damping);
        let given = rows.chunks(dim).map(|row| dot(row, &original)).collect();
        Some(Self { dim, own, goals: product(rows, &cross, dim), means, given })
    }

    /// Towards what rows give for the inputs that were measured; `None` where the moments do not serve.
    pub(in crate::passes) fn plain(gram: &Gram, rows: &[f64], is_centred: bool) -> Option<Self> {
        let (dim, means) = (gram.dim(), gram.means());
        let mut own = gram.mean_products();
        if is_centred {
            centre(&mut own, &means, &means);
        }
        damp(&mut own, dim, gram.rows())?;
        let given = rows.chunks(dim).map(|row| dot(row, &means)).collect();
        let goals = product(rows, &own, dim);
        Some(Self { dim, own, goals, means, given })
    }

    /// `H + d` inverted, row by row; `None` where it cannot be.
    pub(in crate::passes) fn inverse(&self) -> Option<Vec<f64>> {
        let dim = self.dim;
        let inverse = self.matrix().llt(Side::Lower).ok()?.solve(Mat::<f64>::identity(dim, dim));
        let inverse: Vec<f64> = (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j))).map(|at| inverse[at]).collect();
        (0..dim).all(|i| inverse[i * (dim + 1)].is_finite() && inverse[i * (dim + 1)] > 0.0).then_some(inverse)
    }

    /// `H + d` as a matrix.
    pub(in crate::passes) fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.own, self.dim, self.dim)
    }

    /// `w (C + d)` for each row: what `(H + d) v` is for the best rows `v` there are.
    pub(in crate::passes) fn goals(&self) -> &[f64] {
        &self.goals
    }

    /// `(H + d) v` for each row `v`.
    pub(in crate::passes) fn through(&self, rows: &[f64]) -> Vec<f64> {
        product(rows, &self.own, self.dim)
    }

    /// The best rows whose weights are zero except where `stays` holds; `None` where they cannot be found. Where there are
    /// too many unknowns to solve for exactly, the search begins at `start`.
    pub(in crate::passes) fn solve(&self, stays: &[bool], start: &[f64]) -> Option<Vec<f64>> {
        if stays.iter().all(|&stays| stays) {
            let factor = self.matrix().llt(Side::Lower).ok()?;
            let goals = MatRef::from_row_major_slice(&self.goals, self.goals.len() / self.dim.max(1), self.dim);
            let solved = factor.solve(goals.transpose());
            let rows = (0..solved.ncols()).flat_map(|row| (0..self.dim).map(move |k| (k, row)));
            return finite(rows.map(|place| solved[place]).collect());
        }
        let tile = TILE_ROWS * self.dim;
        let tiles: Option<Vec<Vec<f64>>> = (stays.par_chunks(tile))
            .zip(self.goals.par_chunks(tile).zip(start.par_chunks(tile)))
            .map(|(stays, (goals, start))| {
                let unknowns = |row: &[bool]| row.iter().filter(|&&stays| stays).count();
                if stays.chunks(self.dim).map(unknowns).max().unwrap_or(0) > MOST_EXACT {
                    return Some(self.approach(stays, goals, start));
                }
                let rows = stays.par_chunks(self.dim).zip(goals.par_chunks(self.dim));
                let rows: Option<Vec<Vec<f64>>> = rows.map(|(stays, goals)| self.solve_row(stays, goals)).collect();
                Some(rows?.concat())
            })
            .collect();
        finite(tiles?.concat())
    }

    /// Rows by conjugate gradients on the weights that stay, each number scaled by its diagonal (Hestenes and Stiefel,
    /// 1952).
    fn approach(&self, stays: &[bool], goals: &[f64], start: &[f64]) -> Vec<f64> {
        let dim = self.dim;
        let masked =
            |values: &mut [f64]| values.iter_mut().zip(stays).for_each(|(v, &stays)| *v *= f64::from(u8::from(stays)));
        let scaled = |values: &[f64]| -> Vec<f64> {
            values.iter().enumerate().map(|(at, value)| value / self.own[at % dim * (dim + 1)]).collect()
        };
        let by_row =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.chunks(dim).zip(b.chunks(dim)).map(|(a, b)| dot(a, b)).collect() };
        let mut rows = start.to_vec();
        masked(&mut rows);
        let mut rest: Vec<f64> =
            goals.iter().zip(product(&rows, &self.own, dim)).map(|(goal, given)| goal - given).collect();
        masked(&mut rest);
        let enough: Vec<f64> =
            by_row(goals, &scaled(goals)).iter().map(|square| square * TOLERANCE * TOLERANCE).collect();
        let mut direction = scaled(&rest);
        let mut square = by_row(&rest, &direction);
        for _ in 0..MOST_STEPS {
            if square.iter().zip(&enough).all(|(square, enough)| square <= enough) {
                break;
            }
            let mut through = product(&direction, &self.own, dim);
            masked(&mut through);
            let curvature = by_row(&direction, &through);
            let each =
                rows.chunks_mut(dim).zip(rest.chunks_mut(dim)).zip(direction.chunks(dim).zip(through.chunks(dim)));
            for (((row, rest), (direction, through)), (square, curvature)) in each.zip(square.iter().zip(&curvature)) {
                let step = if *curvature > 0.0 { square / curvature } else { 0.0 };
                row.iter_mut().zip(direction).for_each(|(weight, d)| *weight += step * d);
                rest.iter_mut().zip(through).for_each(|(rest, t)| *rest -= step * t);
            }
            let steepest = scaled(&rest);
            let next = by_row(&rest, &steepest);
            let each = direction.chunks_mut(dim).zip(steepest.chunks(dim)).zip(next.iter().zip(&square));
            for ((direction, steepest), (next, square)) in each {
                let share = if *square > 0.0 { next / square } else { 0.0 };
                direction.iter_mut().zip(steepest).for_each(|(d, s)| *d = s + share * *d);
            }
            square = next;
        }
        rows
    }

    fn solve_row(&self, stays: &[bool], goals: &[f64]) -> Option<Vec<f64>> {
        let places: Vec<usize> = (0..self.dim).filter(|&k| stays[k]).collect();
        let mut row = vec![0.0; self.dim];
        if places.is_empty() {
            return Some(row);
        }
        let own = Mat::from_fn(places.len(), places.len(), |i, j| self.own[places[i] * self.dim + places[j]]);
        let goals = Mat::from_fn(places.len(), 1, |i, _| goals[places[i]]);
        let solved = own.llt(Side::Lower).ok()?.solve(&goals);
        places.iter().enumerate().for_each(|(i, &place)| row[place] = solved[(i, 0)]);
        Some(row)
    }

    /// What to add to the bias of each row so that the means of the output are as they were.
    pub(in crate::passes) fn shifts(&self, rows: &[f64]) -> Vec<f64> {
        rows.chunks(self.dim).zip(&self.given).map(|(row, given)| given - dot(row, &self.means)).collect()
    }

    /// `E[(w z)^2]` over all rows, damping included.
    pub(in crate::passes) fn energy(&self, rows: &[f64]) -> f64 {
        let through = product(rows, &self.own, self.dim);
        rows.iter().zip(&through).map(|(weight, through)| weight * through).sum()
    }
}

/// Takes the product of means off moments.
fn centre(moments: &mut [f64], down: &[f64], across: &[f64]) {
    for (row, mean) in moments.chunks_mut(across.len().max(1)).zip(down) {
        row.iter_mut().zip(across).for_each(|(moment, other)| *moment -= mean * other);
    }
}

/// Adds to the diagonal, and says how much; `None` where all inputs are constant.
fn damp(moments: &mut [f64], dim: usize, rows: u64) -> Option<f64> {
    let mean = (0..dim).map(|i| moments[i * dim + i]).sum::<f64>() / dim.max(1) as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    let scarcity = (FEW_ROWS * dim as f64 / rows.max(1) as f64).min(1.0);
    let damping = (DAMPING.start() + (DAMPING.end() - DAMPING.start()) * scarcity) * mean;
    (0..dim).for_each(|i| moments[i * dim + i] += damping);
    Some(damping)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Rows times a square matrix.
fn product(rows: &[f64], matrix: &[f64], dim: usize) -> Vec<f64> {
    let rows = MatRef::from_row_major_slice(rows, rows.len() / dim.max(1), dim);
    let result = rows * MatRef::from_row_major_slice(matrix, dim, dim);
    (0..result.nrows()).flat_map(|i| (0..dim).map(move |j| (i, j))).map(|place| result[place]).collect()
}

fn finite(values: Vec<f64>) -> Option<Vec<f64>> {
    values.iter().all(|value| value.is_finite()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs of which the second is twice the first, plus a little of its own.
    fn inputs(count: usize) -> Vec<f64> {
        let wave = |i: usize, step: f64| (i as f64 * step).sin();
        (0..count).flat_map(|i| [wave(i, 1.3), 2.0 * wave(i, 1.3) + 0.01 * wave(i, 4.1)]).collect()
    }

    #[test]
    fn a_weight_that_stays_takes_in_what_another_did() {
        let mut gram = Gram::new(2);
        gram.add(&inputs(500));
        let equations = Equations::plain(&gram, &[1.0, 1.0], false).unwrap();
        let solved = equations.solve(&[false, true], &[1.0, 1.0]).unwrap();
        // x + 2x = 1.5 times the second; damping draws a little towards 1.
        assert!(solved[0] == 0.0 && (solved[1] - 1.5).abs() < 0.01, "{solved:?}");
        let all = equations.solve(&[true, true], &[1.0, 1.0]).unwrap();
        assert!(all.iter().all(|weight| (weight - 1.0).abs() < 1e-9), "{all:?}");
    }

    #[test]
    fn weights_make_up_for_inputs_that_have_changed() {
        let original: Vec<f64> = inputs(400);
        let halved: Vec<f64> = original.iter().map(|x| x / 2.0 + 1.0).collect();
        let mut pair = PairGram::new(2);
        assert!(pair.add(&original, &halved));
        let equations = Equations::corrected(&pair, &[0.0, 3.0], true).unwrap();
        let solved = equations.solve(&[false, true], &[1.0, 1.0]).unwrap();
        assert!((solved[1] - 6.0).abs() < 0.1, "{solved:?}");
        // 3 E[x] before, 6 E[x / 2 + 1] now.
        assert!((equations.shifts(&solved)[0] + solved[1]).abs() < 0.1);
    }

    #[test]
    fn conjugate_gradients_find_what_factors_do() {
        let dim = 40;
        let rows: Vec<f64> = (0..600 * dim).map(|i| ((i * i) as f64 * 0.37).sin() + (i / dim) as f64 % 2.0).collect();
        let mut gram = Gram::new(dim);
        gram.add(&rows);
        let weights: Vec<f64> = (0..3 * dim).map(|i| (i as f64).cos()).collect();
        let equations = Equations::plain(&gram, &weights, false).unwrap();
        let stays: Vec<bool> = (0..3 * dim).map(|i| i % 3 != 1).collect();
        let exact = equations.solve(&stays, &weights).unwrap();
        let found = equations.approach(&stays, &equations.goals, &weights);
        for ((exact, found), stays) in exact.iter().zip(&found).zip(stays) {
            assert!((exact - found).abs() < 1e-3 && (stays || *found == 0.0), "{found} for {exact}");
        }
    }

    #[test]
    fn inputs_that_never_vary_say_nothing() {
        let mut gram = Gram::new(1);
        gram.add(&[2.0, 2.0]);
        assert!(Equations::plain(&gram, &[1.0], true).is_none());
        assert!(Equations::plain(&gram, &[1.0], false).is_some());
    }
}
