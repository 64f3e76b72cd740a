//! Questions that rules ask of the operators around them.

use super::{edit, facts};
use crate::error::Result;
use crate::ir::{Graph, NodeId, NodeSpec, Tensor, ValueId, ValueType};

/// The operator of that type that writes a value at its first output.
pub(in crate::passes) fn written_by(graph: &Graph, value: ValueId, op_type: &str) -> Option<NodeId> {
    let (node, slot) = graph.producer(value)?;
    let held = graph.node(node);
    (slot == 0 && held.is(op_type) && !facts::depends_on_caller(held)).then_some(node)
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

/// The number that a float tensor with one element holds.
pub(in crate::passes) fn number_in(tensor: &Tensor) -> Option<f64> {
    if tensor.len() != 1 {
        return None;
    }
    tensor.to_f64()?.first().copied()
}

/// The computed operand of a binary operator on floats, its slot, and the one number that is the other; where broadcasting the
/// number does not change the shape.
pub(in crate::passes) fn number_operand(graph: &Graph, node: NodeId) -> Option<(ValueId, usize, f64)> {
    let (value, slot, tensor) = constant_operand(graph, node)?;
    let number = number_in(&tensor)?;
    let keeps_rank = tensor.rank() == 0 || facts::rank(graph, Some(value)).is_some_and(|rank| tensor.rank() <= rank);
    keeps_rank.then_some((value, slot, number))
}

/// [`number_operand`] of an operator of which the operands may be exchanged, or that has the number on the right.
pub(in crate::passes) fn number_behind(graph: &Graph, node: NodeId) -> Option<(ValueId, f64)> {
    let (value, slot, number) = number_operand(graph, node)?;
    (slot == 0 || graph.node(node).is_any(&["Add", "Mul"])).then_some((value, number))
}

/// Whether a number is the given one, but for the rounding of 32-bit floats.
pub(in crate::passes) fn is_about(number: f64, wanted: f64) -> bool {
    (number - wanted).abs() <= wanted.abs() * 1e-6
}

/// Several operators that one or two can take the place of.
pub(in crate::passes) struct Match {
    /// An operator and what it reads, the result of which is one more input of the next.
    pub(in crate::passes) before: Option<(NodeSpec, Vec<ValueId>)>,
    /// What takes the place of the last one.
    pub(in crate::passes) spec: NodeSpec,
    /// What it reads.
    pub(in crate::passes) inputs: Vec<ValueId>,
    /// The operators before the last one, each after those that read it.
    pub(in crate::passes) inner: Vec<NodeId>,
}

impl Match {
    /// One operator that takes the place of a last one and those before it.
    pub(in crate::passes) fn new(spec: NodeSpec, inputs: Vec<ValueId>, inner: Vec<NodeId>) -> Self {
        Self { before: None, spec, inputs, inner }
    }

    /// Whether everything the inner operators write is read by the others only, `last` being the last one.
    pub(in crate::passes) fn is_closed(&self, graph: &Graph, last: NodeId) -> bool {
        let is_inside = |node: NodeId| node == last || self.inner.contains(&node);
        self.inner.iter().flat_map(|&node| graph.node_outputs(node)).flatten().all(|value| {
            let held = graph.value(value);
            !held.is_output() && !held.is_pinned() && graph.uses(value).iter().all(|one| is_inside(one.node))
        })
    }

    /// Puts the new operators in the place of all; the last takes over output and name of the last. Returns the new ones.
    ///
    /// # Errors
    /// Fails where an edit does.
    pub(in crate::passes) fn apply(self, graph: &mut Graph, last: NodeId) -> Result<Vec<NodeId>> {
        let Some(output) = graph.output(last, 0) else { return Ok(Vec::new()) };
        let mut placed = Vec::new();
        let read = graph.node_inputs(last).into_iter().flatten().collect();
        let name = graph.node(last).name().to_owned();
        let spec = if name.is_empty() { self.spec } else { self.spec.name(name) };
        let mut inputs: Vec<Option<ValueId>> = self.inputs.into_iter().map(Some).collect();
        if let Some((spec, inputs_before)) = self.before {
            let base = format!("{}_factor", graph.value(output).name());
            let between = graph.add_op(spec, &inputs_before, &base, last)?;
            placed.extend(graph.producer(between).map(|(node, _)| node));
            inputs.push(Some(between));
        }
        let own = graph.add_value("replaced", ValueType::Unknown);
        let new = graph.add_node(spec, &inputs, &[own], last)?;
        graph.detach_node(last)?;
        graph.set_output(new, 0, output)?;
        graph.remove_value(own)?;
        for node in self.inner {
            edit::remove(graph, node)?;
        }
        edit::drop_unread_constants(graph, read)?;
        placed.push(new);
        Ok(placed)
    }
}
