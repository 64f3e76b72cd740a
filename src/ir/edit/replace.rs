//! Putting one value in the place of another, and the names that go with it.

use std::mem;
use std::sync::Arc;

use petgraph::Direction;

use super::broken;
use crate::error::{Error, Result};
use crate::ir::graph::{Graph, NodeId, Port, ValueId};

impl Graph {
    /// Makes everything that reads `old` inside this graph and its subgraphs read `new`; graph outputs stay.
    ///
    /// # Errors
    /// Fails where a value is not in the graph.
    pub fn replace_reads(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let edges: Vec<_> = self.net.edges(old.0, Direction::Outgoing).map(|e| (e.id, e.target, e.port)).collect();
        let (from, to) = (self.value(old).name.clone(), self.value(new).name.clone());
        for (edge, node, port) in edges {
            self.net.remove_edge(edge);
            if port == Port::Capture {
                self.rename_capture(NodeId(node), &from, &to)?;
                if self.captures(NodeId(node)).contains(&new) {
                    continue;
                }
            }
            self.net.add_edge(new.0, node, port);
        }
        Ok(())
    }

    /// Makes one input slot, or the captures of one operator, read `new` instead of `old`.
    pub(super) fn rename_capture(&mut self, node: NodeId, from: &Arc<str>, to: &Arc<str>) -> Result<()> {
        for subgraph in &mut self.node_mut(node)?.subgraphs {
            subgraph.graph.rename_outer(from, to)?;
        }
        Ok(())
    }

    /// Renames a value that this graph reads from an enclosing one; it merges with `to` where that is read already.
    pub(in crate::ir) fn rename_outer(&mut self, from: &Arc<str>, to: &Arc<str>) -> Result<()> {
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

    /// Gives a value another name, inside subgraphs that read it and in the graph's outputs too.
    pub(in crate::ir) fn rename_value(&mut self, value: ValueId, name: &Arc<str>) -> Result<()> {
        let old = mem::replace(&mut self.value_mut(value)?.name, name.clone());
        self.names.remove(&old);
        self.names.insert(name.clone(), value);
        if let Some(info) = &mut self.value_mut(value)?.info {
            info.name = Some(name.to_string());
        }
        for output in &mut self.outputs {
            if output.value == value {
                output.info.name = Some(name.to_string());
            }
        }
        let readers: Vec<NodeId> = self
            .net
            .edges(value.0, Direction::Outgoing)
            .filter(|edge| edge.port == Port::Capture)
            .map(|edge| NodeId(edge.target))
            .collect();
        for node in readers {
            self.rename_capture(node, &old, name)?;
        }
        Ok(())
    }

    /// Exchanges the names of two values, so that `b` becomes what readers by name, graph outputs among them, see as `a`.
    pub(super) fn swap_names(&mut self, a: ValueId, b: ValueId) -> Result<()> {
        let (name_a, name_b) = (self.value(a).name.clone(), self.value(b).name.clone());
        let parked = self.pool.fresh("renamed");
        self.rename_value(a, &parked)?;
        self.rename_value(b, &name_a)?;
        self.rename_value(a, &name_b)
    }

    /// Makes `new` take the place of `old` everywhere, as an output of the graph too: there `new` takes over the name.
    /// `old` keeps its definition and has no readers left. Says why where that cannot be done, and changes nothing then.
    ///
    /// # Errors
    /// Fails where a value is not in the graph.
    pub fn replace_value(&mut self, old: ValueId, new: ValueId) -> Result<Result<(), &'static str>> {
        if self.value(old).is_output() {
            let held = self.value(new);
            if held.is_output() {
                return Ok(Err("both values are outputs of the graph"));
            }
            if held.is_input {
                return Ok(Err("an output of the graph would be one of its inputs"));
            }
            if held.is_outer {
                return Ok(Err("an output of the graph would be a value of an enclosing one"));
            }
            if held.init.is_some() || held.is_sparse {
                return Ok(Err("an output of the graph would be an initializer"));
            }
            if held.is_pinned || self.value(old).is_pinned {
                return Ok(Err("other parts of the file refer to the value by name"));
            }
            self.replace_reads(old, new)?;
            self.swap_names(old, new)?;
            let uses = mem::take(&mut self.value_mut(old)?.output_uses);
            self.value_mut(new)?.output_uses += uses;
            let name = self.value(new).name.to_string();
            for output in &mut self.outputs {
                if output.value == old {
                    output.value = new;
                    output.info.name = Some(name.clone());
                }
            }
            return Ok(Ok(()));
        }
        self.replace_reads(old, new)?;
        Ok(Ok(()))
    }

    /// Gives an internal value another name; `base` or the first free name after it. Inputs and outputs keep theirs.
    ///
    /// # Errors
    /// Fails where the value belongs to the signature, is read from an enclosing graph, or is pinned.
    pub fn rename_internal(&mut self, value: ValueId, base: &str) -> Result<()> {
        let held = self.value(value);
        if held.is_input || held.is_output() || held.is_outer || held.is_pinned {
            return Err(broken(format!("`{}` cannot be renamed here", held.name())));
        }
        let name = self.pool.fresh(base);
        self.rename_value(value, &name)
    }
}
