//! Questions that rules ask of the operators around them.

use super::facts;
use crate::ir::{Graph, NodeId, Tensor, ValueId};

/// The operator of that type that writes a value at its first output.
pub(in crate::passes) fn written_by(graph: &Graph, value: ValueId, op_type: &str) -> Option<NodeId> {
    let (node, slot) = graph.producer(value)?;
    let held = graph.node(node);
    (slot == 0 && held.is(op_type) && !facts::depends_on_caller(held)).then_some(node)
}

/// [`written_by`], where nothing else reads the value.
pub(in crate::passes) fn written_only_for(graph: &Graph, value: ValueId, op_type: &str) -> Option<NodeId> {
    graph.only_use(value)?;
    written_by(graph, value, op_type)
}

/// The operand of a binary operator that is computed, its slot, and the constant that is the other.
pub(in crate::passes) fn constant_operand(graph: &Graph, node: NodeId) -> Option<(ValueId, usize, Tensor)> {
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    match (graph.constant(a), graph.constant(b)) {
        (None, Some(tensor)) => Some((a, 0, tensor)),
        (Some(tensor), None) => Some((b, 1, tensor)),
        _ => None,
    }
}

/// The computed operand of a binary operator, its slot, and the one number that is the other; where broadcasting the
/// number does not change the shape.
pub(in crate::passes) fn number_operand(graph: &Graph, node: NodeId) -> Option<(ValueId, usize, f64)> {
    let (value, slot, tensor) = constant_operand(graph, node)?;
    let number = match tensor.to_f64() {
        Some(numbers) => *numbers.first().filter(|_| numbers.len() == 1)?,
        None => tensor.scalar_i64()? as f64,
    };
    let keeps_rank = tensor.rank() == 0 || facts::rank(graph, Some(value)).is_some_and(|rank| tensor.rank() <= rank);
    keeps_rank.then_some((value, slot, number))
}

/// [`number_operand`] of an operator of which the operands may be exchanged, or that has the number on the right.
pub(in crate::passes) fn number_behind(graph: &Graph, node: NodeId) -> Option<(ValueId, f64)> {
    let (value, slot, number) = number_operand(graph, node)?;
    (slot == 0 || graph.node(node).is_any(&["Add", "Mul"])).then_some((value, number))
}

/// Whether a number is the given one, as exact as a 16-bit float can say it.
pub(in crate::passes) fn is_about(number: f64, wanted: f64) -> bool {
    (number - wanted).abs() <= wanted.abs() * 1e-6
}
