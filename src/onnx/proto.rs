//! The messages of an ONNX file, generated at build time from `proto/onnx.proto`.
//!
//! Reading and writing with these types keeps the bytes of fields the schema knows; fields it
//! does not know are dropped.

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
