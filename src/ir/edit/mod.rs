//! Every change to a graph.
//!
//! Passes change a graph only through these methods, so that ports, names and captures stay in step. Here are the
//! operators, values and edges; names, constants and inner graphs have files of their own.

mod captures;
mod constants;
mod names;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::attr::{AttrValue, Attribute};
use super::graph::{Graph, NodeId, Port, ValueId, Vertex};
use super::node::{Node, NodeSpec, Rank, Value};
use super::signature::ValueType;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::types;

pub(crate) use names::NamePool;

fn broken(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::BrokenPass, what)
}

impl Graph {
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node> {
        match self.net.node_weight_mut(id.0) {
            Some(Vertex::Node(node)) => Ok(node),
            _ => Err(broken("an edit of an operator that is not in the graph")),
        }
    }

    pub(crate) fn value_mut(&mut self, id: ValueId) -> Result<&mut Value> {
        match self.net.node_weight_mut(id.0) {
            Some(Vertex::Value(value)) => Ok(value),
            _ => Err(broken("an edit of a value that is not in the graph")),
        }
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The value of that name, made where there is none: for building a graph from a file.
    pub(crate) fn intern(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let name: Arc<str> = name.into();
        self.pool.insert(name.clone());
        let id = ValueId(self.net.add_node(Vertex::Value(Box::new(Value { name: name.clone(), ..Value::default() }))));
        self.names.insert(name, id);
        id
    }

    /// Adds an operator as it was read, without edges.
    pub(crate) fn add_raw_node(&mut self, mut node: Node, position: u64) -> NodeId {
        node.rank = Rank { position, serial: self.serial() };
        NodeId(self.net.add_node(Vertex::Node(Box::new(node))))
    }

    pub(crate) fn connect_input(&mut self, node: NodeId, slot: u32, value: ValueId) {
        self.net.add_edge(value.0, node.0, Port::In(slot));
    }

    pub(crate) fn connect_output(&mut self, node: NodeId, slot: u32, value: ValueId) {
        self.net.add_edge(node.0, value.0, Port::Out(slot));
    }

    pub(crate) fn connect_capture(&mut self, node: NodeId, value: ValueId) {
        self.net.add_edge(value.0, node.0, Port::Capture);
    }

    /// A new value that nothing defines yet; its name is `base` or the first free name after it.
    pub fn add_value(&mut self, base: &str, ty: ValueType) -> ValueId {
        let name = self.pool.fresh(base);
        let value = Value { name: name.clone(), ty, ..Value::default() };
        let id = ValueId(self.net.add_node(Vertex::Value(Box::new(value))));
        self.names.insert(name, id);
        id
    }

    /// Adds an operator that reads `inputs` and writes `outputs`, to be written to the file beside `near`.
    ///
    /// # Errors
    /// Fails where an output is defined already.
    pub fn add_node(
        &mut self,
        spec: NodeSpec,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
        near: NodeId,
    ) -> Result<NodeId> {
        for &output in outputs {
            let value = self.value(output);
            if value.init.is_some() || value.is_input || value.is_outer || self.producer(output).is_some() {
                return Err(broken(format!("`{}` would be defined twice", value.name())));
            }
        }
        let position = self.node(near).rank.position;
        let node = Node {
            proto: spec.proto,
            attributes: spec.attributes,
            input_slots: inputs.len() as u32,
            output_slots: outputs.len() as u32,
            ..Node::default()
        };
        let id = self.add_raw_node(node, position);
        for (slot, input) in inputs.iter().enumerate() {
            if let Some(input) = *input {
                self.connect_input(id, slot as u32, input);
            }
        }
        for (slot, &output) in outputs.iter().enumerate() {
            self.connect_output(id, slot as u32, output);
        }
        Ok(id)
    }

    /// Adds an operator with one new output, named after `base`, and returns that output.
    ///
    /// # Errors
    /// As [`Graph::add_node`].
    pub fn add_op(&mut self, spec: NodeSpec, inputs: &[ValueId], base: &str, near: NodeId) -> Result<ValueId> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        let output = self.add_value(base, ValueType::Unknown);
        self.add_node(spec, &inputs, &[output], near)?;
        Ok(output)
    }

