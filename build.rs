//! Generates the Rust types of the ONNX file format from `proto/onnx.proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto/onnx.proto");

    // protox parses the schema in Rust, so that building needs no protoc on the machine.
    let descriptors = protox::compile(["proto/onnx.proto"], ["proto"])?;

    // With `Bytes` a weight is a slice of the buffer the model was read from, not a copy.
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // Attributes are by far the most numerous messages, and few of them hold any of these: inline, they would make an
    // attribute take six times the memory.
    for field in ["t", "g", "sparse_tensor", "tp"] {
        config.boxed(format!(".onnx.AttributeProto.{field}"));
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
