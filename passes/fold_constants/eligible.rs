//! Which operators may be computed once and for all, their inputs being constant.

use crate::ir::{AttrRef, Graph, NodeId};
use crate::opset;

/// Why an operator stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    /// It is nothing this pass is about.
    Silently,
    /// It is part of how a quantized model stores its weights.
    AsStorage,
    /// It would match but for this.
    Because(&'static str),
}

/// Operators that stand for quantization: folding them would bring the float weights back, or hide from a runtime that
/// the model is quantized.
const QUANTIZATION: &[&str] = &["DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear"];

/// Why the operator must stay whatever its inputs are; `None` where it may be folded.
pub(super) fn why_it_stays(graph: &Graph, id: NodeId, version: i64) -> Option<Stays> {
    let node = graph.node(id);
    let outputs = graph.node_outputs(id);
    let is_other = !node.domain().is_empty() || node.is("Constant") || !node.subgraphs().is_empty();
    let is_pinned = outputs.iter().flatten().any(|&output| graph.value(output).is_pinned());
    if is_other || is_pinned || outputs.iter().all(Option::is_none) {
        return Some(Stays::Silently);
    }
    if node.is_any(QUANTIZATION) {
        return Some(Stays::AsStorage);
    }
    let Some(schema) = opset::schema("", node.op_type(), version) else { return Some(Stays::Silently) };
    if node.attributes().iter().any(|attribute| matches!(attribute.value(), AttrRef::Reference(_))) {
        return Some(Stays::Because("an attribute of it is set by the caller of the function"));
    }
    if node.is("Dropout") && is_training_dropout(graph, id, version) {
        return Some(Stays::Because("it may drop values at random"));
    }
    // The body of AffineGrid is marked because it holds an If, as is Dropout for its training mode.
    if schema.nondeterministic && !node.is_any(&["AffineGrid", "Dropout"]) {
        return Some(Stays::Because("it is random"));
    }
    if node.is("BatchNormalization") && (node.attr_int("training_mode", 0) != 0 || node.output_slots() > 1) {
        return Some(Stays::Because("it trains"));
    }
    None
}

fn is_training_dropout(graph: &Graph, id: NodeId, version: i64) -> bool {
    match version {
        ..7 => graph.node(id).attr_int("is_test", 0) == 0,
        7..12 => false,
        _ => graph.input(id, 2).is_some_and(|mode| graph.constant(mode).and_then(|t| t.scalar_i64()) != Some(0)),
    }
}
