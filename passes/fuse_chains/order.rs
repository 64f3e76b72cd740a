//! Operators that may change places with others: Transpose with what works element by element, Expand with what broadcasts.

use super::super::common::facts;
use super::super::common::merge::{Merge, Operand};
use super::super::common::pattern::{self, Match};
use crate::ir::{Graph, NodeId, NodeSpec, ValueId};

/// Operators that compute each element from the one at the same place of their first input, and from single numbers.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "ThresholdedRelu",
];

/// Operators of two values that broadcast in both directions.
const BINARY: &[&str] = &[
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Where",
    "Xor",
];

/// How many operators may lie between two Transposes.
const MAX_BETWEEN: usize = 16;

/// A Transpose, operators that work element by element, and a Transpose: one turn of axes is left, or none.
pub(super) fn transpose_around(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Transpose") {
        return None;
    }
    let outer = graph.node(node).attr_ints("perm")?;
    let mut between = Vec::new();
    let mut value = graph.input(node, 0)?;
    let first = loop {
        graph.only_use(value)?;
        let (before, _) = graph.producer(value)?;
        let op_type = graph.node(before).op_type();
        pattern::written_by(graph, value, op_type)?;
        if graph.node(before).is("Transpose") {
            break before;
        }
        let slot = slot_that_matters(graph, before)?;
        value = graph.input(before, slot)?;
        between.push((before, slot));
        if between.len() > MAX_BETWEEN {
            return None;
        }
    };
    if between.is_empty() {
        return None;
    }
    let inner = graph.node(first).attr_ints("perm")?;
    let perm =
        outer.iter().map(|&axis| inner.get(usize::try_from(axis).ok()?).copied()).collect::<Option<Vec<i64>>>()?;
    Some(Merge::Transposes { first, between, perm })
}

/// The input whose axes are those of the output, where the axes do not matter to the operator.
fn slot_that_matters(graph: &Graph, node: NodeId) -> Option<usize> {
    let held = graph.node(node);
    if held.is_any(ELEMENTWISE) {
        return Some(0);
    }
    if held.is_any(&["Add", "Sub", "Mul", "Div", "Max", "Min"]) && held.input_slots() == 2 {
        return pattern::number_operand(graph, node).map(|(_, slot, _)| slot);
    }
    None
}

/// Two values whose axes are turned alike: what they give is turned instead.
pub(super) fn operator_of_transposes(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let op_type = *BINARY.iter().find(|op_type| graph.node(node).is(op_type) && **op_type != "Where")?;
    if opset < 7 || graph.node(node).input_slots() != 2 || !graph.node(node).attributes().is_empty() {
        return None;
    }
    let turn = |slot: usize| {
        let value = graph.input(node, slot)?;
        graph.only_use(value)?;
        let turn = pattern::written_by(graph, value, "Transpose")?;
        Some((turn, graph.node(turn).attr_ints("perm")?, graph.input(turn, 0)?))
    };
    let ((first, perm, a), (second, other, b)) = (turn(0)?, turn(1)?);
    // Of different lengths, they would meet each other's axes in another place.
    if first == second || perm != other {
        return None;
    }
    let spec = NodeSpec::new("Transpose").attr("perm", perm.to_vec());
    let mut found = Match::new(spec, Vec::new(), vec![first, second]);
    found.before = Some((NodeSpec::new(op_type), vec![a, b]));
    Some(Merge::Replaced(Box::new(found)))
}

/// A Concat of values whose axes are turned alike: what it puts together is turned instead.
pub(super) fn concat_of_transposes(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Concat") || graph.node(node).input_slots() < 2 {
        return None;
    }
    let (mut turns, mut sources) = (Vec::new(), Vec::new());
    for value in graph.node_inputs(node) {
        let value = value?;
        graph.only_use(value)?;
        let turn = pattern::written_by(graph, value, "Transpose")?;
        sources.push(graph.input(turn, 0)?);
        turns.push(turn);
    }
    let perm = graph.node(*turns.first()?).attr_ints("perm")?;
    if !turns.iter().all(|&turn| graph.node(turn).attr_ints("perm") == Some(perm)) {
        return None;
    }
    let axis = graph.node(node).attr_int("axis", 1);
    let place = if axis < 0 { axis + i64::try_from(perm.len()).ok()? } else { axis };
    let axis = *perm.get(usize::try_from(place).ok()?)?;
    let mut found = Match::new(NodeSpec::new("Transpose").attr("perm", perm.to_vec()), Vec::new(), turns);
    found.before = Some((NodeSpec::new("Concat").attr("axis", axis), sources));
    Some(Merge::Replaced(Box::new(found)))
}

/// An Expand to a shape that another operand has anyway: operators that broadcast need no Expand.
pub(super) fn operator_of_expand(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let op_type = BINARY.iter().find(|op_type| graph.node(node).is(op_type))?;
    if opset < 8 {
        return None;
    }
    let read: Vec<ValueId> = graph.node_inputs(node).into_iter().collect::<Option<_>>()?;
    let (slot, source) = read.iter().enumerate().find_map(|(slot, &value)| {
        graph.only_use(value)?;
        let expand = pattern::written_by(graph, value, "Expand")?;
        let shape = facts::shape(graph, value)?;
        let has_it = |(place, &other): (usize, &ValueId)| {
            place != slot && facts::shape(graph, other).is_some_and(|other| facts::surely_equal(&other, &shape))
        };
        read.iter().enumerate().any(has_it).then_some((slot, graph.input(expand, 0)?))
    })?;
    let keep = |(place, value): (usize, ValueId)| Some(Operand::Value(if place == slot { source } else { value }));
    Some(Merge::becomes(op_type, read.into_iter().enumerate().map(keep).collect()))
}
