//! What a graph declares of its inputs and outputs, and what a user wants kept.

use super::broken;
use crate::error::Result;
use crate::ir::graph::{Graph, NodeId, ValueId};
use crate::ir::shape::Shape;
use crate::ir::signature::ValueType;
use crate::onnx::types;

impl Graph {
    /// Declares another shape of a tensor. Where it is an input of the main graph, that changes the signature.
    ///
    /// # Errors
    /// Fails where the value is not known to be a tensor.
    pub fn declare_shape(&mut self, value: ValueId, shape: &Shape) -> Result<()> {
        let held = self.value_mut(value)?;
        let Some(dtype) = held.ty.dtype() else {
            return Err(broken(format!("`{}` is no tensor", held.name())));
        };
        held.ty = ValueType::tensor(dtype, Some(shape.clone()));
        if let Some(info) = &mut held.info {
            types::set_shape(info, shape);
        }
        Ok(())
    }

    /// What the graph declares of an output, by its place; `None` where there is no such output or nothing is declared.
    pub fn declared_output(&self, index: usize) -> Option<ValueType> {
        types::from_info(&self.outputs.get(index)?.info).ok().filter(|ty| *ty != ValueType::Unknown)
    }

    /// Declares another shape of an output that is a tensor, by its place. That changes the signature.
    ///
    /// # Errors
    /// Fails where there is no such output, or it is not known to be a tensor.
    pub fn declare_output_shape(&mut self, index: usize, shape: &Shape) -> Result<()> {
        let Some(output) = self.outputs.get_mut(index) else {
            return Err(broken(format!("there is no output {index}")));
        };
        types::set_shape(&mut output.info, shape);
        let value = output.value;
        if self.value(value).dtype().is_some() && self.value(value).initializer().is_none() {
            self.declare_shape(value, shape)?;
        }
        Ok(())
    }

    /// Keeps an operator through every edit that follows: it stays, and so do the names of what it writes. To whoever
    /// looks for operators to rewrite it is none of those that are known.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn keep_node(&mut self, node: NodeId) -> Result<()> {
        self.node_mut(node)?.is_kept = true;
        let outputs: Vec<ValueId> = self.node_outputs(node).into_iter().flatten().collect();
        outputs.into_iter().try_for_each(|output| self.keep_value(output))
    }

    /// Keeps a value and its name through every edit that follows: it counts as read, and is no constant.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn keep_value(&mut self, value: ValueId) -> Result<()> {
        let held = self.value_mut(value)?;
        (held.is_pinned, held.is_kept) = (true, true);
        Ok(())
    }
}
