//! Operators that take tensors apart and put them together.

use super::super::common::facts::{self, Ints};
use super::super::common::merge::{Merge, Operand};
use super::super::common::{edit, pattern};
use super::layout::Slice;
use crate::ir::{AttrValue, Dim, Graph, NodeId, ValueId};

/// An end that stands for "to the last element".
const PAST_EVERY_END: i64 = i32::MAX as i64;

/// The first operator set in which Shape takes a part of the shape.
const PARTS_OF_SHAPES_OPSET: i64 = 15;

/// A Concat of Concats along the same axis.
pub(super) fn concat_of_concat(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Concat") {
        return None;
    }
    let axis = graph.node(node).attr_int("axis", 1);
    let inner = |value: ValueId| {
        graph.only_use(value)?;
        let first = pattern::written_by(graph, value, "Concat")?;
        (graph.node(first).attr_int("axis", 1) == axis).then_some(first)
    };
    let read: Vec<ValueId> = graph.node_inputs(node).into_iter().collect::<Option<_>>()?;
    if !read.iter().any(|&value| inner(value).is_some()) {
        return None;
    }
    let mut inputs = Vec::new();
    for value in read {
        match inner(value) {
            Some(first) => inputs.extend(graph.node_inputs(first)),
            None => inputs.push(Some(value)),
        }
    }
    let inputs = inputs.into_iter().map(|value| value.map(Operand::Value)).collect();
    Some(Merge::becomes("Concat", inputs))
}

/// A Concat of all that a Split made, in order and along the same axis.
pub(super) fn concat_of_split(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Concat") {
        return None;
    }
    let (split, _) = graph.producer(graph.input(node, 0)?)?;
    let held = graph.node(split);
    pattern::written_by(graph, graph.input(node, 0)?, "Split")?;
    let is_all = graph.node_outputs(split) == graph.node_inputs(node);
    let is_same_axis = held.attr_int("axis", 0) == graph.node(node).attr_int("axis", 1);
    (is_all && is_same_axis).then_some(Merge::HandsOn(graph.input(split, 0)?))
}

/// A Split that takes a Concat apart into what was put together.
pub(super) fn split_of_concat(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Split") {
        return None;
    }
    let concat = pattern::written_by(graph, graph.input(node, 0)?, "Concat")?;
    let axis = graph.node(concat).attr_int("axis", 1);
    let parts: Vec<ValueId> = graph.node_inputs(concat).into_iter().collect::<Option<_>>()?;
    let outputs = graph.node_outputs(node);
    if graph.node(node).attr_int("axis", 0) != axis || parts.len() != outputs.len() {
        return None;
    }
    let extent = |&part: &ValueId| {
        let shape = facts::shape(graph, part)?;
        let place = if axis < 0 { axis + i64::try_from(shape.rank()).ok()? } else { axis };
        match shape.0.get(usize::try_from(place).ok()?)? {
            Dim::Fixed(extent) => i64::try_from(*extent).ok(),
            _ => None,
        }
    };
    let extents: Vec<i64> = parts.iter().map(extent).collect::<Option<_>>()?;
    let is_cut_there = match facts::ints(graph, node, "split", 1) {
        Ints::Known(sizes) => sizes == extents,
        // In equal parts.
        Ints::Absent => extents.windows(2).all(|pair| pair[0] == pair[1]),
        Ints::Computed => false,
    };
    let is_free = |&output: &ValueId| {
        let held = graph.value(output);
        !held.is_output() && !held.is_pinned() && !held.is_kept()
    };
    if !is_cut_there || !outputs.iter().flatten().all(is_free) {
        return None;
    }
    Some(Merge::By(Box::new(move |graph, node| {
        let mut again = Vec::new();
        for (part, output) in parts.into_iter().zip(graph.node_outputs(node)) {
            let Some(output) = output else { continue };
            again.extend(graph.uses(output).into_iter().map(|one| one.node));
            graph.replace_reads(output, part)?;
        }
        let read = graph.node_inputs(node).into_iter().flatten().collect();
        graph.remove_node(node)?;
        edit::drop_unread_chain(graph, read)?;
        Ok(again)
    })))
}

/// A Concat of Slices that follow each other, from the first element to the last.
pub(super) fn concat_of_slices(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Concat") {
        return None;
    }
    let axis = graph.node(node).attr_int("axis", 1);
    let (mut source, mut reached) = (None, 0);
    for value in graph.node_inputs(node) {
        let slice = pattern::written_by(graph, value?, "Slice")?;
        let input = graph.input(slice, 0)?;
        let cut = Slice::of(graph, slice)?;
        let [(start, end, 1)] = cut.ranges[..] else { return None };
        // An end counted from the back may lie before the start, and the next Slice would begin there.
        let follows = cut.axes == [axis] && start == reached && end > start;
        if !follows || *source.get_or_insert(input) != input || reached >= PAST_EVERY_END {
            return None;
        }
        reached = end;
    }
    // Beyond the last element the parts are empty, so that it does not matter where it lies.
    (reached >= PAST_EVERY_END).then_some(Merge::HandsOn(source?))
}

/// A Slice of a shape is the shape of some axes.
pub(super) fn slice_of_shape(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Slice") || opset < PARTS_OF_SHAPES_OPSET {
        return None;
    }
    let value = graph.input(node, 0)?;
    let shape = pattern::written_by(graph, value, "Shape")?;
    graph.only_use(value)?;
    let cut = Slice::of(graph, node)?;
    let [(start, end, 1)] = cut.ranges[..] else { return None };
    if !graph.node(shape).attributes().is_empty() || !matches!(cut.axes[..], [0 | -1]) {
        return None;
    }
    let end = (end < PAST_EVERY_END).then_some(AttrValue::Int(end));
    let attributes = vec![("start", Some(AttrValue::Int(start))), ("end", end)];
    let inputs = vec![Some(Operand::Value(graph.input(shape, 0)?))];
    Some(Merge::Becomes { op_type: "Shape", inputs, attributes })
}
