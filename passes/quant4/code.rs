//! Weights as levels and grids, by rounding each weight to the nearest level, or by a solver for outliers.

use rayon::prelude::*;

use super::grid::{Grid, Steps};

/// The weights of some rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coded {
    /// One a weight, in rows.
    pub(super) levels: Vec<i8>,
    /// One a block, in rows.
    pub(super) scales: Vec<f32>,
    /// One a block, in rows.
    pub(super) zeros: Vec<i8>,
}

impl Coded {
    /// The weights that the levels mean, in rows.
    pub(super) fn restore(&self, block: usize) -> Vec<f32> {
        let blocks = self.levels.chunks(block.max(1)).zip(self.scales.iter().zip(&self.zeros));
        let block = |(levels, (&scale, &zero)): (&[i8], (&f32, &i8))| {
            let steps = Steps { scale, zero: i32::from(zero) };
            levels.iter().map(|&level| steps.restore(i32::from(level))).collect::<Vec<f32>>()
        };
        blocks.flat_map(block).collect()
    }
}

/// The sum of squares of weights, and of what was lost of them.
pub(super) fn energies(weights: &[f32], restored: &[f32]) -> (f64, f64) {
    let square = |value: f32| f64::from(value) * f64::from(value);
    weights.iter().zip(restored).fold((0.0, 0.0), |(signal, error), (&weight, &restored)| {
        (signal + square(weight), error + square(weight - restored))
    })
}

/// Rounds each weight to the nearest level of a grid that spans its block.
pub(super) fn round_to_nearest(rows: &[f32], block: usize, grid: Grid) -> Coded {
    code(rows, block, grid, |block| grid.span(block, 1.0))
}

/// Half-quadratic quantization: grids that fit most weights and let a few be wrong (Badri and Shaji, 2023, "Half-Quadratic
/// Quantization of Large Machine Learning Models", the section "Half-Quadratic Solver").
///
/// Minimizes `sum |w - (q - z) s|^p` with p < 1 by splitting the error off as `e`: `e` is shrunk towards zero, then the grid
/// is fitted to `w - e`. The original moves zeros only, which are fractions there; here they are levels, so the scale is
/// fitted as well.
pub(super) fn half_quadratic(rows: &[f32], block: usize, grid: Grid) -> Coded {
    code(rows, block, grid, |block| half_quadratic_steps(block, grid))
}

/// Of two ways to code the same rows, the one with the smaller error.
pub(super) fn closer(rows: &[f32], block: usize, a: Coded, b: Coded) -> Coded {
    let error = |coded: &Coded| energies(rows, &coded.restore(block)).1;
    if error(&b) < error(&a) { b } else { a }
}

fn code(rows: &[f32], block: usize, grid: Grid, steps: impl Fn(&[f32]) -> Steps + Sync) -> Coded {
    let block = block.max(1);
    let (mut levels, count) = (vec![0i8; rows.len()], rows.len() / block);
    let (mut scales, mut zeros) = (vec![0.0; count], vec![0i8; count]);
    levels
        .par_chunks_mut(block)
        .zip(rows.par_chunks(block))
        .zip(scales.par_iter_mut().zip(&mut zeros))
        .with_min_len(256)
        .for_each(|((levels, weights), (scale, zero))| {
            let steps = steps(weights);
            (*scale, *zero) = (steps.scale, steps.zero as i8);
            levels.iter_mut().zip(weights).for_each(|(level, &weight)| *level = grid.level(weight, steps) as i8);
        });
    Coded { levels, scales, zeros }
}

/// The exponent of the error, how strongly it is tied to the true one, and how fast that grows: the paper's values.
const P: f32 = 0.7;
const BETA: f32 = 10.0;
const KAPPA: f32 = 1.01;
const ITERATIONS: usize = 20;

/// Shares of the range of a block that the solver starts from the best of.
const SHARES: [f32; 5] = [1.0, 0.9, 0.8, 0.7, 0.6];

