//! Shared values for rows of weights, and which of them each weight gets.
//!
//! Values are the best for the weights by themselves (k-means); weights are given theirs one after the other, each error made
//! up for by those that are left (GPTQ); scales are fitted to that and weights rounded again.

use half::f16;
use rayon::prelude::*;

use super::form::{Scale, Shared};
use crate::calib::{Gram, PairGram};
use crate::passes::common::kmeans::weighted_values;
use crate::passes::common::wanted::{Wanted, in_f64};

/// Rows that are rounded together, so that a row of the factor is read once for all of them.
const TILE_ROWS: usize = 16;

/// How often rows are rounded, each time but the first with scales fitted to the round before.
const ROUNDS: usize = 2;

/// Rows that read the same inputs, and what is known of those.
#[derive(Debug)]
pub(super) struct Group {
    wanted: Wanted,
    /// How much an error at each place of a row counts for.
    stiffness: Vec<f32>,
}

impl Group {
    fn new(wanted: Wanted) -> Self {
        Self { stiffness: wanted.feedback.stiffness(), wanted }
    }

    /// Rows that go on reading what they did; `None` where the moments do not serve.
    pub(super) fn plain(rows: &[f32], gram: &Gram, is_centred: bool) -> Option<Self> {
        Wanted::plain(rows, gram, is_centred).map(Self::new)
    }

    /// Rows that read what compressed layers hand on, towards what they gave in the original. What is pruned stays so.
    pub(super) fn corrected(rows: &[f32], pair: &PairGram, is_centred: bool) -> Option<Self> {
        Wanted::corrected(rows, pair, is_centred, |weight| weight != 0.0).map(Self::new)
    }

    /// What the rows give, as a sum of squares.
    pub(super) fn energy(&self) -> f64 {
        self.wanted.equations.energy(&in_f64(&self.wanted.rows))
    }
}

/// Weights as codes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounded {
    /// In rows.
    pub(super) codes: Vec<u8>,
    /// Ascending.
    pub(super) values: Vec<f32>,
    /// One for each row or block; empty where values are not scaled.
    pub(super) scales: Vec<f32>,
    /// Weights that share a scale.
    pub(super) span: usize,
    /// What the outputs of the layer lose, or the weights where nothing is known of those, as sums of squares.
    pub(super) error: f64,
    /// What the outputs of the rows are short of in the mean, where a bias is to make up for it.
    pub(super) shifts: Option<Vec<f64>>,
}

/// How the weights of one tensor are rounded.
struct Rows<'r> {
    rows: &'r [f32],
    depth: usize,
    /// Weights that share a scale.
    span: usize,
    groups: Option<&'r [Group]>,
    /// What is rounded: the rows, or what the groups want in their place.
    wanted: Vec<f32>,
    /// Weights that count for less than this are pruned.
    threshold: f32,
}

/// Rows of so many weights with values of that form.
pub(super) fn round(rows: &[f32], depth: usize, groups: Option<&[Group]>, form: Shared) -> Rounded {
    let wanted: Vec<f32> = match groups {
        Some(groups) => groups.iter().flat_map(|group| group.wanted.rows.iter().copied()).collect(),
        None => rows.to_vec(),
    };
    let depth = depth.max(1);
    let span = match form.scale {
        Scale::Block(block) => block,
        Scale::None | Scale::Channel => depth,
    };
    let mut all = Rows { rows, depth, span, groups, wanted, threshold: 0.0 };
    all.threshold = all.threshold(form.kept);
    let mut scales = match form.scale {
        Scale::None => vec![1.0; rows.len().div_ceil(depth)],
        Scale::Channel | Scale::Block(_) => all.wanted.chunks(span).map(root_mean_square).collect(),
    };
    let values = all.values(&scales, form.values);
    let codes = match form.scale {
        Scale::None => all.rounded(&values, &scales),
        Scale::Channel => {
            let mut codes = all.rounded(&values, &scales);
            for _ in 1..ROUNDS {
                scales = all.best_scales(&values, &codes, &scales);
                codes = all.rounded(&values, &scales);
            }
            scales = all.best_scales(&values, &codes, &scales);
            codes
        }
        // Blocks are settled beforehand, since later ones make up for what earlier ones lose.
        Scale::Block(_) => {
            for _ in 0..ROUNDS {
                let nearest = all.nearest(&values, &scales);
                scales = all.best_scales_alone(&values, &nearest, &scales);
            }
            scales.iter_mut().for_each(|scale| *scale = f16::from_f32(*scale).to_f32());
            all.rounded(&values, &scales)
        }
    };
    let restored = restore(&codes, &values, &scales, span);
    let (error, shifts) = all.lost(&restored);
    let scales = if form.scale == Scale::None { Vec::new() } else { scales };
    Rounded { codes, values, scales, span, error, shifts }
}

