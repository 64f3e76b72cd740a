//! Graphs in attributes, and the values they read from around them.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use petgraph::Direction;

use super::{NamePool, broken};
use crate::error::Result;
use crate::ir::graph::{Graph, NodeId, Port, ValueId, Vertex};
use crate::ir::node::Subgraph;

impl Graph {
    /// Makes the value of that name in an enclosing graph readable in this one, which must not define the name itself.
    ///
    /// # Errors
    /// Fails where this graph defines the name.
    pub fn capture_outer(&mut self, name: &str) -> Result<ValueId> {
        let known = self.names.contains_key(name);
        let value = self.intern(name);
        let held = self.value_mut(value)?;
        held.is_outer |= !known;
        if !held.is_outer {
            return Err(broken(format!("`{name}` is defined in the inner graph")));
        }
        Ok(value)
    }

    /// Marks the value of that name, where there is one, as referred to by name from outside of operators.
    pub(crate) fn pin(&mut self, name: &str) -> Result<()> {
        match self.find_value(name) {
            Some(value) => self.value_mut(value).map(|held| held.is_pinned = true),
            None => Ok(()),
        }
    }

    /// Whether some value of the model has that name.
    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        self.pool.contains(name)
    }

    /// Lets `edit` change the graphs that the attributes of an operator hold, and brings the captures up to date.
    ///
    /// # Errors
    /// Passes on what `edit` returns.
    pub fn edit_subgraphs<T>(&mut self, node: NodeId, edit: impl FnOnce(&mut [Subgraph]) -> Result<T>) -> Result<T> {
        let mut subgraphs = mem::take(&mut self.node_mut(node)?.subgraphs);
        let result = edit(&mut subgraphs);
        self.node_mut(node)?.subgraphs = subgraphs;
        self.refresh_captures(node)?;
        result
    }

    /// Makes the capture edges of an operator those that its subgraphs need now. Names this graph does not have become
    /// values read from the graph around it.
    pub(crate) fn refresh_captures(&mut self, node: NodeId) -> Result<()> {
        let stale: Vec<_> = self
            .net
            .edges(node.0, Direction::Incoming)
            .filter(|edge| edge.port == Port::Capture)
            .map(|edge| (edge.id, ValueId(edge.source)))
            .collect();
        for &(edge, _) in &stale {
            self.net.remove_edge(edge);
        }
        let wanted: BTreeSet<Arc<str>> = self.node(node).subgraphs.iter().flat_map(|s| s.graph.outer_names()).collect();
        for name in wanted {
            let known = self.names.contains_key(&name);
            let value = self.intern(&name);
            self.value_mut(value)?.is_outer |= !known;
            self.connect_capture(node, value);
        }
        for (_, value) in stale {
            let held = self.value(value);
            if held.is_outer && self.is_unread(value) {
                self.remove_value(value)?;
            }
        }
        Ok(())
    }

    /// Makes this graph and those inside it draw fresh names from `pool`.
    pub(in crate::ir) fn draw_names_from(&mut self, pool: &NamePool) {
        self.pool = pool.clone();
        for id in self.nodes() {
            if let Some(Vertex::Node(node)) = self.net.vertex_mut(id.0) {
                node.subgraphs.iter_mut().for_each(|inner| inner.graph.draw_names_from(pool));
            }
        }
    }

    /// The names that this graph reads from enclosing ones; those whose last reader is gone are not among them.
    pub(crate) fn outer_names(&self) -> Vec<Arc<str>> {
        let is_read = |&value: &ValueId| self.value(value).is_outer && !self.is_unread(value);
        self.values().into_iter().filter(is_read).map(|value| self.value(value).name.clone()).collect()
    }

    /// Marks every value that nothing in this graph defines as read from an enclosing graph.
    pub(crate) fn mark_outer(&mut self) -> Result<()> {
        for id in self.values() {
            let value = self.value(id);
            let defined = value.is_input || value.init.is_some() || value.is_sparse || self.producer(id).is_some();
            self.value_mut(id)?.is_outer = !defined;
        }
        Ok(())
    }
}
