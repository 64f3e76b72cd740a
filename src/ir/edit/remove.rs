//! Taking operators, values and notes away.

use std::mem;

use super::broken;
use crate::error::{Error, Result};
use crate::ir::graph::{Graph, NodeId, ValueId};

impl Graph {
    /// Removes an operator together with its outputs, which nothing may read any more.
    ///
    /// # Errors
    /// Fails where an output is still read, or is an output of the graph, or the operator is kept.
    pub fn remove_node(&mut self, node: NodeId) -> Result<()> {
        self.check_not_kept(node)?;
        let outputs: Vec<ValueId> = self.node_outputs(node).into_iter().flatten().collect();
        for &output in &outputs {
            if !self.is_unread(output) {
                return Err(broken(format!("`{}` is still read", self.value(output).name())));
            }
        }
        self.net.remove_vertex(node.0);
        outputs.into_iter().try_for_each(|output| self.remove_value(output))
    }

    /// Removes an operator and leaves its outputs without a definition, for another operator to define.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph, or is kept.
    pub fn detach_node(&mut self, node: NodeId) -> Result<()> {
        self.check_not_kept(node)?;
        self.node_mut(node)?;
        self.net.remove_vertex(node.0);
        Ok(())
    }

    fn check_not_kept(&self, node: NodeId) -> Result<()> {
        if !self.node(node).is_kept() {
            return Ok(());
        }
        Err(Error::usage("an operator that is to be kept would have to go")
            .at(self.site(node))
            .help("keep the values it writes instead, or leave out the pass"))
    }

    /// Leaves an output slot of an operator empty and removes the value, which nothing may read. Empty slots at the end go.
    ///
    /// # Errors
    /// Fails where the value is still read.
    pub fn clear_output(&mut self, node: NodeId, slot: usize) -> Result<()> {
        let Some(value) = self.output(node, slot) else { return Ok(()) };
        if !self.is_unread(value) {
            return Err(broken(format!("`{}` is still read", self.value(value).name())));
        }
        let name = self.value(value).name.clone();
        self.names.remove(&name);
        self.net.remove_vertex(value.0);
        let used = self.node_outputs(node).iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.node_mut(node)?.output_slots = used as u32;
        Ok(())
    }

    /// Removes an initializer that is no input, or a `Constant` node, if nothing reads it; says whether it went.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn remove_unread_constant(&mut self, value: ValueId) -> Result<bool> {
        if !self.is_unread(value) || self.value(value).is_input {
            return Ok(false);
        }
        match self.producer(value) {
            Some((node, _)) if self.node(node).is("Constant") => self.remove_node(node).map(|()| true),
            None if self.value(value).init.is_some() => self.remove_value(value).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Removes a value that nothing defines any more, or an initializer, which nothing may read.
    ///
    /// # Errors
    /// Fails where the value is read, is an input, or an operator defines it.
    pub fn remove_value(&mut self, value: ValueId) -> Result<()> {
        let held = self.value(value);
        if !self.is_unread(value) || self.producer(value).is_some() {
            return Err(broken(format!("`{}` is still in use", held.name())));
        }
        if held.is_input && held.init.is_none() {
            return Err(broken(format!("input `{}` belongs to the signature", held.name())));
        }
        if held.is_input {
            self.inputs.retain(|&input| input != value);
        }
        let name = self.value(value).name.clone();
        self.names.remove(&name);
        self.net.remove_vertex(value.0);
        Ok(())
    }

    /// Makes other values the outputs, and removes what none of them depends on: for running a part of a model. Changes the
    /// signature.
    ///
    /// # Errors
    /// Fails where one of the values is not in the graph.
    pub fn cut(&mut self, outputs: &[ValueId]) -> Result<()> {
        for old in mem::take(&mut self.outputs) {
            self.value_mut(old.value)?.output_uses -= 1;
        }
        outputs.iter().try_for_each(|&output| self.add_output(output))?;
        for node in self.topological_order()?.into_iter().rev() {
            if self.node_outputs(node).into_iter().flatten().all(|output| self.is_unread(output)) {
                self.remove_node(node)?;
            }
        }
        for value in self.initializers() {
            self.remove_unread_constant(value)?;
        }
        Ok(())
    }

    /// Drops the `value_info` entry of a value that is no input of the graph; says whether there was one.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn drop_value_info(&mut self, value: ValueId) -> Result<bool> {
        let held = self.value_mut(value)?;
        Ok(!held.is_input && held.info.take().is_some())
    }

    /// Drops `value_info` entries that name no value of the graph; says how many there were.
    pub fn drop_stray_value_info(&mut self) -> usize {
        mem::take(&mut self.stray_infos).len()
    }
}