/// The weights that codes stand for, `span` of which share a scale.
pub(super) fn restore(codes: &[u8], values: &[f32], scales: &[f32], span: usize) -> Vec<f32> {
    let value = |code: u8| values.get(usize::from(code)).copied().unwrap_or_default();
    let scale = |place: usize| scales.get(place / span.max(1)).copied().unwrap_or(1.0);
    codes.iter().enumerate().map(|(place, &code)| value(code) * scale(place)).collect()
}

/// Of the weights that are not zero; 1 where there are none.
fn root_mean_square(row: &[f32]) -> f32 {
    let squares: f64 = row.iter().map(|&weight| f64::from(weight).powi(2)).sum();
    let count = row.iter().filter(|&&weight| weight != 0.0).count();
    let root = (squares / count.max(1) as f64).sqrt() as f32;
    if root.is_normal() { root } else { 1.0 }
}

/// A scale as the ratio of two sums; the one before where they say nothing.
fn ratio(above: f64, below: f64, before: f32) -> f32 {
    let best = (above / below) as f32;
    if below > 0.0 && best.is_normal() { best } else { before }
}

/// The place of the nearest of ascending values.
fn nearest(values: &[f32], weight: f32) -> usize {
    let above = values.partition_point(|&value| value < weight);
    let distance = |place: usize| values.get(place).map_or(f32::INFINITY, |&value| (value - weight).abs());
    match above.checked_sub(1) {
        Some(below) if distance(below) <= distance(above) => below,
        _ => above.min(values.len().saturating_sub(1)),
    }
}

