//! Operators that work on each element by itself, with broadcasting.

use super::arithmetic::{self, Binary};
use crate::infer::cx::{Cx, Rule, small};
use crate::infer::fact::{Element, Extent, Fact};
use crate::infer::sym::SymExpr;
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "Bernoulli"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "CumProd"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "Hardmax"
        | "HardSigmoid"
        | "HardSwish"
        | "Identity"
        | "IsInf"
        | "IsNaN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Trilu"
        | "MeanVarianceNormalization"
        | "LRN"
        | "LpNormalization" => unary,
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Equal" | "Less" | "Greater" | "LessOrEqual"
        | "GreaterOrEqual" | "And" | "Or" | "Xor" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor"
        | "SwiGLU" => binary,
        "Sum" | "Mean" | "Min" | "Max" => variadic,
        "Where" => choose,
        "Cast" => cast,
        "CastLike" => cast_like,
        _ => return None,
    })
}

/// The first output has the shape of the first input.
pub(in crate::infer::rules) fn unary(cx: &mut Cx<'_, '_>) -> Option<()> {
    if let Some(element) = cx.input(0)?.element.clone() {
        cx.outputs.first_mut()?.element = Some(element);
    }
    let op_type = cx.node.op_type();
    if op_type == "Identity" {
        let dtype = cx.dtype(0);
        cx.set_dtype(0, dtype);
    }
    if op_type == "Bernoulli" {
        let dtype = cx.dtype_attr("dtype").or_else(|| cx.dtype(0));
        cx.set_dtype(0, dtype);
    }
    let shape = cx.shape(0)?;
    cx.set_shape(0, shape);
    let (elements, dtype) = (cx.elements(0)?, cx.dtype(0)?);
    let mapped = elements.iter().map(|element| arithmetic::unary(op_type, element, dtype)).collect();
    set_useful(cx, mapped);
    Some(())
}

/// Sets contents unless nothing is known of them.
pub(super) fn set_useful(cx: &mut Cx<'_, '_>, elements: Vec<Element>) {
    if elements.is_empty() || elements.iter().any(|element| *element != Element::Unknown) {
        cx.set_contents(0, elements);
    }
}

fn binary(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (left, right) = (cx.shape(0)?, cx.shape(1)?);
    let shape = broadcast_inputs(cx, &[left, right])?;
    cx.set_shape(0, shape.clone());
    let operator = Binary::named(cx.node.op_type())?;
    // Mod of floats and of negative numbers follows another rule, which shapes never need.
    if operator == Binary::Mod && cx.int("fmod") == Some(1) {
        return None;
    }
    fold(cx, &shape, operator, 2)
}

fn variadic(cx: &mut Cx<'_, '_>) -> Option<()> {
    let count = cx.inputs.len();
    let shapes = (0..count).map(|slot| cx.shape(slot)).collect::<Option<Vec<_>>>()?;
    let shape = broadcast_inputs(cx, &shapes)?;
    cx.set_shape(0, shape.clone());
    let operator = match cx.node.op_type() {
        "Sum" => Binary::Add,
        "Mean" => return None,
        other => Binary::named(other)?,
    };
    fold(cx, &shape, operator, count)
}

/// Combines the elements of the inputs.
fn fold(cx: &mut Cx<'_, '_>, shape: &[Extent], operator: Binary, count: usize) -> Option<()> {
    let dtype = cx.dtype(0)?;
    let mut result = spread(cx, 0, shape)?;
    for slot in 1..count {
        let other = spread(cx, slot, shape)?;
        result = result.iter().zip(&other).map(|(l, r)| operator.apply(l, r, dtype)).collect();
    }
    set_useful(cx, result);
    Some(())
}

fn choose(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shapes = (0..3).map(|slot| cx.shape(slot)).collect::<Option<Vec<_>>>()?;
    let shape = broadcast_inputs(cx, &shapes)?;
    cx.set_shape(0, shape.clone());
    let (condition, yes, no) = (spread(cx, 0, &shape)?, spread(cx, 1, &shape), spread(cx, 2, &shape));
    let unknown = || vec![Element::Unknown; condition.len()];
    let (yes, no) = (yes.unwrap_or_else(unknown), no.unwrap_or_else(unknown));
    let pick =
        |((condition, yes), no): ((&Element, &Element), &Element)| match condition.int().and_then(SymExpr::as_int) {
            Some(0) => no.clone(),
            Some(_) => yes.clone(),
            None if yes == no => yes.clone(),
            None => Element::Unknown,
        };
    let picked = condition.iter().zip(&yes).zip(&no).map(pick).collect();
    set_useful(cx, picked);
    Some(())
}

