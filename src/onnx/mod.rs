//! ONNX files: the schema, decoding and encoding.

pub mod proto;
