//! Neighbours that change values.

use super::super::common::facts;
use super::super::common::merge::{Merge, Operand};
use super::super::common::pattern;
use crate::ir::{AttrRef, AttrValue, DType, Graph, NodeId, Tensor, ValueId};

/// Operators that undo themselves.
const INVOLUTIONS: &[&str] = &["Neg", "Not", "BitwiseNot"];

/// Operators that change nothing the second time.
const REPEATABLE: &[&str] = &["Abs", "Ceil", "Floor", "Relu", "Round", "Sign"];

/// A Cast of what was cast to a type that holds every value it had before.
pub(super) fn cast_of_cast(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Cast") {
        return None;
    }
    let first = pattern::written_by(graph, graph.input(node, 0)?, "Cast")?;
    let source = graph.input(first, 0)?;
    let (from, between) = (facts::dtype(graph, source)?, facts::cast_target(graph.node(first))?);
    // A number is written as text in as many digits as its type has.
    let is_text = facts::cast_target(graph.node(node))? == DType::String;
    (holds(between, from) && !is_text).then(|| becomes("Cast", vec![Some(Operand::Value(source))], Vec::new()))
}

/// Whether a type has every value of another one, so that a conversion is the same with and without it.
fn holds(wide: DType, narrow: DType) -> bool {
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32};
    match narrow {
        _ if wide == narrow => true,
        Bool => matches!(wide, U8 | I8 | U16 | I16 | U32 | I32 | I64 | F16 | BF16 | F32 | F64),
        U8 => matches!(wide, U16 | I16 | U32 | I32 | I64 | F16 | F32 | F64),
        I8 => matches!(wide, I16 | I32 | I64 | F16 | F32 | F64),
        U16 => matches!(wide, U32 | I32 | I64 | F32 | F64),
        I16 => matches!(wide, I32 | I64 | F32 | F64),
        U32 => matches!(wide, I64 | F64),
        I32 => matches!(wide, I64 | F64),
        F16 | BF16 => matches!(wide, F32 | F64),
        F32 => wide == F64,
        _ => false,
    }
}

/// Not of Not, Neg of Neg.
pub(super) fn involution(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let op_type = INVOLUTIONS.iter().find(|op_type| graph.node(node).is(op_type))?;
    let first = pattern::written_by(graph, graph.input(node, 0)?, op_type)?;
    Some(Merge::HandsOn(graph.input(first, 0)?))
}

/// Relu of Relu and the like.
pub(super) fn repetition(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let value = graph.input(node, 0)?;
    let op_type = REPEATABLE.iter().find(|op_type| graph.node(node).is(op_type))?;
    pattern::written_by(graph, value, op_type).map(|_| Merge::HandsOn(value))
}

/// A Clip of a Clip: the bounds of one are those of both.
pub(super) fn clip_of_clip(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Clip") {
        return None;
    }
    let value = graph.input(node, 0)?;
    let first = pattern::written_by(graph, value, "Clip")?;
    let (inner, outer) = (Bounds::of(graph, first, opset)?, Bounds::of(graph, node, opset)?);
    if !inner.are_in_order() || !outer.are_in_order() {
        return None;
    }
    if inner == outer {
        return Some(Merge::HandsOn(value));
    }
    graph.only_use(value)?;
    // What the first one can give lies between its bounds; the second one moves those as it moves everything.
    let moved = |bound: Option<f64>| {
        let raised = match (bound, outer.lower) {
            (Some(bound), Some(lower)) => Some(bound.max(lower)),
            (bound, lower) => bound.or(lower),
        };
        match (raised, outer.upper) {
            (Some(raised), Some(upper)) => Some(raised.min(upper)),
            (raised, _) => raised,
        }
    };
    let lower = if inner.lower.is_none() { outer.lower } else { moved(inner.lower) };
    let upper = match (inner.upper, outer.upper) {
        (None, upper) => upper,
        (Some(_), _) => moved(inner.upper),
    };
    let source = Some(Operand::Value(graph.input(first, 0)?));
    if opset < 11 {
        let attribute = |bound: Option<f64>| bound.map(|bound| AttrValue::Float(bound as f32));
        let attributes = vec![("min", attribute(lower)), ("max", attribute(upper))];
        return Some(Merge::Becomes { op_type: "Clip", inputs: vec![source], attributes });
    }
    // Each bound is one of the four that are there.
    let place_of = |wanted: f64| {
        [(node, 1), (node, 2), (first, 1), (first, 2)].into_iter().find_map(|(clip, slot)| {
            let value = graph.input(clip, slot)?;
            (pattern::number_in(&graph.constant(value)?)?.to_bits() == wanted.to_bits())
                .then_some(Operand::Value(value))
        })
    };
    let slot = |bound: Option<f64>| match bound {
        None => Some(None),
        Some(bound) => place_of(bound).map(Some),
    };
    Some(Merge::becomes("Clip", vec![source, slot(lower)?, slot(upper)?]))
}

/// A Max whose first operand is a Max, a Min whose first operand is a Min: one takes all operands, in the same order.
pub(super) fn variadic(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let op_type = ["Max", "Min"].into_iter().find(|op_type| graph.node(node).is(op_type))?;
    let value = graph.input(node, 0)?;
    let first = pattern::written_by(graph, value, op_type)?;
    graph.only_use(value)?;
    // Before it they do not broadcast.
    if opset < 8 {
        return None;
    }
    let operands = graph.node_inputs(first).into_iter().chain(graph.node_inputs(node).into_iter().skip(1));
    Some(Merge::becomes(op_type, operands.map(|value| value.map(Operand::Value)).collect()))
}

