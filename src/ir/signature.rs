//! What a model promises its callers: the names, types and shapes of its inputs and outputs.

use std::fmt;

use super::dtype::DType;
use super::shape::Shape;

/// What is known of the type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ValueType {
    /// Nothing.
    #[default]
    Unknown,
    /// A dense tensor.
    Tensor(TensorType),
    /// A sequence, map, optional, sparse tensor or opaque type, in words; its message stays in the value's residue.
    Other(String),
}

/// Element type and shape of a dense tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// The shape; `None` where not even the rank is known.
    pub shape: Option<Shape>,
}

impl ValueType {
    /// A tensor type.
    pub fn tensor(dtype: DType, shape: Option<Shape>) -> Self {
        Self::Tensor(TensorType { dtype, shape })
    }

    /// The element type, where the value is known to be a tensor.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Self::Tensor(tensor) => Some(tensor.dtype),
            _ => None,
        }
    }

    /// The shape, where the value is known to be a tensor and its rank is known.
    pub fn shape(&self) -> Option<&Shape> {
        match self {
            Self::Tensor(tensor) => tensor.shape.as_ref(),
            _ => None,
        }
    }
}

impl ValueType {
    /// Whether a value of this type is also one of the type `wider`.
    pub fn narrows(&self, wider: &Self) -> bool {
        match (self, wider) {
            (_, Self::Unknown) => true,
            (Self::Tensor(this), Self::Tensor(wider)) => {
                let shapes = match (&this.shape, &wider.shape) {
                    (_, None) => true,
                    (Some(shape), Some(wider)) => shape.narrows(wider),
                    (None, Some(_)) => false,
                };
                this.dtype == wider.dtype && shapes
            }
            (this, wider) => this == wider,
        }
    }
}

impl fmt::Display for ValueType {
    /// As the textual syntax writes it: `float[N,3]`, `float[]` for an unknown rank, `float` for a scalar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("?"),
            Self::Tensor(TensorType { dtype, shape: None }) => write!(f, "{dtype}[]"),
            Self::Tensor(TensorType { dtype, shape: Some(shape) }) if shape.rank() == 0 => write!(f, "{dtype}"),
            Self::Tensor(TensorType { dtype, shape: Some(shape) }) => write!(f, "{dtype}[{shape}]"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// A named value with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedName {
    /// The name of the input or output.
    pub name: String,
    /// What the model declares of its type.
    pub ty: ValueType,
}

impl TypedName {
    /// Whether the name is the same, and the type the same or a narrower one.
    pub fn narrows(&self, wider: &Self) -> bool {
        self.name == wider.name && self.ty.narrows(&wider.ty)
    }
}

impl TypedName {
    /// Whether it is the other one, a float, with another element type and the same shape.
    pub(crate) fn is_retyped(&self, float: &Self, dtype: Option<DType>) -> bool {
        let (ValueType::Tensor(this), ValueType::Tensor(other)) = (&self.ty, &float.ty) else { return false };
        let is_changed = other.dtype == DType::F32 && Some(this.dtype) == dtype;
        self.name == float.name && is_changed && this.shape == other.shape
    }
}

impl fmt::Display for TypedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ty, self.name)
    }
}

/// Inputs and outputs of a model, in order. Inputs that are also initializers (defaults) are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// What a caller must provide.
    pub inputs: Vec<TypedName>,
    /// What a caller gets.
    pub outputs: Vec<TypedName>,
}
