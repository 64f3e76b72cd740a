//! Computes quantized constants in front of tract, which has no types of less than 8 bits and no blocked scales, and lets
//! activations quantized to 16 bits be floats.
//!
//! ```text
//! w = DequantizeLinear(levels, scales, zeros)          =>  w is a float initializer
//! w = Cast(levels)                                     =>  the same, where levels have less than 8 bits
//! q = QuantizeLinear(x, scales, zeros)                 =>  an initializer as well
//! y = com.microsoft.MatMulNBits(x, levels, scales)     =>  y = MatMul(x, w), Add of a bias
//! y = DequantizeLinear(QuantizeLinear(x, ..), ..)      =>  arithmetic of floats, for 16 bits
//! ```
//!
//! Only operators whose quantized inputs, or whose scales and zero points, are constants in the same graph are touched, so
//! what is computed in front of tract does not depend on what the model is run on. The rest is left for the gate to judge.

mod arithmetic;
mod constants;
mod nbits;
mod wide;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use self::constants::Constants;
use super::super::ModelBytes;
use crate::error::Result;
use crate::ir::DType;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};

/// The domain of ONNX Runtime's own operators.
const RUNTIME_DOMAIN: &str = "com.microsoft";

/// A model without the quantized constants that tract cannot read; `None` where there are none.
///
/// # Errors
/// Fails where a constant does not fit its type and shape.
pub(super) fn lower(proto: &ModelProto, model: &ModelBytes) -> Result<Option<(ModelProto, ModelBytes)>> {
    let Some(graph) = proto.graph.as_ref().filter(|graph| has_work(graph)) else { return Ok(None) };
    let mut graph = graph.clone();
    if !lower_graph(&mut graph)? {
        return Ok(None);
    }
    let lowered = ModelProto { graph: Some(graph), ..proto.clone() };
    let bytes = ModelBytes::new(lowered.encode_to_vec().into(), model.folder().map(std::path::Path::to_path_buf));
    Ok(Some((lowered, bytes)))
}

/// A look that costs next to nothing, so that other models are not copied.
fn has_work(graph: &GraphProto) -> bool {
    let is_quantized = |node: &NodeProto| {
        matches!(node.op_type(), "DequantizeLinear" | "QuantizeLinear") || node.op_type() == "MatMulNBits"
    };
    graph.initializer.iter().any(|tensor| is_sub_byte(tensor.data_type()))
        || graph.node.iter().any(|node| {
            is_quantized(node)
                || node.attribute.iter().any(|attribute| {
                    attribute.t.as_ref().is_some_and(|tensor| is_sub_byte(tensor.data_type()))
                        || subgraphs(attribute).any(has_work)
                })
        })
}

fn subgraphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.as_deref().into_iter().chain(&attribute.graphs)
}

fn is_sub_byte(data_type: i32) -> bool {
    DType::from_onnx(data_type).is_some_and(is_small)
}

/// Integers that tract has no type for.
fn is_small(dtype: DType) -> bool {
    matches!(dtype, DType::I4 | DType::U4 | DType::I2 | DType::U2)
}

/// Lowers one graph and those inside of it; says whether anything changed.
fn lower_graph(graph: &mut GraphProto) -> Result<bool> {
    let mut changed = false;
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for inner in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            changed |= lower_graph(inner)?;
        }
    }
    let outputs: BTreeSet<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
    let mut constants = Constants::of(graph);
    graph.node.iter().for_each(|node| constants.learn(node));
    let wide = wide::values(graph, &constants)?;
    let mut numbers = BTreeMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        if let Some(tensor) = computed(&node, &constants)? {
            let name = node.output.first().cloned().unwrap_or_default();
            // A graph output stays the output of an operator.
            let held = if outputs.contains(&name) { constants.fresh(&name) } else { name.clone() };
            if held != name {
                nodes.push(NodeProto {
                    op_type: Some("Identity".to_owned()),
                    input: vec![held.clone()],
                    output: vec![name],
                    ..NodeProto::default()
                });
            }
            constants.add(&held, tensor);
            changed = true;
        } else if let Some(product) = nbits::product(&node, &mut constants)? {
            nodes.extend(product);
            changed = true;
        } else if let Some(floats) = wide::floats(&node, &wide, &mut constants, &mut numbers)? {
            nodes.extend(floats);
            changed = true;
        } else {
            nodes.push(node);
        }
    }
    graph.node = nodes;
    graph.value_info.retain(|info| !wide.contains(info.name()));
    if changed {
        constants.store(graph);
    }
    Ok(changed)
}

/// What an operator makes of quantized constants that tract cannot read.
fn computed(node: &NodeProto, constants: &Constants) -> Result<Option<crate::ir::Tensor>> {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return Ok(None);
    }
    let input = |slot: usize| node.input.get(slot).filter(|name| !name.is_empty());
    let constant = |slot: usize| input(slot).map(|name| constants.get(name)).transpose();
    let int = |name: &str, default: i64| {
        node.attribute.iter().find(|attribute| attribute.name() == name).map_or(default, AttributeProto::i)
    };
    let Some(Some(x)) = constant(0)? else { return Ok(None) };
    match node.op_type() {
        "Cast" if is_small(x.dtype()) => Ok(arithmetic::cast(&x, int("to", 0))),
        "DequantizeLinear" | "QuantizeLinear" => {
            let (Some(Some(scale)), zero) = (constant(1)?, constant(2)?) else { return Ok(None) };
            if zero == Some(None) {
                return Ok(None);
            }
            let quantization = arithmetic::Quantization {
                scale: &scale,
                zero: zero.flatten(),
                axis: int("axis", 1),
                block: int("block_size", 0),
                output: int("output_dtype", 0),
            };
            Ok(if node.op_type() == "QuantizeLinear" { quantization.quantize(&x) } else { quantization.dequantize(&x) })
        }
        _ => Ok(None),
    }
}
