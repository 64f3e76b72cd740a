//! Generates the Rust types of the ONNX file format from `proto/onnx.proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto/onnx.proto");

    // protox parses the schema in Rust, so that building needs no protoc on the machine.
    let descriptors = protox::compile(["proto/onnx.proto"], ["proto"])?;

    // With `Bytes` a weight is a slice of the buffer the model was read from, not a copy.
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