fn cast(cx: &mut Cx<'_, '_>) -> Option<()> {
    let to = cx.dtype_attr("to");
    cast_to(cx, to)
}

fn cast_like(cx: &mut Cx<'_, '_>) -> Option<()> {
    let to = cx.dtype(1);
    cast_to(cx, to)
}

fn cast_to(cx: &mut Cx<'_, '_>, to: Option<DType>) -> Option<()> {
    cx.set_dtype(0, to);
    let shape = cx.shape(0)?;
    cx.set_shape(0, shape);
    let elements = cx.elements(0)?;
    let to = to?;
    set_useful(cx, elements.iter().map(|element| arithmetic::cast(element, to)).collect());
    Some(())
}

/// The elements of an input, repeated along the axes that are broadcast.
fn spread(cx: &Cx<'_, '_>, slot: usize, shape: &[Extent]) -> Option<Vec<Element>> {
    let elements = cx.elements(slot)?;
    spread_elements(&elements, &small(&cx.shape(slot)?)?, &small(shape)?)
}

/// Elements of one shape repeated to fill another, as broadcasting has it.
pub(super) fn spread_elements(elements: &[Element], from: &[usize], to: &[usize]) -> Option<Vec<Element>> {
    let lead = to.len().checked_sub(from.len())?;
    let count: usize = to.iter().product();
    (0..count)
        .map(|flat| {
            let (mut rest, mut index, mut stride) = (flat, 0, 1);
            for (axis, &extent) in to.iter().enumerate().rev() {
                let place = rest % extent;
                rest /= extent;
                if let Some(&own) = axis.checked_sub(lead).and_then(|axis| from.get(axis)) {
                    index += if own == 1 { 0 } else { place * stride };
                    stride *= own;
                }
            }
            elements.get(index).cloned()
        })
        .collect()
}

/// The shape that shapes broadcast to; `None` where they cannot.
pub(in crate::infer::rules) fn broadcast(shapes: &[Vec<Extent>]) -> Option<Vec<Extent>> {
    let rank = shapes.iter().map(Vec::len).max()?;
    (0..rank)
        .map(|place| {
            let aligned = shapes.iter().filter_map(|shape| shape.get((place + shape.len()).checked_sub(rank)?));
            broadcast_extent(&aligned.collect::<Vec<_>>())
        })
        .collect()
}

/// [`broadcast`] of inputs of an operator; says where they do not go together, and what they must fulfil to do so.
pub(in crate::infer::rules) fn broadcast_inputs(cx: &mut Cx<'_, '_>, shapes: &[Vec<Extent>]) -> Option<Vec<Extent>> {
    let result = broadcast(shapes);
    let Some(whole) = &result else {
        let text = |shape: &Vec<Extent>| Fact { shape: Some(shape.clone()), ..Fact::default() }.shape_text();
        let shapes: Vec<String> = shapes.iter().map(text).collect();
        cx.state.misfit(|| format!("shapes {}, which do not broadcast", shapes.join(" and ")));
        return None;
    };
    let one = SymExpr::from(1);
    for shape in shapes {
        for (extent, whole) in shape.iter().rev().zip(whole.iter().rev()) {
            if let (Some(extent), Some(whole)) = (extent, whole)
                && extent != whole
                && *extent != one
            {
                cx.state.demands.broadcast(extent, whole);
            }
        }
    }
    result
}

/// One extent of a broadcast. The outer `None`: the extents do not go together.
fn broadcast_extent(extents: &[&Extent]) -> Option<Extent> {
    let mut numbers = extents.iter().filter_map(|e| e.as_ref()?.as_int()).filter(|number| *number != 1);
    if let Some(number) = numbers.next() {
        // Whatever the others are, they give way.
        return numbers.all(|other| other == number).then(|| Some(SymExpr::from(number)));
    }
    let one = SymExpr::from(1);
    Some(extents.iter().try_fold(one, |all, extent| all.broadcast(extent.as_ref()?)))
}

/// The first output has the shape of the first input; nothing is known of the elements.
pub(super) fn same_shape(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    cx.set_shape(0, shape);
    Some(())
}
