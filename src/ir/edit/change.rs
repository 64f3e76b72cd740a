//! Changing what an operator reads and writes, and what a value holds.

use petgraph::Direction;

use super::broken;
use crate::error::Result;
use crate::ir::attr::{AttrValue, Attribute};
use crate::ir::dtype::DType;
use crate::ir::graph::{Graph, NodeId, Port, ValueId};
use crate::ir::node::Inferred;
use crate::ir::shape::Shape;
use crate::ir::signature::ValueType;
use crate::ir::tensor::Tensor;
use crate::onnx::types;

impl Graph {
    /// Makes an input slot of an operator read another value, or nothing.
    ///
    /// # Errors
    /// Fails where operator or value are not in the graph.
    pub fn set_input(&mut self, node: NodeId, slot: usize, value: Option<ValueId>) -> Result<()> {
        let slot = slot as u32;
        let old =
            self.net.edges(node.0, Direction::Incoming).find(|edge| edge.port == Port::In(slot)).map(|edge| edge.id);
        if let Some(old) = old {
            self.net.remove_edge(old);
        }
        let held = self.node_mut(node)?;
        held.input_slots = held.input_slots.max(slot + 1);
        if let Some(value) = value {
            self.connect_input(node, slot, value);
        }
        Ok(())
    }

