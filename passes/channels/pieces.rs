//! Every graph of a model with its channels, always in the same order: each before the graphs inside of it.

use crate::channels::Channels;
use crate::error::Result;
use crate::infer::{self, GraphFacts};
use crate::ir::{Graph, Model};

/// A graph of the model.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) channels: Channels,
}

/// Finds the channels of every graph.
///
/// # Errors
/// Fails on a graph with a cycle.
pub(super) fn analyze(model: &Model) -> Result<Vec<Piece>> {
    let facts = infer::infer(model)?;
    let mut pieces = Vec::new();
    below(&model.graph, Some(facts.main()), &[], model.opset(), &mut pieces)?;
    for (index, function) in model.functions.iter().enumerate() {
        below(&function.body, facts.function(index), &[], function.opset(), &mut pieces)?;
    }
    Ok(pieces)
}

fn below(
    graph: &Graph,
    facts: Option<&GraphFacts>,
    outer: &[(&Graph, &GraphFacts)],
    opset: i64,
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    // Of a graph that nothing was found out about, everything stays.
    let nothing = GraphFacts::default();
    let facts = facts.unwrap_or(&nothing);
    pieces.push(Piece { channels: Channels::analyze_inner(graph, facts, outer, opset)? });
    let around = [outer, &[(graph, facts)]].concat();
    for node in graph.nodes() {
        for (index, inner) in graph.node(node).subgraphs().iter().enumerate() {
            below(&inner.graph, facts.subgraph(node, index), &around, opset, pieces)?;
        }
    }
    Ok(())
}

/// Lets `visit` see every graph with its place among the pieces and the path of operators that leads to it.
pub(super) fn visit_each(model: &Model, visit: &mut dyn FnMut(usize, &Graph, &[String])) {
    let mut place = 0;
    let mut each = |graph: &Graph, path: &[String]| {
        visit(place, graph, path);
        place += 1;
        Ok(())
    };
    // The visit itself never fails.
    let _ = model.visit_graphs(&mut each);
}

/// Lets `edit` change every graph.
///
/// # Errors
/// Passes on what `edit` returns.
pub(super) fn edit_each(model: &mut Model, edit: &mut dyn FnMut(&mut Graph) -> Result<()>) -> Result<()> {
    for (root, graph) in model.roots_mut() {
        graph.edit_outer_first(&root, |graph, _| edit(graph))?;
    }
    Ok(())
}