    /// Makes an input slot of an operator read another value, or nothing.
    ///
    /// # Errors
    /// Fails where operator or value are not in the graph.
    pub fn set_input(&mut self, node: NodeId, slot: usize, value: Option<ValueId>) -> Result<()> {
        let slot = slot as u32;
        let old = self
            .net
            .edges_directed(node.0, Direction::Incoming)
            .find(|edge| *edge.weight() == Port::In(slot))
            .map(|edge| edge.id());
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
        let old = self
            .net
            .edges_directed(node.0, Direction::Outgoing)
            .find(|edge| *edge.weight() == Port::Out(slot))
            .map(|edge| edge.id());
        if let Some(old) = old {
            self.net.remove_edge(old);
        }
        let node_held = self.node_mut(node)?;
        node_held.output_slots = node_held.output_slots.max(slot + 1);
        self.connect_output(node, slot, value);
        Ok(())
    }

    /// Makes everything that reads `old` inside this graph and its subgraphs read `new`; graph outputs stay.
    ///
    /// # Errors
    /// Fails where a value is not in the graph.
    pub fn replace_reads(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let edges: Vec<_> =
            self.net.edges_directed(old.0, Direction::Outgoing).map(|e| (e.id(), e.target(), *e.weight())).collect();
        let (from, to) = (self.value(old).name.clone(), self.value(new).name.clone());
        for (edge, node, port) in edges {
            self.net.remove_edge(edge);
            if port == Port::Capture {
                self.rename_capture(NodeId(node), &from, &to)?;
                if self.net.find_edge(new.0, node).is_some_and(|e| self.net[e] == Port::Capture) {
                    continue;
                }
            }
            self.net.add_edge(new.0, node, port);
        }
        Ok(())
    }

    /// Removes an operator together with its outputs, which nothing may read any more.
    ///
    /// # Errors
    /// Fails where an output is still read, or is an output of the graph.
    pub fn remove_node(&mut self, node: NodeId) -> Result<()> {
        let outputs: Vec<ValueId> = self.node_outputs(node).into_iter().flatten().collect();
        for &output in &outputs {
            if !self.is_unread(output) {
                return Err(broken(format!("`{}` is still read", self.value(output).name())));
            }
        }
        self.net.remove_node(node.0);
        outputs.into_iter().try_for_each(|output| self.remove_value(output))
    }

    /// Removes an operator and leaves its outputs without a definition, for another operator to define.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn detach_node(&mut self, node: NodeId) -> Result<()> {
        self.node_mut(node)?;
        self.net.remove_node(node.0);
        Ok(())
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
        self.net.remove_node(value.0);
        let used = self.node_outputs(node).iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.node_mut(node)?.output_slots = used as u32;
        Ok(())
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
        self.net.remove_node(value.0);
        Ok(())
    }

    /// Sets what is known of the type of a value; its `value_info` entry follows where it has one.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn set_type(&mut self, value: ValueId, ty: ValueType) -> Result<()> {
        let held = self.value_mut(value)?;
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

    /// Adds an output to the graph: for intermediate values that a tool wants to see. Changes the signature.
    ///
    /// # Errors
    /// Fails where the value is not in the graph.
    pub fn add_output(&mut self, value: ValueId) -> Result<()> {
        let held = self.value_mut(value)?;
        held.output_uses += 1;
        let info = ValueInfoProto {
            name: Some(held.name.to_string()),
            r#type: types::to_proto(&held.ty),
            ..ValueInfoProto::default()
        };
        self.outputs.push(super::graph::Output { value, info });
        Ok(())
    }
}