impl Rows<'_> {
    /// What a weight in that place counts for.
    fn count(&self, place: usize, weight: f32) -> f32 {
        let Some(groups) = self.groups else { return weight.abs() };
        let group_len = self.rows.len() / groups.len().max(1);
        let stiffness = groups.get(place / group_len.max(1)).and_then(|group| group.stiffness.get(place % self.depth));
        weight.abs() * stiffness.copied().unwrap_or(1.0)
    }

    /// What the share of weights to keep count for at least.
    fn threshold(&self, kept: f64) -> f32 {
        if kept >= 1.0 || self.wanted.is_empty() {
            return 0.0;
        }
        let mut counts: Vec<f32> =
            self.wanted.iter().enumerate().map(|(place, &weight)| self.count(place, weight)).collect();
        let pruned = (((1.0 - kept) * counts.len() as f64) as usize).min(counts.len().saturating_sub(1));
        let (_, least, _) = counts.select_nth_unstable_by(pruned, f32::total_cmp);
        *least
    }

    /// The best values for the weights that are kept, and zero where some are not.
    fn values(&self, scales: &[f32], count: usize) -> Vec<f32> {
        let scale = |place: usize| scales.get(place / self.span).copied().unwrap_or(1.0);
        let scaled =
            |(place, &weight): (usize, &f32)| if self.is_kept(place, weight) { weight / scale(place) } else { 0.0 };
        let scaled: Vec<f32> = self.wanted.iter().enumerate().map(scaled).collect();
        let counts: Vec<f32> = (0..scaled.len()).map(|place| self.count(place, scale(place)).powi(2)).collect();
        weighted_values(&scaled, &counts, count)
    }

    /// Whether a weight that has come to be this is not pruned.
    fn is_kept(&self, place: usize, weight: f32) -> bool {
        self.rows.get(place) != Some(&0.0) && (self.threshold == 0.0 || self.count(place, weight) >= self.threshold)
    }

    /// The code of a weight that has come to be this.
    fn code(&self, place: usize, weight: f32, values: &[f32], scale: f32) -> usize {
        if self.is_kept(place, weight) {
            return nearest(values, weight / scale);
        }
        let zero = values.binary_search_by(|value| value.total_cmp(&0.0)).ok();
        zero.unwrap_or_else(|| nearest(values, weight / scale))
    }

    /// Each weight by itself.
    fn nearest(&self, values: &[f32], scales: &[f32]) -> Vec<u8> {
        let of = |(place, &weight): (usize, &f32)| self.code(place, weight, values, scales[place / self.span]) as u8;
        self.wanted.par_iter().enumerate().map(of).collect()
    }

    /// Each weight after those that are rounded before it.
    fn rounded(&self, values: &[f32], scales: &[f32]) -> Vec<u8> {
        let Some(groups) = self.groups else { return self.nearest(values, scales) };
        let group_len = self.rows.len() / groups.len().max(1);
        let mut levels = vec![0i8; self.rows.len()];
        let tile = TILE_ROWS * self.depth;
        let each = levels.par_chunks_mut(group_len.max(1)).zip(groups).enumerate();
        each.for_each(|(number, (levels, group))| {
            let tiles = levels.par_chunks_mut(tile).zip(group.wanted.rows.par_chunks(tile)).enumerate();
            tiles.for_each(|(turn, (levels, rows))| {
                let first = number * group_len + turn * tile;
                group.wanted.feedback.carry(levels, rows, |row, k, weight| {
                    let place = first + row * self.depth + k;
                    let scale = scales[place / self.span];
                    let code = self.code(place, weight, values, scale);
                    (code as u8 as i8, values[code] * scale)
                });
            });
        });
        levels.into_iter().map(|level| level as u8).collect()
    }

    /// The scale of each span with which its values come closest to what is wanted, by what single weights count for.
    fn best_scales_alone(&self, values: &[f32], codes: &[u8], scales: &[f32]) -> Vec<f32> {
        let unscaled = restore(codes, values, &[], self.span);
        let spans = self.wanted.par_chunks(self.span).zip(unscaled.par_chunks(self.span)).zip(scales).enumerate();
        spans
            .map(|(number, ((wanted, unscaled), &before))| {
                let (mut above, mut below) = (0.0, 0.0);
                for (k, (&wanted, &unscaled)) in wanted.iter().zip(unscaled).enumerate() {
                    let counts = f64::from(self.count(number * self.span + k, 1.0)).powi(2);
                    above += counts * f64::from(wanted) * f64::from(unscaled);
                    below += counts * f64::from(unscaled).powi(2);
                }
                ratio(above, below, before)
            })
            .collect()
    }

    /// For each row the scale with which its values come closest to what is wanted.
    fn best_scales(&self, values: &[f32], codes: &[u8], scales: &[f32]) -> Vec<f32> {
        let Some(groups) = self.groups else { return self.best_scales_alone(values, codes, scales) };
        let unscaled = restore(codes, values, &[], self.depth);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let group_len = self.rows.len() / groups.len().max(1);
        let rows_of_group = group_len / self.depth;
        let of_group = |((group, unscaled), scales): ((&Group, &[f32]), &[f32])| {
            let (rows, equations) = (in_f64(unscaled), &group.wanted.equations);
            let (through, goals) = (equations.through(&rows), equations.goals().chunks(self.depth));
            let each = rows.chunks(self.depth).zip(through.chunks(self.depth)).zip(goals).zip(scales);
            each.map(|(((row, through), goals), &before)| ratio(dot(row, goals), dot(row, through), before))
                .collect::<Vec<f32>>()
        };
        let each = groups.iter().zip(unscaled.chunks(group_len)).zip(scales.chunks(rows_of_group.max(1)));
        each.flat_map(of_group).collect()
    }

    /// What is lost, and what biases are to make up for.
    fn lost(&self, restored: &[f32]) -> (f64, Option<Vec<f64>>) {
        let lost = |wanted: &[f32], restored: &[f32]| -> Vec<f64> {
            wanted.iter().zip(restored).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect()
        };
        let Some(groups) = self.groups else {
            return (lost(&self.wanted, restored).iter().map(|lost| lost.powi(2)).sum(), None);
        };
        let (mut error, mut shifts) = (0.0, Vec::new());
        for (group, restored) in groups.iter().zip(restored.chunks(self.rows.len() / groups.len().max(1))) {
            let equations = &group.wanted.equations;
            error += equations.energy(&lost(&group.wanted.rows, restored));
            shifts.extend(equations.shifts(&in_f64(restored)));
        }
        (error, Some(shifts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::common::wanted::by_group;

    fn rows(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3 * if i / 32 % 2 == 0 { 1.0 } else { 8.0 })
            .collect()
    }

    fn gram(dim: usize, count: usize) -> Gram {
        let noise = |sample: usize, i: usize| ((sample * 7919 + i * 104_729) % 1013) as f64 / 506.0 - 1.0;
        let mut gram = Gram::new(dim);
        for sample in 0..count {
            let mut x: Vec<f64> = (0..dim).map(|i| noise(sample, i)).collect();
            (1..dim).for_each(|i| x[i] = 0.9 * x[i - 1] + 0.4 * x[i]);
            gram.add(&x);
        }
        gram
    }

    fn form(values: usize, scale: Scale, kept: f64) -> Shared {
        Shared { values, scale, kept }
    }

    #[test]
    fn scales_pay_where_rows_differ() {
        let rows = rows(32 * 8);
        // What is lost of the rows with small weights, every other one.
        let error = |scale| {
            let found = round(&rows, 32, None, form(4, scale, 1.0));
            let restored = restore(&found.codes, &found.values, &found.scales, found.span);
            let small = rows.chunks(32).zip(restored.chunks(32)).step_by(2);
            small.flat_map(|(row, restored)| row.iter().zip(restored)).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        let (shared, own) = (error(Scale::None), error(Scale::Channel));
        assert!(own < 0.1 * shared, "{shared} -> {own}");
        assert!(error(Scale::Block(8)) < 0.1 * shared);
    }

    #[test]
    fn feedback_takes_less_from_the_outputs() {
        let (rows, gram) = (rows(32 * 8), gram(32, 2000));
        let groups =
            by_group(&rows, std::slice::from_ref(&gram), Gram::dim, |rows, gram| Group::plain(rows, gram, false));
        let groups = groups.unwrap();
        for form in [
            form(4, Scale::Channel, 1.0),
            form(6, Scale::None, 1.0),
            form(4, Scale::Block(8), 1.0),
            form(17, Scale::None, 0.28),
        ] {
            let fed = round(&rows, 32, Some(&groups), form);
            let plain = round(&rows, 32, None, form);
            let restored = restore(&plain.codes, &plain.values, &plain.scales, plain.span);
            let all =
                Rows { rows: &rows, depth: 32, span: 32, groups: Some(&groups), wanted: rows.clone(), threshold: 0.0 };
            let (error, _) = all.lost(&restored);
            assert!(fed.error < 0.9 * error, "{form:?}: {} against {error}", fed.error);
        }
    }

    #[test]
    fn zeros_stay_and_no_more_are_kept_than_asked() {
        let mut rows = rows(32 * 8);
        rows.iter_mut().step_by(3).for_each(|weight| *weight = 0.0);
        let found = round(&rows, 32, None, form(17, Scale::None, 0.18));
        let restored = restore(&found.codes, &found.values, &found.scales, found.span);
        assert!(restored.iter().step_by(3).all(|&weight| weight == 0.0));
        let kept = restored.iter().filter(|&&weight| weight != 0.0).count() as f64 / restored.len() as f64;
        assert!((kept - 0.18).abs() < 0.02, "{kept}");
    }

    #[test]
    fn the_nearest_of_values_is_found() {
        let values = [-2.0, 0.0, 1.0];
        assert_eq!([-9.0, -1.1, -0.9, 0.4, 0.6, 7.0].map(|weight| nearest(&values, weight)), [0, 0, 1, 1, 2, 2]);
    }
}
