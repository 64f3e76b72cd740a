//! `quant8` on the models of `testdata/`: size, drift and accuracy over test digits, and a second run that does nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::path::PathBuf;

use bytes::Bytes;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::error::Result;
use onnx_shrink::ir::{Model, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Env, Opts, Scratch};
use onnx_shrink::passes;
use onnx_shrink::validate::{self, CompareOptions, DriftReport};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn samples(name: &str, model: &Model) -> Box<dyn Samples> {
    let signature = model.signature();
    let hints = Hints::default();
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    data::open(&file(name).display().to_string(), &options).unwrap()
}

fn run(name: &str, option: Option<(&str, &str)>, model: &mut Model) -> Changed {
    let options: Vec<(&str, &str)> = option.into_iter().collect();
    try_run(name, &options, model).unwrap()
}

fn try_run(name: &str, options: &[(&str, &str)], model: &mut Model) -> Result<Changed> {
    let calibration = samples("digits_calib.npz", model);
    let scratch = Scratch::in_memory();
    let env = Env { calibration: Some(&*calibration), backend: BackendChoice::Tract, ..Env::plain(&scratch) };
    let info = passes::find(name).unwrap();
    let args: Vec<_> = options.iter().map(|(key, value)| (Some((*key).to_owned()), (*value).to_owned())).collect();
    let mut pass = (info.build)(&Opts::new(info, &args)?)?;
    pass.run(model, &mut Cx::new(&env, info.name))
}

fn encoded(model: &Model) -> Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

fn drift(before: &Bytes, after: &Bytes, samples: &dyn Samples) -> DriftReport {
    let load = |bytes: &Bytes| {
        backend::load(BackendChoice::Tract, &ModelBytes::new(bytes.clone(), None), &LoadOptions::default()).unwrap()
    };
    validate::compare(&*load(before), &*load(after), samples, &CompareOptions::default()).unwrap()
}

/// Quantizes a model and holds the result against what it must reach.
fn assert_reaches(name: &str, mode: &str, least_ratio: f64, least_snr_db: f64) {
    let mut model = onnx::read(&file(name)).unwrap();
    let _ = run("fuse-bn", None, &mut model);
    let test = samples("digits_test.npz", &model);
    let before = encoded(&model);
    let signature = model.signature();
    assert_eq!(run("quant8", Some(("mode", mode)), &mut model), Changed::Yes);
    check::structure(&model).unwrap();
    assert_eq!(model.signature(), signature);
    let after = encoded(&model);
    let ratio = before.len() as f64 / after.len() as f64;
    assert!(ratio >= least_ratio, "{name}, {mode}: {ratio:.2} x smaller");
    let report = drift(&before, &after, &*test);
    let snr_db = report.outputs[0].snr_db.unwrap();
    assert!(snr_db >= least_snr_db, "{name}, {mode}: {snr_db:.1} dB");
    let accuracy = report.accuracy.unwrap();
    assert!(accuracy.after >= accuracy.before - 0.005, "{name}, {mode}: {accuracy:?}");

    let mut again = onnx::decode(after, None).unwrap();
    assert_eq!(run("quant8", Some(("mode", mode)), &mut again), Changed::No, "{name}, {mode}: a second run");
}

#[test]
fn weights_of_lenet5() {
    assert_reaches("lenet5.onnx", "weights", 3.8, 45.0);
}

#[test]
fn static_lenet5() {
    assert_reaches("lenet5.onnx", "static", 3.8, 35.0);
}

#[test]
fn weights_of_a_residual_net() {
    assert_reaches("mnist_resnet_bn.onnx", "weights", 3.5, 40.0);
}

#[test]
fn static_residual_net() {
    assert_reaches("mnist_resnet_bn.onnx", "static", 3.3, 33.0);
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = onnx::read(&file("lenet5.onnx")).unwrap();
            let _ = run("quant8", Some(("mode", "static")), &mut model);
            encoded(&model)
        })
    };
    assert!(result(1) == result(3));
}

#[test]
fn weights_rounded_by_their_inputs_are_closer_on_other_data() {
    let snr_db = |repair: &str| {
        let mut model = onnx::read(&file("mnist_resnet_bn.onnx")).unwrap();
        let _ = run("fuse-bn", None, &mut model);
        let (before, test) = (encoded(&model), samples("digits_test.npz", &model));
        let options = [("repair", repair), ("observer", "minmax"), ("timing", "false")];
        assert_eq!(try_run("quant8", &options, &mut model).unwrap(), Changed::Yes);
        drift(&before, &encoded(&model), &*test).outputs[0].snr_db.unwrap()
    };
    let (nearest, rounded) = (snr_db("none"), snr_db("gptq"));
    assert!(rounded > nearest + 0.5, "{nearest:.1} -> {rounded:.1} dB");
}

#[test]
fn the_best_score_stays_the_best_where_that_is_the_goal() {
    let mut model = onnx::read(&file("mnist_resnet_bn.onnx")).unwrap();
    let _ = run("fuse-bn", None, &mut model);
    let (before, data) = (encoded(&model), samples("digits_calib.npz", &model));
    let options = [("mode", "static"), ("top1", "1"), ("timing", "false")];
    assert_eq!(try_run("quant8", &options, &mut model).unwrap(), Changed::Yes);
    assert_eq!(drift(&before, &encoded(&model), &*data).outputs[0].top1, Some(1.0));
}

#[test]
fn a_goal_of_accuracy_needs_labels() {
    let mut model = onnx::read(&file("lenet5.onnx")).unwrap();
    let options = [("mode", "static"), ("acc-drop", "0"), ("timing", "false")];
    let result = try_run("quant8", &options, &mut model);
    if samples("digits_calib.npz", &model).label(0).is_none() {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("right classes") && error.contains("`label`"), "{error}");
    } else {
        assert_eq!(result.unwrap(), Changed::Yes);
    }
}
