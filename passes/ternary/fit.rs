//! Levels for rows of a layer that reads what compressed layers hand on: towards what the rows gave in the original.
//!
//! The best rows of any values are found first, by least squares; they are rounded by GPTQ with the best scale for them;
//! then levels are changed one by one as long as the error falls (coordinate descent), and scales are fitted again.

use rayon::prelude::*;

use super::coded::Levels;
use super::threshold::{Rule, Split};
use crate::calib::PairGram;
use crate::passes::common::feedback::Feedback;
use crate::passes::common::least_squares::Equations;
use crate::passes::common::wanted::{Wanted, by_group};

/// Rows that are rounded together, so that a row of the factor is read once for all of them.
const TILE_ROWS: usize = 16;

/// How often rows are rounded, each time with the scales that were the best for the levels before.
const ROUNDS: usize = 2;

/// How often each level is looked at again.
const SWEEPS: usize = 5;

/// Rows that read the same inputs.
struct Group {
    equations: Equations,
    feedback: Feedback,
    /// The best rows of any values.
    wanted: Vec<f32>,
    levels: Vec<i8>,
}

/// The levels of rows whose groups read inputs with these moments; `None` where the moments do not serve.
pub(super) fn fit(rows: &[f32], pairs: &[PairGram], is_centred: bool, is_shared: bool) -> Option<Levels> {
    let dim = |pair: &PairGram| pair.copy().dim();
    let mut groups = by_group(rows, pairs, dim, |rows, pair| Group::new(rows, pair, is_centred))?;
    let (depth, group_len) = (dim(pairs.first()?), rows.len() / groups.len());
    let wanted: Vec<f32> = groups.iter().flat_map(|group| group.wanted.iter().copied()).collect();
    let nearest = Levels::nearest(&wanted, depth, Rule::Exact, is_shared);
    let rows_of_group = group_len / depth;
    let mut scales: Vec<f64> = nearest.scales.iter().map(|&scale| f64::from(scale)).collect();
    for step in 0..ROUNDS + SWEEPS {
        let each = groups.par_iter_mut().zip(scales.par_chunks(rows_of_group));
        let ratios = each.map(|(group, scales)| {
            if step < ROUNDS {
                group.round(scales)
            } else {
                group.descend(scales)
            }
            group.ratios()
        });
        let ratios: Vec<(f64, f64)> = ratios.collect::<Vec<_>>().concat();
        let total = ratios.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        for (scale, own) in scales.iter_mut().zip(&ratios) {
            let (above, below) = if is_shared { total } else { *own };
            // Levels that all became zero say nothing about the scale.
            if below > 0.0 && above > 0.0 {
                *scale = above / below;
            }
        }
    }
    let levels: Vec<i8> = groups.iter().flat_map(|group| group.levels.iter().copied()).collect();
    let mut found = Levels { levels, scales: scales.iter().map(|&scale| scale as f32).collect(), shifts: None };
    let restored: Vec<f64> = found.restore().into_iter().map(f64::from).collect();
    let shifts = groups.iter().zip(restored.chunks(group_len)).flat_map(|(group, rows)| group.equations.shifts(rows));
    found.shifts = Some(shifts.collect());
    found.scales.iter().all(|scale| scale.is_finite()).then_some(found)
}

impl Group {
    fn new(rows: &[f32], pair: &PairGram, is_centred: bool) -> Option<Self> {
        let Wanted { equations, feedback, rows: wanted } = Wanted::corrected(rows, pair, is_centred, |_| true)?;
        Some(Self { equations, feedback, levels: vec![0; wanted.len()], wanted })
    }

    /// Rounds by GPTQ.
    fn round(&mut self, scales: &[f64]) {
        let tile = TILE_ROWS * self.equations.dim;
        let tiles = self.levels.par_chunks_mut(tile).zip(self.wanted.par_chunks(tile));
        tiles.zip(scales.par_chunks(TILE_ROWS)).for_each(|((levels, rows), scales)| {
            self.feedback.carry(levels, rows, |row, _, weight| {
                let scale = scales[row] as f32;
                let level = nearest(weight, scale);
                (level, f32::from(level) * scale)
            });
        });
    }

