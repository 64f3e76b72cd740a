//! onnx-shrink makes ONNX models smaller and faster and proves how far the result drifted.

pub mod backend;
pub mod data;
pub mod error;
pub mod ir;
pub mod onnx;
pub mod validate;

pub use error::{Error, ErrorKind, Result, Site};
