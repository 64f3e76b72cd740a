//! Initializers and `Constant` nodes.

use super::broken;
use crate::error::Result;
use crate::ir::graph::{Graph, ValueId, Vertex};
use crate::ir::node::Value;
use crate::ir::{Attribute, Shape, Tensor, ValueType};

impl Graph {
    /// A new initializer; its name is `base` or the first free name after it.
    pub fn add_initializer(&mut self, base: &str, tensor: Tensor) -> ValueId {
        let rank = u64::MAX / 2 + self.serial();
        let name = self.pool.fresh(base);
        let value = Value { name: name.clone(), init: Some(tensor), init_rank: rank, ..Value::default() };
        let id = ValueId(self.net.add_node(Vertex::Value(Box::new(value))));
        self.names.insert(name, id);
        id
    }

    /// Puts another tensor in the place of an initializer, or of what a `Constant` node yields.
    ///
    /// # Errors
    /// Fails where the value is neither.
    pub fn set_constant(&mut self, value: ValueId, tensor: Tensor) -> Result<()> {
        let ty = ValueType::tensor(tensor.dtype(), Some(Shape::fixed(tensor.shape().iter().copied())));
        if self.value(value).init.is_some() {
            self.value_mut(value)?.init = Some(tensor);
        } else {
            let producer = self.producer(value).map(|(node, _)| node).filter(|&node| self.node(node).is("Constant"));
            let node = producer.ok_or_else(|| broken(format!("`{}` is no constant", self.value(value).name())))?;
            self.node_mut(node)?.attributes = vec![Attribute::new("value", tensor)];
        }
        if *self.value(value).ty() != ValueType::Unknown {
            self.set_type(value, ty)?;
        }
        Ok(())
    }

    /// Takes the tensor out of an initializer, which becomes a value for an operator to define under the same name.
    ///
    /// # Errors
    /// Fails where the value is no initializer, or an input as well.
    pub fn take_initializer(&mut self, value: ValueId) -> Result<Tensor> {
        let held = self.value_mut(value)?;
        if held.is_input {
            return Err(broken(format!("input `{}` belongs to the signature", held.name())));
        }
        held.init.take().ok_or_else(|| broken("not an initializer"))
    }

    /// Takes an initializer out of the inputs of the graph, so that no caller can replace it.
    ///
    /// # Errors
    /// Fails where the value is no initializer.
    pub fn freeze_default(&mut self, value: ValueId) -> Result<()> {
        let held = self.value_mut(value)?;
        if held.init.is_none() {
            return Err(broken(format!("input `{}` belongs to the signature", held.name())));
        }
        held.is_input = false;
        held.info = None;
        self.inputs.retain(|&input| input != value);
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
}