    /// Gives each level in turn the value with the least error, all others as they are.
    fn descend(&mut self, scales: &[f64]) {
        let dim = self.equations.dim;
        let numbers: Vec<f64> = self.levels.iter().map(|&level| f64::from(level)).collect();
        let through = self.equations.through(&numbers);
        let (own, goals) = (&self.equations.own, self.equations.goals());
        let rows = self.levels.par_chunks_mut(dim).zip(through.par_chunks(dim));
        rows.zip(goals.par_chunks(dim).zip(scales)).for_each(|((levels, through), (goals, &scale))| {
            let mut rest: Vec<f64> = goals.iter().zip(through).map(|(goal, through)| goal - scale * through).collect();
            for (k, level) in levels.iter_mut().enumerate() {
                let line = &own[k * dim..(k + 1) * dim];
                let best = f64::from(*level) * scale + rest[k] / line[k];
                let next = nearest(best as f32, scale as f32);
                if next != *level {
                    let step = f64::from(next - *level) * scale;
                    rest.iter_mut().zip(line).for_each(|(rest, own)| *rest -= step * own);
                    *level = next;
                }
            }
        });
    }

    /// For each row what its best scale is a ratio of.
    fn ratios(&self) -> Vec<(f64, f64)> {
        let dim = self.equations.dim;
        let numbers: Vec<f64> = self.levels.iter().map(|&level| f64::from(level)).collect();
        let through = self.equations.through(&numbers);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let rows = numbers.chunks(dim).zip(self.equations.goals().chunks(dim).zip(through.chunks(dim)));
        rows.map(|(row, (goals, through))| (dot(row, goals), dot(row, through))).collect()
    }
}

/// The level of -1, 0 and 1 whose multiple of the scale is nearest.
fn nearest(weight: f32, scale: f32) -> i8 {
    Split { least: (scale / 2.0).max(f32::MIN_POSITIVE), scale: f64::from(scale) }.level(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::common::least_squares::Equations;

    /// Pairs of the same inputs, of which each follows the one before.
    fn pair(dim: usize, count: usize) -> PairGram {
        let noise = |sample: usize, i: usize| ((sample * 7919 + i * 104_729) % 1013) as f64 / 506.0 - 1.0;
        let mut rows = Vec::new();
        for sample in 0..count {
            let mut x: Vec<f64> = (0..dim).map(|i| noise(sample, i)).collect();
            (1..dim).for_each(|i| x[i] = 0.9 * x[i - 1] + 0.4 * x[i]);
            rows.extend(x);
        }
        let mut pair = PairGram::new(dim);
        assert!(pair.add(&rows, &rows));
        pair
    }

    #[test]
    fn outputs_are_closer_than_with_the_nearest_levels() {
        let (dim, count) = (32, 12);
        let pair = pair(dim, 1500);
        let rows: Vec<f32> = (0..dim * count).map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3).collect();
        for is_shared in [false, true] {
            let error = |levels: &Levels| {
                let lost: Vec<f64> =
                    rows.iter().zip(levels.restore()).map(|(a, b)| f64::from(*a) - f64::from(b)).collect();
                Equations::plain(pair.copy(), &lost, false).unwrap().energy(&lost)
            };
            let plain = Levels::nearest(&rows, dim, Rule::Exact, is_shared);
            let fitted = fit(&rows, std::slice::from_ref(&pair), false, is_shared).unwrap();
            let (plain, fitted) = (error(&plain), error(&fitted));
            // One scale leaves less to choose.
            let most = if is_shared { 0.8 } else { 0.6 };
            assert!(fitted < most * plain, "shared scale {is_shared}: {fitted} against {plain}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_the_moments_are_refused() {
        let pair = pair(4, 20);
        assert!(fit(&[1.0; 7], std::slice::from_ref(&pair), false, false).is_none());
        assert!(fit(&[], &[pair], false, false).is_none());
        assert!(fit(&[1.0; 4], &[], false, false).is_none());
    }
}