    /// Drops empty input slots at the end, so that an operator is written with as few inputs as it reads.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn trim_inputs(&mut self, node: NodeId) -> Result<()> {
        let used = self.node_inputs(node).iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.node_mut(node)?.input_slots = used as u32;
        Ok(())
    }

    /// Makes an output slot of an operator write another value, which must have no definition yet.
    ///
    /// # Errors
    /// Fails where the value is defined already.
    pub fn set_output(&mut self, node: NodeId, slot: usize, value: ValueId) -> Result<()> {
        let held = self.value(value);
        if held.init.is_some() || held.is_input || self.producer(value).is_some() {
            return Err(broken(format!("`{}` would be defined twice", held.name())));
        }
        let slot = slot as u32;
        let old =
            self.net.edges(node.0, Direction::Outgoing).find(|edge| edge.port == Port::Out(slot)).map(|edge| edge.id);
        if let Some(old) = old {
            self.net.remove_edge(old);
        }
        let node_held = self.node_mut(node)?;
        node_held.output_slots = node_held.output_slots.max(slot + 1);
        self.connect_output(node, slot, value);
        Ok(())
    }

    /// Takes input and output slots away from an operator; those behind them move up. Nothing may read what the outputs were.
    ///
    /// # Errors
    /// Fails where an output is still read.
    pub fn remove_slots(&mut self, node: NodeId, inputs: &[usize], outputs: &[usize]) -> Result<()> {
        let stays = |slots: &[usize], all: Vec<Option<ValueId>>| -> Vec<Option<ValueId>> {
            all.into_iter().enumerate().filter(|(slot, _)| !slots.contains(slot)).map(|(_, value)| value).collect()
        };
        let (read, written) = (self.node_inputs(node), self.node_outputs(node));
        for &slot in outputs {
            if let Some(value) = written.get(slot).copied().flatten().filter(|&value| !self.is_unread(value)) {
                return Err(broken(format!("`{}` is still read", self.value(value).name())));
            }
        }
        let gone: Vec<ValueId> = outputs.iter().filter_map(|&slot| written.get(slot).copied().flatten()).collect();
        let edges = self.net.edges(node.0, Direction::Incoming).chain(self.net.edges(node.0, Direction::Outgoing));
        let stale: Vec<_> = edges.filter(|edge| edge.port != Port::Capture).map(|edge| edge.id).collect();
        stale.into_iter().for_each(|edge| self.net.remove_edge(edge));
        let (read, written) = (stays(inputs, read), stays(outputs, written));
        let held = self.node_mut(node)?;
        (held.input_slots, held.output_slots) = (read.len() as u32, written.len() as u32);
        for (slot, value) in read.into_iter().enumerate() {
            value.into_iter().for_each(|value| self.connect_input(node, slot as u32, value));
        }
        for (slot, value) in written.into_iter().enumerate() {
            value.into_iter().for_each(|value| self.connect_output(node, slot as u32, value));
        }
        gone.into_iter().try_for_each(|value| self.remove_value(value))
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

    /// Puts another tensor in the place of an initializer, or of what a `Constant` node yields.
    ///
    /// # Errors
    /// Fails where the value is neither.
    pub fn set_constant(&mut self, value: ValueId, tensor: Tensor) -> Result<()> {
        let ty = ValueType::tensor(tensor.dtype(), Some(Shape::fixed(tensor.shape().iter().copied())));
        self.set_inferred(value, None)?;
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

    /// Makes a value that nothing defines any more an initializer of that name, and drops what `value_info` said of it.
    ///
    /// # Errors
    /// Fails where something defines the value.
    pub fn define_constant(&mut self, value: ValueId, tensor: Tensor) -> Result<()> {
        let is_defined = self.producer(value).is_some();
        let rank = u64::MAX / 2 + self.serial();
        let held = self.value_mut(value)?;
        if is_defined || held.init.is_some() || held.is_input || held.is_outer || held.is_sparse {
            return Err(broken(format!("`{}` would be defined twice", held.name())));
        }
        (held.init, held.init_rank, held.info, held.ty) = (Some(tensor), rank, None, ValueType::Unknown);
        held.inferred = None;
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

    /// Sets what is known of the type of a value; its `value_info` entry follows where it has one.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn set_type(&mut self, value: ValueId, ty: ValueType) -> Result<()> {
        let held = self.value_mut(value)?;
        held.inferred = None;
        if held.ty == ty {
            return Ok(());
        }
        match (&mut held.info, types::to_proto(&ty)) {
            (Some(info), Some(proto)) => info.r#type = Some(proto),
            (Some(_), None) if !held.is_input => held.info = None,
            _ => {}
        }
        held.ty = ty;
        Ok(())
    }

    /// Keeps beside a value what inference tells of its type, for as long as the contents of the value stay what they are.
    /// The file knows nothing of it.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn set_inferred(&mut self, value: ValueId, inferred: Option<Inferred>) -> Result<()> {
        self.value_mut(value)?.inferred = inferred.map(Box::new);
        Ok(())
    }

    /// Declares another element type for an output of the graph; the declared shape stays. Of the main graph, this changes
    /// the signature.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn declare_output(&mut self, value: ValueId, dtype: DType) -> Result<()> {
        for output in self.outputs.iter_mut().filter(|output| output.value == value) {
            if let Ok(ValueType::Tensor(tensor)) = types::from_info(&output.info) {
                output.info.r#type = types::to_proto(&ValueType::tensor(dtype, tensor.shape));
            }
        }
        let ValueType::Tensor(tensor) = self.value(value).ty().clone() else { return Ok(()) };
        self.set_type(value, ValueType::tensor(dtype, tensor.shape))
    }

    /// Sets an attribute, or adds it.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn set_attr(&mut self, node: NodeId, name: &str, value: impl Into<AttrValue>) -> Result<()> {
        let attribute = Attribute::new(name, value);
        let attributes = &mut self.node_mut(node)?.attributes;
        match attributes.iter_mut().find(|a| a.name() == name) {
            Some(present) => *present = attribute,
            None => attributes.push(attribute),
        }
        Ok(())
    }

    /// Removes an attribute; says whether it was there.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn remove_attr(&mut self, node: NodeId, name: &str) -> Result<bool> {
        let held = self.node_mut(node)?;
        let before = held.attributes.len();
        held.attributes.retain(|a| a.name() != name);
        held.subgraphs.retain(|s| s.attribute != name);
        Ok(held.attributes.len() < before)
    }

    /// Turns an operator into another one of the default domain.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn set_op_type(&mut self, node: NodeId, op_type: &str) -> Result<()> {
        self.node_mut(node)?.proto.op_type = Some(op_type.to_owned());
        Ok(())
    }

    /// Renames an operator; operators need no unique names.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn set_node_name(&mut self, node: NodeId, name: &str) -> Result<()> {
        self.node_mut(node)?.proto.name = (!name.is_empty()).then(|| name.to_owned());
        Ok(())
    }
}
