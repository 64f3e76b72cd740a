//! Files that tell how they were made, and `verify`, which says exactly what is missing or another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use onnx_shrink::onnx::proto::ModelProto;
use prost::Message;
use support::sandbox::{Ran, Sandbox};
use support::transform::testdata;

fn path(name: &str) -> String {
    testdata(name).display().to_string()
}

/// The digits model with 8-bit arithmetic, decided by rule, in `s.onnx`.
fn quantized() -> Sandbox {
    let sandbox = Sandbox::with_digits_model();
    let pipeline = "simplify,quant8=auto:timing=false";
    let args = ["model.onnx", "-p", pipeline, "--inputs", &path("digits_calib.npz"), "--seed", "5", "-o", "s.onnx"];
    sandbox.run(&args).code(0);
    sandbox
}

fn verify(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.run(&[&["verify", "s.onnx", "--original", "model.onnx"], more].concat())
}

/// The value of an entry of the model's metadata.
fn entry(sandbox: &Sandbox, file: &str, key: &str) -> Option<String> {
    let model = ModelProto::decode(fs::read(sandbox.path(file)).unwrap().as_slice()).unwrap();
    let found = model.metadata_props.iter().find(|entry| entry.key() == format!("onnx_shrink.{key}"));
    found.map(|entry| entry.value().to_owned())
}

#[test]
fn a_file_tells_seed_version_original_and_data() {
    let sandbox = quantized();
    assert_eq!(entry(&sandbox, "s.onnx", "seed").as_deref(), Some("5"));
    assert_eq!(entry(&sandbox, "s.onnx", "version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let [original, data] = ["input_sha256", "data_sha256"].map(|key| entry(&sandbox, "s.onnx", key).unwrap());
    assert_eq!((original.len(), data.len()), (64, 64));
    // What it tells of its drift holds as gates, and no more than a little better would not.
    let drift = entry(&sandbox, "s.onnx", "drift").unwrap();
    let gates: Vec<&str> = drift.split(',').flat_map(|gate| ["--max-drift", gate]).collect();
    assert!(drift.starts_with("snr=") && drift.contains(",top1="), "{drift}");
    let check = |gates: &[&str]| {
        let inputs = path("digits_calib.npz");
        sandbox.run(&[&["check", "model.onnx", "s.onnx", "--inputs", &inputs, "--seed", "5"], gates].concat())
    };
    check(&gates).code(0);
    let snr: f64 = gates[1].trim_start_matches("snr=").parse().unwrap();
    check(&["--max-drift", &format!("snr={:.1}", snr + 0.2)]).code(1);
    verify(&sandbox, &["--inputs", &path("digits_calib.npz")]).code(0).says(&["the same bytes", &original, &data]);

    verify(&sandbox, &[]).code(2).says(&["calibrated on data, which is missing", &data]);
    verify(&sandbox, &["--inputs", &path("digits_test.npz")]).code(1).says(&["other data", &data]);
    let seeds = verify(&sandbox, &["--inputs", &path("digits_calib.npz"), "--seed", "6"]);
    seeds.code(2).says(&["another seed", "--seed 5", "--seed 6"]);
    fs::copy(testdata("mnist_resnet_bn.onnx"), sandbox.path("model.onnx")).unwrap();
    verify(&sandbox, &[]).code(1).says(&["makes of the original", &original]);
}

#[test]
fn data_counts_by_what_it_holds() {
    let sandbox = quantized();
    fs::copy(testdata("digits_calib.npz"), sandbox.path("moved.npz")).unwrap();
    let pipeline = "simplify,quant8=auto:timing=false";
    sandbox.run(&["model.onnx", "-p", pipeline, "--inputs", "moved.npz", "--seed", "5", "-o", "t.onnx"]).code(0);
    assert!(fs::read(sandbox.path("s.onnx")).unwrap() == fs::read(sandbox.path("t.onnx")).unwrap());
    verify(&sandbox, &["--inputs", "moved.npz"]).code(0);
}

#[test]
fn data_that_no_pass_read_is_not_asked_for() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "-p", "fp16,strip", "--inputs", &path("digits_calib.npz"), "-o", "s.onnx"];
    sandbox.run(&args).code(0);
    assert_eq!(entry(&sandbox, "s.onnx", "data_sha256"), None);
    verify(&sandbox, &[]).code(0).says(&["the same bytes"]);
    verify(&sandbox, &["--inputs", &path("digits_test.npz")]).code(0);
}

#[test]
fn what_was_changed_is_named() {
    let sandbox = quantized();
    let mut model = ModelProto::decode(fs::read(sandbox.path("s.onnx")).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weight = graph.initializer.iter_mut().max_by_key(|tensor| tensor.raw_data().len()).unwrap();
    let mut contents = weight.raw_data().to_vec();
    contents[7] ^= 1;
    weight.raw_data = Some(contents.into());
    let name = weight.name().to_owned();
    fs::write(sandbox.path("s.onnx"), model.encode_to_vec()).unwrap();
    let inputs = path("digits_calib.npz");
    verify(&sandbox, &["--inputs", &inputs]).code(1).says(&[
        "the first constant that differs",
        &name,
        "are those it tells",
    ]);
}

#[test]
fn options_that_a_file_tells_are_used() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "-p", "fp16", "--external-data=4096", "--backend", "tract", "-o", "s.onnx"];
    sandbox.run(&args).code(0);
    assert_eq!(entry(&sandbox, "s.onnx", "external_from_bytes").as_deref(), Some("4096"));
    assert_eq!(entry(&sandbox, "s.onnx", "backend").as_deref(), Some("tract"));
    verify(&sandbox, &[]).code(0).says(&["the same bytes"]);
}
