//! Rounding weights one after the other, each time moving those that are left so that they make up for the error.
//!
//! Frantar et al., 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", section 3.3
//! and algorithm 1. Weights go in the order of falling second moments of what they are multiplied by (the paper's code
//! calls it the activation order), with the grids of blocks settled beforehand, so that blocks stay runs of neighbours.

use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, Par, Side};
use rayon::prelude::*;

use super::code::Coded;
use super::grid::{Grid, Steps};

/// So much of the mean of the diagonal is added to it at least, which is the paper's share, and at most: moments of few rows
/// say too much about some directions, and what is rounded by them is worse on other data.
const DAMPING: std::ops::RangeInclusive<f64> = 0.01..=0.1;

/// With fewer rows than this for each number of a row, damping is at its most; from there on it falls as rows grow.
const FEW_ROWS: f64 = 4.0;

/// Rows that are rounded together, so that a row of the factor is read once for all of them.
const TILE_ROWS: usize = 16;

/// What GPTQ needs to know of the second moments, which serves all rows that are multiplied by the same inputs.
#[derive(Debug)]
pub(super) struct Feedback {
    /// The order in which weights of a row are rounded.
    order: Vec<usize>,
    /// Row `i`: how the error of the `i`-th weight in that order, divided by entry `i`, goes on to those after it. The upper
    /// factor `U` of the inverse moments, `H^-1 = U^T U`.
    factor: Vec<f32>,
    /// The moments of each input alone, in the order of the row.
    importance: Vec<f32>,
}

/// What to add to the diagonal, as a share of its mean, for moments over so many rows.
fn damping(dim: usize, rows: u64) -> f64 {
    let scarcity = (FEW_ROWS * dim as f64 / rows.max(1) as f64).min(1.0);
    DAMPING.start() + (DAMPING.end() - DAMPING.start()) * scarcity
}

