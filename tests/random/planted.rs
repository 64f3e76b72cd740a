//! The test of the test: wrong rewrites are caught.

use onnx_shrink::ir::{Model, NodeId};

use super::corpus;
use super::generator;
use super::harness::{self, Rewritten, Subject};

/// Graphs to catch a wrong rewrite with.
const GRAPHS: u64 = 60;

/// Takes the operators of a kind for ones that do nothing.
fn drop_all(model: &Model, op: &str) -> onnx_shrink::Result<Rewritten> {
    let mut model = model.clone();
    let mut says_changed = false;
    let nodes: Vec<NodeId> = model.graph.nodes().into_iter().filter(|&node| model.graph.node(node).is(op)).collect();
    for node in nodes {
        let (Some(x), Some(y)) = (model.graph.input(node, 0), model.graph.output(node, 0)) else { continue };
        if model.graph.value(y).is_output() {
            continue;
        }
        model.graph.replace_reads(y, x)?;
        model.graph.remove_node(node)?;
        says_changed = true;
    }
    Ok(Rewritten { model, may_grow: true, says_changed })
}

/// How the seeds fail under a rewrite that drops an operator.
fn sorts_of_failures(op: &str) -> Vec<&'static str> {
    let rewrite = |model: &Model| drop_all(model, op);
    let subject = Subject { rewrite: &rewrite, settles: true };
    (0..GRAPHS).filter_map(|seed| harness::judge(&generator::draw(seed), &subject).err()).map(|f| f.sort).collect()
}

#[test]
fn wrong_rewrites_are_caught() {
    if !harness::has_onnxruntime() {
        return corpus::skip("ONNX Runtime is not installed");
    }
    for op in ["Mul", "Neg", "Sub", "Transpose"] {
        let sorts = sorts_of_failures(op);
        assert!(sorts.contains(&"difference"), "dropping every {op} was not noticed: {sorts:?}");
    }
}

#[test]
fn right_rewrites_are_not() {
    if !harness::has_onnxruntime() {
        return corpus::skip("ONNX Runtime is not installed");
    }
    let sorts = sorts_of_failures("Identity");
    assert!(sorts.is_empty(), "dropping every Identity is right: {sorts:?}");
}
