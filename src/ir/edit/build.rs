//! Making values, initializers, operators and their edges.

use std::sync::Arc;

use super::broken;
use crate::error::Result;
use crate::ir::graph::{Graph, NodeId, Output, Port, ValueId, Vertex};
use crate::ir::node::{Node, NodeSpec, Rank, Value};
use crate::ir::signature::ValueType;
use crate::ir::tensor::Tensor;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::types;

impl Graph {
    /// The value of that name, made where there is none: for building a graph from a file.
    pub(crate) fn intern(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let name: Arc<str> = name.into();
        self.pool.insert(name.clone());
        let id =
            ValueId(self.net.add_vertex(Vertex::Value(Box::new(Value { name: name.clone(), ..Value::default() }))));
        self.names.insert(name, id);
        id
    }

    /// Adds an operator as it was read, without edges.
    pub(crate) fn add_raw_node(&mut self, mut node: Node, position: u64) -> NodeId {
        node.rank = Rank { position, serial: self.serial() };
        NodeId(self.net.add_vertex(Vertex::Node(Box::new(node))))
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

    /// A name nobody uses yet, here or in any graph of the model.
    pub(in crate::ir) fn fresh_name(&self, base: &str) -> Arc<str> {
        self.pool.fresh(base)
    }

    /// A new value that nothing defines yet; its name is `base` or the first free name after it.
    pub fn add_value(&mut self, base: &str, ty: ValueType) -> ValueId {
        let name = self.pool.fresh(base);
        let value = Value { name: name.clone(), ty, ..Value::default() };
        let id = ValueId(self.net.add_vertex(Vertex::Value(Box::new(value))));
        self.names.insert(name, id);
        id
    }

    /// A new initializer; its name is `base` or the first free name after it.
    pub fn add_initializer(&mut self, base: &str, tensor: Tensor) -> ValueId {
        let rank = u64::MAX / 2 + self.serial();
        let name = self.pool.fresh(base);
        let value = Value { name: name.clone(), init: Some(tensor), init_rank: rank, ..Value::default() };
        let id = ValueId(self.net.add_vertex(Vertex::Value(Box::new(value))));
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
        self.outputs.push(Output { value, info });
        Ok(())
    }
}
