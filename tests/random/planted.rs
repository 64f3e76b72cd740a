//! The test of the test: wrong rewrites are caught.

use onnx_shrink::ir::{Model, NodeId};

use super::corpus;
use super::generator;
use super::harness::{self, Rewritten, Subject};

/// Graphs to catch a wrong rewrite with.
const GRAPHS: u64 = 60;

/// The same where it is only in the graphs inside of others, which are few.
const INNER_GRAPHS: u64 = 300;

/// Operators that keep shapes, so that dropping one shows in the numbers alone.
const SMOOTH: [&str; 8] = ["Sigmoid", "Cos", "Sin", "Abs", "Erf", "Softsign", "Elu", "Neg"];

/// The graphs in which something is rewritten.
#[derive(Debug, Clone, Copy)]
enum Where {
    Main,
    /// Bodies of If, Loop and Scan.
    Subgraphs,
    Functions,
}

impl Where {
    fn is_meant(self, path: &[String]) -> bool {
        match (self, path) {
            (Self::Main, []) => true,
            (_, []) | (Self::Main, _) => false,
            (Self::Subgraphs, [first, ..]) => !first.starts_with("function"),
            (Self::Functions, [first, ..]) => first.starts_with("function"),
        }
    }
}

/// Takes the operators of some kinds for ones that do nothing.
fn drop_all(model: &Model, ops: &[&str], place: Where) -> onnx_shrink::Result<Rewritten> {
    let mut model = model.clone();
    let mut says_changed = false;
    model.edit_graphs(|graph, path| {
        let nodes: Vec<NodeId> = graph.nodes().into_iter().filter(|&node| graph.node(node).is_any(ops)).collect();
        for node in nodes.into_iter().filter(|_| place.is_meant(path)) {
            let (Some(x), Some(y)) = (graph.input(node, 0), graph.output(node, 0)) else { continue };
            if graph.value(y).is_output() {
                continue;
            }
            graph.replace_reads(y, x)?;
            graph.remove_node(node)?;
            says_changed = true;
        }
        Ok(())
    })?;
    Ok(Rewritten { model, may_grow: true, says_changed })
}

/// How the seeds fail under a rewrite that drops operators.
fn sorts_of_failures(ops: &[&str], place: Where, graphs: u64) -> Vec<&'static str> {
    let rewrite = |model: &Model| drop_all(model, ops, place);
    let subject = Subject { rewrite: &rewrite, settles: true };
    (0..graphs).filter_map(|seed| harness::judge(&generator::draw(seed), &subject).err()).map(|f| f.sort).collect()
}

#[test]
fn wrong_rewrites_are_caught() {
    if !harness::has_onnxruntime() {
        return corpus::skip("ONNX Runtime is not installed");
    }
    for op in ["Mul", "Neg", "Sub", "Transpose"] {
        let sorts = sorts_of_failures(&[op], Where::Main, GRAPHS);
        assert!(sorts.contains(&"difference"), "dropping every {op} was not noticed: {sorts:?}");
    }
    for place in [Where::Subgraphs, Where::Functions] {
        let sorts = sorts_of_failures(&SMOOTH, place, INNER_GRAPHS);
        assert!(sorts.contains(&"difference"), "dropping {SMOOTH:?} in {place:?} was not noticed: {sorts:?}");
    }
}

#[test]
fn right_rewrites_are_not() {
    if !harness::has_onnxruntime() {
        return corpus::skip("ONNX Runtime is not installed");
    }
    let sorts = sorts_of_failures(&["Identity"], Where::Main, GRAPHS);
    assert!(sorts.is_empty(), "dropping every Identity is right: {sorts:?}");
}
