//! Every change to a graph, and fresh names.
//!
//! Passes change a graph only through these methods, so that ports, names and captures stay in step.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::attr::{AttrValue, Attribute};
use super::graph::{Graph, NodeId, Port, ValueId, Vertex};
use super::node::{Node, NodeSpec, Rank, Subgraph, Value};
use super::signature::ValueType;
use super::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::types;

/// The names in use in all graphs of a model, shared by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamePool(Arc<Mutex<HashSet<Arc<str>>>>);

impl NamePool {
    pub(crate) fn insert(&self, name: Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    fn contains(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// A name nobody uses yet: `base`, or `base_1`, `base_2` ...
    fn fresh(&self, base: &str) -> Arc<str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut candidate: Arc<str> = base.into();
        let mut number = 0u64;
        while base.is_empty() || names.contains(&candidate) {
            number += 1;
            candidate = format!("{base}_{number}").into();
            if !names.contains(&candidate) {
                break;
            }
        }
        names.insert(candidate.clone());
        candidate
    }
}

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

    /// A new initializer; its name is `base` or the first free name after it.
    pub fn add_initializer(&mut self, base: &str, tensor: Tensor) -> ValueId {
        let rank = u64::MAX / 2 + self.serial();
        let name = self.pool.fresh(base);
        let value = Value { name: name.clone(), init: Some(tensor), init_rank: rank, ..Value::default() };
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

    /// Makes one input slot, or the captures of one operator, read `new` instead of `old`.
    fn rename_capture(&mut self, node: NodeId, from: &Arc<str>, to: &Arc<str>) -> Result<()> {
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

    /// Gives a value another name, inside subgraphs that read it and in the graph's outputs too.
    pub(super) fn rename_value(&mut self, value: ValueId, name: &Arc<str>) -> Result<()> {
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
            .edges_directed(value.0, Direction::Outgoing)
            .filter(|edge| *edge.weight() == Port::Capture)
            .map(|edge| NodeId(edge.target()))
            .collect();
        for node in readers {
            self.rename_capture(node, &old, name)?;
        }
        Ok(())
    }

    /// A name nobody uses yet, here or in any graph of the model.
    pub(super) fn fresh_name(&self, base: &str) -> Arc<str> {
        self.pool.fresh(base)
    }

    /// Exchanges the names of two values, so that `b` becomes what readers by name, graph outputs among them, see as `a`.
    fn swap_names(&mut self, a: ValueId, b: ValueId) -> Result<()> {
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

    /// Puts another tensor in the place of an initializer, or of what a `Constant` node yields.
    ///
    /// # Errors
    /// Fails where the value is neither.
    pub fn set_constant(&mut self, value: ValueId, tensor: Tensor) -> Result<()> {
        let ty = ValueType::tensor(tensor.dtype(), Some(super::Shape::fixed(tensor.shape().iter().copied())));
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
        let wanted: std::collections::BTreeSet<Arc<str>> =
            self.node(node).subgraphs.iter().flat_map(|s| s.graph.outer_names()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Model, check};
    use crate::onnx::proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, attribute_proto::AttributeType,
    };
    use prost::Message as _;

    fn named(name: &str) -> ValueInfoProto {
        ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
    }

    fn op(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto {
            op_type: Some(op_type.into()),
            input: inputs.iter().map(|&s| s.into()).collect(),
            output: outputs.iter().map(|&s| s.into()).collect(),
            ..NodeProto::default()
        }
    }

    fn graph(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
        GraphProto {
            name: Some("g".into()),
            input: inputs.iter().map(|&s| named(s)).collect(),
            node: nodes,
            output: outputs.iter().map(|&s| named(s)).collect(),
            initializer: vec![TensorProto {
                name: Some("w".into()),
                data_type: Some(1),
                dims: vec![1],
                raw_data: Some(1.0f32.to_le_bytes().to_vec().into()),
                ..TensorProto::default()
            }],
            ..GraphProto::default()
        }
    }

    fn model(graph: GraphProto) -> Model {
        let proto = ModelProto { ir_version: Some(8), graph: Some(graph), ..ModelProto::default() };
        crate::onnx::decode(proto.encode_to_vec().into(), None).unwrap()
    }

    /// `If` whose then-branch reads `x` and `w` of the outer graph.
    fn with_capture() -> Model {
        let inner =
            GraphProto { initializer: Vec::new(), ..graph(&[], vec![op("Add", &["a", "w"], &["inner"])], &["inner"]) };
        let branch = |name: &str| AttributeProto {
            name: Some(name.into()),
            g: Some(Box::new(inner.clone())),
            r#type: Some(AttributeType::Graph as i32),
            ..AttributeProto::default()
        };
        let mut choice = op("If", &["c"], &["y"]);
        choice.attribute = vec![branch("then_branch"), branch("else_branch")];
        model(graph(&["x", "c"], vec![op("Relu", &["x"], &["a"]), choice], &["y"]))
    }

    fn value(graph: &Graph, name: &str) -> ValueId {
        graph.find_value(name).unwrap()
    }

    #[test]
    fn a_replacement_takes_over_the_name_of_an_output() {
        let mut model = model(graph(&["x"], vec![op("Relu", &["x"], &["a"]), op("Identity", &["a"], &["y"])], &["y"]));
        let g = &mut model.graph;
        let (a, y) = (value(g, "a"), value(g, "y"));
        let identity = g.producer(y).unwrap().0;
        g.replace_value(y, a).unwrap().unwrap();
        g.remove_node(identity).unwrap();
        assert_eq!(g.value(a).name(), "y");
        assert_eq!(g.outputs().collect::<Vec<_>>(), [a]);
        assert!(g.find_value("a").is_none());
        check::structure(&model).unwrap();
    }

    #[test]
    fn an_input_never_becomes_an_output() {
        let mut model = model(graph(&["x"], vec![op("Identity", &["x"], &["y"])], &["y"]));
        let g = &mut model.graph;
        let (x, y) = (value(g, "x"), value(g, "y"));
        assert!(g.replace_value(y, x).unwrap().is_err());
        check::structure(&model).unwrap();
    }

    #[test]
    fn captures_follow_a_replacement() {
        let mut model = with_capture();
        let g = &mut model.graph;
        let (a, x) = (value(g, "a"), value(g, "x"));
        assert_eq!(g.uses(a).len(), 1);
        g.replace_value(a, x).unwrap().unwrap();
        let relu = g.producer(a).unwrap().0;
        g.remove_node(relu).unwrap();
        check::structure(&model).unwrap();
        let g = &model.graph;
        let choice = g.producer(value(g, "y")).unwrap().0;
        assert_eq!(g.captures(choice), [value(g, "w"), value(g, "x")]);
        for subgraph in g.node(choice).subgraphs() {
            assert!(subgraph.graph.find_value("x").is_some_and(|v| subgraph.graph.value(v).is_outer()));
            assert!(subgraph.graph.find_value("a").is_none());
        }
    }

    #[test]
    fn captures_are_dropped_with_their_last_reader() {
        let mut model = with_capture();
        let g = &mut model.graph;
        let choice = g.producer(value(g, "y")).unwrap().0;
        g.edit_subgraphs(choice, |subgraphs| {
            for subgraph in subgraphs {
                let inner = &mut subgraph.graph;
                let add = inner.producer(value(inner, "inner")).unwrap().0;
                let a = value(inner, "a");
                inner.set_input(add, 1, Some(a))?;
                inner.remove_value(value(inner, "w"))?;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(model.graph.captures(choice), [value(&model.graph, "a")]);
        check::structure(&model).unwrap();
    }

    #[test]
    fn fresh_names_avoid_those_of_inner_graphs() {
        let mut model = with_capture();
        let fresh = model.graph.add_value("inner", ValueType::Unknown);
        assert_eq!(model.graph.value(fresh).name(), "inner_1");
    }

    #[test]
    fn what_is_in_use_is_not_removed() {
        let mut model = with_capture();
        let g = &mut model.graph;
        let (w, a) = (value(g, "w"), value(g, "a"));
        assert_eq!(g.remove_value(w).unwrap_err().kind(), ErrorKind::BrokenPass);
        let relu = g.producer(a).unwrap().0;
        assert_eq!(g.remove_node(relu).unwrap_err().kind(), ErrorKind::BrokenPass);
        check::structure(&model).unwrap();
    }

    #[test]
    fn a_cycle_is_found_and_named() {
        let mut model = model(graph(&["x"], vec![op("Add", &["x", "w"], &["a"]), op("Relu", &["a"], &["y"])], &["y"]));
        let g = &mut model.graph;
        let (a, y) = (value(g, "a"), value(g, "y"));
        let add = g.producer(a).unwrap().0;
        g.set_input(add, 1, Some(y)).unwrap();
        let error = check::structure(&model).unwrap_err();
        assert!(error.to_string().contains("cycle"), "{error}");
    }
}
