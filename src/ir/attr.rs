//! Attributes of operators.

use std::fmt;

use bytes::Bytes;

use super::tensor::Tensor;
use crate::onnx::proto::{AttributeProto, attribute_proto::AttributeType};

/// The value of an attribute, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum AttrRef<'a> {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// A byte string, usually UTF-8.
    String(&'a [u8]),
    /// A constant tensor.
    Tensor(&'a Tensor),
    /// Floats.
    Floats(&'a [f32]),
    /// Integers.
    Ints(&'a [i64]),
    /// Byte strings.
    Strings(&'a [Bytes]),
    /// Constant tensors.
    Tensors(&'a [Tensor]),
    /// A graph; it lies in [`Node::subgraphs`](super::Node::subgraphs) under the attribute's name.
    Graph,
    /// Several graphs; they lie in [`Node::subgraphs`](super::Node::subgraphs) under the attribute's name.
    Graphs,
    /// Inside a function: the value of an attribute of the function's caller.
    Reference(&'a str),
    /// A sparse tensor or a type; kept as it was read.
    Opaque,
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

/// A named attribute of an operator.
///
/// The message it was decoded from is its storage, so that an attribute nobody changed is written back as it was read;
/// tensors lie beside it, graphs in the node.
#[derive(Clone, PartialEq)]
pub struct Attribute {
    proto: AttributeProto,
    tensors: Vec<Tensor>,
}

impl Attribute {
    /// An attribute with a value.
    pub fn new(name: impl Into<String>, value: impl Into<AttrValue>) -> Self {
        let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
        let mut tensors = Vec::new();
        let kind = match value.into() {
            AttrValue::Float(v) => {
                proto.f = Some(v);
                AttributeType::Float
            }
            AttrValue::Int(v) => {
                proto.i = Some(v);
                AttributeType::Int
            }
            AttrValue::String(v) => {
                proto.s = Some(v);
                AttributeType::String
            }
            AttrValue::Tensor(v) => {
                tensors.push(v);
                AttributeType::Tensor
            }
            AttrValue::Floats(v) => {
                proto.floats = v;
                AttributeType::Floats
            }
            AttrValue::Ints(v) => {
                proto.ints = v;
                AttributeType::Ints
            }
            AttrValue::Strings(v) => {
                proto.strings = v;
                AttributeType::Strings
            }
            AttrValue::Graph => AttributeType::Graph,
        };
        proto.r#type = Some(kind as i32);
        Self { proto, tensors }
    }

    pub(crate) fn from_parts(proto: AttributeProto, tensors: Vec<Tensor>) -> Self {
        Self { proto, tensors }
    }

    /// The message without its tensors and graphs.
    pub(crate) fn proto(&self) -> &AttributeProto {
        &self.proto
    }

    /// The tensors of the attribute: one for a tensor, several for a list of them.
    pub(crate) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    pub(crate) fn proto_mut(&mut self) -> &mut AttributeProto {
        &mut self.proto
    }

    pub(crate) fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.tensors
    }

    /// The name of the attribute.
    pub fn name(&self) -> &str {
        self.proto.name.as_deref().unwrap_or_default()
    }

    /// What kind of value it holds. Files of the first IR versions leave the type out: then what is set decides.
    pub(crate) fn kind(&self) -> AttributeType {
        let declared = self.proto.r#type.and_then(|t| AttributeType::try_from(t).ok());
        match declared {
            Some(AttributeType::Undefined) | None => self.kind_by_content(),
            Some(kind) => kind,
        }
    }

    fn kind_by_content(&self) -> AttributeType {
        let p = &self.proto;
        match () {
            () if p.f.is_some() => AttributeType::Float,
            () if p.i.is_some() => AttributeType::Int,
            () if p.s.is_some() => AttributeType::String,
            () if self.tensors.len() == 1 => AttributeType::Tensor,
            () if !p.floats.is_empty() => AttributeType::Floats,
            () if !p.ints.is_empty() => AttributeType::Ints,
            () if !p.strings.is_empty() => AttributeType::Strings,
            () if !self.tensors.is_empty() => AttributeType::Tensors,
            () => AttributeType::Undefined,
        }
    }

    /// The value.
    pub fn value(&self) -> AttrRef<'_> {
        let p = &self.proto;
        if let Some(reference) = p.ref_attr_name.as_deref().filter(|r| !r.is_empty()) {
            return AttrRef::Reference(reference);
        }
        match self.kind() {
            AttributeType::Float => AttrRef::Float(p.f.unwrap_or_default()),
            AttributeType::Int => AttrRef::Int(p.i.unwrap_or_default()),
            AttributeType::String => AttrRef::String(p.s.as_deref().unwrap_or_default()),
            AttributeType::Tensor => self.tensors.first().map_or(AttrRef::Opaque, AttrRef::Tensor),
            AttributeType::Floats => AttrRef::Floats(&p.floats),
            AttributeType::Ints => AttrRef::Ints(&p.ints),
            AttributeType::Strings => AttrRef::Strings(&p.strings),
            AttributeType::Tensors => AttrRef::Tensors(&self.tensors),
            AttributeType::Graph => AttrRef::Graph,
            AttributeType::Graphs => AttrRef::Graphs,
            _ => AttrRef::Opaque,
        }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.name(), self.value())
    }
}

/// The value of an attribute, owned; what a new attribute is made of.
#[derive(Debug, Clone)]
pub enum AttrValue {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// A byte string.
    String(Bytes),
    /// A constant tensor.
    Tensor(Tensor),
    /// Floats.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
    /// Byte strings.
    Strings(Vec<Bytes>),
    /// A graph, which lies in the node's subgraphs under the attribute's name.
    Graph,
}

macro_rules! attr_from {
    ($($type:ty => $variant:ident;)*) => {
        $(impl From<$type> for AttrValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

attr_from! {
    f32 => Float;
    i64 => Int;
    Bytes => String;
    String => String;
    &'static str => String;
    Tensor => Tensor;
    Vec<f32> => Floats;
    Vec<i64> => Ints;
    &[i64] => Ints;
    Vec<Bytes> => Strings;
}
