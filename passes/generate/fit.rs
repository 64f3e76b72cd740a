//! Latents for rows of a layer that reads what compressed layers hand on: towards what the rows gave in the original.
//!
//! The best rows of any values are found first, by least squares. Blocks get latents in the order of GPTQ, the error of each
//! going on to the weights of the same rows that are left (as van Baalen et al. do with blocks along rows: *GPTVQ*, 2024);
//! then latents are changed one by one as long as the error falls (coordinate descent), and scales are fitted again.

use rayon::prelude::*;

use super::coded::{Codes, magnitudes};
use super::table::{MAX_BLOCK, Table};
use crate::calib::PairGram;
use crate::passes::common::feedback::Feedback;
use crate::passes::common::least_squares::Equations;
use crate::passes::common::wanted::{Wanted, by_group};

/// How often latents are chosen in order, each time with the scales that were the best for those before.
const ROUNDS: usize = 2;

/// How often each latent is looked at again.
const SWEEPS: usize = 2;

/// First bytes that a search looks behind.
const WIDTH: usize = 6;

/// Rows that read the same inputs.
struct Group<'t> {
    equations: Equations,
    feedback: Feedback,
    /// The best rows of any values.
    wanted: Vec<f32>,
    table: &'t Table,
    latents: Vec<u16>,
    /// What the latents stand for, without scales, in rows.
    levels: Vec<f64>,
}

/// The codes of rows whose groups read inputs with these moments; `None` where the moments do not serve.
pub(super) fn fit(rows: &[f32], pairs: &[PairGram], is_centred: bool, table: &Table) -> Option<Codes> {
    let dim = |pair: &PairGram| pair.copy().dim();
    let mut groups = by_group(rows, pairs, dim, |rows, pair| Group::new(rows, pair, is_centred, table))?;
    let (depth, group_len) = (dim(pairs.first()?), rows.len() / groups.len());
    let each_scale =
        |group: &Group<'_>| magnitudes(&group.wanted, depth).into_iter().map(f64::from).collect::<Vec<f64>>();
    let mut scales: Vec<f64> = groups.iter().flat_map(each_scale).collect();
    for step in 0..ROUNDS + SWEEPS {
        groups.par_iter_mut().zip(scales.par_chunks_mut(group_len / depth)).for_each(|(group, scales)| {
            if step < ROUNDS {
                group.round(scales);
            } else {
                group.descend(scales);
            }
            group.rescale(scales);
        });
    }
    let shifts = groups.iter().zip(scales.chunks(group_len / depth)).flat_map(|(group, scales)| group.shifts(scales));
    let shifts = Some(shifts.collect());
    let latents = groups.iter().flat_map(|group| group.latents.iter().copied()).collect();
    let scales: Vec<f32> = scales.iter().map(|&scale| scale as f32).collect();
    scales.iter().all(|scale| scale.is_finite()).then_some(Codes { latents, scales, shifts })
}

impl<'t> Group<'t> {
    fn new(rows: &[f32], pair: &PairGram, is_centred: bool, table: &'t Table) -> Option<Self> {
        let Wanted { equations, feedback, rows: wanted } = Wanted::corrected(rows, pair, is_centred, |_| true)?;
        let blocks = (rows.len() / equations.dim).div_ceil(table.block);
        Some(Self {
            latents: vec![0; blocks * equations.dim],
            levels: vec![0.0; rows.len()],
            wanted,
            equations,
            feedback,
            table,
        })
    }

    /// Chooses latents in the order of GPTQ.
    fn round(&mut self, scales: &[f64]) {
        let (dim, block) = (self.equations.dim, self.table.block);
        let blocks = self.latents.par_chunks_mut(dim).zip(self.levels.par_chunks_mut(block * dim));
        let rows = self.wanted.par_chunks(block * dim).zip(scales.par_chunks(block));
        blocks.zip(rows).for_each(|((latents, levels), (rows, scales))| {
            self.feedback.carry_columns(rows, |k, weights, restored| {
                let mut x = [0.0; MAX_BLOCK];
                x.iter_mut()
                    .zip(weights.iter().zip(scales))
                    .for_each(|(x, (&weight, &scale))| *x = over(weight, scale));
                latents[k] = self.table.nearest(&x[..block], WIDTH);
                let found = self.table.of(latents[k]);
                for (row, ((restored, &level), &scale)) in restored.iter_mut().zip(found).zip(scales).enumerate() {
                    levels[row * dim + k] = f64::from(level);
                    *restored = level * scale as f32;
                }
            });
        });
    }

