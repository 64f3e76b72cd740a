//! The intermediate representation: a bipartite petgraph of operators and values.
//!
//! [`Model`] holds the main [`Graph`], functions, and what surrounds them in the file. Queries are methods of [`Graph`];
//! changes are too, in [`edit`], and there only. What is not modelled stays in the message it came in, so that an
//! untouched model is written back byte for byte.

mod attr;
pub mod check;
mod dtype;
pub mod edit;
mod floats;
pub(crate) mod graph;
mod inline;
mod keep;
mod losses;
mod model;
mod nested;
mod net;
mod node;
mod notes;
mod shape;
mod signature;
mod tensor;
pub mod text;

pub use attr::{AttrRef, AttrValue, Attribute};
pub use dtype::DType;
pub use graph::{Graph, NodeId, Port, Use, ValueId};
pub use inline::{Bound, NameCount};
pub use keep::Kept;
pub use model::{Function, Model};
pub use node::{Inferred, Node, NodeSpec, Subgraph, Value};
pub use notes::Notes;
pub use shape::{Dim, Shape, names_nothing};
pub use signature::{Signature, TensorType, TypedName, ValueType};
pub use tensor::Tensor;
