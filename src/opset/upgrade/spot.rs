//! What an adapter sees of one operator, and what it may do to it.

use std::collections::BTreeMap;

use super::known::Facts;
use super::walk::Place;
use crate::error::{Error, Result};
use crate::ir::{AttrRef, DType, Graph, Node, NodeId, NodeSpec, Tensor, ValueId};
use crate::opset::table::schema;

/// One operator on its way to the definition that `version` brought.
pub(super) struct Spot<'a> {
    /// The graph it lies in.
    pub(super) graph: &'a mut Graph,
    /// The operator.
    pub(super) node: NodeId,
    /// The version that brought the new definition. The operator has the one before it.
    pub(super) version: i64,
    /// The version the model is raised to in the end.
    pub(super) target: i64,
    /// The path to the graph.
    pub(super) path: &'a [String],
    /// What is known of the values of the graph.
    pub(super) facts: &'a Facts,
    /// The constants that were added to the graph.
    pub(super) constants: &'a mut Constants,
}

impl Spot<'_> {
    pub(super) fn held(&self) -> &Node {
        self.graph.node(self.node)
    }

    /// The operator cannot be expressed in the new definition.
    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        let op_type = self.held().op_type();
        let old = self.version - 1;
        let since = schema("", op_type, old).map_or(old, |schema| schema.since_version);
        Error::unsupported(format!(
            "cannot raise {op_type} from opset {since} to its definition of opset {}",
            self.version
        ))
        .at(self.graph.site(self.node).in_path(self.path))
        .found(reason)
        .help(format!("stay at opset {old} or lower, or export the model again with opset {}", self.target))
    }

    /// An attribute that the node itself has.
    ///
    /// # Errors
    /// Refuses where the caller of the function around it sets the value.
    pub(super) fn attr(&self, name: &str) -> Result<Option<AttrRef<'_>>> {
        match self.held().attr(name) {
            Some(AttrRef::Reference(_)) => {
                Err(self.refuse(format!("the caller of the function sets `{name}`, which is no attribute any more")))
            }
            value => Ok(value),
        }
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.attr(name)? {
            None => Ok(default),
            Some(AttrRef::Int(value)) => Ok(value),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>> {
        match self.attr(name)? {
            None => Ok(None),
            Some(AttrRef::Float(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        match self.attr(name)? {
            None => Ok(None),
            Some(AttrRef::Ints(values)) => Ok(Some(values.to_vec())),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.attr(name)? {
            None => Ok(None),
            Some(AttrRef::Floats(values)) => Ok(Some(values.to_vec())),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    pub(super) fn string(&self, name: &str, default: &str) -> Result<String> {
        match self.attr(name)? {
            None => Ok(default.to_owned()),
            Some(AttrRef::String(value)) => Ok(String::from_utf8_lossy(value).into_owned()),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    fn wrong_type(&self, name: &str) -> Error {
        Error::invalid_model(format!("attribute `{name}` has the wrong type"))
            .at(self.graph.site(self.node).in_path(self.path))
    }

    pub(super) fn input(&self, slot: usize) -> Option<ValueId> {
        self.graph.input(self.node, slot)
    }

    /// An input that every such operator has.
    pub(super) fn required_input(&self, slot: usize) -> Result<ValueId> {
        self.input(slot).ok_or_else(|| {
            Error::invalid_model(format!("input {slot} is missing")).at(self.graph.site(self.node).in_path(self.path))
        })
    }

    /// The element type of the first input; that of the first output where the two are the same by definition.
    pub(super) fn dtype(&self) -> Result<DType> {
        let values = [self.input(0), self.graph.output(self.node, 0)];
        let mut types = values.into_iter().flatten().filter_map(|value| self.facts.dtype(value));
        types.next().ok_or_else(|| self.refuse("the element type of its input is not known"))
    }

    /// A scalar of the type of the first input.
    ///
    /// # Errors
    /// Refuses where the type is not known or no float: the old definitions took floats only.
    pub(super) fn scalar(&self, value: f32) -> Result<Tensor> {
        let dtype = self.dtype()?;
        if !dtype.is_float() {
            return Err(self.refuse(format!("its input is of type {dtype}, which the old definition does not take")));
        }
        Tensor::from_floats(dtype, vec![], &[value])
    }

    /// The rank of a value, where it is known.
    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.facts.rank(value)
    }

    /// A constant to read; `role` names it.
    pub(super) fn constant(&mut self, role: &str, tensor: Tensor) -> Result<ValueId> {
        self.constants.value(self.graph, role, tensor, self.node)
    }

    /// A constant of indices, `[n]`.
    pub(super) fn indices(&mut self, role: &str, values: &[i64]) -> Result<ValueId> {
        self.constant(role, Tensor::from_i64(vec![values.len() as u64], values)?)
    }

    /// Turns an attribute, where it is there and not empty, into an input of indices.
    pub(super) fn ints_to_input(&mut self, name: &str, slot: usize) -> Result<bool> {
        let Some(values) = self.ints(name)? else { return Ok(false) };
        if !values.is_empty() {
            let input = self.indices(name, &values)?;
            self.set_input(slot, Some(input))?;
        }
        self.graph.remove_attr(self.node, name)
    }

    pub(super) fn set_input(&mut self, slot: usize, value: Option<ValueId>) -> Result<()> {
        self.graph.set_input(self.node, slot, value)
    }

    pub(super) fn remove_attr(&mut self, name: &str) -> Result<bool> {
        self.graph.remove_attr(self.node, name)
    }

    /// Adds an operator beside this one and returns its only output.
    pub(super) fn add_op(&mut self, spec: NodeSpec, inputs: &[ValueId], base: &str) -> Result<ValueId> {
        self.graph.add_op(spec, inputs, base, self.node)
    }

    /// The name of the first output, for naming what is added.
    pub(super) fn output_name(&self) -> String {
        let first = self.graph.output(self.node, 0);
        first.map_or_else(String::new, |value| self.graph.value(value).name().to_owned())
    }
}

/// The constants that adapters added to one graph, each distinct one once for each role.
#[derive(Debug)]
pub(super) struct Constants {
    place: Place,
    added: BTreeMap<(String, i32, Vec<u64>, bytes::Bytes), ValueId>,
}

impl Constants {
    pub(super) fn new(place: Place) -> Self {
        Self { place, added: BTreeMap::new() }
    }

    fn value(&mut self, graph: &mut Graph, role: &str, tensor: Tensor, near: NodeId) -> Result<ValueId> {
        let key = (role.to_owned(), tensor.dtype().to_onnx(), tensor.shape().to_vec(), tensor.data().clone());
        if let Some(&value) = self.added.get(&key) {
            return Ok(value);
        }
        let value = match self.place {
            Place::MainGraph => graph.add_initializer(role, tensor),
            Place::Inner => graph.add_op(NodeSpec::new("Constant").attr("value", tensor), &[], role, near)?,
        };
        self.added.insert(key, value);
        Ok(value)
    }
}
