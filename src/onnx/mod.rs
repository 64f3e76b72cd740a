//! ONNX files: the schema, decoding and encoding.

pub(crate) mod mmap;
pub mod proto;