impl Feedback {
    /// Factors the moments `E[x x^T]` of inputs, taken over so many of them and given row by row; `None` where they are all
    /// zero or cannot be factored.
    pub(super) fn new(moments: &[f64], dim: usize, rows: u64) -> Option<Self> {
        let diagonal = |i: usize| moments[i * dim + i];
        let mean = (0..dim).map(diagonal).sum::<f64>() / dim as f64;
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        let damping = damping(dim, rows) * mean;
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| diagonal(b).total_cmp(&diagonal(a)));
        // With J the reversal, J H J = L L^T gives H = U' U'^T with U' = J L J upper, so that U = U'^-1 is J L^-1 J: one
        // factorization in place of two and an inverse between them.
        let last = dim - 1;
        let reversed = Mat::from_fn(dim, dim, |i, j| {
            let (row, column) = (order[last - i], order[last - j]);
            moments[row * dim + column] + if row == column { damping } else { 0.0 }
        });
        let lower = reversed.llt(Side::Lower).ok()?;
        let mut inverse = Mat::zeros(dim, dim);
        invert_lower_triangular(inverse.as_mut(), lower.L(), Par::Seq);
        let mut factor = vec![0.0f32; dim * dim];
        for i in 0..dim {
            for j in i..dim {
                factor[i * dim + j] = inverse[(last - i, last - j)] as f32;
            }
        }
        let importance = (0..dim).map(|i| (diagonal(i) + damping) as f32).collect();
        let is_sound = factor.iter().all(|v| v.is_finite()) && (0..dim).all(|i| factor[i * dim + i] > 0.0);
        is_sound.then_some(Self { order, factor, importance })
    }

    /// Rounds rows that are multiplied by the inputs with these moments.
    pub(super) fn round(&self, rows: &[f32], block: usize, grid: Grid) -> Coded {
        let depth = self.order.len();
        let blocks = depth / block;
        let count = rows.len() / depth;
        let mut coded =
            Coded { levels: vec![0; rows.len()], scales: vec![0.0; count * blocks], zeros: vec![0; count * blocks] };
        coded
            .levels
            .par_chunks_mut(TILE_ROWS * depth)
            .zip(rows.par_chunks(TILE_ROWS * depth))
            .zip(coded.scales.par_chunks_mut(TILE_ROWS * blocks).zip(coded.zeros.par_chunks_mut(TILE_ROWS * blocks)))
            .for_each(|((levels, rows), (scales, zeros))| {
                let of_row = |row: &[f32]| {
                    let weighted = row.chunks(block).zip(self.importance.chunks(block));
                    weighted.map(|(weights, importance)| grid.best_span(weights, importance)).collect::<Vec<Steps>>()
                };
                let steps: Vec<Steps> = rows.chunks(depth).flat_map(of_row).collect();
                self.round_tile(levels, rows, &steps, block, grid);
                for ((scale, zero), steps) in scales.iter_mut().zip(zeros).zip(&steps) {
                    (*scale, *zero) = (steps.scale, steps.zero as i8);
                }
            });
        coded
    }

    fn round_tile(&self, levels: &mut [i8], rows: &[f32], steps: &[Steps], block: usize, grid: Grid) {
        let depth = self.order.len();
        let blocks = depth / block;
        let mut left: Vec<f32> = rows.chunks(depth).flat_map(|row| self.order.iter().map(|&k| row[k])).collect();
        for (turn, &k) in self.order.iter().enumerate() {
            let feedback = &self.factor[turn * depth + turn..(turn + 1) * depth];
            for (row, left) in left.chunks_mut(depth).enumerate() {
                let steps = steps[row * blocks + k / block];
                let left = &mut left[turn..];
                let level = grid.level(left[0], steps);
                levels[row * depth + k] = level as i8;
                let error = (left[0] - steps.restore(level)) / feedback[0];
                left.iter_mut().zip(feedback).for_each(|(weight, &share)| *weight -= error * share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::quant4::code::round_to_nearest;

    /// Inputs of which the second follows the first, the third the sum of both.
    fn moments(dim: usize, samples: usize) -> Vec<f64> {
        let mut moments = vec![0.0; dim * dim];
        for sample in 0..samples {
            let noise = |i: usize| ((sample * 7919 + i * 104_729) % 1013) as f64 / 506.0 - 1.0;
            let mut x: Vec<f64> = (0..dim).map(noise).collect();
            (1..dim).for_each(|i| x[i] = 0.9 * x[i - 1] + 0.4 * x[i]);
            for i in 0..dim {
                (0..dim).for_each(|j| moments[i * dim + j] += x[i] * x[j] / samples as f64);
            }
        }
        moments
    }

    fn loss(weights: &[f32], restored: &[f32], moments: &[f64]) -> f64 {
        let dim = weights.len();
        let lost: Vec<f64> = weights.iter().zip(restored).map(|(a, b)| f64::from(a - b)).collect();
        let entry = |i: usize, j: usize| lost[i] * lost[j] * moments[i * dim + j];
        (0..dim).map(|i| (0..dim).map(|j| entry(i, j)).sum::<f64>()).sum()
    }

    #[test]
    fn the_factor_is_that_of_the_inverse_moments() {
        let dim = 5;
        let moments = moments(dim, 200);
        let feedback = Feedback::new(&moments, dim, 200).unwrap();
        let mean = (0..dim).map(|i| moments[i * dim + i]).sum::<f64>() / dim as f64;
        let u = |i: usize, j: usize| f64::from(feedback.factor[i * dim + j]);
        // H times U^T U, both in the order of rounding, is the identity.
        for i in 0..dim {
            for j in 0..dim {
                let inverse = |k: usize| (0..dim).map(|m| u(m, k) * u(m, j)).sum::<f64>();
                let h = |k: usize| {
                    let (row, column) = (feedback.order[i], feedback.order[k]);
                    moments[row * dim + column] + if i == k { damping(dim, 200) * mean } else { 0.0 }
                };
                let product: f64 = (0..dim).map(|k| h(k) * inverse(k)).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-4, "{i} {j}: {product}");
            }
        }
    }

    /// The definition: after each rounding, the weights that are left are moved to the minimum of the loss.
    #[test]
    fn each_error_is_made_up_for_as_the_definition_has_it() {
        let dim = 4;
        let moments = moments(dim, 300);
        let feedback = Feedback::new(&moments, dim, 300).unwrap();
        let rows = [0.31f32, -0.72, 0.55, 0.13];
        let coded = feedback.round(&rows, dim, Grid::SYMMETRIC);
        let steps = Grid::SYMMETRIC.best_span(&rows, &feedback.importance);
        assert_eq!(coded.scales, [steps.scale]);
        let mean = (0..dim).map(|i| moments[i * dim + i]).sum::<f64>() / dim as f64;
        let h = |i: usize, j: usize| moments[i * dim + j] + if i == j { damping(dim, 300) * mean } else { 0.0 };
        let original: Vec<f64> = rows.iter().map(|&w| f64::from(w)).collect();
        let mut weights = original.clone();
        for turn in 0..dim {
            let k = feedback.order[turn];
            let level = Grid::SYMMETRIC.level(weights[k] as f32, steps);
            assert_eq!(i32::from(coded.levels[k]), level, "turn {turn}");
            weights[k] = f64::from(steps.restore(level));
            // Coordinate descent over those left finds the minimum of d^T H d.
            for _ in 0..5000 {
                for &free in &feedback.order[turn + 1..] {
                    let pull: f64 =
                        (0..dim).filter(|&j| j != free).map(|j| h(free, j) * (weights[j] - original[j])).sum();
                    weights[free] = original[free] - pull / h(free, free);
                }
            }
        }
    }

    #[test]
    fn the_loss_is_well_below_that_of_rounding_to_nearest() {
        let (dim, rows) = (64, 20);
        let moments = moments(dim, 2000);
        let weights: Vec<f32> = (0..dim * rows).map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3).collect();
        let feedback = Feedback::new(&moments, dim, 2000).unwrap();
        for grid in [Grid::SYMMETRIC, Grid::ASYMMETRIC] {
            let total = |coded: Coded| -> f64 {
                let restored = coded.restore(32);
                weights.chunks(dim).zip(restored.chunks(dim)).map(|(a, b)| loss(a, b, &moments)).sum()
            };
            let (plain, fed) = (total(round_to_nearest(&weights, 32, grid)), total(feedback.round(&weights, 32, grid)));
            assert!(fed < 0.5 * plain, "{fed} {plain}");
        }
    }

    #[test]
    fn the_fewer_rows_the_more_damping() {
        assert_eq!([damping(8, 0), damping(8, 32)], [0.1, 0.1]);
        assert!((damping(8, 320) - 0.019).abs() < 1e-12);
        assert!((damping(8, u64::MAX) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn moments_of_nothing_are_refused() {
        assert!(Feedback::new(&[0.0; 4], 2, 1).is_none());
        assert!(Feedback::new(&[f64::NAN; 4], 2, 1).is_none());
    }
}