fn half_quadratic_steps(block: &[f32], grid: Grid) -> Steps {
    let p_error = |steps: Steps| -> f32 {
        let lost = |&weight: &f32| (weight - steps.restore(grid.level(weight, steps))).abs().powf(P);
        block.iter().map(lost).sum()
    };
    let mut best = (f32::INFINITY, grid.span(block, 1.0));
    for share in SHARES {
        let steps = grid.span(block, share);
        let error = p_error(steps);
        if error < best.0 {
            best = (error, steps);
        }
    }
    let mut steps = best.1;
    let mut beta = BETA;
    for _ in 0..ITERATIONS {
        // In units of a step: there the constants tell what rounding leaves from what does not fit.
        let unit = steps.scale.abs();
        let shrunk = |error: f32| {
            let magnitude = (error / unit).abs();
            let left = if magnitude == 0.0 { 0.0 } else { magnitude - magnitude.powf(P - 1.0) / beta };
            error.signum() * unit * left.max(0.0)
        };
        let fitted: Vec<(f32, f32)> = block
            .iter()
            .map(|&weight| {
                let level = grid.level(weight, steps);
                (weight - shrunk(weight - steps.restore(level)), level as f32)
            })
            .collect();
        let next = fit(&fitted, grid, steps);
        if next == steps {
            break;
        }
        steps = next;
        let error = p_error(steps);
        if error < best.0 {
            best = (error, steps);
        }
        beta *= KAPPA;
    }
    best.1
}

/// The grid that restores (weight, level) pairs with the least squares: the scale first, then the zero.
fn fit(pairs: &[(f32, f32)], grid: Grid, steps: Steps) -> Steps {
    let zero = steps.zero as f32;
    let (product, square) = pairs.iter().fold((0.0f32, 0.0f32), |(product, square), &(weight, level)| {
        (product + weight * (level - zero), square + (level - zero) * (level - zero))
    });
    let scale = if square > 0.0 { grid.stored(product / square) } else { steps.scale };
    let mean = pairs.iter().map(|&(weight, level)| level - weight / scale).sum::<f32>() / pairs.len().max(1) as f32;
    grid.steps(scale, mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_restoring_by_hand() {
        let rows = [-8.0, 7.0, 0.4, 3.6, 1.0, 2.0, 0.0, 0.0];
        let coded = round_to_nearest(&rows, 4, Grid::SYMMETRIC);
        assert_eq!(coded.scales, [1.0, -0.25]);
        assert_eq!(coded.levels, [-8, 7, 0, 4, -4, -8, 0, 0]);
        assert_eq!(coded.restore(4), [-8.0, 7.0, 0.0, 4.0, 1.0, 2.0, 0.0, 0.0]);
        let (signal, error) = energies(&rows, &coded.restore(4));
        assert!((signal - 131.12).abs() < 1e-5);
        assert!((error - 0.32).abs() < 1e-5);
    }

    #[test]
    fn half_quadratic_grids_lose_less_of_most_weights() {
        // A few are much larger than the rest.
        let uniform = |i: usize| (i * 7919 % 1013) as f32 / 506.0 - 1.0;
        let rows: Vec<f32> = (0..640).map(|i| uniform(i).powi(5)).collect();
        for grid in [Grid::SYMMETRIC, Grid::ASYMMETRIC] {
            let lost =
                |coded: &Coded| -> f32 { rows.iter().zip(coded.restore(32)).map(|(a, b)| (a - b).abs().powf(P)).sum() };
            let (plain, solved) = (round_to_nearest(&rows, 32, grid), half_quadratic(&rows, 32, grid));
            assert!(lost(&solved) < lost(&plain), "{} {}", lost(&solved), lost(&plain));
            let best = closer(&rows, 32, plain.clone(), solved.clone());
            assert!(best == plain || best == solved);
        }
    }

    #[test]
    fn levels_do_not_depend_on_the_number_of_threads() {
        let rows: Vec<f32> = (0..64 * 1024).map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3).collect();
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| half_quadratic(&rows, 32, Grid::ASYMMETRIC))
        };
        assert_eq!(of(1), of(3));
    }
}
