//! Cross-layer equalisation: channels of an activation that share a scale get much the same range.
//!
//! ```text
//! x = Relu(Conv(z, w1)); y = Conv(x, w2)  =>  x' = Relu(Conv(z, w1 / s)); y = Conv(x', w2 * s)
//! ```
//!
//! A channel whose range is a hundredth of the widest one keeps two of its eight bits. Dividing each channel by a number
//! of its own, and multiplying by that where it is read, leaves what the model computes as it is but for rounding
//! (Nagel et al. 2019, Data-Free Quantization, section 4.1). Depthwise convolutions, which have a weight scale for each
//! channel, gain most; where channels are mixed, the weights that read a channel become larger as its activations become
//! smaller, so that the predicted noise of both decides.
//!
//! Left alone: groups of values that reach something without constants to scale (`groups`), that no integers read, or
//! that are predicted to gain less than [`LEAST_GAIN`].

use std::collections::{BTreeMap, BTreeSet};

use super::groups::{Group, Place, groups, own_weights, per_channel};
use super::noise::{Moments, Summary, Weights};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, NodeSpec, Tensor, ValueId};
use crate::passes::common::trial::Trial;
use crate::passes::quant8::plan::Plan;

/// The noise of what reads a group has to shrink to this part.
const LEAST_GAIN: f64 = 0.8;

/// How much of the ranges goes into the scales. Never all: channels that were small on the calibration data need room to be
/// larger on other.
const EXPONENTS: &[f32] = &[0.5, 0.65, 0.8];

/// The part of a range below zero that is tried, in proportion to that above. Where most channels are nearly positive, it
/// pays to scale the others down for it.
const NEGATIVE_PARTS: &[f32] = &[1.0, 0.5, 0.25, 0.125, 0.0625];

/// Channels with less than this part of the widest range are scaled as if they had it.
const LEAST_RANGE: f32 = 1e-3;

/// Samples that ranges of channels are measured on at most.
const MAX_SAMPLES: usize = 32;

/// Scales the channels of a model where that is predicted to make the planned integers more exact; says how many groups of
/// values were.
///
/// # Errors
/// Fails where the model cannot be run on the samples, or an edit fails, which is a defect.
pub(in crate::passes::quant8) fn equalize(model: &mut Model, plan: &Plan, trial: &Trial<'_>) -> Result<usize> {
    let order = model.graph.topological_order()?;
    let kernels: BTreeSet<NodeId> =
        plan.kernels.iter().filter(|kernel| !kernel.is_split()).map(|kernel| kernel.node).collect();
    let is_read =
        |group: &Group| group.places.iter().any(|place| matches!(place, Place::Reader(node) if kernels.contains(node)));
    let groups: Vec<Group> = groups(&model.graph, &order).into_iter().filter(is_read).collect();
    if groups.is_empty() {
        return Ok(0);
    }
    let moments = measure(model, &groups, trial)?;
    let mut done = 0;
    for group in &groups {
        let seen: Option<Vec<&Vec<Moments>>> = group.values.iter().map(|value| moments.get(value)).collect();
        if seen.is_none() {
            continue;
        }
        let reads = reads(&model.graph, group, &kernels, &moments);
        if let Some(scales) = choose(&reads) {
            apply(&mut model.graph, group, &scales)?;
            done += 1;
        }
    }
    Ok(done)
}

/// What was seen of the channels of every value of the groups; nothing of values without as many channels as their group.
fn measure(model: &Model, groups: &[Group], trial: &Trial<'_>) -> Result<BTreeMap<ValueId, Vec<Moments>>> {
    let values: Vec<(ValueId, &Group)> =
        groups.iter().flat_map(|group| group.values.iter().map(move |&value| (value, group))).collect();
    let taps: Vec<ValueId> = values.iter().map(|(value, _)| *value).collect();
    let of = |place: usize, tensor: &Tensor| values.get(place).and_then(|(_, group)| moments(tensor, group));
    let samples = trial.observe(model, &taps, MAX_SAMPLES, of)?;
    let merged = taps.iter().enumerate().filter_map(|(place, &value)| {
        let mut all: Option<Vec<Moments>> = None;
        for sample in &samples {
            let one = sample.get(place)?.as_ref()?;
            match &mut all {
                None => all = Some(one.clone()),
                Some(all) => all.iter_mut().zip(one).for_each(|(all, one)| {
                    all.min = all.min.min(one.min);
                    all.max = all.max.max(one.max);
                    all.mean_square += one.mean_square;
                }),
            }
        }
        let mut all = all?;
        all.iter_mut().for_each(|one| one.mean_square /= samples.len() as f64);
        Some((value, all))
    });
    Ok(merged.collect())
}

