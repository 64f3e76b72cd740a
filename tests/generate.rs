//! `generate` on a real model: size, accuracy, the weights that runtimes restore, and the same bytes at any number of
//! threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
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
    let (model, bytes, (before, after, snr_db)) = lenet5("generate=16:target=0");
    assert!(bytes < 140_000, "{bytes} bytes");
    assert!(after >= before - 0.01, "accuracy {before} -> {after}");
    assert!(snr_db > 14.0, "{snr_db:.1} dB");
    let names: Vec<String> =
        model.graph.initializers().into_iter().map(|value| model.graph.value(value).name().to_owned()).collect();
    assert!(names.iter().filter(|name| name.starts_with("generator_out")).count() == 1, "{names:?}");
}

#[test]
fn fitting_is_worth_decibels() {
    let (_, _, (_, _, fitted_db)) = lenet5("generate=24:target=0");
    let (_, _, (_, _, plain_db)) = lenet5("generate=24:target=0:repair=false");
    assert!(fitted_db > plain_db + 3.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encoded(&lenet5("generate").0))
    };
    assert!(result(1) == result(3));
}

/// A product with weights of so many rows and columns, as the source of a model.
fn product(rows: u64, columns: u64) -> Model {
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 13]> g (float[{rows},{rows}] x) => (float[{rows},{columns}] y)
           <float[{rows},{columns}] w = rand(7)> {{ y = MatMul(x, w) }}"
    );
    text::parse(&source).unwrap()
}

/// What a runtime restores is what the pass has measured, but for the order of sums.
#[test]
fn runtimes_restore_what_the_pass_has_measured() {
    let (rows, columns) = (203, 301);
    let mut model = product(rows, columns);
    let before = of_identity(&encoded(&model), rows);
    run("generate=8:target=0", &mut model, None);
    let restored = of_identity(&encoded(&model), rows);
    let energy = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let (signal, noise) =
        (energy(&mut before.iter().copied()), energy(&mut before.iter().zip(&restored).map(|(a, b)| a - b)));
    assert!(10.0 * (signal / noise).log10() > 18.0, "{signal} {noise}");
    let bytes = ModelBytes::new(encoded(&model), None);
    let Ok(session) = backend::load(BackendChoice::OnnxRuntime, &bytes, &LoadOptions::default()) else {
        return support::corpus::skip("no ONNX Runtime is installed");
    };
    let identity: Vec<f32> = (0..rows * rows).map(|i| if i % (rows + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let input = onnx_shrink::ir::Tensor::from_f32(vec![rows, rows], &identity).unwrap();
    let other = session.run(&[("x".to_owned(), input)]).unwrap()[0].1.to_f32().unwrap();
    let largest = restored.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let apart = restored.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(apart <= 1e-6 * largest, "{apart} of {largest}");
}

#[test]
fn what_does_not_pay_for_the_generator_stays_as_it_is() {
    let mut model = product(32, 32);
    let before = encoded(&model);
    run("generate=min-elements=1:target=0", &mut model, None);
    assert!(encoded(&model) == before);
}

#[test]
fn onnx_runtime_restores_weights_when_it_loads_the_model() {
    let model = lenet5("generate=target=0").0;
    let Some(operators) = operators_in_onnx_runtime(&model) else { return };
    for decoder in ["Gather", "Cast", "Slice", "Mul ", "Transpose"] {
        assert!(!operators.lines().any(|line| line.starts_with(decoder)), "{operators}");
    }
}
