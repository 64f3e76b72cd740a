//! What stretches of the trunk do to the values that flow through them, measured on calibration data.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use rayon::prelude::*;

use super::trunk::Stretch;
use crate::backend::NamedTensors;
use crate::calib::load_fastest;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{DType, Model, Tensor, ValueId};
use crate::pass::Env;
use crate::passes::common::trial;

/// A stretch that changes nothing by more than this part of the largest element does nothing.
const NOTHING: f64 = 1e-6;

/// What a stretch does, over all samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Influence {
    cosines: f64,
    rows: u64,
    largest: f64,
    largest_change: f64,
    /// The end of the first sample, in short; `None` before it.
    first: Option<u64>,
    varies: bool,
    channels: Option<Channels>,
    has_other_channels: bool,
}

/// Sums over the elements of each channel.
#[derive(Debug, Clone, PartialEq)]
struct Channels {
    /// The sums of start * end and of start * start.
    sums: Vec<[f64; 2]>,
    /// How many axes lie behind that of the channels.
    axes_behind: usize,
}

impl Influence {
    /// 1 less the mean cosine of what enters and what leaves (Men et al. 2024, "ShortGPT", equation 1): 0 for a stretch
    /// that does not turn its input.
    pub(super) fn score(&self) -> f64 {
        if self.rows == 0 { 1.0 } else { (1.0 - self.cosines / self.rows as f64).max(0.0) }
    }

    /// Whether what leaves is what entered.
    pub(super) fn is_identity(&self) -> bool {
        self.rows > 0 && self.largest_change <= NOTHING * self.largest
    }

    /// Whether what leaves is the same whatever entered; not to be told from one sample.
    pub(super) fn is_constant(&self, samples: usize) -> bool {
        samples > 1 && !self.varies
    }

    /// The factor of each channel that brings the start closest to the end, by least squares, with as many axes of one
    /// entry behind it as lie behind the channels; `None` where samples do not agree on channels.
    pub(super) fn scales(&self) -> Option<Tensor> {
        let channels = self.channels.as_ref().filter(|_| !self.has_other_channels)?;
        let scale = |&[product, energy]: &[f64; 2]| if energy > 0.0 { (product / energy) as f32 } else { 1.0 };
        let scales: Vec<f32> = channels.sums.iter().map(scale).collect();
        let mut shape = vec![scales.len() as u64];
        shape.resize(1 + channels.axes_behind, 1);
        Tensor::from_f32(shape, &scales).ok()
    }

    /// What one sample shows.
    fn of(start: &Tensor, end: &Tensor) -> Self {
        let mut seen = Self::default();
        let (Some(before), Some(after)) = (start.to_f32(), end.to_f32()) else { return seen };
        if start.shape() != end.shape() || before.is_empty() {
            return seen;
        }
        let mut hasher = DefaultHasher::new();
        end.data().hash(&mut hasher);
        seen.first = Some(hasher.finish());
        for (before, after) in before.chunks_exact(row_width(start)).zip(after.chunks_exact(row_width(start))) {
            seen.add_row(before, after);
        }
        if start.dtype() == DType::F32 && start.rank() > 0 {
            seen.channels = Some(Channels::of(start.shape(), &before, &after));
        }
        seen
    }