/// `None` where the tensor is not of the shape that the group has, or holds what is not finite.
fn moments(tensor: &Tensor, group: &Group) -> Option<Vec<Moments>> {
    if tensor.rank() != group.rank || tensor.shape()[1] != group.channels as u64 || tensor.is_empty() {
        return None;
    }
    let values = tensor.to_f32()?;
    let inner = tensor.shape()[2..].iter().product::<u64>() as usize;
    let count = (values.len() / group.channels) as f64;
    let mut all = vec![Moments { min: f32::INFINITY, max: f32::NEG_INFINITY, mean_square: 0.0 }; group.channels];
    for (index, run) in values.chunks_exact(inner).enumerate() {
        let one = &mut all[index % group.channels];
        for &value in run {
            one.min = one.min.min(value);
            one.max = one.max.max(value);
            one.mean_square += f64::from(value) * f64::from(value) / count;
        }
    }
    all.iter().all(|one| one.mean_square.is_finite()).then_some(all)
}

/// What integers read of a group: the channels, and the weights they are multiplied with.
fn reads<'m>(
    graph: &Graph,
    group: &Group,
    kernels: &BTreeSet<NodeId>,
    moments: &'m BTreeMap<ValueId, Vec<Moments>>,
) -> Vec<(&'m [Moments], Summary)> {
    let readers = group.places.iter().filter_map(|place| match *place {
        Place::Reader(node) if kernels.contains(&node) => Some(node),
        _ => None,
    });
    let read = readers.filter_map(|node| {
        let (_, tensor) = own_weights(graph, node)?;
        let shape = tensor.shape();
        let groups = graph.node(node).attr_int("group", 1).max(1) as usize;
        let values = tensor.to_f32()?;
        let weights =
            Weights { values: &values, outputs: shape[0] as usize, inputs_of_group: shape[1] as usize, groups };
        let summary = Summary::of(weights).filter(|summary| summary.channels() == group.channels)?;
        Some((moments.get(&graph.input(node, 0)?)?.as_slice(), summary))
    });
    read.collect()
}

/// The number to divide each channel by; `None` where none is predicted to gain enough.
fn choose(reads: &[(&[Moments], Summary)]) -> Option<Vec<f32>> {
    let channels = reads.first()?.1.channels();
    let noise = |scales: &[f32]| -> f64 { reads.iter().map(|(input, weights)| weights.noise(input, scales)).sum() };
    let mut weights = vec![0f32; channels];
    for (_, summary) in reads.iter().filter(|(_, summary)| summary.mixes()) {
        weights.iter_mut().zip(summary.channel_maxima()).for_each(|(all, one)| *all = all.max(one));
    }
    let least_weight = LEAST_RANGE * weights.iter().copied().fold(0.0, f32::max);
    let mut best: Option<(f64, Vec<f32>)> = None;
    for &part in NEGATIVE_PARTS {
        let reach = |channel: usize| {
            reads.iter().map(|(input, _)| input[channel].max.max(-input[channel].min / part)).fold(0.0, f32::max)
        };
        let reaches: Vec<f32> = (0..channels).map(reach).collect();
        let least_reach =
            LEAST_RANGE * reads.iter().flat_map(|(input, _)| *input).map(|one| one.absmax()).fold(0.0, f32::max);
        if least_reach < f32::MIN_POSITIVE {
            return None;
        }
        for &exponent in EXPONENTS {
            let scale = |(&reach, &weight): (&f32, &f32)| {
                let of_weights = if least_weight > 0.0 { weight.max(least_weight).powf(1.0 - exponent) } else { 1.0 };
                reach.max(least_reach).powf(exponent) / of_weights
            };
            let scales = centred(reaches.iter().zip(&weights).map(scale).collect());
            let noise = noise(&scales);
            if best.as_ref().is_none_or(|(least, _)| noise < *least) {
                best = Some((noise, scales));
            }
        }
    }
    let (least, scales) = best?;
    (least < LEAST_GAIN * noise(&vec![1.0; channels])).then_some(scales)
}

/// The same in proportion, around 1.
fn centred(scales: Vec<f32>) -> Vec<f32> {
    let mean = scales.iter().map(|&scale| f64::from(scale).ln()).sum::<f64>() / scales.len().max(1) as f64;
    let centre = mean.exp() as f32;
    scales.into_iter().map(|scale| scale / centre).collect()
}

/// Divides the values of a group by a number a channel, in the constants around it.
fn apply(graph: &mut Graph, group: &Group, scales: &[f32]) -> Result<()> {
    let inverse: Vec<f32> = scales.iter().map(|scale| 1.0 / scale).collect();
    for place in &group.places {
        match *place {
            Place::Reader(node) => scale_weights(graph, node, scales, true)?,
            Place::Writer(node) => {
                scale_weights(graph, node, &inverse, false)?;
                scale_constant(graph, node, 2, &inverse, None)?;
            }
            Place::Term(node, slot) | Place::FactorBefore(node, slot) => {
                scale_constant(graph, node, slot, &inverse, Some(group.rank))?;
            }
            Place::FactorBehind(node, slot) => scale_constant(graph, node, slot, scales, Some(group.rank))?,
            Place::Behind(node) => multiply_behind(graph, node, &inverse, group.rank)?,
        }
    }
    Ok(())
}

