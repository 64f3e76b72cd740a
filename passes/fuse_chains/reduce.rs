//! Reductions and their neighbours.

use super::super::common::merge::Merge;
use super::super::common::reduction::{self, Reduction};
use super::super::common::{facts, pattern};
use crate::ir::{AttrValue, Graph, NodeId};

/// A maximum of maxima, a minimum of minima. Sums would be rounded in another way.
pub(super) fn extreme_of_extreme(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    ["ReduceMax", "ReduceMin"].into_iter().find_map(|op_type| reduction::of_both(graph, node, op_type))
}

/// Axes that a reduction drops and an Unsqueeze puts back: the reduction keeps them.
pub(super) fn unsqueeze_of_reduction(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let (first, reduction) = reduction_before(graph, node, "Unsqueeze")?;
    let axes = facts::ints(graph, node, "axes", 1).known()?;
    let is_back = !reduction.keeps_axes && facts::axes_from_front(&axes, reduction.rank)? == reduction.axes;
    let count = reduction.rank.checked_sub(reduction.axes.len())? + axes.len();
    (is_back && count == reduction.rank).then_some(keepdims(first, 1))
}

/// Axes that a reduction keeps and a Squeeze removes: the reduction drops them.
pub(super) fn squeeze_of_reduction(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let (first, reduction) = reduction_before(graph, node, "Squeeze")?;
    let axes = facts::ints(graph, node, "axes", 1).known()?;
    let drops_all = reduction.keeps_axes && facts::axes_from_front(&axes, reduction.rank)? == reduction.axes;
    drops_all.then_some(keepdims(first, 0))
}

fn reduction_before(graph: &Graph, node: NodeId, op_type: &str) -> Option<(NodeId, Reduction)> {
    if !graph.node(node).is(op_type) {
        return None;
    }
    let value = graph.input(node, 0)?;
    graph.only_use(value)?;
    let (first, _) = graph.producer(value)?;
    pattern::written_by(graph, value, graph.node(first).op_type())?;
    Some((first, Reduction::of(graph, first)?))
}

fn keepdims(into: NodeId, keeps: i64) -> Merge {
    Merge::Absorbed { into, attribute: "keepdims", value: AttrValue::Int(keeps) }
}
