//! Puts layers in a row in the place of one.
//!
//! The layer itself becomes the last of them: it keeps its name, its bias and what it writes. What tells where windows lie
//! goes to the layer with the kernel, since a layer of single points in front of it maps zeros of a padding to zeros.

use super::factored::Factored;
use super::form::Split;
use super::plan::{Candidate, Kind};
use crate::error::Result;
use crate::ir::{Graph, NodeId, NodeSpec, Tensor};
use crate::passes::common::edit::drop_unread_constants;

/// Attributes with a number for each axis of a kernel.
const BY_AXIS: [&str; 2] = ["strides", "dilations"];

/// What each of the layers is called after.
const SUFFIXES: [&str; 3] = ["first", "middle", "last"];

/// Replaces a layer in a copy of a graph, and shifts the bias behind it.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn put(original: &Graph, copy: &mut Graph, candidate: &Candidate, factored: &Factored) -> Result<()> {
    if let (Some(bias), Some(shifts)) = (candidate.bias, &factored.shifts) {
        bias.shift(original, copy, shifts)?;
    }
    let (node, value) = (candidate.layer.node, candidate.weights.value);
    let Some((last, before)) = factored.parts.split_last() else { return Ok(()) };
    let name = copy.value(value).name().to_owned();
    let written = copy.output(node, 0).map_or(String::new(), |output| copy.value(output).name().to_owned());
    let specs = specs(original, candidate, factored);
    let mut input = copy.input(node, 0);
    for (place, (part, spec)) in before.iter().zip(specs).enumerate() {
        let suffix = SUFFIXES[place.min(1)];
        let own_name = original.node(node).name();
        let spec = if own_name.is_empty() { spec } else { spec.name(format!("{own_name}_{suffix}")) };
        let weights = copy.add_initializer(&format!("{name}_{suffix}"), part.clone());
        let inputs = [input, Some(weights)].into_iter().flatten().collect::<Vec<_>>();
        input = Some(copy.add_op(spec, &inputs, &format!("{written}_{suffix}"), node)?);
    }
    let weights = copy.add_initializer(&format!("{name}_{}", SUFFIXES[2]), last.clone());
    copy.set_input(node, 0, input)?;
    copy.set_input(node, 1, Some(weights))?;
    adapt(copy, candidate, factored, last)?;
    drop_unread_constants(copy, vec![value])
}

/// The operators in front of the last.
fn specs(graph: &Graph, candidate: &Candidate, factored: &Factored) -> Vec<NodeSpec> {
    let node = candidate.layer.node;
    let held = graph.node(node);
    if candidate.kind != Kind::Conv {
        let is_transposed = held.is("Gemm") && held.attr_int("transA", 0) != 0;
        return vec![if is_transposed { NodeSpec::new("Gemm").attr("transA", 1i64) } else { NodeSpec::new("MatMul") }];
    }
    let pointwise = NodeSpec::new("Conv");
    match factored.form.inputs {
        None => vec![windows(graph, node, None)],
        Some((Split::Channels, _)) => vec![pointwise, windows(graph, node, None)],
        Some((Split::Columns, _)) => vec![windows(graph, node, Some(0)), windows(graph, node, Some(1))],
    }
}

/// A convolution with the windows of another, or with what they are along one of two axes.
fn windows(graph: &Graph, node: NodeId, axis: Option<usize>) -> NodeSpec {
    let held = graph.node(node);
    let mut spec = NodeSpec::new("Conv");
    let auto_pad = held.attr_str("auto_pad", "");
    if !auto_pad.is_empty() {
        spec = spec.attr("auto_pad", auto_pad.to_owned());
    }
    for (name, values) in along(graph, node, axis) {
        spec = spec.attr(name, values);
    }
    spec
}

/// The attributes with a number for each axis, or with those of one axis of two and what changes nothing along the other.
fn along(graph: &Graph, node: NodeId, axis: Option<usize>) -> Vec<(&'static str, Vec<i64>)> {
    let held = graph.node(node);
    let given = |name: &'static str| Some((name, held.attr_ints(name)?));
    let only = |(name, values): (&'static str, &[i64]), neutral: i64| {
        let rank = if name == "pads" { values.len() / 2 } else { values.len() };
        let stays = |place: usize| axis.is_none_or(|axis| place % rank.max(1) == axis);
        let kept = values.iter().enumerate().map(|(place, &value)| if stays(place) { value } else { neutral });
        (name, kept.collect::<Vec<i64>>())
    };
    let ones = BY_AXIS.into_iter().chain(["kernel_shape"]).filter_map(given).map(|one| only(one, 1));
    ones.chain(given("pads").map(|pads| only(pads, 0))).collect()
}

/// Makes the layer itself the last of those that take its place.
fn adapt(graph: &mut Graph, candidate: &Candidate, factored: &Factored, weights: &Tensor) -> Result<()> {
    let node = candidate.layer.node;
    if candidate.kind != Kind::Conv {
        graph.remove_attr(node, "transA")?;
        return Ok(());
    }
    match (factored.form.inputs, factored.form.outputs) {
        // The kernel is in the last layer.
        (Some((Split::Channels, _)), None) => Ok(()),
        (Some((Split::Columns, _)), None) => {
            for (name, values) in along(graph, node, Some(1)) {
                graph.set_attr(node, name, values)?;
            }
            Ok(())
        }
        _ => {
            for name in BY_AXIS.into_iter().chain(["pads", "auto_pad"]) {
                graph.remove_attr(node, name)?;
            }
            if graph.node(node).attr("kernel_shape").is_some() {
                graph.set_attr(node, "kernel_shape", vec![1i64; weights.rank() - 2])?;
            }
            Ok(())
        }
    }
}
