//! The arithmetic of 8-bit weights: tensors in, numbers out; nothing here knows a graph.
//!
//! Weights are symmetric (`w = q * scale`, q from -127 to 127), with one scale a channel. Biases have 32 bits and the scale
//! of the products they are added to.

use bytes::Bytes;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::ir::{DType, Tensor};
use crate::passes::common::balance::{self, Rounded};
pub(super) use crate::passes::common::layout::Layout;
use crate::passes::common::layout::TASK_ELEMENTS;

/// Float lanes that are summed apart, so that the compiler can use vector instructions without reordering sums.
const LANES: usize = 8;

/// How much of a signal quantization kept: sums of squares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Energy {
    pub(super) signal: f64,
    pub(super) error: f64,
}

impl Energy {
    /// The signal-to-noise ratio in decibels; infinite where nothing was lost.
    pub(super) fn snr_db(self) -> f64 {
        10.0 * (self.signal / self.error).log10()
    }
}

/// 8-bit weights and what restores them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QuantizedWeights {
    /// Two's complement bytes in the order of the elements.
    pub(super) values: Bytes,
    /// One scale a channel, representable in the type of the weights.
    pub(super) scales: Vec<f32>,
    pub(super) energy: Energy,
}

/// The scale of each channel of a float tensor; `None` where one of the values is not finite or could not be restored, or
/// the tensor is of no float type.
pub(super) fn weight_scales(tensor: &Tensor, layout: Layout) -> Option<Vec<f32>> {
    let (data, dtype) = (tensor.data(), tensor.dtype());
    let maxima = match dtype {
        DType::F32 => channel_maxima(data, layout, f32::from_le_bytes),
        DType::F64 => channel_maxima(data, layout, read_f64),
        DType::F16 => channel_maxima(data, layout, read_f16),
        DType::BF16 => channel_maxima(data, layout, read_bf16),
        _ => None,
    }?;
    let scales: Vec<f32> = maxima.into_iter().map(|absmax| weight_scale(absmax, dtype)).collect();
    // A 16-bit scale may have been rounded up: the largest weight must come back finite.
    scales.iter().all(|&scale| round_to(scale * 127.0, dtype).is_finite()).then_some(scales)
}

/// Quantizes the weights of a float tensor with the given scales, which must be representable in its type.
pub(super) fn quantize_weights(tensor: &Tensor, layout: Layout, scales: Vec<f32>) -> QuantizedWeights {
    let data = tensor.data();
    let (values, energy) = match tensor.dtype() {
        DType::F64 => quantize_elements(data, layout, &scales, read_f64),
        DType::F16 => quantize_elements(data, layout, &scales, read_f16),
        DType::BF16 => quantize_elements(data, layout, &scales, read_bf16),
        _ => quantize_elements(data, layout, &scales, f32::from_le_bytes),
    };
    QuantizedWeights { values: values.into(), scales, energy }
}

/// Rounds a few weights of each channel to the second closest level, so that the errors of the channel cancel.
pub(super) fn balance_weights(tensor: &Tensor, layout: Layout, quantized: &mut QuantizedWeights) {
    let QuantizedWeights { values, scales, energy } = quantized;
    let mut levels = values.to_vec();
    let level = |levels: &[u8], index: usize| levels.get(index).map_or(0, |&byte| byte as i8);
    let rounded = |levels: &[u8], index: usize| {
        let scale = f64::from(scales[(index / layout.inner.max(1)) % layout.channels.max(1)]);
        let value = tensor.get_f64(index).unwrap_or_default();
        let error = f64::from(level(levels, index)) * scale - value;
        let step = if error == 0.0 { 0.0 } else { -scale.copysign(error) };
        // The levels end at 127 on either side.
        let ends = level(levels, index).unsigned_abs() == 127 && f64::from(level(levels, index)) * step > 0.0;
        Rounded { error, step: if ends { 0.0 } else { step } }
    };
    for index in balance::flips(layout, levels.len(), |index| rounded(&levels, index)) {
        let Rounded { error, step } = rounded(&levels, index);
        energy.error += step * (2.0 * error + step);
        let up = if step > 0.0 { 1i8 } else { -1 };
        if let Some(byte) = levels.get_mut(index) {
            *byte = (*byte as i8).saturating_add(up) as u8;
        }
    }
    *values = levels.into();
}

