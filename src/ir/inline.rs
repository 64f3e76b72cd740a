//! Moves the graph that an attribute holds into the graph around it.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::attr::Attribute;
use super::graph::{Graph, NodeId, ValueId};
use super::node::{Node, NodeSpec, Value};
use super::signature::ValueType;
use super::tensor::Tensor;
use crate::error::Result;

/// What an input of an inner graph is from now on; see [`Graph::bind_inputs`].
#[derive(Debug, Clone)]
pub enum Bound {
    /// A constant.
    Constant(Tensor),
    /// The value of that name in a graph around it.
    Outer(String),
}

/// How many graphs define each name; see [`Graph::inline`].
#[derive(Debug, Clone, Default)]
pub struct NameCount(HashMap<Arc<str>, usize>);

impl NameCount {
    /// Counts the names that a graph and all inside of it define.
    pub fn add(&mut self, graph: &Graph) {
        visit_names(graph, &mut |name| *self.0.entry(name.clone()).or_default() += 1);
    }

    /// Takes away the names of a graph that is gone.
    fn remove(&mut self, graph: &Graph) {
        visit_names(graph, &mut |name| {
            if let Some(count) = self.0.get_mut(name) {
                *count = count.saturating_sub(1);
            }
        });
    }

    fn is_unique(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|&count| count <= 1)
    }
}

fn visit_names(graph: &Graph, visit: &mut impl FnMut(&Arc<str>)) {
    for value in graph.values().into_iter().map(|value| graph.value(value)).filter(|value| !value.is_outer) {
        visit(&value.name);
    }
    for node in graph.nodes() {
        graph.node(node).subgraphs().iter().for_each(|inner| visit_names(&inner.graph, visit));
    }
}

impl Graph {
    /// Makes something else of some of the first inputs of an inner graph, in their order, so that nobody has to give them;
    /// those without an entry stay. Changes the signature; edit through [`Graph::edit_subgraphs`].
    ///
    /// # Errors
    /// Fails where an input has a default, or the graph defines a name that it is to read from around it.
    pub fn bind_inputs(&mut self, bound: &[Option<Bound>]) -> Result<()> {
        let inputs = self.inputs.clone();
        for (input, bound) in inputs.into_iter().zip(bound) {
            let Some(bound) = bound else { continue };
            self.inputs.retain(|&other| other != input);
            let held = self.value_mut(input)?;
            (held.is_input, held.info, held.ty) = (false, None, ValueType::Unknown);
            match bound {
                Bound::Constant(tensor) => self.define_constant(input, tensor.clone())?,
                Bound::Outer(name) => {
                    held.is_outer = true;
                    let from = held.name.clone();
                    self.rename_outer(&from, &Arc::from(name.as_str()))?;
                }
            }
        }
        Ok(())
    }