    /// Gives each block in turn the latent with the least error, all others as they are.
    fn descend(&mut self, scales: &[f64]) {
        let (dim, block) = (self.equations.dim, self.table.block);
        let through = self.equations.through(&self.levels);
        let (own, goals) = (&self.equations.own, self.equations.goals());
        let table = self.table;
        let blocks = self.latents.par_chunks_mut(dim).zip(self.levels.par_chunks_mut(block * dim));
        let rest = through.par_chunks(block * dim).zip(goals.par_chunks(block * dim)).zip(scales.par_chunks(block));
        blocks.zip(rest).for_each(|((latents, levels), ((through, goals), scales))| {
            let mut rest: Vec<f64> = Vec::with_capacity(goals.len());
            for ((goals, through), scale) in goals.chunks(dim).zip(through.chunks(dim)).zip(scales) {
                rest.extend(goals.iter().zip(through).map(|(goal, through)| goal - scale * through));
            }
            for k in 0..dim {
                let line = &own[k * dim..(k + 1) * dim];
                let (mut best, mut x) = ([0.0; MAX_BLOCK], [0.0; MAX_BLOCK]);
                for (row, scale) in scales.iter().enumerate() {
                    best[row] = levels[row * dim + k] * scale + rest[row * dim + k] / line[k];
                    x[row] = over(best[row] as f32, *scale);
                }
                let latent = table.nearest(&x[..block], WIDTH);
                let lost = |level: &dyn Fn(usize) -> f64| {
                    scales.iter().enumerate().map(|(row, scale)| (best[row] - level(row) * scale).powi(2)).sum::<f64>()
                };
                let next = table.of(latent);
                // The nearest was searched for with all rows alike.
                if latent == latents[k] || lost(&|row| f64::from(next[row])) >= lost(&|row| levels[row * dim + k]) {
                    continue;
                }
                latents[k] = latent;
                for ((row, &scale), rest) in scales.iter().enumerate().zip(rest.chunks_mut(dim)) {
                    let step = (f64::from(next[row]) - levels[row * dim + k]) * scale;
                    levels[row * dim + k] = f64::from(next[row]);
                    rest.iter_mut().zip(line).for_each(|(rest, own)| *rest -= step * own);
                }
            }
        });
    }

    /// The best scales for the latents; rows whose levels say nothing keep theirs.
    fn rescale(&self, scales: &mut [f64]) {
        let dim = self.equations.dim;
        let through = self.equations.through(&self.levels);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let rows = self.levels.chunks(dim).zip(self.equations.goals().chunks(dim).zip(through.chunks(dim)));
        for (scale, (levels, (goals, through))) in scales.iter_mut().zip(rows) {
            let (above, below) = (dot(levels, goals), dot(levels, through));
            if below > 0.0 && above > 0.0 {
                *scale = above / below;
            }
        }
    }

    fn shifts(&self, scales: &[f64]) -> Vec<f64> {
        let rows = self.levels.chunks(self.equations.dim).zip(scales);
        let restored: Vec<f64> = rows.flat_map(|(row, scale)| row.iter().map(move |level| level * scale)).collect();
        self.equations.shifts(&restored)
    }
}

fn over(weight: f32, scale: f64) -> f32 {
    if scale > 0.0 { weight / scale as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::generate::residual::Residual;
    use crate::passes::generate::table::tests::noise;

    /// Pairs of the same inputs, of which each follows the one before.
    fn pair(dim: usize, count: usize) -> PairGram {
        let mut rows: Vec<f64> = noise(dim * count).into_iter().map(f64::from).collect();
        for row in rows.chunks_mut(dim) {
            (1..dim).for_each(|i| row[i] = 0.9 * row[i - 1] + 0.4 * row[i]);
        }
        let mut pair = PairGram::new(dim);
        assert!(pair.add(&rows, &rows));
        pair
    }

    #[test]
    fn outputs_are_closer_than_with_the_nearest_blocks() {
        let (dim, count, block) = (32, 22, 8);
        let table = Residual::new(&noise(block * 4000), block, 1).table();
        let pair = pair(dim, 1500);
        let rows = noise(dim * count);
        let error = |codes: &Codes| {
            let restored = codes.restore(dim, &table);
            let lost: Vec<f64> = rows.iter().zip(restored).map(|(a, b)| f64::from(a - b)).collect();
            Equations::plain(pair.copy(), &lost, false).unwrap().energy(&lost)
        };
        let plain = error(&Codes::nearest(&rows, dim, &table));
        let fitted = error(&fit(&rows, std::slice::from_ref(&pair), false, &table).unwrap());
        assert!(fitted < 0.5 * plain, "{fitted} against {plain}");
    }

    #[test]
    fn rows_that_do_not_fit_the_moments_are_refused() {
        let table = Table::new(vec![0.5; 2 << 16], 2);
        let pair = pair(4, 20);
        assert!(fit(&[1.0; 7], std::slice::from_ref(&pair), false, &table).is_none());
        assert!(fit(&[], &[pair], false, &table).is_none());
        assert!(fit(&[1.0; 4], &[], false, &table).is_none());
    }
}
