//! `ternary` on a real model: size, accuracy, the weights that a runtime restores, and the same bytes at any number of
//! threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, check, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use onnx_shrink::validate::{self, CompareOptions};
use support::python;

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn samples(name: &str, model: &Model) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    data::open(&testdata(name).display().to_string(), &options).unwrap()
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

/// The accuracy of a model before and after, and the worst signal-to-noise ratio of an output.
fn judged(before: &Bytes, after: &Bytes, samples: &dyn Samples) -> (f64, f64, f64) {
    let load = |bytes: &Bytes| {
        backend::load(BackendChoice::Tract, &ModelBytes::new(bytes.clone(), None), &LoadOptions::default()).unwrap()
    };
    let report = validate::compare(&*load(before), &*load(after), samples, &CompareOptions::default()).unwrap();
    let worst = report.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min);
    let accuracy = report.accuracy.unwrap();
    (accuracy.before, accuracy.after, worst)
}

/// Lenet5 after a pipeline, on 100 digits, with what that did to 200 others.
fn lenet5(pipeline: &str) -> (Model, usize, (f64, f64, f64)) {
    let mut model = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let (before, signature) = (encoded(&model), model.signature());
    let calibration = samples("digits_calib.npz", &model);
    run(pipeline, &mut model, Some(&*calibration));
    check::structure(&model).unwrap();
    assert_eq!(model.signature(), signature);
    let after = encoded(&model);
    let found = judged(&before, &after, &*samples("digits_test.npz", &model));
    println!("{pipeline}: {} bytes, accuracy {} -> {}, {:.1} dB", after.len(), found.0, found.1, found.2);
    (model, after.len(), found)
}

#[test]
fn lenet5_stays_as_accurate() {
    let (model, bytes, (before, after, snr_db)) = lenet5("ternary=target=0");
    assert!(bytes < 125_000, "{bytes} bytes");
    assert!(after >= before - 0.01, "accuracy {before} -> {after}");
    assert!(snr_db > 14.0, "{snr_db:.1} dB");
    let names: Vec<String> =
        model.graph.initializers().into_iter().map(|value| model.graph.value(value).name().to_owned()).collect();
    assert!(names.iter().any(|name| name == "c1.weight") && names.iter().any(|name| name == "f2.weight"), "{names:?}");
}

#[test]
fn fitting_is_worth_decibels() {
    let (_, _, (_, _, fitted_db)) = lenet5("ternary=target=0");
    let (_, _, (_, _, plain_db)) = lenet5("ternary=target=0:repair=false");
    assert!(fitted_db > plain_db + 5.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encoded(&lenet5("ternary").0))
    };
    assert!(result(1) == result(3));
}

/// A model whose weights are ternary is restored bit for bit.
#[test]
fn ternary_weights_come_back_as_they_were() {
    let weights: Vec<String> =
        (0..61 * 70).map(|i| ["0.0", "0.375", "-0.375"][(i * 7919 % 1013) % 3].to_owned()).collect();
    for options in ["", "tensor:"] {
        let source = format!(
            "<ir_version: 8, opset_import: [\"\" : 13]> g (float[61,61] x) => (float[61,70] y)
               <float[61,70] w = {{ {} }}> {{ y = MatMul(x, w) }}",
            weights.join(", ")
        );
        let mut model = text::parse(&source).unwrap();
        let before = encoded(&model);
        run(&format!("ternary={options}all=true:target=0"), &mut model, None);
        let after = encoded(&model);
        assert!(after.len() * 2 < before.len(), "{} -> {}", before.len(), after.len());
        let identity: Vec<f32> = (0..61 * 61).map(|i| if i % 62 == 0 { 1.0 } else { 0.0 }).collect();
        let input = onnx_shrink::ir::Tensor::from_f32(vec![61, 61], &identity).unwrap();
        let output = |bytes: &Bytes| {
            let bytes = ModelBytes::new(bytes.clone(), None);
            let session = backend::load(BackendChoice::Tract, &bytes, &LoadOptions::default()).unwrap();
            session.run(&[("x".to_owned(), input.clone())]).unwrap()[0].1.to_f32().unwrap()
        };
        assert_eq!(output(&before), output(&after));
    }
}

#[test]
fn onnx_runtime_restores_weights_when_it_loads_the_model() {
    if !python::has("onnxruntime, onnx") {
        println!("skipped: Python has no onnxruntime and onnx");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, encoded(&lenet5("ternary=target=0:all=true").0)).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/quant8_fused.py");
    let output = Command::new(python::interpreter()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let operators = String::from_utf8(output.stdout).unwrap();
    for decoder in ["Gather", "Cast", "Slice", "Mul"] {
        assert!(!operators.lines().any(|line| line.starts_with(decoder)), "{operators}");
    }
}
