//! Every change to a graph, and fresh names.
//!
//! Passes change a graph only through these methods, so that ports, names and captures stay in step.

mod build;
mod carve;
mod change;
mod declare;
mod names;
mod nested;
mod remove;
mod replace;
#[cfg(test)]
mod tests;

pub(crate) use names::NamePool;

use super::graph::{Graph, NodeId, ValueId, Vertex};
use super::node::{Node, Value};
use crate::error::{Error, ErrorKind, Result};

/// A defect of the caller: a pass asked for an edit that would leave the graph unsound.
fn broken(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::BrokenPass, what)
}

impl Graph {
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node> {
        match self.net.vertex_mut(id.0) {
            Some(Vertex::Node(node)) => Ok(node),
            _ => Err(broken("an edit of an operator that is not in the graph")),
        }
    }

    pub(crate) fn value_mut(&mut self, id: ValueId) -> Result<&mut Value> {
        match self.net.vertex_mut(id.0) {
            Some(Vertex::Value(value)) => Ok(value),
            _ => Err(broken("an edit of a value that is not in the graph")),
        }
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
}