/// Multiplies the weights of a convolution by a number for each channel of what it reads, or of what it writes.
fn scale_weights(graph: &mut Graph, node: NodeId, factors: &[f32], of_input: bool) -> Result<()> {
    let Some((weight, tensor)) = own_weights(graph, node) else { return Ok(()) };
    let (first, second) = (tensor.shape()[0] as usize, tensor.shape()[1] as usize);
    let groups = graph.node(node).attr_int("group", 1).max(1) as usize;
    let outputs_of_group = first / groups;
    let is_transposed = graph.node(node).is("ConvTranspose");
    let mut values = tensor.to_f32().unwrap_or_default();
    let taps = values.len() / (first * second).max(1);
    for (row, taps) in values.chunks_exact_mut(taps.max(1)).enumerate() {
        let (outer, inner) = (row / second, row % second);
        let channel = match of_input && !is_transposed {
            true => outer / outputs_of_group * second + inner,
            // The first axis is that of the outputs, or that of the inputs of ConvTranspose.
            false => outer,
        };
        taps.iter_mut().for_each(|weight| *weight *= factors[channel]);
    }
    graph.set_constant(weight, Tensor::from_f32(tensor.shape(), &values)?)
}

/// Gives an operator a constant of its own in the place of one it reads: that, times a number a channel. Next to values of
/// `rank` axes it is laid along their second; a bias has one axis.
fn scale_constant(graph: &mut Graph, node: NodeId, slot: usize, factors: &[f32], rank: Option<usize>) -> Result<()> {
    let Some(old) = graph.input(node, slot) else { return Ok(()) };
    let Some(constant) = graph.constant(old) else { return Ok(()) };
    let values = match rank {
        Some(rank) => per_channel(&constant, factors.len(), rank),
        None => constant.to_f32(),
    };
    let values: Vec<f32> =
        values.unwrap_or_default().iter().zip(factors).map(|(value, factor)| value * factor).collect();
    let mut shape = vec![factors.len() as u64];
    shape.resize(rank.map_or(1, |rank| rank - 1), 1);
    let name = graph.value(old).name().to_owned();
    let new = graph.add_initializer(&format!("{name}_equalized"), Tensor::from_f32(shape, &values)?);
    graph.set_input(node, slot, Some(new))?;
    graph.remove_unread_constant(old)?;
    Ok(())
}

/// Multiplies what an operator writes by a number a channel.
fn multiply_behind(graph: &mut Graph, node: NodeId, factors: &[f32], rank: usize) -> Result<()> {
    let Some(output) = graph.output(node, 0) else { return Ok(()) };
    let name = graph.value(output).name().to_owned();
    let mut shape = vec![factors.len() as u64];
    shape.resize(rank - 1, 1);
    let factors = graph.add_initializer(&format!("{name}_even"), Tensor::from_f32(shape, factors)?);
    let scaled = graph.add_value(&format!("{name}_evened"), graph.value(output).ty().clone());
    graph.set_inferred(scaled, graph.value(output).inferred().cloned())?;
    graph.replace_reads(output, scaled)?;
    graph.add_node(NodeSpec::new("Mul"), &[Some(output), Some(factors)], &[scaled], node)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(min: f32, max: f32) -> Moments {
        Moments { min, max, mean_square: f64::from(max * max) / 3.0 }
    }

    fn depthwise(channels: usize) -> Summary {
        let values = vec![1.0; channels];
        Summary::of(Weights { values: &values, outputs: channels, inputs_of_group: 1, groups: channels }).unwrap()
    }

    #[test]
    fn channels_of_a_depthwise_convolution_get_one_range() {
        let input = [moments(0.0, 100.0), moments(0.0, 1.0)];
        let scales = choose(&[(&input, depthwise(2))]).unwrap();
        // 100 to the power of 0.8, around 1.
        assert!((scales[0] - 6.3096).abs() < 1e-3 && (scales[1] - 1.0 / 6.3096).abs() < 1e-4, "{scales:?}");
    }

    #[test]
    fn channels_of_one_range_are_left_alone() {
        let input = [moments(-1.0, 1.0), moments(-1.1, 0.9)];
        assert_eq!(choose(&[(&input, depthwise(2))]), None);
        let nothing = [moments(0.0, 0.0), moments(0.0, 0.0)];
        assert_eq!(choose(&[(&nothing, depthwise(2))]), None);
    }
}
