//! How much noise quantization adds to what a product or convolution writes, predicted from the ranges of its input's
//! channels: pure arithmetic.
//!
//! An activation in steps of `d` carries noise of `d * d / 12`, and so does a weight. Errors of single elements are taken
//! to be independent.

/// What was seen of one channel of an activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) min: f32,
    pub(super) max: f32,
    /// Of all elements of the channel.
    pub(super) mean_square: f64,
}

impl Moments {
    /// The larger of the magnitudes of both ends.
    pub(super) fn absmax(self) -> f32 {
        self.max.max(-self.min)
    }
}

/// The weights of a product or convolution: one matrix for each of the groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    /// `[outputs, inputs of a group, taps]`.
    pub(super) values: &'a [f32],
    pub(super) outputs: usize,
    pub(super) inputs_of_group: usize,
    pub(super) groups: usize,
}

/// What the prediction needs of weights, for many trials of scales.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    /// The largest magnitude for each output and input of its group.
    maxima: Vec<f32>,
    /// The sum of squares of all that reads an input channel.
    energies: Vec<f64>,
    taps: usize,
    inputs_of_group: usize,
    outputs_of_group: usize,
}

impl Summary {
    /// `None` where the numbers do not fit together.
    pub(super) fn of(weights: Weights<'_>) -> Option<Self> {
        let Weights { values, outputs, inputs_of_group, groups } = weights;
        let rows = outputs.checked_mul(inputs_of_group).filter(|&rows| rows > 0)?;
        let taps = values.len() / rows;
        if taps == 0 || taps * rows != values.len() || groups == 0 || outputs % groups != 0 {
            return None;
        }
        let mut summary = Self {
            maxima: Vec::with_capacity(rows),
            energies: vec![0.0; groups * inputs_of_group],
            taps,
            inputs_of_group,
            outputs_of_group: outputs / groups,
        };
        for (row, taps) in values.chunks_exact(taps).enumerate() {
            summary.maxima.push(taps.iter().fold(0.0, |max, weight| max.max(weight.abs())));
            let channel = summary.channel(row);
            summary.energies[channel] += taps.iter().map(|&weight| f64::from(weight) * f64::from(weight)).sum::<f64>();
        }
        Some(summary)
    }

    /// The channels of the input.
    pub(super) fn channels(&self) -> usize {
        self.energies.len()
    }

    /// Whether each output reads more than one channel.
    pub(super) fn mixes(&self) -> bool {
        self.inputs_of_group > 1
    }

    /// The largest weight that reads each channel.
    pub(super) fn channel_maxima(&self) -> Vec<f32> {
        let mut maxima = vec![0f32; self.channels()];
        for (row, &max) in self.maxima.iter().enumerate() {
            let channel = self.channel(row);
            maxima[channel] = maxima[channel].max(max);
        }
        maxima
    }

    /// The predicted noise of the output in proportion to its signal, where channel `c` of the input is divided by
    /// `scales[c]` and the weights that read it are multiplied by that.
    pub(super) fn noise(&self, input: &[Moments], scales: &[f32]) -> f64 {
        let ends = input.iter().zip(scales);
        let (low, high) =
            ends.fold((0f32, 0f32), |(low, high), (one, &s)| (low.min(one.min / s), high.max(one.max / s)));
        let step = f64::from(high - low) / 255.0;
        let scaled = self.energies.iter().zip(scales);
        let of_input =
            step * step / 12.0 * scaled.map(|(energy, &s)| energy * f64::from(s) * f64::from(s)).sum::<f64>();
        let mut of_weights = 0.0;
        let powers: Vec<f64> =
            input.iter().zip(scales).map(|(one, &s)| one.mean_square / f64::from(s).powi(2)).collect();
        for (output, maxima) in self.maxima.chunks_exact(self.inputs_of_group).enumerate() {
            let first = output / self.outputs_of_group * self.inputs_of_group;
            let read = first..first + self.inputs_of_group;
            let widest = maxima.iter().zip(&scales[read.clone()]).fold(0f32, |max, (weight, s)| max.max(weight * s));
            let step = f64::from(widest) / 127.0;
            of_weights += step * step / 12.0 * self.taps as f64 * powers[read].iter().sum::<f64>();
        }
        let signal: f64 = self.energies.iter().zip(input).map(|(energy, one)| energy * one.mean_square).sum();
        (of_input + of_weights) / signal.max(f64::MIN_POSITIVE)
    }

    /// The input channel that a row of weights reads.
    fn channel(&self, row: usize) -> usize {
        let output = row / self.inputs_of_group;
        output / self.outputs_of_group * self.inputs_of_group + row % self.inputs_of_group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(max: f32) -> Moments {
        Moments { min: 0.0, max, mean_square: f64::from(max * max) / 4.0 }
    }

    #[test]
    fn noise_of_one_weight_is_that_of_its_steps() {
        let weights = Weights { values: &[2.0], outputs: 1, inputs_of_group: 1, groups: 1 };
        let summary = Summary::of(weights).unwrap();
        // Steps of 1 in the input, times 2, and of 2 / 127 in the weight, times a mean square of 255 * 255 / 4.
        let square = 255.0 * 255.0 / 4.0;
        let expected = (4.0 + (2.0f64 / 127.0).powi(2) * square) / 12.0 / (4.0 * square);
        assert!((summary.noise(&[moments(255.0)], &[1.0]) / expected - 1.0).abs() < 1e-6);
        // Dividing the only channel by a number changes nothing.
        assert!((summary.noise(&[moments(255.0)], &[100.0]) / expected - 1.0).abs() < 1e-6);
    }

    #[test]
    fn channels_of_their_own_are_best_scaled_by_their_ranges() {
        let weights = Weights { values: &[1.0; 4], outputs: 2, inputs_of_group: 1, groups: 2 };
        let summary = Summary::of(weights).unwrap();
        let input = [moments(100.0), moments(1.0)];
        let noise = |scales: [f32; 2]| summary.noise(&input, &scales);
        let best = noise([100.0, 1.0]);
        assert!(best < noise([1.0, 1.0]) && best < noise([10.0, 1.0]) && best < noise([1000.0, 1.0]));
    }

    #[test]
    fn groups_read_channels_of_their_own() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let summary = Summary::of(Weights { values: &values, outputs: 4, inputs_of_group: 2, groups: 2 }).unwrap();
        assert_eq!(summary.channel_maxima(), [3.0, 4.0, 7.0, 8.0]);
        assert_eq!(summary.energies, [10.0, 20.0, 74.0, 100.0]);
    }
}
