//! The intermediate representation: a bipartite petgraph of operators and values.

mod dtype;
mod shape;
mod signature;
mod tensor;

pub use dtype::DType;
pub use shape::{Dim, Shape};
pub use signature::{Signature, TensorType, TypedName, ValueType};
pub use tensor::Tensor;