    /// Why [`Graph::inline`] cannot move this graph, once it takes no inputs.
    pub fn why_not_inlined(&self) -> Option<&'static str> {
        let any = |test: fn(&Value) -> bool| self.values().into_iter().any(|value| test(self.value(value)));
        match () {
            () if any(|value| value.is_sparse) => Some("the graph has sparse initializers"),
            () if any(|value| value.is_pinned) => Some("other parts of the file refer to values of the graph by name"),
            () => None,
        }
    }

    /// Replaces an operator by the graph that its attribute `attribute` holds and that takes no inputs: a branch of `If`.
    /// Values keep their names, except those that another graph defines as well, and the outputs, which take over the
    /// names that the outputs of the operator had. Where `has_initializers` is false, constants become operators.
    ///
    /// Says why where that cannot be done, and changes nothing then.
    ///
    /// # Errors
    /// Fails where the operator is not in the graph.
    pub fn inline(
        &mut self,
        node: NodeId,
        attribute: &str,
        names: &mut NameCount,
        has_initializers: bool,
    ) -> Result<Result<(), &'static str>> {
        let outputs = self.node_outputs(node);
        let held = self.node(node);
        let Some(inner) = held.subgraphs().iter().find(|inner| inner.attribute == attribute) else {
            return Ok(Err("it does not have that graph"));
        };
        if let Some(reason) = obstacle(&inner.graph, outputs.len()) {
            return Ok(Err(reason));
        }
        let position = held.rank.position;
        let subgraphs = mem::take(&mut self.node_mut(node)?.subgraphs);
        let captured = self.captures(node);
        self.detach_node(node)?;
        // The graphs that go must not count when the names of the one that stays are settled.
        let (chosen, gone): (Vec<_>, Vec<_>) = subgraphs.into_iter().partition(|inner| inner.attribute == attribute);
        gone.iter().for_each(|inner| names.remove(&inner.graph));
        for mut inner in chosen {
            let copied = inner.graph.settle_names(self, &outputs, names)?;
            self.absorb(inner.graph, position, has_initializers)?;
            for (name, output) in copied {
                let from = self.intern(&name);
                let proto = NodeSpec::new("Identity").proto;
                let id =
                    self.add_raw_node(Node { proto, input_slots: 1, output_slots: 1, ..Node::default() }, position);
                self.connect_input(id, 0, from);
                self.connect_output(id, 0, output);
            }
        }
        // What only the other branch read of an enclosing graph, and outputs that nothing reads.
        for value in captured {
            if self.value(value).is_outer && self.is_unread(value) {
                self.remove_value(value)?;
            }
        }
        for output in outputs.into_iter().flatten() {
            if self.is_unread(output) && self.producer(output).is_none() {
                self.remove_value(output)?;
            }
        }
        Ok(Ok(()))
    }

    /// Gives every value of an inner graph the name it has in `outer` later on. Returns the outputs that need an operator
    /// of their own: the name of the value, and the output of the operator that goes.
    fn settle_names(
        &mut self,
        outer: &Self,
        outputs: &[Option<ValueId>],
        names: &mut NameCount,
    ) -> Result<Vec<(String, ValueId)>> {
        let ours: Vec<ValueId> = self.outputs().collect();
        for value in self.values() {
            let held = self.value(value);
            if !held.is_outer && !names.is_unique(&held.name) {
                let (old, fresh) = (held.name.clone(), self.fresh_name(&held.name.clone()));
                self.rename_value(value, &fresh)?;
                if let Some(count) = names.0.get_mut(&old) {
                    *count -= 1;
                }
                names.0.insert(fresh, 1);
            }
        }
        let mut copied = Vec::new();
        let mut taken: Vec<ValueId> = Vec::new();
        for (value, output) in ours.into_iter().zip(outputs) {
            let Some(output) = *output else { continue };
            if self.producer(value).is_some() && !taken.contains(&value) {
                self.rename_value(value, &outer.value(output).name.clone())?;
                taken.push(value);
            } else {
                copied.push((value, output));
            }
        }
        Ok(copied.into_iter().map(|(value, output)| (self.value(value).name().to_owned(), output)).collect())
    }

    /// Takes over the values and operators of a graph whose names are those they have here.
    fn absorb(&mut self, mut inner: Self, position: u64, has_initializers: bool) -> Result<()> {
        for id in inner.initializers() {
            let name = inner.value(id).name.clone();
            let Some(tensor) = inner.value_mut(id)?.init.take() else { continue };
            let value = self.intern(&name);
            if has_initializers {
                self.define_constant(value, tensor)?;
            } else {
                let proto = NodeSpec::new("Constant").proto;
                let attributes = vec![Attribute::new("value", tensor)];
                let node = self.add_raw_node(Node { proto, attributes, output_slots: 1, ..Node::default() }, position);
                self.connect_output(node, 0, value);
            }
        }
        for id in inner.nodes() {
            let (inputs, outputs) = (inner.node_inputs(id), inner.node_outputs(id));
            let held = mem::take(inner.node_mut(id)?);
            let has_subgraphs = !held.subgraphs.is_empty();
            let node = self.add_raw_node(held, position);
            for (slot, input) in inputs.into_iter().enumerate() {
                let Some(input) = input else { continue };
                let value = self.intern(&inner.value(input).name);
                self.connect_input(node, slot as u32, value);
            }
            for (slot, output) in outputs.into_iter().enumerate() {
                let Some(output) = output else { continue };
                let name = inner.value(output).name.clone();
                let is_new = !self.names.contains_key(&name);
                let value = self.intern(&name);
                if is_new {
                    let (ty, info) = (inner.value(output).ty.clone(), inner.value_mut(output)?.info.take());
                    let rank = u64::MAX / 2 + self.next_serial;
                    let held = self.value_mut(value)?;
                    (held.ty, held.info, held.info_rank) = (ty, info, rank);
                }
                self.connect_output(node, slot as u32, value);
            }
            if has_subgraphs {
                self.refresh_captures(node)?;
            }
        }
        Ok(())
    }
}

/// Why the graph cannot be moved.
fn obstacle(inner: &Graph, outputs: usize) -> Option<&'static str> {
    match () {
        () if !inner.inputs().is_empty() => Some("the graph takes inputs"),
        () if inner.outputs().len() != outputs => Some("the graph has another number of outputs than the operator"),
        () => inner.why_not_inlined(),
    }
}