/// A Clip that cuts off what is below 0, or more, after a Relu that did so.
pub(super) fn clip_of_relu(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Clip") {
        return None;
    }
    let relu = pattern::written_by(graph, graph.input(node, 0)?, "Relu")?;
    let bounds = Bounds::of(graph, node, opset)?;
    if bounds.lower? < 0.0 || !bounds.are_in_order() {
        return None;
    }
    let inputs = std::iter::once(graph.input(relu, 0)).chain(graph.node_inputs(node).into_iter().skip(1));
    Some(becomes("Clip", inputs.map(|value| value.map(Operand::Value)).collect(), Vec::new()))
}

/// A Relu after a Clip: nothing is left to do where the Clip cuts off at 0 or above, else the Clip can do it.
pub(super) fn relu_of_clip(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Relu") {
        return None;
    }
    let value = graph.input(node, 0)?;
    let clip = pattern::written_by(graph, value, "Clip")?;
    let bounds = Bounds::of(graph, clip, opset)?;
    if bounds.lower.is_some_and(|lower| lower >= 0.0) && bounds.are_in_order() {
        return Some(Merge::HandsOn(value));
    }
    if bounds.upper.is_some_and(|upper| upper <= 0.0) || graph.only_use(value).is_none() {
        return None;
    }
    let input = Some(Operand::Value(graph.input(clip, 0)?));
    if opset < 11 {
        let upper = bounds.upper.map(|upper| AttrValue::Float(upper as f32));
        return Some(becomes("Clip", vec![input], vec![("min", Some(AttrValue::Float(0.0))), ("max", upper)]));
    }
    let dtype = facts::dtype(graph, value).filter(|dtype| dtype.is_float())?;
    let zero = Tensor::from_f64(dtype, Vec::new(), &[0.0]).ok()?;
    let upper = graph.input(clip, 2).map(Operand::Value);
    Some(becomes("Clip", vec![input, Some(Operand::New(zero)), upper], Vec::new()))
}

/// The bounds of a Clip, as far as there are any; of a type of floats.
#[derive(Debug, PartialEq)]
struct Bounds {
    lower: Option<f64>,
    upper: Option<f64>,
}

impl Bounds {
    /// `None` where they are computed, or are no floats.
    fn of(graph: &Graph, clip: NodeId, opset: i64) -> Option<Self> {
        let held = graph.node(clip);
        if opset < 11 {
            let attribute = |name| match held.attr(name) {
                Some(AttrRef::Float(value)) => Some(f64::from(value)),
                _ => None,
            };
            return Some(Self { lower: attribute("min"), upper: attribute("max") });
        }
        let bound = |slot| match graph.input(clip, slot) {
            None => Some(None),
            Some(value) => pattern::number_in(&graph.constant(value)?).map(Some),
        };
        Some(Self { lower: bound(1)?, upper: bound(2)? })
    }

    fn are_in_order(&self) -> bool {
        self.lower.zip(self.upper).is_none_or(|(lower, upper)| lower <= upper)
    }
}

/// A Where whose condition is negated: the choices change places.
pub(super) fn where_of_not(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Where") {
        return None;
    }
    let not = pattern::written_by(graph, graph.input(node, 0)?, "Not")?;
    let inputs = [graph.input(not, 0)?, graph.input(node, 2)?, graph.input(node, 1)?];
    Some(becomes("Where", inputs.into_iter().map(|value| Some(Operand::Value(value))).collect(), Vec::new()))
}

/// Quantizing what was just dequantized with the same parameters gives it back.
pub(super) fn quantize_of_dequantize(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("QuantizeLinear") {
        return None;
    }
    let first = pattern::written_by(graph, graph.input(node, 0)?, "DequantizeLinear")?;
    let (source, quantize, dequantize) = (graph.input(first, 0)?, graph.node(node), graph.node(first));
    let same_slot = |slot| same_constant(graph, graph.input(node, slot), graph.input(first, slot));
    let scales = graph.constant(graph.input(node, 1)?)?.to_f64()?;
    let is_sound = scales.iter().all(|scale| scale.is_normal() && *scale > 0.0);
    let attribute = |name: &str, default| (quantize.attr_int(name, default), dequantize.attr_int(name, default));
    let is_same = |(a, b): (i64, i64)| a == b;
    let zero_point = graph.input(node, 2).and_then(|value| facts::dtype(graph, value));
    let is_back = zero_point.is_some_and(|dtype| dtype.is_integer() && facts::dtype(graph, source) == Some(dtype));
    // A 16-bit code times its scale may lie between two floats; 8 bits are far from that.
    let is_narrow = zero_point.is_some_and(|dtype| dtype.bits() <= 8);
    (same_slot(1)
        && same_slot(2)
        && is_sound
        && is_back
        && is_narrow
        && is_same(attribute("axis", 1))
        && is_same(attribute("block_size", 0)))
    .then_some(Merge::HandsOn(source))
}

fn same_constant(graph: &Graph, a: Option<ValueId>, b: Option<ValueId>) -> bool {
    let constant = |value: Option<ValueId>| value.and_then(|value| graph.constant(value));
    match (constant(a), constant(b)) {
        (Some(a), Some(b)) => a.same_as(&b),
        _ => a.is_some() && a == b,
    }
}

fn becomes(
    op_type: &'static str,
    inputs: Vec<Option<Operand>>,
    attributes: Vec<(&'static str, Option<AttrValue>)>,
) -> Merge {
    Merge::Becomes { op_type, inputs, attributes }
}
