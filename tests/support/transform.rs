//! A model of `testdata`, a pipeline run on it in this process, and what comes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, Tensor, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use onnx_shrink::validate::{self, CompareOptions, DriftReport};

use super::python;

pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// All samples of a file in `testdata`.
pub fn samples(name: &str, model: &Model) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    data::open(&testdata(name).display().to_string(), &options).unwrap()
}

pub fn run(pipeline: &str, model: &mut Model, calibration: Option<&dyn Samples>) {
    let scratch = Scratch::in_memory();
    let env = Env { calibration, ..Env::plain(&scratch) };
    let plan = pipeline.parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, model, &env, &RunOptions::default()).unwrap();
}

pub fn encoded(model: &Model) -> Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

/// The model in the built-in backend.
pub fn session(bytes: &Bytes) -> Box<dyn Session> {
    backend::load(BackendChoice::Tract, &ModelBytes::new(bytes.clone(), None), &LoadOptions::default()).unwrap()
}

pub fn compared(before: &Bytes, after: &Bytes, samples: &dyn Samples) -> DriftReport {
    validate::compare(&*session(before), &*session(after), samples, &CompareOptions::default()).unwrap()
}

/// What a pipeline made of a model.
pub struct After {
    pub model: Model,
    pub bytes: usize,
    /// Before and after, where samples have labels.
    pub accuracy: Option<(f64, f64)>,
    /// The worst signal-to-noise ratio of an output.
    pub snr_db: f64,
}

/// A model after a pipeline, whose structure and signature hold, on samples that the pipeline was not given.
pub fn after(pipeline: &str, mut model: Model, calibration: Option<&dyn Samples>, test: &dyn Samples) -> After {
    let (before, signature) = (encoded(&model), model.signature());
    run(pipeline, &mut model, calibration);
    check::structure(&model).unwrap();
    assert_eq!(model.signature(), signature);
    let after = encoded(&model);
    let report = compared(&before, &after, test);
    let snr_db = report.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min);
    let accuracy = report.accuracy.map(|accuracy| (accuracy.before, accuracy.after));
    println!("{pipeline}: {} -> {} bytes, {snr_db:.1} dB, accuracy {accuracy:?}", before.len(), after.len());
    After { model, bytes: after.len(), accuracy, snr_db }
}

/// Lenet5 after a pipeline that was given 100 digits, on 200 others.
pub fn lenet5(pipeline: &str) -> After {
    let model = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let (calibration, test) = (samples("digits_calib.npz", &model), samples("digits_test.npz", &model));
    after(pipeline, model, Some(&*calibration), &*test)
}

/// What a model with one input `x` makes of an identity matrix: the weights that `y = MatMul(x, w)` restores.
pub fn of_identity(bytes: &Bytes, side: u64) -> Vec<f32> {
    let identity: Vec<f32> = (0..side * side).map(|i| if i % (side + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let input = Tensor::from_f32(vec![side, side], &identity).unwrap();
    session(bytes).run(&[("x".to_owned(), input)]).unwrap()[0].1.to_f32().unwrap()
}

/// The operators that ONNX Runtime is left with once it has loaded a model, a line each with their number; `None` where
/// Python has no ONNX Runtime, which is said.
pub fn operators_in_onnx_runtime(model: &Model) -> Option<String> {
    if !python::has("onnxruntime, onnx") {
        println!("skipped: Python has no onnxruntime and onnx");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, encoded(model)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quant8_fused.py");
    let output = Command::new(python::interpreter()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
