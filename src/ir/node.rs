//! Operators and values: what the vertices of the graph hold.

use std::sync::Arc;

use bytes::Bytes;

use super::attr::{AttrRef, AttrValue, Attribute};
use super::dtype::DType;
use super::graph::Graph;
use super::shape::Shape;
use super::signature::ValueType;
use super::tensor::Tensor;
use crate::onnx::proto::{NodeProto, ValueInfoProto};

/// Where an operator stands in the order of its graph: the position it was read at, then the order of insertion.
///
/// A new operator takes the position of the one it belongs to, so that it is written beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Rank {
    pub(crate) position: u64,
    pub(crate) serial: u64,
}

/// A graph that an attribute of an operator holds: a branch of If, the body of Loop or Scan.
#[derive(Debug, Clone)]
pub struct Subgraph {
    /// The attribute that holds it.
    pub attribute: String,
    /// The graph.
    pub graph: Graph,
}

/// An operator. Its inputs and outputs are edges of the graph.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Every field of the message but inputs, outputs and attributes.
    pub(crate) proto: NodeProto,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) subgraphs: Vec<Subgraph>,
    /// Slots, those left empty included.
    pub(crate) input_slots: u32,
    pub(crate) output_slots: u32,
    pub(crate) rank: Rank,
    /// The user wants it to stay as it is.
    pub(crate) is_kept: bool,
}

impl Node {
    /// The name; often empty.
    pub fn name(&self) -> &str {
        self.proto.name.as_deref().unwrap_or_default()
    }

    /// The operator.
    pub fn op_type(&self) -> &str {
        self.proto.op_type.as_deref().unwrap_or_default()
    }

    /// The domain of the operator; the default domain is empty, whichever of its two names the file uses.
    pub fn domain(&self) -> &str {
        match self.proto.domain.as_deref().unwrap_or_default() {
            "ai.onnx" => "",
            domain => domain,
        }
    }

    /// Whether this is the given operator of the default domain, and may be rewritten: one that is
    /// [kept](Self::is_kept) is nothing that a rewrite could know.
    pub fn is(&self, op_type: &str) -> bool {
        self.is_any(&[op_type])
    }

    /// Whether this is one of the given operators of the default domain, and may be rewritten, as in [`Node::is`].
    pub fn is_any(&self, op_types: &[&str]) -> bool {
        self.does_any(op_types) && !self.is_kept
    }

    /// Whether this is one of the given operators of the default domain: for what must be known of an operator that
    /// stays as it is.
    pub fn does_any(&self, op_types: &[&str]) -> bool {
        op_types.contains(&self.op_type()) && self.domain().is_empty()
    }

    /// Whether a user wants the operator to stay as it is; see [`Graph::keep_node`].
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The attributes in the order of the file.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The attribute of that name.
    pub fn attr(&self, name: &str) -> Option<AttrRef<'_>> {
        self.attributes.iter().find(|a| a.name() == name).map(Attribute::value)
    }

    /// An integer attribute, or its default.
    pub fn attr_int(&self, name: &str, default: i64) -> i64 {
        match self.attr(name) {
            Some(AttrRef::Int(value)) => value,
            _ => default,
        }
    }

    /// A float attribute, or its default.
    pub fn attr_float(&self, name: &str, default: f32) -> f32 {
        match self.attr(name) {
            Some(AttrRef::Float(value)) => value,
            _ => default,
        }
    }

    /// A list of integers, where the attribute is there.
    pub fn attr_ints(&self, name: &str) -> Option<&[i64]> {
        match self.attr(name) {
            Some(AttrRef::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// A UTF-8 string attribute, or its default.
    pub fn attr_str<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.attr(name) {
            Some(AttrRef::String(value)) => std::str::from_utf8(value).unwrap_or(default),
            _ => default,
        }
    }

    /// The graphs that attributes hold.
    pub fn subgraphs(&self) -> &[Subgraph] {
        &self.subgraphs
    }

    /// The number of input slots, empty ones included.
    pub fn input_slots(&self) -> usize {
        self.input_slots as usize
    }

    /// The number of output slots, empty ones included.
    pub fn output_slots(&self) -> usize {
        self.output_slots as usize
    }

    /// What a `Constant` node yields; `None` for every other operator and for forms that are no dense tensor.
    pub fn constant_value(&self) -> Option<Tensor> {
        if !self.does_any(&["Constant"]) {
            return None;
        }
        match self.attributes.first()?.value() {
            AttrRef::Tensor(tensor) => Some(tensor.clone()),
            AttrRef::Float(v) => Tensor::from_f32(vec![], &[v]).ok(),
            AttrRef::Int(v) => Tensor::from_i64(vec![], &[v]).ok(),
            AttrRef::Floats(v) => Tensor::from_f32(vec![v.len() as u64], v).ok(),
            AttrRef::Ints(v) => Tensor::from_i64(vec![v.len() as u64], v).ok(),
            AttrRef::String(v) => Tensor::from_strings(vec![], vec![Bytes::copy_from_slice(v)]).ok(),
            AttrRef::Strings(v) => Tensor::from_strings(vec![v.len() as u64], v.to_vec()).ok(),
            _ => None,
        }
    }
}

/// A value: what operators read and write.
#[derive(Debug, Clone, Default)]
pub struct Value {
    pub(crate) name: Arc<str>,
    pub(crate) ty: ValueType,
    /// The entry in the graph's inputs, or in `value_info`, with its place there.
    pub(crate) info: Option<Box<ValueInfoProto>>,
    pub(crate) info_rank: u64,
    pub(crate) init: Option<Tensor>,
    pub(crate) init_rank: u64,
    pub(crate) is_input: bool,
    /// How often the value stands in the list of graph outputs.
    pub(crate) output_uses: u32,
    /// Defined by a sparse initializer, which lies in the graph's residue.
    pub(crate) is_sparse: bool,
    /// Not defined in this graph but read from an enclosing one.
    pub(crate) is_outer: bool,
    /// Parts of the file outside of operators refer to it by name, or the user wants it kept.
    pub(crate) is_pinned: bool,
    /// The user wants it to stay as it is; then it is pinned, too.
    pub(crate) is_kept: bool,
    /// What inference tells beyond the file; never written.
    pub(crate) inferred: Option<Box<Inferred>>,
}

/// What follows from the operators of a value's type, whatever the file declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inferred {
    /// The element type, where it is known.
    pub dtype: Option<DType>,
    /// The shape, where the rank is known. Names of dimensions are equal where the dimensions are, but need not be names
    /// that the file has: only numbers may be written to it.
    pub shape: Option<Shape>,
}