fn read_f64(bytes: [u8; 8]) -> f32 {
    f64::from_le_bytes(bytes) as f32
}

fn read_f16(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

fn read_bf16(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

fn quantize_elements<const N: usize>(
    data: &[u8],
    layout: Layout,
    scales: &[f32],
    read: impl Fn([u8; N]) -> f32 + Sync,
) -> (Vec<u8>, Energy) {
    let elements = data.as_chunks::<N>().0;
    let mut values = vec![0u8; elements.len()];
    let task = layout.task();
    let energies: Vec<Energy> = values
        .par_chunks_mut(task)
        .zip(elements.par_chunks(task))
        .enumerate()
        .map(|(index, (out, raw))| quantize_task(out, raw, index * task, layout, scales, &read))
        .collect();
    // Summed in order, so that the figure does not depend on the number of threads.
    let energy = energies.iter().fold(Energy::default(), |sum, part| Energy {
        signal: sum.signal + part.signal,
        error: sum.error + part.error,
    });
    (values, energy)
}

/// The largest magnitude of each channel; `None` where one is not finite.
fn channel_maxima<const N: usize>(
    data: &[u8],
    layout: Layout,
    read: impl Fn([u8; N]) -> f32 + Sync,
) -> Option<Vec<f32>> {
    let elements = data.as_chunks::<N>().0;
    // The bits of a magnitude order like the number, and NaN and infinity come out above every finite number.
    let magnitude = |raw: [u8; N]| (read(raw).to_bits() & 0x7fff_ffff) as i32;
    let Layout { channels, inner } = layout;
    let mut maxima = vec![0i32; channels];
    if channels == 0 || inner == 0 {
        return Some(Vec::new());
    }
    let merge = |maxima: &mut Vec<i32>, part: &[i32]| {
        maxima.iter_mut().zip(part).for_each(|(max, &value)| *max = (*max).max(value));
    };
    if inner == 1 {
        let of_rows = |rows: &[[u8; N]]| {
            let mut part = vec![0i32; channels];
            for row in rows.chunks(channels) {
                part.iter_mut().zip(row).for_each(|(max, &raw)| *max = (*max).max(magnitude(raw)));
            }
            part
        };
        let parts: Vec<Vec<i32>> = elements.par_chunks(layout.task()).map(of_rows).collect();
        parts.iter().for_each(|part| merge(&mut maxima, part));
    } else {
        let of_run = |run: &[[u8; N]]| run.iter().fold(0i32, |max, &raw| max.max(magnitude(raw)));
        let least_runs = (TASK_ELEMENTS / inner).max(1);
        let parts: Vec<i32> = elements.par_chunks(inner).with_min_len(least_runs).map(of_run).collect();
        parts.chunks(channels).for_each(|part| merge(&mut maxima, part));
    }
    let maxima: Vec<f32> = maxima.into_iter().map(|bits| f32::from_bits(bits as u32)).collect();
    maxima.iter().all(|max| max.is_finite()).then_some(maxima)
}

/// The scale that maps a magnitude to 127, as the type of the weights can hold it. Channels of zeros, or of numbers too
/// small to divide by 127, get 1.
fn weight_scale(absmax: f32, dtype: DType) -> f32 {
    let scale = round_to(absmax / 127.0, dtype);
    let smallest = if dtype == DType::F16 { f16::MIN_POSITIVE.to_f32() } else { f32::MIN_POSITIVE };
    if scale < smallest { 1.0 } else { scale }
}

fn round_to(value: f32, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Quantizes whole units, the first of them at element `start` of the tensor.
fn quantize_task<const N: usize>(
    out: &mut [u8],
    raw: &[[u8; N]],
    start: usize,
    layout: Layout,
    scales: &[f32],
    read: &impl Fn([u8; N]) -> f32,
) -> Energy {
    let Layout { channels, inner } = layout;
    let mut sum = Energy::default();
    let mut add = |part: Energy| {
        sum.signal += part.signal;
        sum.error += part.error;
    };
    for (index, (out, raw)) in out.chunks_mut(layout.unit()).zip(raw.chunks(layout.unit())).enumerate() {
        if inner == 1 {
            add(quantize_run(out, raw, |i| scales[i], read));
        } else {
            let scale = scales[(start / inner + index) % channels];
            add(quantize_run(out, raw, |_| scale, read));
        }
    }
    sum
}

fn quantize_run<const N: usize>(
    out: &mut [u8],
    raw: &[[u8; N]],
    scale_of: impl Fn(usize) -> f32,
    read: &impl Fn([u8; N]) -> f32,
) -> Energy {
    let (mut signal, mut error) = ([0f32; LANES], [0f32; LANES]);
    let mut one = |lane: usize, out: &mut u8, raw: [u8; N], scale: f32| {
        let weight = read(raw);
        let level = round_half_even(weight / scale).clamp(-127.0, 127.0);
        let lost = weight - level * scale;
        signal[lane] += weight * weight;
        error[lane] += lost * lost;
        *out = level as i8 as u8;
    };
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let (raw_blocks, raw_rest) = raw.as_chunks::<LANES>();
    let done = blocks.len() * LANES;
    for (index, (out, raw)) in blocks.iter_mut().zip(raw_blocks).enumerate() {
        for lane in 0..LANES {
            one(lane, &mut out[lane], raw[lane], scale_of(index * LANES + lane));
        }
    }
    for (lane, (out, &raw)) in rest.iter_mut().zip(raw_rest).enumerate() {
        one(lane, out, raw, scale_of(done + lane));
    }
    let total = |lanes: [f32; LANES]| lanes.iter().map(|&v| f64::from(v)).sum();
    Energy { signal: total(signal), error: total(error) }
}

/// `round_ties_even` for magnitudes below 2^22, in two additions that vectorize on every processor.
fn round_half_even(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}

/// A bias in steps of `input scale * weight scale` of each channel.
pub(super) fn quantize_bias(bias: &[f32], input_scale: f32, weight_scales: &[f32]) -> Vec<i32> {
    let level = |(&bias, &scale): (&f32, &f32)| (f64::from(bias) / f64::from(input_scale * scale)).round_ties_even();
    bias.iter().zip(weight_scales).map(|pair| level(pair) as i32).collect()
}

/// The smallest scale of weights with which a bias fits its 32 bits and leaves the accumulator as much room again: with a
/// smaller one, a channel whose weights are next to zero would lose its bias.
pub(super) fn least_weight_scale(bias: f32, input_scale: f32) -> f32 {
    bias.abs() / (input_scale * (1 << 30) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantized(tensor: &Tensor, kept: std::ops::Range<usize>) -> Option<QuantizedWeights> {
        let layout = Layout::along(tensor.shape(), &kept);
        Some(quantize_weights(tensor, layout, weight_scales(tensor, layout)?))
    }

    fn signed(values: &[u8]) -> Vec<i8> {
        values.iter().map(|&v| v as i8).collect()
    }

    #[test]
    fn rounds_half_to_even_and_gives_zero_channels_a_scale_of_one() {
        // Row 0: scale 127 / 127 = 1; row 1: zeros; row 2: scale 2.
        let values = [127.0, 0.5, 1.5, -2.5, 0.0, 0.0, 0.0, -0.0, -254.0, 1.0, 3.0, 253.0];
        let tensor = Tensor::from_f32(vec![3, 4], &values).unwrap();
        let result = quantized(&tensor, 0..1).unwrap();
        assert_eq!(result.scales, [1.0, 1.0, 2.0]);
        assert_eq!(signed(&result.values), [127, 0, 2, -2, 0, 0, 0, 0, -127, 0, 2, 126]);
        // Errors: 0.5, 0.5, 0.5 in row 0; 1, 1, 1 in row 2.
        assert_eq!(result.energy.error, 3.75);
    }

    #[test]
    fn scales_run_along_the_kept_axis_wherever_it_is() {
        let values: Vec<f32> = (0..2 * 3 * 20).map(|i| ((i / 20) % 3 + 1) as f32).collect();
        let tensor = Tensor::from_f32(vec![2, 3, 20], &values).unwrap();
        let middle = quantized(&tensor, 1..2).unwrap();
        assert_eq!(middle.scales, [1.0 / 127.0, 2.0 / 127.0, 3.0 / 127.0]);
        assert!(signed(&middle.values).iter().all(|&v| v == 127));
        let last = Tensor::from_f32(vec![2, 2], &[1.0, -2.0, 0.5, 2.0]).unwrap();
        let last = quantized(&last, 1..2).unwrap();
        assert_eq!(last.scales, [1.0 / 127.0, 2.0 / 127.0]);
        assert_eq!(signed(&last.values), [127, -127, 64, 127]);
    }

    #[test]
    fn large_tensors_are_split_without_changing_a_value() {
        let columns = 300;
        let values: Vec<f32> = (0..columns * 700).map(|i| ((i * 7919) % 2003) as f32 - 1000.0).collect();
        let shape = vec![700, columns as u64];
        let tensor = Tensor::from_f32(shape.clone(), &values).unwrap();
        for kept in [0..1, 1..2, 0..0] {
            let layout = Layout::along(&shape, &kept);
            let result = quantized(&tensor, kept.clone()).unwrap();
            for (i, &value) in values.iter().enumerate() {
                let scale = result.scales[(i / layout.inner) % layout.channels];
                let expected = (value / scale).round_ties_even() as i8;
                assert_eq!(result.values[i] as i8, expected, "element {i}, kept {kept:?}");
            }
        }
    }

    #[test]
    fn errors_of_a_channel_cancel_and_levels_stay_in_range() {
        // Scale 1: errors -0.3, -0.4, -0.45 and 0 sum to -1.15.
        let tensor = Tensor::from_f32(vec![1, 4], &[0.3, 1.4, 2.45, 127.0]).unwrap();
        let layout = Layout::along(tensor.shape(), &(0..1));
        let mut result = quantized(&tensor, 0..1).unwrap();
        balance_weights(&tensor, layout, &mut result);
        assert_eq!(signed(&result.values), [0, 1, 3, 127]);
        let expected = 0.3f64.powi(2) + 0.4f64.powi(2) + 0.55f64.powi(2);
        assert!((result.energy.error - expected).abs() < 1e-6);
    }

    #[test]
    fn refuses_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let tensor = Tensor::from_f32(vec![2, 2], &[1.0, 2.0, bad, 3.0]).unwrap();
            for kept in [0..1, 1..2] {
                assert_eq!(quantized(&tensor, kept), None);
            }
        }
    }

    #[test]
    fn scales_of_16_bit_weights_are_16_bit_numbers() {
        let tensor = Tensor::from_floats(DType::F16, vec![1, 2], &[1.0, -0.3]).unwrap();
        let result = quantized(&tensor, 0..1).unwrap();
        let scale = result.scales[0];
        assert_eq!(f16::from_f32(scale).to_f32(), scale);
        assert_eq!(signed(&result.values)[0], 127);
        let huge = Tensor::from_floats(DType::F16, vec![1], &[65504.0]).unwrap();
        let restored = quantized(&huge, 0..0).map(|q| round_to(q.scales[0] * 127.0, DType::F16));
        assert!(restored.is_none_or(f32::is_finite));
    }

    #[test]
    fn biases_fit_their_bits() {
        assert_eq!(quantize_bias(&[1.0, -0.75], 0.5, &[1.0, 1.0]), [2, -2]);
        // Weights of 1e-20 alone would ask for a bias of 1e20 steps.
        let scale = least_weight_scale(-3.0, 0.25);
        assert_eq!(quantize_bias(&[-3.0], 0.25, &[scale]), [-(1 << 30)]);
    }
}
