//! Reductions over axes: what they reduce, and one in the place of two.

use super::facts::{self, Ints};
use super::merge::{Merge, Operand};
use super::pattern;
use crate::ir::{AttrValue, Graph, NodeId, Tensor};

/// Reductions that take any number of axes.
const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

/// Whether an operator is a reduction over any number of axes.
pub(in crate::passes) fn is_reduction(graph: &Graph, node: NodeId) -> bool {
    graph.node(node).is_any(REDUCTIONS)
}

/// What a reduction reduces.
pub(in crate::passes) struct Reduction {
    /// Axes of its input, sorted and counted from the front; at least one.
    pub(in crate::passes) axes: Vec<i64>,
    pub(in crate::passes) keeps_axes: bool,
    /// The number of axes of its input.
    pub(in crate::passes) rank: usize,
}

impl Reduction {
    /// `None` where that is not known, or it reduces nothing.
    pub(in crate::passes) fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let held = graph.node(node);
        let rank = facts::rank(graph, graph.input(node, 0))?;
        let named = if held.is_any(&["ArgMax", "ArgMin"]) {
            Ints::Known(vec![held.attr_int("axis", 0)])
        } else if is_reduction(graph, node) {
            facts::ints(graph, node, "axes", 1)
        } else {
            return None;
        };
        let every = || (held.attr_int("noop_with_empty_axes", 0) == 0).then(|| (0..rank as i64).collect());
        let axes = match named {
            Ints::Absent => every()?,
            Ints::Known(axes) if axes.is_empty() => every()?,
            Ints::Known(axes) => facts::axes_from_front(&axes, rank)?,
            Ints::Computed => return None,
        };
        (!axes.is_empty()).then_some(Self { axes, keeps_axes: held.attr_int("keepdims", 1) != 0, rank })
    }

    /// Axes of the input that are axes of the output.
    fn left(&self) -> Vec<i64> {
        (0..self.rank as i64).filter(|axis| self.keeps_axes || !self.axes.contains(axis)).collect()
    }
}

/// A reduction of one of the same kind, over the axes of both.
pub(in crate::passes) fn of_both(graph: &Graph, node: NodeId, op_type: &'static str) -> Option<Merge> {
    let value = graph.input(node, 0)?;
    if !graph.node(node).is(op_type) {
        return None;
    }
    let first = pattern::written_by(graph, value, op_type)?;
    graph.only_use(value)?;
    let (inner, outer) = (Reduction::of(graph, first)?, Reduction::of(graph, node)?);
    if inner.keeps_axes != outer.keeps_axes {
        return None;
    }
    let left = inner.left();
    let outer_axes = outer.axes.iter().map(|&axis| left.get(usize::try_from(axis).ok()?).copied());
    let mut axes: Vec<i64> = outer_axes.collect::<Option<_>>()?;
    axes.extend(inner.axes.iter().filter(|axis| !outer.keeps_axes || !outer.axes.contains(axis)));
    axes.sort_unstable();
    let source = Some(Operand::Value(graph.input(first, 0)?));
    let takes_attribute = |node: NodeId| graph.node(node).attr_ints("axes").is_some();
    let (inputs, attributes) = if takes_attribute(node) || takes_attribute(first) {
        (vec![source], vec![("axes", Some(AttrValue::Ints(axes)))])
    } else if graph.input(node, 1).is_some() && graph.input(first, 1).is_some() {
        let list = Tensor::from_i64([axes.len() as u64], &axes).ok()?;
        (vec![source, Some(Operand::New(list))], Vec::new())
    } else {
        // All axes are reduced by one of the two, and it does not say so by name.
        return None;
    };
    Some(Merge::Becomes { op_type, inputs, attributes })
}