impl Value {
    /// The name, unique in its graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of its type.
    pub fn ty(&self) -> &ValueType {
        &self.ty
    }

    /// The element type, where it is known.
    pub fn dtype(&self) -> Option<DType> {
        self.ty.dtype().or_else(|| self.init.as_ref().map(Tensor::dtype))
    }

    /// The shape, where the rank is known.
    pub fn shape(&self) -> Option<Shape> {
        match (self.ty.shape(), &self.init) {
            (_, Some(tensor)) => Some(Shape::fixed(tensor.shape().iter().copied())),
            (shape, None) => shape.cloned(),
        }
    }

    /// What inference told of the type, where a pass let it: see [`Graph::set_inferred`].
    pub fn inferred(&self) -> Option<&Inferred> {
        self.inferred.as_deref()
    }

    /// The initializer, where the value is one.
    pub fn initializer(&self) -> Option<&Tensor> {
        self.init.as_ref()
    }

    /// Whether the value is an input of its graph.
    pub fn is_input(&self) -> bool {
        self.is_input
    }

    /// Whether the value is an output of its graph.
    pub fn is_output(&self) -> bool {
        self.output_uses > 0
    }

    /// Whether the value is read from an enclosing graph.
    pub fn is_outer(&self) -> bool {
        self.is_outer
    }

    /// Whether parts of the file besides operators refer to the value by name (training information, quantization
    /// annotations, sharding), or a user wants it kept. Such a value counts as read, is no constant, and keeps its name.
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Whether a user wants the value to stay as it is; see [`Graph::keep_value`].
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether a sparse initializer defines the value.
    pub fn is_sparse(&self) -> bool {
        self.is_sparse
    }

    /// Type and name as errors and the textual syntax show them: `float[64,3,7,7] conv1.weight`.
    pub fn describe(&self) -> String {
        match (&self.init, &self.ty) {
            (Some(tensor), _) => format!("{} {}", tensor.type_text(), self.name),
            (None, ValueType::Unknown) => self.name.to_string(),
            (None, ty) => format!("{ty} {}", self.name),
        }
    }
}

/// What a new operator is made of; see [`Graph::add_node`].
#[derive(Debug, Clone, Default)]
pub struct NodeSpec {
    pub(crate) proto: NodeProto,
    pub(crate) attributes: Vec<Attribute>,
}

impl NodeSpec {
    /// An operator of the default domain, without attributes and name.
    pub fn new(op_type: impl Into<String>) -> Self {
        let proto = NodeProto { op_type: Some(op_type.into()), ..NodeProto::default() };
        Self { proto, attributes: Vec::new() }
    }

    /// Sets the domain.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.proto.domain = Some(domain.into());
        self
    }

    /// Sets the name of the operator.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.proto.name = Some(name.into());
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attr(mut self, name: impl Into<String>, value: impl Into<AttrValue>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }
}
