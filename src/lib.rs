//! onnx-shrink makes ONNX models smaller and faster, proves how far the result drifted, and refuses to ship a worse file.

pub mod backend;
pub mod census;
pub mod check;
pub mod data;
pub mod error;
pub mod infer;
pub mod input;
pub mod inspect;
pub mod ir;
pub mod onnx;
pub mod opset;
pub mod output;
pub mod pass;
#[path = "../passes/mod.rs"]
pub mod passes;
pub mod shrink;
pub mod validate;

pub use error::{Error, ErrorKind, Result, Site};