    fn add_row(&mut self, before: &[f32], after: &[f32]) {
        let (mut product, mut start, mut end) = (0.0f64, 0.0f64, 0.0f64);
        for (&u, &v) in before.iter().zip(after) {
            let (u, v) = (f64::from(u), f64::from(v));
            product += u * v;
            start += u * u;
            end += v * v;
            self.largest = self.largest.max(u.abs());
            self.largest_change = self.largest_change.max((v - u).abs());
        }
        let cosine = product / (start * end).sqrt();
        if cosine.is_finite() {
            self.cosines += cosine;
            self.rows += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.cosines += other.cosines;
        self.rows += other.rows;
        self.largest = self.largest.max(other.largest);
        self.largest_change = self.largest_change.max(other.largest_change);
        self.varies |= self.first.is_some() && self.first != other.first;
        self.first = self.first.or(other.first);
        match (&mut self.channels, other.channels) {
            (Some(all), Some(one)) if all.sums.len() == one.sums.len() && all.axes_behind == one.axes_behind => {
                all.sums.iter_mut().zip(one.sums).for_each(|(all, one)| *all = [all[0] + one[0], all[1] + one[1]]);
            }
            (Some(_), _) => self.has_other_channels = true,
            (all, one) => *all = one,
        }
    }
}

impl Channels {
    fn of(shape: &[u64], start: &[f32], end: &[f32]) -> Self {
        let axis = channel_axis(shape.len());
        let count = shape[axis].max(1) as usize;
        let inner = shape[axis + 1..].iter().product::<u64>().max(1) as usize;
        let mut sums = vec![[0.0; 2]; count];
        for (place, (&u, &v)) in start.iter().zip(end).enumerate() {
            let sums = &mut sums[place / inner % count];
            sums[0] += f64::from(u) * f64::from(v);
            sums[1] += f64::from(u) * f64::from(u);
        }
        Self { sums, axes_behind: shape.len() - axis - 1 }
    }
}

/// The axis that channels lie on: the second of images, the last of everything else.
fn channel_axis(rank: usize) -> usize {
    if rank >= 4 { 1 } else { rank.saturating_sub(1) }
}

/// How many elements one direction is made of: a whole image, or one token.
fn row_width(tensor: &Tensor) -> usize {
    let skipped = if tensor.rank() >= 4 { 1 } else { tensor.rank().saturating_sub(1) };
    tensor.shape().iter().skip(skipped).product::<u64>().max(1) as usize
}

/// Runs the model and watches both ends of each stretch.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn influences(
    model: &Model,
    stretches: &[Stretch],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Influence>> {
    let name = |value| model.graph.value(value).name().to_owned();
    let pairs: Vec<(String, String)> = stretches.iter().map(|s| (name(s.start), name(s.end))).collect();
    let inner = |value: &&ValueId| !model.graph.value(**value).is_input();
    let mut taps: Vec<String> = stretches
        .iter()
        .flat_map(|s| [&s.start, &s.end].into_iter().filter(inner).map(|&v| name(v)).collect::<Vec<_>>())
        .collect();
    taps.sort();
    taps.dedup();
    let (session, _) = load_fastest(model, taps, env.backend)?;
    let chosen = trial::spread(samples.len());
    env.progress.start("measuring layers", chosen.len() as u64);
    let seen: Vec<Result<Vec<Influence>>> = chosen
        .par_iter()
        .map(|&index| {
            let inputs = samples.get(index)?;
            let outputs = session.run(&inputs)?;
            env.progress.advance(1);
            let of = |(start, end): &(String, String)| {
                Ok(Influence::of(find(start, &inputs, &outputs)?, find(end, &inputs, &outputs)?))
            };
            pairs.iter().map(of).collect()
        })
        .collect();
    env.progress.finish();
    let mut totals = vec![Influence::default(); stretches.len()];
    for sample in seen {
        totals.iter_mut().zip(sample?).for_each(|(total, one)| total.merge(one));
    }
    Ok(totals)
}

fn find<'t>(name: &str, inputs: &'t NamedTensors, outputs: &'t NamedTensors) -> Result<&'t Tensor> {
    let found = inputs.iter().chain(outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32([1, values.len() as u64], values).unwrap()
    }

    fn seen(pairs: &[(&[f32], &[f32])]) -> Influence {
        pairs.iter().fold(Influence::default(), |mut all, (start, end)| {
            all.merge(Influence::of(&tensor(start), &tensor(end)));
            all
        })
    }

    #[test]
    fn influence_is_one_less_the_cosine() {
        assert!(seen(&[(&[1.0, 2.0], &[2.0, 4.0])]).score() < 1e-12);
        assert!((seen(&[(&[1.0, 0.0], &[0.0, 3.0])]).score() - 1.0).abs() < 1e-12);
        let half = seen(&[(&[1.0, 0.0], &[2.0, 0.0]), (&[1.0, 0.0], &[0.0, 1.0])]);
        assert!((half.score() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn identities_and_constants_are_told() {
        assert!(seen(&[(&[1.0, 2.0], &[1.0, 2.0])]).is_identity());
        assert!(!seen(&[(&[1.0, 2.0], &[1.0, 2.1])]).is_identity());
        assert!(seen(&[(&[1.0, 2.0], &[5.0, 6.0]), (&[3.0, 4.0], &[5.0, 6.0])]).is_constant(2));
        assert!(!seen(&[(&[1.0, 2.0], &[5.0, 6.0]), (&[3.0, 4.0], &[5.0, 6.5])]).is_constant(2));
    }

    #[test]
    fn scales_are_those_of_least_squares() {
        // First channel: (1*2 + 2*5) / (1 + 4); second: (1*3 + 1*1) / 2.
        let seen = seen(&[(&[1.0, 1.0], &[2.0, 3.0]), (&[2.0, 1.0], &[5.0, 1.0])]);
        assert_eq!(seen.scales().unwrap().to_f32().unwrap(), [2.4, 2.0]);
    }
}
