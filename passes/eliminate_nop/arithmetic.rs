//! Arithmetic with the neutral element, conversions to the same type, reductions over axes of extent 1.

use super::super::common::facts::{self, Ints};
use super::super::common::pattern;
use crate::ir::{Graph, NodeId, Tensor, ValueId};

/// The input slot that the output of an arithmetic operator is equal to.
pub(super) fn slot_handed_on(graph: &Graph, node: NodeId, opset: i64) -> Option<usize> {
    let held = graph.node(node);
    match held.op_type() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" => neutral_operand(graph, node, opset),
        "Cast" => is_type(graph, node, facts::cast_target(held)?).then_some(0),
        "CastLike" => is_type(graph, node, facts::dtype(graph, graph.input(node, 1)?)?).then_some(0),
        "Max" if held.input_slots() == 1 && keeps_readers_together(graph, node) => None,
        "Sum" | "Max" | "Min" | "Mean" if held.input_slots() == 1 => Some(0),
        "Max" | "Min" if held.input_slots() == 2 && opset >= 8 => unbounded_operand(graph, node),
        "Clip" => (opset >= 11 && held.attributes().is_empty() && only_first_input(graph, node)).then_some(0),
        "LeakyRelu" => (held.attr_float("alpha", 0.01) == 1.0).then_some(0),
        "Where" => chosen(graph, node),
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" => {
            reduces_nothing(graph, node).then_some(0)
        }
        _ => None,
    }
}

/// Whether it hands what is restored from 8 bits to several operators: runtimes merge these only where they read one value
/// that is not restored for each of them (`quant8` puts it there for that).
fn keeps_readers_together(graph: &Graph, node: NodeId) -> bool {
    let restored = graph.input(node, 0).and_then(|value| graph.producer(value));
    let is_shared = graph.output(node, 0).is_some_and(|output| graph.use_count(output) > 1);
    is_shared && restored.is_some_and(|(restored, _)| graph.node(restored).is("DequantizeLinear"))
}

fn is_type(graph: &Graph, node: NodeId, target: crate::ir::DType) -> bool {
    graph.input(node, 0).and_then(|value| facts::dtype(graph, value)) == Some(target)
}

fn only_first_input(graph: &Graph, node: NodeId) -> bool {
    graph.node_inputs(node).iter().skip(1).all(Option::is_none)
}

/// The operand that is not the neutral element of a binary operator.
fn neutral_operand(graph: &Graph, node: NodeId, opset: i64) -> Option<usize> {
    // Below, the right operand is broadcast to the left one and only on demand.
    if opset < 7 {
        return None;
    }
    let (value, slot, constant) = pattern::constant_operand(graph, node)?;
    let is_commutative = !graph.node(node).is_any(&["Sub", "Div", "Pow"]);
    let is_neutral = is_neutral(graph.node(node).op_type(), &constant);
    (is_neutral && (slot == 0 || is_commutative) && keeps_shape(graph, value, &constant)).then_some(slot)
}

/// The choice of a Where that takes all of one side, or has two sides that are the same; where broadcasting the condition
/// and the other side does not change its shape.
fn chosen(graph: &Graph, node: NodeId) -> Option<usize> {
    let (condition, yes, no) = (graph.input(node, 0)?, graph.input(node, 1)?, graph.input(node, 2)?);
    let slot = if yes == no {
        1
    } else {
        let truth = graph.constant(condition)?.to_i64()?;
        match (truth.iter().all(|&bit| bit != 0), truth.iter().all(|&bit| bit == 0)) {
            (true, false) => 1,
            (false, true) => 2,
            _ => return None,
        }
    };
    let shape = |value: ValueId| facts::shape(graph, value);
    let (kept, made) = (shape(graph.input(node, slot)?)?, shape(graph.output(node, 0)?)?);
    facts::surely_equal(&kept, &made).then_some(slot)
}

/// The operand of a Max or Min that is not the infinity which any number is beyond.
fn unbounded_operand(graph: &Graph, node: NodeId) -> Option<usize> {
    let (_, slot, number) = pattern::number_operand(graph, node)?;
    let bound = if graph.node(node).is("Max") { f64::NEG_INFINITY } else { f64::INFINITY };
    (number == bound).then_some(slot)
}

fn is_neutral(op_type: &str, constant: &Tensor) -> bool {
    let floats = constant.to_f64();
    let all = |wanted: f64| match (&floats, constant.to_i64()) {
        (Some(values), _) => {
            values.iter().all(|&value| value == wanted && value.is_sign_negative() == wanted.is_sign_negative())
        }
        (None, Some(values)) => values.iter().all(|&value| value == wanted as i64),
        (None, None) => false,
    };
    match op_type {
        // 0 + -0 is 0, but -0 + -0 is -0; and -0 - 0 is -0.
        "Add" if floats.is_some() => all(-0.0),
        "Add" | "Sub" | "Or" | "Xor" => all(0.0),
        "Mul" | "Div" | "Pow" | "And" => all(1.0),
        _ => false,
    }
}

/// Whether broadcasting a constant to a value leaves the shape of the value as it is.
fn keeps_shape(graph: &Graph, value: ValueId, constant: &Tensor) -> bool {
    if constant.rank() == 0 {
        return true;
    }
    if constant.len() == 1 {
        return facts::rank(graph, Some(value)).is_some_and(|rank| constant.rank() <= rank);
    }
    let Some(shape) = facts::shape(graph, value) else { return false };
    let Some(offset) = shape.rank().checked_sub(constant.rank()) else { return false };
    let fits = |(axis, &extent): (usize, &u64)| {
        extent == 1 || shape.0.get(offset + axis).and_then(crate::ir::Dim::fixed) == Some(extent)
    };
    constant.shape().iter().enumerate().all(fits)
}

/// Whether every axis that is reduced has extent 1 and stays, or no axis is.
fn reduces_nothing(graph: &Graph, node: NodeId) -> bool {
    let held = graph.node(node);
    let axes = match facts::ints(graph, node, "axes", 1) {
        Ints::Known(axes) => axes,
        Ints::Absent if held.attr_int("noop_with_empty_axes", 0) != 0 => return true,
        _ => return false,
    };
    if axes.is_empty() {
        return held.attr_int("noop_with_empty_axes", 0) != 0;
    }
    let Some(shape) = graph.input(node, 0).and_then(|value| facts::shape(graph, value)) else { return false };
    let is_one = |axis: i64| {
        let extent = facts::axis_from_front(axis, shape.rank()).and_then(|axis| shape.0.get(axis)?.fixed());
        extent == Some(1)
    };
    held.attr_int("keepdims", 1) != 0 && axes.into_iter().all(is_one)
}
