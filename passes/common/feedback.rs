//! Rounding weights one after the other, each time moving those that are left so that they make up for the error.
//!
//! Frantar et al., 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", section 3.3
//! and algorithm 1. Weights go in the order of falling second moments of what they are multiplied by (the paper's code
//! calls it the activation order). What levels there are is up to the caller.

use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Mat, Par, Side};

/// So much of the mean of the diagonal is added to it at least, which is the paper's share, and at most: moments of few rows
/// say too much about some directions, and what is rounded by them is worse on other data.
const DAMPING: std::ops::RangeInclusive<f64> = 0.01..=0.1;

/// With fewer rows than this for each number of a row, damping is at its most; from there on it falls as rows grow.
const FEW_ROWS: f64 = 4.0;

/// What GPTQ needs to know of the second moments, which serves all rows that are multiplied by the same inputs.
#[derive(Debug)]
pub(in crate::passes) struct Feedback {
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
    pub(in crate::passes) fn new(moments: &[f64], dim: usize, rows: u64) -> Option<Self> {
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

    /// The moments of each input alone, damped, in the order of the row.
    pub(in crate::passes) fn importance(&self) -> &[f32] {
        &self.importance
    }

    /// For each place of a row, the root of what is lost there for an error of 1 that the weights after it make up for: what
    /// SparseGPT prunes by (Frantar, Alistarh 2023, section 3.2).
    pub(in crate::passes) fn stiffness(&self) -> Vec<f32> {
        let depth = self.order.len();
        let mut found = vec![0.0; depth];
        for (turn, &place) in self.order.iter().enumerate() {
            found[place] = 1.0 / self.factor[turn * (depth + 1)];
        }
        found
    }

    /// Rounds a few rows that are multiplied by the inputs with these moments. `round` is given the number of the row, the
    /// place in it and what the weight has become, and says which level that gets and what the level stands for.
    pub(in crate::passes) fn carry(
        &self,
        levels: &mut [i8],
        rows: &[f32],
        round: impl Fn(usize, usize, f32) -> (i8, f32),
    ) {
        let depth = self.order.len();
        self.carry_columns(rows, |k, weights, restored| {
            for (row, (&weight, restored)) in weights.iter().zip(restored).enumerate() {
                (levels[row * depth + k], *restored) = round(row, k, weight);
            }
        });
    }

    /// The same for rows that are rounded together: `round` is given the place in the rows and what the weights there have
    /// become, one of each row, and says what they get.
    pub(in crate::passes) fn carry_columns(&self, rows: &[f32], mut round: impl FnMut(usize, &[f32], &mut [f32])) {
        let depth = self.order.len();
        let mut left: Vec<f32> = rows.chunks(depth).flat_map(|row| self.order.iter().map(|&k| row[k])).collect();
        let mut column = vec![0.0; left.len() / depth];
        let mut restored = column.clone();
        for (turn, &k) in self.order.iter().enumerate() {
            let feedback = &self.factor[turn * depth + turn..(turn + 1) * depth];
            column.iter_mut().zip(left.chunks(depth)).for_each(|(weight, left)| *weight = left[turn]);
            round(k, &column, &mut restored);
            for ((left, weight), restored) in left.chunks_mut(depth).zip(&column).zip(&restored) {
                let error = (weight - restored) / feedback[0];
                left[turn..].iter_mut().zip(feedback).for_each(|(weight, &share)| *weight -= error * share);
            }
        }
    }
}

#[cfg(test)]
pub(in crate::passes) mod tests {
    use super::*;

    /// Inputs of which the second follows the first, the third the sum of both.
    pub(in crate::passes) fn moments(dim: usize, samples: usize) -> Vec<f64> {
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
        let round = |weight: f32| (weight / 0.11).round_ties_even();
        let mut levels = [0i8; 4];
        feedback.carry(&mut levels, &rows, |_, _, weight| (round(weight) as i8, round(weight) * 0.11));
        let mean = (0..dim).map(|i| moments[i * dim + i]).sum::<f64>() / dim as f64;
        let h = |i: usize, j: usize| moments[i * dim + j] + if i == j { damping(dim, 300) * mean } else { 0.0 };
        let original: Vec<f64> = rows.iter().map(|&w| f64::from(w)).collect();
        let mut weights = original.clone();
        for turn in 0..dim {
            let k = feedback.order[turn];
            let level = round(weights[k] as f32);
            assert_eq!(f32::from(levels[k]), level, "turn {turn}");
            weights[k] = f64::from(level * 0.11);
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
