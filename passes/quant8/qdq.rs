//! The edits of static quantization: QuantizeLinear and DequantizeLinear around values, 8-bit weights, 32-bit biases.

use std::collections::{BTreeMap, BTreeSet};

use super::affine::{Layout, least_weight_scale, quantize_bias, quantize_weights, weight_scales};
use super::kernel::{Bias, Kernel};
use super::merged;
use super::options::Form;
use super::plan::Plan;
use super::platform::Platform;
use super::range::ActivationParameters;
use super::repair::rounding::Rounded;
use super::split::{self, Beside};
use super::weights::{self, Candidate};
use crate::error::Result;
use crate::ir::{Graph, NodeId, NodeSpec, Port, Tensor, ValueId, ValueType};
use crate::pass::Cx;
use crate::passes::common::role::Role;

/// What a model is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) platform: Platform,
    pub(super) opset: i64,
}

/// Carries a plan out, with the parameters of its sources. Weights are rounded to nearest, but for those that were with the
/// scales that they get here. Answers with what was put beside the integers.
///
/// # Errors
/// Fails where weights cannot be kept until they are written, or an edit fails, which is a defect.
pub(super) fn apply(
    graph: &mut Graph,
    mut plan: Plan,
    parameters: &BTreeMap<ValueId, ActivationParameters>,
    rounded: &Rounded,
    target: Target,
    cx: &mut Cx<'_>,
) -> Result<Beside> {
    let mut beside = Beside::default();
    for kernel in plan.kernels.iter_mut().filter(|kernel| kernel.is_split()) {
        kernel.tensor = split::apply(graph, kernel, &mut beside)?;
        // Fewer weights cannot need larger scales, and were finite before.
        kernel.scales = weight_scales(&kernel.tensor, Layout::along(kernel.tensor.shape(), &kernel.axis))
            .unwrap_or_else(|| std::mem::take(&mut kernel.scales));
    }
    quantize_constants(graph, &plan, parameters, rounded, target.platform, cx)?;
    let kernels: BTreeSet<NodeId> = plan.kernels.iter().map(|kernel| kernel.node).collect();
    let mut constants = BTreeMap::new();
    for (&value, &source) in &plan.values {
        let Some(&parameters) = parameters.get(&source) else { continue };
        if let std::collections::btree_map::Entry::Vacant(vacant) = constants.entry(source) {
            let name = graph.value(source).name().to_owned();
            let scale = graph.add_initializer(&format!("{name}_scale"), Tensor::from_f32([], &[parameters.scale])?);
            let zero = target.platform.zero_point(parameters.zero_point, target.opset)?;
            vacant.insert((scale, graph.add_initializer(&format!("{name}_zero_point"), zero)));
        }
        let Some(&(scale, zero_point)) = constants.get(&source) else { continue };
        let reads_integers = |node| plan.integer_nodes.contains(&node) || kernels.contains(&node);
        if plan.written_by_integers.contains(&value) {
            let restored = quantize_written(graph, value, scale, zero_point)?;
            if target.platform.divides_restored {
                let name = graph.value(value).name().to_owned();
                merged::keep_together(graph, restored, &name, reads_integers)?;
            }
        } else {
            quantize_read(graph, value, scale, zero_point, reads_integers)?;
        }
    }
    Ok(beside)
}

/// Puts a pair behind a value that an integer operator writes, and returns what it restores: everybody reads that, graph
/// outputs too.
fn quantize_written(graph: &mut Graph, value: ValueId, scale: ValueId, zero_point: ValueId) -> Result<ValueId> {
    let Some((near, _)) = graph.producer(value) else { return Ok(value) };
    let name = graph.value(value).name().to_owned();
    let quantized = graph.add_value(&format!("{name}_quantized"), ValueType::Unknown);
    let suffix = if graph.value(value).is_output() { "float" } else { "dequantized" };
    let restored = graph.add_value(&format!("{name}_{suffix}"), ValueType::Unknown);
    graph.add_node(dequantize(), &[Some(quantized), Some(scale), Some(zero_point)], &[restored], near)?;
    // A new value is neither input nor output, so that it can always take the place.
    let _ = graph.replace_value(value, restored)?;
    graph.add_node(quantize(), &[Some(value), Some(scale), Some(zero_point)], &[quantized], near)?;
    Ok(restored)
}

/// Puts a pair in front of the integer operators that read a float value; others go on reading the value itself.
fn quantize_read(
    graph: &mut Graph,
    value: ValueId,
    scale: ValueId,
    zero_point: ValueId,
    reads_integers: impl Fn(NodeId) -> bool,
) -> Result<()> {
    let readers: Vec<(NodeId, u32)> = graph
        .uses(value)
        .into_iter()
        .filter_map(|one| match one.port {
            Port::In(slot) if reads_integers(one.node) => Some((one.node, slot)),
            _ => None,
        })
        .collect();
    let Some(&(near, _)) = readers.first() else { return Ok(()) };
    let name = graph.value(value).name().to_owned();
    let inputs = [value, scale, zero_point];
    let quantized = graph.add_op(quantize(), &inputs, &format!("{name}_quantized"), near)?;
    let inputs = [quantized, scale, zero_point];
    let restored = graph.add_op(dequantize(), &inputs, &format!("{name}_dequantized"), near)?;
    readers.into_iter().try_for_each(|(node, slot)| graph.set_input(node, slot as usize, Some(restored)))
}

