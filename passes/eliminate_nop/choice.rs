//! Operators that choose, drop, add or combine elements: where they keep all of them.

use super::super::common::facts::{self, Ints};
use crate::ir::{Dim, Graph, NodeId};

/// An end that stands for "to the last element"; exporters write the largest 32-bit or 64-bit integer.
const PAST_EVERY_END: i64 = i32::MAX as i64;

/// Whether the output of such an operator is equal to its first input.
pub(super) fn hands_on(graph: &Graph, node: NodeId, opset: i64) -> bool {
    let held = graph.node(node);
    match held.op_type() {
        "Concat" => held.input_slots() == 1,
        "Split" => held.output_slots() == 1,
        "Dropout" => drops_nothing(graph, node, opset),
        "Pad" => pads_nothing(graph, node),
        "Slice" => slices_everything(graph, node),
        "Gather" => gathers_everything(graph, node),
        "Resize" | "Upsample" => resizes_by_one(graph, node, opset),
        "MaxPool" | "AveragePool" => pools_single_elements(graph, node),
        _ => false,
    }
}

/// A Dropout that does not train.
fn drops_nothing(graph: &Graph, node: NodeId, opset: i64) -> bool {
    match opset {
        ..7 => graph.node(node).attr_int("is_test", 0) != 0,
        7..12 => true,
        _ => match graph.input(node, 2) {
            None => true,
            Some(training) => graph.constant(training).and_then(|tensor| tensor.scalar_i64()) == Some(0),
        },
    }
}

fn pads_nothing(graph: &Graph, node: NodeId) -> bool {
    let old_name = graph.node(node).attr_ints("paddings").map(<[i64]>::to_vec);
    let pads = old_name.or_else(|| facts::ints(graph, node, "pads", 1).known());
    pads.is_some_and(|pads| pads.iter().all(|&pad| pad == 0))
}

/// A Slice from the first to the last element, one by one, along each of its axes.
fn slices_everything(graph: &Graph, node: NodeId) -> bool {
    let list = |attribute, slot| facts::ints(graph, node, attribute, slot);
    let (Some(starts), Some(ends)) = (list("starts", 1).known(), list("ends", 2).known()) else { return false };
    let axes = match list("axes", 3) {
        Ints::Absent => (0..starts.len() as i64).collect(),
        Ints::Known(axes) => axes,
        Ints::Computed => return false,
    };
    let is_step_one = match list("steps", 4) {
        Ints::Absent => true,
        Ints::Known(steps) => steps.iter().all(|&step| step == 1),
        Ints::Computed => false,
    };
    let shape = graph.input(node, 0).and_then(|value| facts::shape(graph, value));
    let reaches_end = |end: i64, axis: i64| {
        let extent = || {
            let shape = shape.as_ref()?;
            shape.0.get(facts::axis_from_front(axis, shape.rank())?).and_then(Dim::fixed)
        };
        end >= PAST_EVERY_END || extent().and_then(|extent| i64::try_from(extent).ok()).is_some_and(|e| end >= e)
    };
    is_step_one
        && axes.len() == starts.len()
        && axes.len() == ends.len()
        && starts.iter().all(|&start| start == 0)
        && ends.iter().zip(&axes).all(|(&end, &axis)| reaches_end(end, axis))
}

/// A Gather of every index of an axis, in order.
fn gathers_everything(graph: &Graph, node: NodeId) -> bool {
    let found = || {
        let shape = facts::shape(graph, graph.input(node, 0)?)?;
        let axis = facts::axis_from_front(graph.node(node).attr_int("axis", 0), shape.rank())?;
        let indices = graph.constant(graph.input(node, 1)?)?;
        let is_list = indices.rank() == 1 && Some(indices.shape().first()?) == shape.0.get(axis)?.fixed().as_ref();
        Some(is_list && indices.to_i64()?.iter().enumerate().all(|(place, &index)| usize::try_from(index) == Ok(place)))
    };
    found().unwrap_or(false)
}

/// A Resize or Upsample by the factor 1 along every axis.
fn resizes_by_one(graph: &Graph, node: NodeId, opset: i64) -> bool {
    let held = graph.node(node);
    if held.attr_str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
        return false;
    }
    // Before operator set 11 a Resize has no region of interest at input 1; Upsample never has.
    let slot = if held.is("Resize") && opset >= 11 { 2 } else { 1 };
    let scales = graph.input(node, slot).and_then(|value| graph.constant(value)).and_then(|tensor| tensor.to_f32());
    scales.is_some_and(|scales| !scales.is_empty() && scales.iter().all(|&scale| scale == 1.0))
}

/// A pool over windows of one element, each element once.
fn pools_single_elements(graph: &Graph, node: NodeId) -> bool {
    let held = graph.node(node);
    let all = |name: &str, wanted: i64| held.attr_ints(name).is_none_or(|list| list.iter().all(|&v| v == wanted));
    held.attr_ints("kernel_shape").is_some_and(|kernel| kernel.iter().all(|&extent| extent == 1))
        && all("strides", 1)
        && all("pads", 0)
        && held.output_slots() == 1
}
