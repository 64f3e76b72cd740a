//! Quantized activations of 16 bits, for which tract has no kernels, as floats that hold whole numbers: every one of 16 bits
//! is a `float`, so that results are those of integers, bit for bit.
//!
//! ```text
//! q = QuantizeLinear(x, scale, zero)     =>  a = Div(x, scale)  b = Round(a)  c = Add(b, zero_f)  d = Max(c, lowest)
//!                                            q = Min(d, highest)
//! y = DequantizeLinear(q, scale, zero)   =>  a = Sub(q, zero_f)  y = Mul(a, scale)
//! ```
//!
//! Only for one scale and zero point a tensor, and for what nothing but DequantizeLinear of the same graph reads.

use std::collections::{BTreeMap, BTreeSet};

use super::constants::Constants;
use super::{RUNTIME_DOMAIN, subgraphs};
use crate::error::Result;
use crate::ir::{DType, Tensor};
use crate::onnx::proto::{GraphProto, NodeProto};

/// The quantized values of a graph that become floats.
pub(super) fn values(graph: &GraphProto, constants: &Constants) -> Result<BTreeSet<String>> {
    let mut wide = BTreeSet::new();
    for node in &graph.node {
        if is(node, "QuantizeLinear")
            && let (Some(_), Some(output)) = (Numbers::of(node, constants)?, node.output.first())
        {
            wide.insert(output.clone());
        }
    }
    if wide.is_empty() {
        return Ok(wide);
    }
    graph.output.iter().for_each(|output| {
        wide.remove(output.name());
    });
    for node in &graph.node {
        for (slot, name) in node.input.iter().enumerate() {
            let is_restored = slot == 0 && is(node, "DequantizeLinear") && Numbers::of(node, constants)?.is_some();
            if !is_restored {
                wide.remove(name);
            }
        }
        for inner in node.attribute.iter().flat_map(subgraphs) {
            wide.retain(|name| !mentions(inner, name));
        }
    }
    Ok(wide)
}

/// What stands for an operator that writes or reads one of these values; `None` for other operators.
///
/// # Errors
/// Fails where a constant does not fit its type and shape.
pub(super) fn floats(
    node: &NodeProto,
    wide: &BTreeSet<String>,
    constants: &mut Constants,
    zeros: &mut BTreeMap<String, String>,
) -> Result<Option<Vec<NodeProto>>> {
    let (Some(input), Some(scale), Some(output)) = (node.input.first(), node.input.get(1), node.output.first()) else {
        return Ok(None);
    };
    let (writes, reads) = (is(node, "QuantizeLinear") && wide.contains(output), wide.contains(input));
    let numbers = if writes || reads { Numbers::of(node, constants)? } else { None };
    let Some(Numbers { zero_name, zero, lowest, highest }) = numbers else { return Ok(None) };
    let mut number = |constants: &mut Constants, name: &str, value: f32| -> Result<String> {
        if let Some(held) = zeros.get(name) {
            return Ok(held.clone());
        }
        let held = constants.fresh(name);
        constants.add(&held, Tensor::from_f32([], &[value])?);
        zeros.insert(name.to_owned(), held.clone());
        Ok(held)
    };
    let zero = number(constants, zero_name, zero)?;
    let mut nodes = Vec::new();
    let mut step = |constants: &mut Constants, op_type: &str, inputs: Vec<String>, last: Option<&String>| {
        let written = last.cloned().unwrap_or_else(|| constants.fresh_value(output));
        nodes.push(NodeProto {
            op_type: Some(op_type.to_owned()),
            input: inputs,
            output: vec![written.clone()],
            ..NodeProto::default()
        });
        written
    };
    if writes {
        let lowest = number(constants, &format!("lowest_{lowest}"), lowest)?;
        let highest = number(constants, &format!("highest_{highest}"), highest)?;
        let level = step(constants, "Div", vec![input.clone(), scale.clone()], None);
        let level = step(constants, "Round", vec![level], None);
        let level = step(constants, "Add", vec![level, zero], None);
        let level = step(constants, "Max", vec![level, lowest], None);
        step(constants, "Min", vec![level, highest], Some(output));
    } else {
        let level = step(constants, "Sub", vec![input.clone(), zero], None);
        step(constants, "Mul", vec![level, scale.clone()], Some(output));
    }
    Ok(Some(nodes))
}

/// The constants of an operator that quantizes to 16 bits, or restores them.
struct Numbers<'a> {
    zero_name: &'a str,
    zero: f32,
    lowest: f32,
    highest: f32,
}

impl<'a> Numbers<'a> {
    /// `None` where they are no constants, or more than one each, or of another type.
    fn of(node: &'a NodeProto, constants: &Constants) -> Result<Option<Self>> {
        let (Some(scale), Some(zero_name)) = (node.input.get(1), node.input.get(2)) else { return Ok(None) };
        let (Some(scale), Some(zero)) = (constants.get(scale)?, constants.get(zero_name)?) else { return Ok(None) };
        let (lowest, highest) = match zero.dtype() {
            DType::U16 => (0.0, f32::from(u16::MAX)),
            DType::I16 => (f32::from(i16::MIN), f32::from(i16::MAX)),
            _ => return Ok(None),
        };
        if scale.dtype() != DType::F32 || scale.len() != 1 || zero.len() != 1 {
            return Ok(None);
        }
        let zero = zero.to_i64().and_then(|values| values.first().copied());
        Ok(zero.map(|zero| Self { zero_name, zero: zero as f32, lowest, highest }))
    }
}

fn is(node: &NodeProto, op_type: &str) -> bool {
    node.op_type() == op_type && matches!(node.domain(), "" | "ai.onnx" | RUNTIME_DOMAIN)
}

/// Whether a graph, or one inside of it, reads or returns a value of that name.
fn mentions(graph: &GraphProto, name: &str) -> bool {
    graph.output.iter().any(|output| output.name() == name)
        || graph.node.iter().any(|node| {
            node.input.iter().any(|input| input == name)
                || node.attribute.iter().flat_map(subgraphs).any(|inner| mentions(inner, name))
        })
}
