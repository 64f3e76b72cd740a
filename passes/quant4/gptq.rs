//! Rounding weights by GPTQ to grids of blocks that are settled beforehand, so that blocks stay runs of neighbours.

use rayon::prelude::*;

use super::code::Coded;
use super::grid::{Grid, Steps};
use crate::passes::common::feedback::Feedback;

/// Rows that are rounded together, so that a row of the factor is read once for all of them.
const TILE_ROWS: usize = 16;

/// Rounds rows that are multiplied by the inputs that the feedback was made for.
pub(super) fn round(feedback: &Feedback, rows: &[f32], block: usize, grid: Grid) -> Coded {
    let depth = feedback.importance().len();
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
                let weighted = row.chunks(block).zip(feedback.importance().chunks(block));
                weighted.map(|(weights, importance)| grid.best_span(weights, importance)).collect::<Vec<Steps>>()
            };
            let steps: Vec<Steps> = rows.chunks(depth).flat_map(of_row).collect();
            feedback.carry(levels, rows, |row, k, weight| {
                let steps = steps[row * blocks + k / block];
                let level = grid.level(weight, steps);
                (level as i8, steps.restore(level))
            });
            for ((scale, zero), steps) in scales.iter_mut().zip(zeros).zip(&steps) {
                (*scale, *zero) = (steps.scale, steps.zero as i8);
            }
        });
    coded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::common::feedback::tests::moments;
    use crate::passes::quant4::code::round_to_nearest;

    fn loss(weights: &[f32], restored: &[f32], moments: &[f64]) -> f64 {
        let dim = weights.len();
        let lost: Vec<f64> = weights.iter().zip(restored).map(|(a, b)| f64::from(a - b)).collect();
        let entry = |i: usize, j: usize| lost[i] * lost[j] * moments[i * dim + j];
        (0..dim).map(|i| (0..dim).map(|j| entry(i, j)).sum::<f64>()).sum()
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
            let (plain, fed) =
                (total(round_to_nearest(&weights, 32, grid)), total(round(&feedback, &weights, 32, grid)));
            assert!(fed < 0.5 * plain, "{fed} {plain}");
        }
    }
}
