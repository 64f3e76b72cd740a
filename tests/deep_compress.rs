//! Pruning and shared values together, as the preset `deep-compress` has them: sizes, accuracy, and that runtimes restore
//! the weights bit for bit, when they load the model.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, Tensor, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use onnx_shrink::validate::{self, CompareOptions};
use support::python;

fn samples(name: &str, model: &Model) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    data::open(&path.display().to_string(), &options).unwrap()
}

fn run(pipeline: &str, model: &mut Model, calibration: Option<&dyn Samples>) {
    let scratch = Scratch::in_memory();
    let env = Env { calibration, ..Env::plain(&scratch) };
    let plan = pipeline.parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, model, &env, &RunOptions::default()).unwrap();
}

fn encoded(model: &Model) -> Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

fn session(bytes: &Bytes) -> Box<dyn backend::Session> {
    backend::load(BackendChoice::Tract, &ModelBytes::new(bytes.clone(), None), &LoadOptions::default()).unwrap()
}

/// A product with a matrix of which one weight in eleven is not zero.
fn sparse_product() -> Model {
    let weight = |i: usize| if i * 7919 % 1013 < 92 { ["0.375", "-1.5", "0.0625"][i % 3] } else { "0.0" };
    let weights: Vec<&str> = (0..104 * 250).map(weight).collect();
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 13]> g (float[104,104] x) => (float[104,250] y)
           <float[104,250] w = {{ {} }}> {{ y = MatMul(x, w) }}",
        weights.join(", ")
    );
    text::parse(&source).unwrap()
}

#[test]
fn sparse_weights_come_back_as_they_were() {
    let mut model = sparse_product();
    let before = encoded(&model);
    run("cluster=4:target=0", &mut model, None);
    let after = encoded(&model);
    // A bit for each weight and less than half a byte for each of 2,361, besides tables.
    assert!(after.len() < 8_000, "{} -> {}", before.len(), after.len());
    let identity: Vec<f32> = (0..104 * 104).map(|i| if i % 105 == 0 { 1.0 } else { 0.0 }).collect();
    let input = Tensor::from_f32(vec![104, 104], &identity).unwrap();
    let output = |bytes: &Bytes| session(bytes).run(&[("x".to_owned(), input.clone())]).unwrap()[0].1.to_f32().unwrap();
    assert_eq!(output(&before), output(&after));
}

#[test]
fn onnx_runtime_restores_sparse_weights_when_it_loads_the_model() {
    if !python::has("onnxruntime, onnx") {
        println!("skipped: Python has no onnxruntime and onnx");
        return;
    }
    let mut model = sparse_product();
    run("cluster=4:target=0", &mut model, None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, encoded(&model)).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/quant8_fused.py");
    let output = Command::new(python::interpreter()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "MatMul 1\n");
}

#[test]
fn lenet5_is_as_accurate_in_a_thirtieth_of_its_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lenet5.onnx");
    let mut model = onnx::read(&path).unwrap();
    let before = encoded(&model);
    let calibration = samples("digits_calib.npz", &model);
    run("deep-compress", &mut model, Some(&*calibration));
    let after = encoded(&model);
    let test = samples("digits_test.npz", &model);
    let report = validate::compare(&*session(&before), &*session(&after), &*test, &CompareOptions::default()).unwrap();
    let accuracy = report.accuracy.unwrap();
    let mut packed = Vec::new();
    onnx_shrink::container::pack(&after, &mut packed).unwrap();
    println!("{} -> {} bytes, accuracy {} -> {}", before.len(), packed.len(), accuracy.before, accuracy.after);
    assert!(packed.len() * 30 < before.len(), "{} -> {}", before.len(), packed.len());
    assert!(accuracy.after >= accuracy.before - 0.01, "accuracy {} -> {}", accuracy.before, accuracy.after);
}
