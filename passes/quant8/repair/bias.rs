//! Bias correction: the mean error of each output channel, as it shows on calibration data, goes out of the bias.
//!
//! Rounding weights and cutting off activations shift the mean of a channel, and all that comes behind adds such shifts
//! up. The bias is there to take the shift back at no cost (Nagel et al. 2019, Data-Free Quantization, section 4.2). It
//! is done in the order of the graph, so that each operator is corrected for what those before it left over.
//!
//! Beside a float product of outliers, it goes out of the float bias that is added to the sum of both.
//!
//! Left alone: operators without a bias, and those whose bias others read too.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, Tensor, ValueId};
use crate::passes::common::trial::Trial;
use crate::passes::quant8::base::{Base, Candidate};
use crate::passes::quant8::kernel::{Kernel, added_bias};
use crate::passes::quant8::plan::Plan;

/// Samples that errors are measured on at most: images give a mean over many places each.
const MAX_SAMPLES: usize = 16;

/// Steps that a bias is at most; the accumulator needs as much room again.
const MOST_STEPS: f64 = (1i64 << 30) as f64;

/// A kernel whose bias can be corrected, with what both models write there.
struct Target {
    /// The bias: 32-bit steps, or floats.
    bias: ValueId,
    /// The size of a step for each channel; `None` of floats.
    steps: Option<Vec<f32>>,
    /// What the float model writes, and the candidate before quantizing it.
    output: ValueId,
    /// Whether the channels lie on the second axis, else on the last.
    is_image: bool,
}

/// Corrects the biases of a candidate that was made by a plan; says how many.
///
/// # Errors
/// Fails where the candidate cannot be run on the samples, or an edit fails, which is a defect.
pub(in crate::passes::quant8) fn correct(
    base: &Base<'_>,
    plan: &Plan,
    candidate: &mut Candidate<'_>,
    trial: &Trial<'_>,
) -> Result<usize> {
    let places = places(&base.model().graph, &plan.kernels);
    let depths = depths(&base.model().graph, &plan.kernels, &places)?;
    let mut stages: BTreeMap<usize, Vec<Target>> = BTreeMap::new();
    for kernel in &plan.kernels {
        let Some(&place) = places.get(&kernel.node) else { continue };
        let target = target(&candidate.model.graph, kernel, place);
        if let (Some(target), Some(&depth)) = (target, depths.get(&kernel.node)) {
            stages.entry(depth).or_default().push(target);
        }
    }
    let stages: Vec<Vec<Target>> = stages.into_values().collect();
    let count = stages.iter().map(Vec::len).sum();
    if count == 0 {
        return Ok(0);
    }
    let all: Vec<&Target> = stages.iter().flatten().collect();
    let mut in_float = means(trial, base.model(), &all)?.into_iter();
    let progress = base.env().progress;
    progress.start("correcting biases", count as u64);
    for stage in &stages {
        let targets: Vec<&Target> = stage.iter().collect();
        let quantized = means(trial, &candidate.model, &targets)?;
        for ((target, quantized), float) in targets.iter().zip(quantized).zip(&mut in_float) {
            let shift = shifts(&float, &quantized);
            let graph = &mut candidate.model.graph;
            progress.advance(1);
            let Some(bias) = graph.constant(target.bias) else { continue };
            let bias = match &target.steps {
                Some(steps) => bias.to_i64().map(|levels| {
                    let levels = corrected(&levels, &shift, steps);
                    Tensor::from_i32([levels.len() as u64], &levels)
                }),
                None => bias.to_f32().map(|values| Tensor::from_f32(bias.shape(), &shifted(&values, &shift))),
            };
            if let Some(bias) = bias.transpose()? {
                graph.set_constant(target.bias, bias)?;
            }
        }
    }
    progress.finish();
    Ok(count)
}

/// How many kernels lie in a row before each, itself included: those of one depth do not depend on each other.
fn depths(
    graph: &Graph,
    kernels: &[Kernel],
    places: &BTreeMap<NodeId, (NodeId, usize)>,
) -> Result<BTreeMap<NodeId, usize>> {
    let last = |kernel: &Kernel| places.get(&kernel.node).map_or(kernel.node, |(node, _)| *node);
    let lasts: BTreeMap<NodeId, NodeId> = kernels.iter().map(|kernel| (last(kernel), kernel.node)).collect();
    let mut of_node: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for node in graph.topological_order()? {
        let read = graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node));
        let before = read.filter_map(|value| of_node.get(&graph.producer(value)?.0)).max().copied().unwrap_or(0);
        let depth = before + usize::from(lasts.contains_key(&node));
        of_node.insert(node, depth);
        if let Some(&kernel) = lasts.get(&node) {
            found.insert(kernel, depth);
        }
    }
    Ok(found)
}

/// The operator that adds each kernel's bias, and in which slot. Beside a product of outliers that is behind the sum alone.
fn places(graph: &Graph, kernels: &[Kernel]) -> BTreeMap<NodeId, (NodeId, usize)> {
    let place = |kernel: &Kernel| match kernel.is_split() {
        true => added_bias(graph, kernel.node, kernel.scales.len()),
        false => kernel.bias.clone(),
    };
    let found = kernels.iter().filter_map(|kernel| Some((kernel.node, place(kernel)?)));
    found.map(|(node, bias)| (node, (bias.node, bias.slot))).collect()
}