fn quantize() -> NodeSpec {
    NodeSpec::new("QuantizeLinear")
}

fn dequantize() -> NodeSpec {
    NodeSpec::new("DequantizeLinear")
}

/// Quantizes weights and biases of the kernels: weights once, biases for each kernel with the scale of its products.
fn quantize_constants(
    graph: &mut Graph,
    plan: &Plan,
    parameters: &BTreeMap<ValueId, ActivationParameters>,
    rounded: &Rounded,
    platform: Platform,
    cx: &mut Cx<'_>,
) -> Result<()> {
    let input_scale = |kernel: &Kernel| {
        let source = plan.values.get(&kernel.input)?;
        parameters.get(source).map(|p| p.scale)
    };
    let mut scales: BTreeMap<ValueId, Vec<f32>> = BTreeMap::new();
    for kernel in &plan.kernels {
        let Some(input_scale) = input_scale(kernel) else { continue };
        let scales = scales.entry(kernel.weight).or_insert_with(|| platform.weight_scales(&kernel.scales));
        // Biases that stay float need no room in the scale.
        let biases = kernel.bias.iter().filter(|_| platform.quantizes_biases);
        for (scale, &bias) in scales.iter_mut().zip(biases.flat_map(|bias| &bias.values)) {
            *scale = scale.max(least_weight_scale(bias, input_scale));
        }
    }
    let mut done = BTreeSet::new();
    for kernel in &plan.kernels {
        let (Some(input_scale), Some(scales)) = (input_scale(kernel), scales.get(&kernel.weight)) else { continue };
        let site = graph.site(kernel.node).with_tensor(graph.value(kernel.weight).describe());
        if let Some(bias) = kernel.bias.as_ref().filter(|_| platform.quantizes_biases) {
            replace_bias(graph, bias, input_scale, scales)?;
        }
        let mut figures = vec![("input_scale", f64::from(input_scale))];
        if kernel.is_split() {
            figures.push(("outlier_channels", kernel.outliers.len() as f64));
        }
        if done.insert(kernel.weight) {
            let quantized = match rounded.get(&kernel.weight).filter(|rounded| rounded.scales == *scales) {
                Some(rounded) => rounded.clone(),
                None => {
                    let layout = Layout::along(kernel.tensor.shape(), &kernel.axis);
                    let mut quantized = quantize_weights(&kernel.tensor, layout, scales.clone());
                    quantized.values = cx.env.scratch.park(quantized.values)?;
                    quantized
                }
            };
            figures.push(("weight_snr_db", quantized.energy.snr_db()));
            let role = Role { kept: kernel.axis.clone(), has_dq_kernel: true, is_factor: true };
            let (value, tensor, reader) = (kernel.weight, kernel.tensor.clone(), kernel.node);
            // ONNX Runtime takes Conv without zero points, Gemm and MatMul only with them.
            let form = if graph.node(kernel.node).is("Conv") { Form::Dq } else { Form::DqWithZeroPoints };
            weights::replace(graph, &Candidate { value, tensor, role, reader }, quantized, form)?;
        }
        cx.measured(
            site,
            format!("integer arithmetic, weights with a scale for each entry of axis {}", kernel.axis.start),
            &figures,
        );
    }
    let biases = plan.kernels.iter().filter_map(|kernel| kernel.bias.as_ref()).map(|bias| bias.value);
    biases.collect::<BTreeSet<_>>().into_iter().try_for_each(|bias| remove_unread_constant(graph, bias))
}

fn replace_bias(graph: &mut Graph, bias: &Bias, input_scale: f32, weight_scales: &[f32]) -> Result<()> {
    let name = graph.value(bias.value).name().to_owned();
    let shape = [bias.values.len() as u64];
    let levels = Tensor::from_i32(shape, &quantize_bias(&bias.values, input_scale, weight_scales))?;
    let scales: Vec<f32> = weight_scales.iter().map(|scale| input_scale * scale).collect();
    let levels = graph.add_initializer(&format!("{name}_quantized"), levels);
    let scales = graph.add_initializer(&format!("{name}_scale"), Tensor::from_f32(shape, &scales)?);
    let spec = dequantize().attr("axis", 0);
    let restored = graph.add_op(spec, &[levels, scales], &format!("{name}_dequantized"), bias.node)?;
    graph.set_input(bias.node, bias.slot, Some(restored))
}

/// Removes a constant that nothing reads any more.
fn remove_unread_constant(graph: &mut Graph, value: ValueId) -> Result<()> {
    if graph.use_count(value) > 0 || graph.value(value).is_input() {
        return Ok(());
    }
    match graph.producer(value) {
        Some((node, _)) => graph.remove_node(node),
        None => graph.remove_value(value),
    }
}
