//! Which operators show that a model is quantized already.
//!
//! Weights that whoever quantized it left in float were left for a reason, and quantizing what stands between quantized
//! operators would break up what runtimes merge.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ir::{Model, Node};
use crate::pass::tally;

/// Standard operators on quantized values.
const STANDARD: &[&str] = &[
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
];

/// How operators on quantized values begin in the domain of ONNX Runtime.
const VENDOR_PREFIXES: &[&str] = &[
    "Dequantize",
    "DynamicQuantize",
    "MatMulBnb4",
    "MatMulInteger",
    "MatMulNBits",
    "QAttention",
    "QEmbed",
    "QGemm",
    "QLinear",
    "QMoE",
    "QOrdered",
    "Quantize",
];

/// The operators of a model that work on quantized values, in words; `None` where there are none.
///
/// # Errors
/// None; walking over graphs may fail in principle.
pub(super) fn found(model: &Model) -> Result<Option<String>> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    model.visit_graphs(|graph, _| {
        for node in graph.nodes().into_iter().map(|node| graph.node(node)).filter(|node| is_quantized(node)) {
            *counts.entry(node.op_type().to_owned()).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(tally(&counts).map(|(words, _)| words))
}

fn is_quantized(node: &Node) -> bool {
    match node.domain() {
        "" => STANDARD.contains(&node.op_type()),
        "com.microsoft" => VENDOR_PREFIXES.iter().any(|prefix| node.op_type().starts_with(prefix)),
        _ => false,
    }
}
