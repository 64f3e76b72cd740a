//! `ternary` on a real model: size, accuracy, the weights that a runtime restores, and the same bytes at any number of
//! threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use onnx_shrink::ir::{Model, check, text};
use onnx_shrink::onnx;
use support::transform::{compared, encoded, of_identity, operators_in_onnx_runtime, run, samples, testdata};

/// Lenet5 after a pipeline, on 100 digits, with what that did to 200 others: accuracy before and after, and the worst
/// signal-to-noise ratio of an output.
fn lenet5(pipeline: &str) -> (Model, usize, (f64, f64, f64)) {
    let mut model = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let (before, signature) = (encoded(&model), model.signature());
    let calibration = samples("digits_calib.npz", &model);
    run(pipeline, &mut model, Some(&*calibration));
    check::structure(&model).unwrap();
    assert_eq!(model.signature(), signature);
    let after = encoded(&model);
    let report = compared(&before, &after, &*samples("digits_test.npz", &model));
    let worst = report.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min);
    let accuracy = report.accuracy.unwrap();
    println!("{pipeline}: {} bytes, accuracy {} -> {}, {worst:.1} dB", after.len(), accuracy.before, accuracy.after);
    (model, after.len(), (accuracy.before, accuracy.after, worst))
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
        assert_eq!(of_identity(&before, 61), of_identity(&after, 61));
    }
}

#[test]
fn onnx_runtime_restores_weights_when_it_loads_the_model() {
    let model = lenet5("ternary=target=0:all=true").0;
    let Some(operators) = operators_in_onnx_runtime(&model) else { return };
    for decoder in ["Gather", "Cast", "Slice", "Mul"] {
        assert!(!operators.lines().any(|line| line.starts_with(decoder)), "{operators}");
    }
}
