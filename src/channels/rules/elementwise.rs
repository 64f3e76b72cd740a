//! Operators that work element by element, with or without broadcasting.

use super::{axes, pass_on};
use crate::channels::walk::{Axis, Outcome, Walk, number};
use crate::ir::{NodeId, ValueId};

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        // These give zero for zero.
        "Abs" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseAnd" | "Cast" | "Ceil" | "Celu" | "Dropout" | "Elu"
        | "Erf" | "Floor" | "Gelu" | "HardSwish" | "Identity" | "LeakyRelu" | "Mish" | "Neg" | "Relu" | "Round"
        | "Selu" | "Shrink" | "Sign" | "Sin" | "Sinh" | "Softsign" | "Sqrt" | "Swish" | "Tan" | "Tanh"
        | "ThresholdedRelu" => odd,
        // These need not.
        "Acos" | "Acosh" | "BitwiseNot" | "Cos" | "Cosh" | "Exp" | "HardSigmoid" | "IsInf" | "IsNaN" | "Log"
        | "Not" | "Reciprocal" | "Sigmoid" | "Softplus" => other,
        "Clip" => clip,
        "Add" | "Sub" | "Max" | "Min" | "Mean" | "Sum" | "BitwiseOr" | "BitwiseXor" | "Or" | "Xor" => all_zero,
        "Mul" | "And" => any_zero,
        "Div" | "PRelu" | "BitShift" | "Mod" => first_zero,
        "Pow" => pow,
        "Where" => choose,
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => compare,
        _ => return None,
    })
}

fn odd(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let axes = axes(walk, node, 0)?;
    pass_on(walk, node, &axes);
    Ok(())
}

fn other(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let axes: Vec<Axis> = axes(walk, node, 0)?.iter().map(|axis| axis.with_zero(false)).collect();
    pass_on(walk, node, &axes);
    Ok(())
}

fn clip(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let held = walk.held(node);
    let bound = |name: &str, slot: usize| match (held.attr(name), walk.graph.input(node, slot)) {
        (Some(crate::ir::AttrRef::Float(bound)), _) => Some(f64::from(bound)),
        (_, None) => Some(0.0),
        (_, Some(value)) => walk.facts.get(value)?.contents.as_ref()?.first()?.number(),
    };
    let has_zero = bound("min", 1).is_some_and(|min| min <= 0.0) && bound("max", 2).is_some_and(|max| max >= 0.0);
    let axes: Vec<Axis> = axes(walk, node, 0)?.iter().map(|axis| axis.with_zero(axis.is_zero() && has_zero)).collect();
    pass_on(walk, node, &axes);
    Ok(())
}

fn all_zero(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    broadcast(walk, node, |zeros| zeros.iter().all(|&zero| zero))
}

fn any_zero(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    broadcast(walk, node, |zeros| zeros.contains(&true))
}

fn first_zero(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    broadcast(walk, node, |zeros| zeros.first() == Some(&true))
}

fn choose(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    broadcast(walk, node, |zeros| zeros.iter().skip(1).all(|&zero| zero))
}

fn compare(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    broadcast(walk, node, |_| false)
}

/// Zero to the power of something is zero where the power is above zero.
fn pow(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let exponent = walk.input(node, 1)?;
    let contents = walk.facts.get(exponent).and_then(|fact| fact.contents.as_ref());
    let is_positive = contents.is_some_and(|c| c.iter().all(|e| e.number().is_some_and(|n| n > 0.0)));
    broadcast(walk, node, |zeros| zeros.first() == Some(&true) && is_positive)
}

/// `is_zero` says whether the result is zero where the operands are, one entry for each.
fn broadcast(walk: &mut Walk<'_>, node: NodeId, is_zero: impl Fn(&[bool]) -> bool) -> Outcome {
    let inputs: Vec<ValueId> = walk.graph.node_inputs(node).into_iter().flatten().collect();
    let spread = spread(walk, node, &inputs, 0, &is_zero)?;
    walk.set(node, 0, spread);
    Ok(())
}

/// The labels of what values broadcast to, but for their last `skip` axes.
pub(super) fn spread(
    walk: &mut Walk<'_>,
    node: NodeId,
    inputs: &[ValueId],
    skip: usize,
    is_zero: &dyn Fn(&[bool]) -> bool,
) -> Outcome<Vec<Axis>> {
    let mut operands = Vec::with_capacity(inputs.len());
    for &input in inputs {
        let mut axes = walk.axes(input)?;
        let mut extents = walk.shape(input)?.to_vec();
        axes.truncate(axes.len().saturating_sub(skip));
        extents.truncate(axes.len());
        operands.push((axes, extents));
    }
    let rank = operands.iter().map(|(axes, _)| axes.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(rank);
    for place in 0..rank {
        // Operands with fewer axes lack those in front; an extent of 1 is repeated.
        let mut found: Vec<(usize, Axis)> = Vec::new();
        for (operand, (axes, extents)) in operands.iter().enumerate() {
            let Some(own) = (place + axes.len()).checked_sub(rank) else { continue };
            if let (Some(axis), Some(extent)) = (axes.get(own), extents.get(own))
                && number(extent) != Some(1)
            {
                found.push((operand, axis.clone()));
            }
        }
        let Some((_, first)) = found.first() else {
            result.push(walk.one());
            continue;
        };
        for (_, axis) in found.iter().skip(1) {
            walk.unify(node, first, axis);
        }
        let zeros: Vec<bool> =
            (0..operands.len()).map(|o| found.iter().any(|(operand, axis)| *operand == o && axis.is_zero())).collect();
        let channels = found.iter().map(|(_, axis)| axis).find(|axis| axis.atoms().is_some()).unwrap_or(first);
        result.push(channels.with_zero(is_zero(&zeros)));
    }
    Ok(result)
}
