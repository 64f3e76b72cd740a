//! Values that inner graphs read from the graphs around them.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::broken;
use crate::error::{Error, Result};
use crate::ir::graph::{Graph, NodeId, Port, ValueId};
use crate::ir::node::Subgraph;

impl Graph {
    /// Makes one input slot, or the captures of one operator, read `new` instead of `old`.
    pub(super) fn rename_capture(&mut self, node: NodeId, from: &Arc<str>, to: &Arc<str>) -> Result<()> {
        for subgraph in &mut self.node_mut(node)?.subgraphs {
            subgraph.graph.rename_outer(from, to)?;
        }
        Ok(())
    }

    /// Renames a value that this graph reads from an enclosing one; it merges with `to` where that is read already.
    fn rename_outer(&mut self, from: &Arc<str>, to: &Arc<str>) -> Result<()> {
        let Some(&old) = self.names.get(from) else { return Ok(()) };
        if !self.value(old).is_outer {
            return Ok(());
        }
        if let Some(&present) = self.names.get(to) {
            if !self.value(present).is_outer {
                return Err(Error::invalid_model(format!("an inner graph redefines `{to}` of a graph around it"))
                    .expected("each name to be defined once in a graph and the graphs around it")
                    .help("export the model again"));
            }
            self.replace_reads(old, present)?;
            for output in &mut self.outputs {
                if output.value == old {
                    output.value = present;
                    output.info.name = Some(to.to_string());
                }
            }
            let moved = mem::take(&mut self.value_mut(old)?.output_uses);
            self.value_mut(present)?.output_uses += moved;
            return self.remove_value(old);
        }
        self.rename_value(old, to)
    }

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
            .edges_directed(node.0, Direction::Incoming)
            .filter(|edge| *edge.weight() == Port::Capture)
            .map(|edge| (edge.id(), ValueId(edge.source())))
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
