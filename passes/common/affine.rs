//! The arithmetic of folding: one multiplication and one addition a channel, folded into weights.

use crate::error::Result;
use crate::ir::Tensor;

/// `y[c] = factor[c] * x[c] + shift[c]` for every channel `c`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::passes) struct Affine {
    pub(in crate::passes) factor: Vec<f64>,
    pub(in crate::passes) shift: Vec<f64>,
}

impl Affine {
    /// What a batch normalization with fixed statistics does. All slices have one entry a channel.
    pub(in crate::passes) fn of_batch_norm(
        scale: &[f64],
        bias: &[f64],
        mean: &[f64],
        variance: &[f64],
        epsilon: f64,
    ) -> Self {
        let factor: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shift = bias.iter().zip(mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
        Self { factor, shift }
    }

    /// Multiplies nothing and adds nothing.
    pub(in crate::passes) fn identity(channels: usize) -> Self {
        Self { factor: vec![1.0; channels], shift: vec![0.0; channels] }
    }

    /// Whether it only adds.
    pub(in crate::passes) fn only_adds(&self) -> bool {
        self.factor.iter().all(|&factor| factor == 1.0)
    }

    /// The same after `added[c]` was added to `x[c]`.
    pub(in crate::passes) fn after_adding(mut self, added: &[f64]) -> Self {
        for ((shift, factor), added) in self.shift.iter_mut().zip(&self.factor).zip(added) {
            *shift += factor * added;
        }
        self
    }

    /// The bias that does to the results of the folded weights what `bias` did before.
    pub(in crate::passes) fn fold_bias(&self, bias: &[f64]) -> Vec<f64> {
        bias.iter().zip(&self.factor).zip(&self.shift).map(|((b, f), s)| b * f + s).collect()
    }

    /// The weights times the factor of the channel each belongs to.
    pub(in crate::passes) fn fold_weight(&self, weight: &Tensor, layout: ChannelLayout) -> Result<Tensor> {
        // Finding the channel takes divisions: once for every run of weights of the same.
        let (mut end, mut factor) = (0, f64::NAN);
        weight.map_f64(|index, value| {
            if index == end {
                factor = self.factor.get(layout.channel(index)).copied().unwrap_or(f64::NAN);
                end += layout.stride;
            }
            value * factor
        })
    }
}

/// Which output channel a weight belongs to, by its place in the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passes) struct ChannelLayout {
    /// Output channels.
    channels: usize,
    /// Weights of one group of channels.
    group_len: usize,
    /// Output channels of one group.
    per_group: usize,
    /// Weights from one output channel to the next.
    stride: usize,
}

impl ChannelLayout {
    /// Weights whose first axis is the output channel: `[M, ...]`.
    pub(in crate::passes) fn first_axis(shape: &[u64]) -> Option<Self> {
        let channels = extent(shape, 0)?;
        Some(Self { channels, group_len: product(shape)?, per_group: channels, stride: product(shape.get(1..)?)? })
    }

    /// Weights whose last axis is the output channel: `[..., M]`.
    pub(in crate::passes) fn last_axis(shape: &[u64]) -> Option<Self> {
        let channels = extent(shape, shape.len().checked_sub(1)?)?;
        Some(Self { channels, group_len: product(shape)?, per_group: channels, stride: 1 })
    }

    /// Weights of a ConvTranspose: `[C, M / groups, ...]`, the input channels `C` in `groups` equal parts.
    pub(in crate::passes) fn transposed(shape: &[u64], groups: usize) -> Option<Self> {
        let (inputs, per_group) = (extent(shape, 0)?, extent(shape, 1)?);
        let stride = product(shape.get(2..)?)?;
        if groups == 0 || !inputs.is_multiple_of(groups) {
            return None;
        }
        let channels = groups.checked_mul(per_group)?;
        Some(Self { channels, group_len: inputs / groups * per_group * stride, per_group, stride })
    }

    pub(in crate::passes) fn channels(self) -> usize {
        self.channels
    }

    fn channel(self, index: usize) -> usize {
        index / self.group_len * self.per_group + index / self.stride % self.per_group
    }
}

/// A positive extent.
fn extent(shape: &[u64], axis: usize) -> Option<usize> {
    shape.get(axis).and_then(|&extent| usize::try_from(extent).ok()).filter(|&extent| extent > 0)
}

fn product(shape: &[u64]) -> Option<usize> {
    (0..shape.len()).try_fold(1usize, |product, axis| product.checked_mul(extent(shape, axis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(layout: ChannelLayout, count: usize) -> Vec<usize> {
        (0..count).map(|index| layout.channel(index)).collect()
    }

    #[test]
    fn a_batch_norm_is_a_factor_and_a_shift() {
        // (x - 3) / sqrt(3 + 1) * 4 + 1 = 2 x - 5; with x + 10 for x: 2 x + 15.
        let affine = Affine::of_batch_norm(&[4.0], &[1.0], &[3.0], &[3.0], 1.0);
        assert_eq!(affine, Affine { factor: vec![2.0], shift: vec![-5.0] });
        assert_eq!(affine.fold_bias(&[7.0]), [9.0]);
        assert_eq!(affine.after_adding(&[10.0]).shift, [15.0]);
    }

    #[test]
    fn channels_of_every_layout() {
        assert_eq!(channels(ChannelLayout::first_axis(&[2, 1, 2]).unwrap(), 4), [0, 0, 1, 1]);
        assert_eq!(channels(ChannelLayout::last_axis(&[2, 3]).unwrap(), 6), [0, 1, 2, 0, 1, 2]);
        // Two groups of two input channels, each with three output channels and a kernel of one.
        assert_eq!(
            channels(ChannelLayout::transposed(&[4, 3, 1], 2).unwrap(), 12),
            [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
        );
        assert_eq!(channels(ChannelLayout::transposed(&[1, 2, 2], 1).unwrap(), 4), [0, 0, 1, 1]);
    }

    #[test]
    fn layouts_that_make_no_sense_are_refused() {
        assert_eq!(ChannelLayout::first_axis(&[]), None);
        assert_eq!(ChannelLayout::first_axis(&[0, 3]), None);
        assert_eq!(ChannelLayout::transposed(&[3, 2, 1], 2), None);
        assert_eq!(ChannelLayout::transposed(&[3, 2, 1], 0), None);
    }

    #[test]
    fn weights_are_multiplied_by_their_channel() {
        let affine = Affine { factor: vec![2.0, 3.0], shift: vec![0.0, 0.0] };
        let weight = Tensor::from_f32(vec![2, 2], &[1.0, 1.0, 5.0, 5.0]).unwrap();
        let by_row = affine.fold_weight(&weight, ChannelLayout::first_axis(&[2, 2]).unwrap()).unwrap();
        assert_eq!(by_row.to_f32().unwrap(), [2.0, 2.0, 15.0, 15.0]);
        let by_column = affine.fold_weight(&weight, ChannelLayout::last_axis(&[2, 2]).unwrap()).unwrap();
        assert_eq!(by_column.to_f32().unwrap(), [2.0, 3.0, 10.0, 15.0]);
    }
}
