//! The invariants that every model keeps, after reading and after each pass.
//!
//! 1. Every value that is read, and every output of a graph, has a definition: an input, an initializer, an operator, or
//!    for inner graphs a value of an enclosing one.
//! 2. No value has two definitions.
//! 3. Slots of operators are numbered without gaps beyond the declared count.
//! 4. No graph has a cycle.

use std::sync::Arc;

use super::graph::{Graph, Port, Vertex};
use super::model::Model;
use crate::error::{Error, Result, Site};

/// Checks every graph of a model.
///
/// # Errors
/// Names the first graph, operator and value that break an invariant.
pub fn structure(model: &Model) -> Result<()> {
    let outer: Vec<Arc<str>> = model.graph.outer_names();
    if let Some(name) = outer.first() {
        return Err(undefined(&model.graph, name));
    }
    for function in &model.functions {
        if let Some(name) = function.body.outer_names().first() {
            return Err(undefined(&function.body, name));
        }
    }
    model.visit_graphs(|graph, path| {
        one_graph(graph).map_err(|e| {
            let site = e.site().clone().in_path(path);
            e.at(site)
        })
    })
}

fn undefined(graph: &Graph, name: &str) -> Error {
    let reader = graph
        .find_value(name)
        .and_then(|value| graph.uses(value).first().map(|one| graph.site(one.node)))
        .unwrap_or_default();
    Error::invalid_model(format!("value `{name}` is used, but nothing defines it"))
        .at(reader)
        .expected("an input, an initializer or an operator that writes it")
        .help("the model is damaged or was cut by another tool: export it again")
}

fn one_graph(graph: &Graph) -> Result<()> {
    for (index, vertex) in graph.net.vertices() {
        match vertex {
            Vertex::Value(value) => {
                let written = graph.net.edges(index, petgraph::Direction::Incoming).count();
                let given = usize::from(value.is_outer)
                    + usize::from(value.is_sparse)
                    + usize::from(value.is_input || value.init.is_some());
                let site = || Site::tensor(value.describe());
                if written + given > 1 {
                    return Err(Error::invalid_model(format!("value `{}` is defined twice", value.name())).at(site()));
                }
                let is_read =
                    value.is_output() || graph.net.edges(index, petgraph::Direction::Outgoing).next().is_some();
                if written + given == 0 && is_read {
                    return Err(undefined(graph, value.name()));
                }
            }
            Vertex::Node(node) => {
                let slots = |direction, pick: fn(Port) -> Option<u32>| -> Vec<u32> {
                    let edges = graph.net.edges(index, direction);
                    let mut found: Vec<u32> = edges.filter_map(|edge| pick(edge.port)).collect();
                    found.sort_unstable();
                    found
                };
                let read = slots(petgraph::Direction::Incoming, |port| match port {
                    Port::In(slot) => Some(slot),
                    _ => None,
                });
                let written = slots(petgraph::Direction::Outgoing, |port| match port {
                    Port::Out(slot) => Some(slot),
                    _ => None,
                });
                let sound = |slots: &[u32], count: u32| {
                    slots.windows(2).all(|pair| pair[0] != pair[1]) && slots.last().is_none_or(|&last| last < count)
                };
                if !sound(&read, node.input_slots) || !sound(&written, node.output_slots) {
                    return Err(Error::invalid_model("the slots of an operator do not fit its edges")
                        .at(graph.site(super::NodeId(index))));
                }
            }
        }
    }
    graph.topological_order().map(|_| ())
}
