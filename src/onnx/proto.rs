//! The messages of an ONNX file, generated at build time from `proto/onnx.proto`.
//!
//! Byte fields share the buffer a message was decoded from, as long as that buffer is a
//! [`Bytes`](prost::bytes::Bytes). Fields the schema does not know are lost on decoding.
//!
//! Encoding restores the bytes the official library wrote, with one exception: a [`TypeProto`] that
//! has a denotation and is an optional, sparse tensor or opaque type comes back with those two
//! fields in the other order, because a oneof is written where its lowest number belongs.

#![allow(missing_docs, reason = "the schema documents what is not plain from a field's name")]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "the whole schema is generated, however much of it the crate uses or exports"
)]
#![allow(clippy::all, clippy::pedantic, reason = "generated code, whose style is not ours to choose")]
#![allow(rustdoc::all, reason = "the schema's comments are written for readers of the schema")]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