/// The kernel in the candidate; `None` where others read its bias.
fn target(graph: &Graph, kernel: &Kernel, (node, slot): (NodeId, usize)) -> Option<Target> {
    let read = graph.input(node, slot)?;
    let restored = graph.producer(read).map(|(restored, _)| restored);
    let (bias, steps) = match restored.filter(|&restored| graph.node(restored).is("DequantizeLinear")) {
        Some(restored) => {
            let steps = graph.constant(graph.input(restored, 1)?)?.to_f32()?;
            (graph.input(restored, 0)?, Some(steps))
        }
        None => (read, None),
    };
    let is_own = graph.use_count(bias) == 1 && !graph.value(bias).is_input() && graph.constant(bias).is_some();
    let output = graph.output(node, 0)?;
    is_own.then(|| Target { bias, steps, output, is_image: graph.node(kernel.node).is("Conv") })
}

/// The means of each channel: for each target, of each sample.
fn means(trial: &Trial<'_>, model: &Model, targets: &[&Target]) -> Result<Vec<Vec<Vec<f64>>>> {
    let outputs: Vec<ValueId> = targets.iter().map(|target| target.output).collect();
    let of = |place: usize, tensor: &Tensor| targets.get(place).map(|target| channel_means(tensor, target.is_image));
    let samples = trial.observe(model, &outputs, MAX_SAMPLES, of)?;
    let of_target = |place: usize| {
        samples.iter().map(|sample| sample.get(place).cloned().flatten().unwrap_or_default()).collect::<Vec<_>>()
    };
    Ok((0..targets.len()).map(of_target).collect())
}

/// The mean of each channel: on the second axis of images, on the last of everything else.
fn channel_means(tensor: &Tensor, is_image: bool) -> Vec<f64> {
    let shape = tensor.shape();
    let axis = if is_image { 1 } else { shape.len().saturating_sub(1) };
    let channels = shape.get(axis).copied().unwrap_or(1) as usize;
    let inner = shape.iter().skip(axis + 1).product::<u64>() as usize;
    let values = tensor.to_f32().unwrap_or_default();
    let mut sums = vec![0f64; channels];
    if values.is_empty() {
        return sums;
    }
    for (index, run) in values.chunks_exact(inner).enumerate() {
        sums[index % channels] += run.iter().map(|&value| f64::from(value)).sum::<f64>();
    }
    let count = (values.len() / channels) as f64;
    sums.iter_mut().for_each(|sum| *sum /= count);
    sums
}

/// By how much each channel is too large on all samples. What differs from sample to sample as much as it is off in the
/// mean may be chance: the shift is shrunk by the part of its square that is (James and Stein 1961).
fn shifts(float: &[Vec<f64>], quantized: &[Vec<f64>]) -> Vec<f64> {
    let channels = float.first().map_or(0, Vec::len);
    let count = float.len() as f64;
    let of_channel = |channel: usize| -> f64 {
        let errors: Vec<f64> = float
            .iter()
            .zip(quantized)
            .map(|(float, quantized)| match (float.get(channel), quantized.get(channel)) {
                (Some(float), Some(quantized)) => quantized - float,
                _ => 0.0,
            })
            .collect();
        let mean = errors.iter().sum::<f64>() / count;
        if errors.len() < 2 || !mean.is_finite() || mean == 0.0 {
            return 0.0;
        }
        let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (count - 1.0);
        mean * (1.0 - variance / count / (mean * mean)).max(0.0)
    };
    (0..channels).map(of_channel).collect()
}

/// A float bias without the shift.
fn shifted(values: &[f32], shifts: &[f64]) -> Vec<f32> {
    if shifts.len() != values.len() {
        return values.to_vec();
    }
    values.iter().zip(shifts).map(|(&value, &shift)| (f64::from(value) - shift) as f32).collect()
}

/// The bias without the shift, in steps.
fn corrected(levels: &[i64], shifts: &[f64], steps: &[f32]) -> Vec<i32> {
    let one = |((&level, &shift), &step): ((&i64, &f64), &f32)| {
        let corrected = level as f64 - shift / f64::from(step);
        // A bias that is beyond what the accumulator can hold was so before.
        if corrected.abs() <= MOST_STEPS { corrected.round_ties_even() as i32 } else { level as i32 }
    };
    if shifts.len() != levels.len() || steps.len() != levels.len() {
        return levels.iter().map(|&level| level as i32).collect();
    }
    levels.iter().zip(shifts).zip(steps).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_taken_along_the_channels() {
        let image = Tensor::from_f32([2, 2, 2], &[1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]).unwrap();
        assert_eq!(channel_means(&image, true), [2.5, 6.5]);
        assert_eq!(channel_means(&image, false), [3.5, 5.5]);
    }

    #[test]
    fn a_shift_that_all_samples_share_is_taken_whole_and_chance_is_not() {
        let float = [vec![1.0, 1.0], vec![2.0, 2.0]];
        let quantized = [vec![1.5, 2.0], vec![2.5, 1.0]];
        assert_eq!(shifts(&float, &quantized), [0.5, 0.0]);
        // Errors of 0.2 and 0.4: a mean of 0.3 with a variance of 0.02 over two samples.
        let shrunk = shifts(&[vec![0.0], vec![0.0]], &[vec![0.2], vec![0.4]])[0];
        assert!((shrunk - 0.3 * (1.0 - 0.01 / 0.09)).abs() < 1e-12);
        assert_eq!(shifts(&float[..1], &quantized[..1]), [0.0, 0.0], "one sample tells nothing of chance");
    }

    #[test]
    fn a_bias_moves_by_whole_steps() {
        assert_eq!(corrected(&[10, -5], &[0.5, -0.26], &[0.25, 0.25]), [8, -4]);
        assert_eq!(corrected(&[1], &[1e30], &[1.0]), [1]);
        assert_eq!(shifted(&[1.0, -2.0], &[0.25, -0.5]), [0.75, -1.5]);
        assert_eq!(shifted(&[1.0, -2.0], &[0.25]), [1.0, -2.0]);
    }
}
