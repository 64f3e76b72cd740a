//! The facts about one operator in one version.

use std::fmt;

use crate::ir::{AttrRef, Attribute, DType};
use crate::onnx::proto::attribute_proto::AttributeType;

/// An operator as one version of its operator set defines it.
#[derive(Debug)]
pub struct Schema {
    /// The domain; empty for the default one.
    pub domain: &'static str,
    /// The operator.
    pub op_type: &'static str,
    /// The version of the operator set that brought this definition.
    pub since_version: i64,
    /// Whether this version withdrew the operator: models that import it must not use it.
    pub deprecated: bool,
    /// Whether the specification gives a body of simpler operators.
    pub has_function: bool,
    /// Whether the specification marks it as nondeterministic: random operators, and those that may hold them (If, Loop,
    /// Scan). Known for ONNX's own domains only.
    pub nondeterministic: bool,
    /// The attributes, sorted by name.
    pub attributes: Vec<AttrSchema>,
    /// The inputs, in order.
    pub inputs: Vec<Formal>,
    /// The outputs, in order.
    pub outputs: Vec<Formal>,
    pub(super) types: Vec<(&'static str, Vec<AllowedType>)>,
}

impl Schema {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&AttrSchema> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// What stands in an input slot; a variadic input takes every slot from its own on.
    pub fn input(&self, slot: usize) -> Option<&Formal> {
        formal(&self.inputs, slot)
    }

    /// What stands in an output slot; a variadic output takes every slot from its own on.
    pub fn output(&self, slot: usize) -> Option<&Formal> {
        formal(&self.outputs, slot)
    }

    /// The types that an input or output of this operator may have.
    pub fn types(&self, formal: &Formal) -> &[AllowedType] {
        self.types.iter().find(|(name, _)| *name == formal.type_name).map_or(&[], |(_, types)| types)
    }

    /// The fewest input slots a node may have.
    pub fn min_inputs(&self) -> usize {
        fewest(&self.inputs)
    }

    /// The most input slots a node may have; `None` where there is no limit.
    pub fn max_inputs(&self) -> Option<usize> {
        most(&self.inputs)
    }

    /// The fewest output slots a node may have.
    pub fn min_outputs(&self) -> usize {
        fewest(&self.outputs)
    }

    /// The most output slots a node may have; `None` where there is no limit.
    pub fn max_outputs(&self) -> Option<usize> {
        most(&self.outputs)
    }
}

fn formal(formals: &[Formal], slot: usize) -> Option<&Formal> {
    let variadic = || formals.last().filter(|last| matches!(last.arity, Arity::Variadic { .. }));
    formals.get(slot).or_else(variadic)
}

/// The fewest slots that the inputs or outputs take.
pub(super) fn fewest(formals: &[Formal]) -> usize {
    let up_to = |(place, formal): (usize, &Formal)| match formal.arity {
        Arity::Single => place + 1,
        Arity::Optional => 0,
        Arity::Variadic { min } => place + min,
    };
    formals.iter().enumerate().map(up_to).max().unwrap_or(0)
}

/// The most slots that the inputs or outputs take; `None` where there is no limit.
pub(super) fn most(formals: &[Formal]) -> Option<usize> {
    let bounded = formals.iter().all(|formal| !matches!(formal.arity, Arity::Variadic { .. }));
    bounded.then_some(formals.len())
}

/// An input or output of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formal {
    /// The name in the specification.
    pub name: &'static str,
    /// How many slots it takes.
    pub arity: Arity,
    /// Whether all slots of a variadic one have the same type; true for others.
    pub homogeneous: bool,
    /// The type variable, or the type itself. Inputs and outputs of one operator that share a variable have one type.
    pub type_name: &'static str,
}

/// How many slots an input or output takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// One, and it must not be left empty.
    Single,
    /// One, which may be left empty or, at the end, out.
    Optional,
    /// Every slot from its own on.
    Variadic {
        /// The fewest slots.
        min: usize,
    },
}

/// A type that an input or output may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AllowedType {
    /// A dense tensor.
    Tensor(DType),
    /// A sparse tensor.
    SparseTensor(DType),
    /// A sequence.
    Sequence(Box<AllowedType>),
    /// A value that may be missing.
    Optional(Box<AllowedType>),
    /// A map from keys to values.
    Map(DType, Box<AllowedType>),
}

impl fmt::Display for AllowedType {
    /// As the specification writes it: `seq(tensor(float))`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(dtype) => write!(f, "tensor({dtype})"),
            Self::SparseTensor(dtype) => write!(f, "sparse_tensor({dtype})"),
            Self::Sequence(element) => write!(f, "seq({element})"),
            Self::Optional(element) => write!(f, "optional({element})"),
            Self::Map(key, value) => write!(f, "map({key},{value})"),
        }
    }
}

/// An attribute of an operator.
#[derive(Debug)]
pub struct AttrSchema {
    /// The name.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: AttrKind,
    /// Whether every node must have it.
    pub required: bool,
    pub(super) default: Option<Attribute>,
}

impl AttrSchema {
    /// The value it has on a node that leaves it out; `None` where the specification names none.
    pub fn default(&self) -> Option<AttrRef<'_>> {
        self.default.as_ref().map(Attribute::value)
    }
}

macro_rules! attr_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What kind of value an attribute takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum AttrKind { $($(#[$doc])* $variant,)* }

        impl AttrKind {
            /// The kind of that name, as the specification writes it in small letters.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The name, as the specification writes it in small letters.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The kind of an attribute in a file; `None` where the file does not tell.
            pub(super) fn of(attribute: &Attribute) -> Option<Self> {
                match attribute.kind() {
                    $(AttributeType::$variant => Some(Self::$variant),)*
                    AttributeType::Undefined => None,
                }
            }
        }
    };
}

attr_kinds! {
    /// A float.
    Float = "float";
    /// An integer.
    Int = "int";
    /// A byte string.
    String = "string";
    /// A tensor.
    Tensor = "tensor";
    /// A graph.
    Graph = "graph";
    /// A sparse tensor.
    SparseTensor = "sparse_tensor";
    /// A type.
    TypeProto = "type_proto";
    /// Floats.
    Floats = "floats";
    /// Integers.
    Ints = "ints";
    /// Byte strings.
    Strings = "strings";
    /// Tensors.
    Tensors = "tensors";
    /// Graphs.
    Graphs = "graphs";
    /// Sparse tensors.
    SparseTensors = "sparse_tensors";
    /// Types.
    TypeProtos = "type_protos";
}

impl fmt::Display for AttrKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
