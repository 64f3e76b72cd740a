//! `generate` on a real model: size, accuracy, the weights that runtimes restore, and the same bytes at any number of
//! threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::ir::{Model, Tensor, text};
use support::transform::{After, encoded, lenet5, of_identity, operators_in_onnx_runtime, run};

#[test]
fn lenet5_stays_as_accurate() {
    let After { model, bytes, accuracy, snr_db } = lenet5("generate=16:target=0");
    let (before, after) = accuracy.unwrap();
    assert!(bytes < 140_000, "{bytes} bytes");
    assert!(after >= before - 0.01, "accuracy {before} -> {after}");
    assert!(snr_db > 14.0, "{snr_db:.1} dB");
    let names: Vec<String> =
        model.graph.initializers().into_iter().map(|value| model.graph.value(value).name().to_owned()).collect();
    assert!(names.iter().filter(|name| name.starts_with("generator_out")).count() == 1, "{names:?}");
}

#[test]
fn fitting_is_worth_decibels() {
    let fitted_db = lenet5("generate=24:target=0").snr_db;
    let plain_db = lenet5("generate=24:target=0:repair=false").snr_db;
    assert!(fitted_db > plain_db + 3.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}

#[test]
fn the_same_bytes_at_any_number_of_threads_which_onnx_runtime_restores_when_it_loads_them() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| lenet5("generate=target=0").model)
    };
    let model = result(1);
    assert!(encoded(&model) == encoded(&result(3)));
    let Some(operators) = operators_in_onnx_runtime(&model) else { return };
    for decoder in ["Gather", "Cast", "Slice", "Mul ", "Transpose"] {
        assert!(!operators.lines().any(|line| line.starts_with(decoder)), "{operators}");
    }
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
    let input = Tensor::from_f32(vec![rows, rows], &identity).unwrap();
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
