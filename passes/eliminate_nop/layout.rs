//! Operators that move elements: where they move none.

use super::super::common::facts::{self, Ints};
use crate::ir::{Dim, Graph, NodeId, Shape};

/// Whether the output of an operator that moves elements is equal to its first input.
pub(super) fn hands_on(graph: &Graph, node: NodeId, opset: i64) -> bool {
    let held = graph.node(node);
    match held.op_type() {
        "Transpose" => keeps_axes(graph, node),
        "Reshape" => keeps_extents(graph, node) || keeps_declared_shape(graph, node),
        "Flatten" => {
            let rank = facts::rank(graph, graph.input(node, 0));
            (rank == Some(2) && matches!(held.attr_int("axis", 1), 1 | -1)) || keeps_declared_shape(graph, node)
        }
        "Squeeze" => match facts::ints(graph, node, "axes", 1) {
            Ints::Absent => input_shape(graph, node)
                .is_some_and(|shape| shape.0.iter().all(|dim| dim.fixed().is_some_and(|extent| extent != 1))),
            _ => false,
        },
        "Unsqueeze" => facts::ints(graph, node, "axes", 1).known().is_some_and(|axes| axes.is_empty()),
        "Expand" => expands_nothing(graph, node) || keeps_declared_shape(graph, node),
        "Tile" => opset >= 6 && constant_ints(graph, node, 1).is_some_and(|repeats| repeats.iter().all(|&n| n == 1)),
        "DepthToSpace" | "SpaceToDepth" => held.attr_int("blocksize", 0) == 1,
        _ => false,
    }
}

fn input_shape(graph: &Graph, node: NodeId) -> Option<Shape> {
    graph.input(node, 0).and_then(|value| facts::shape(graph, value))
}

fn constant_ints(graph: &Graph, node: NodeId, slot: usize) -> Option<Vec<i64>> {
    graph.constant(graph.input(node, slot)?)?.to_i64()
}

/// Whether the types in the file say that input and output have one shape. Only for operators that keep the order of
/// elements, and repeat none then.
fn keeps_declared_shape(graph: &Graph, node: NodeId) -> bool {
    let output = graph.output(node, 0).and_then(|value| facts::shape(graph, value));
    matches!((input_shape(graph, node), output), (Some(before), Some(after)) if facts::surely_equal(&before, &after))
}

fn keeps_axes(graph: &Graph, node: NodeId) -> bool {
    match graph.node(node).attr_ints("perm") {
        Some(perm) => perm.iter().enumerate().all(|(place, &axis)| usize::try_from(axis) == Ok(place)),
        None => facts::rank(graph, graph.input(node, 0)).is_some_and(|rank| rank < 2),
    }
}

/// Whether the target of a Reshape repeats the shape of its input: each extent, 0 for "as it is", or one -1 for what
/// remains.
fn keeps_extents(graph: &Graph, node: NodeId) -> bool {
    let target = match facts::ints(graph, node, "shape", 1) {
        Ints::Known(target) => target,
        _ => return false,
    };
    let copies_zeros = graph.node(node).attr_int("allowzero", 0) == 0;
    let Some(shape) = input_shape(graph, node).filter(|shape| shape.rank() == target.len()) else { return false };
    let fits = |(&wanted, dim): (&i64, &Dim)| match wanted {
        0 if copies_zeros => true,
        wanted => dim.fixed().and_then(|extent| i64::try_from(extent).ok()) == Some(wanted),
    };
    let misfits = target.iter().zip(&shape.0).filter(|&pair| !fits(pair)).collect::<Vec<_>>();
    matches!(misfits.as_slice(), [] | [(-1, _)])
}

/// Whether an Expand broadcasts to extents that its input has anyway.
fn expands_nothing(graph: &Graph, node: NodeId) -> bool {
    let Some(target) = constant_ints(graph, node, 1) else { return false };
    if target.is_empty() {
        return true;
    }
    let input = graph.input(node, 0);
    if target.iter().all(|&extent| extent == 1) {
        return facts::rank(graph, input).is_some_and(|rank| target.len() <= rank);
    }
    let Some(shape) = input_shape(graph, node) else { return false };
    let Some(offset) = shape.rank().checked_sub(target.len()) else { return false };
    let fits = |(place, &extent): (usize, &i64)| {
        let present = shape.0.get(offset + place).and_then(Dim::fixed).and_then(|extent| i64::try_from(extent).ok());
        extent == 1 || present == Some(extent)
    };
    target.iter().enumerate().all(fits)
}
