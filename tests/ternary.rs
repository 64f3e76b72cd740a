//! `ternary` on a real model: size, accuracy, the weights that a runtime restores, and the same bytes at any number of
//! threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use onnx_shrink::ir::text;
use support::transform::{After, encoded, lenet5, of_identity, operators_in_onnx_runtime, run};

#[test]
fn lenet5_stays_as_accurate() {
    let After { model, bytes, accuracy, snr_db } = lenet5("ternary=target=0");
    let (before, after) = accuracy.unwrap();
    assert!(bytes < 125_000, "{bytes} bytes");
    assert!(after >= before - 0.01, "accuracy {before} -> {after}");
    assert!(snr_db > 14.0, "{snr_db:.1} dB");
    let names: Vec<String> =
        model.graph.initializers().into_iter().map(|value| model.graph.value(value).name().to_owned()).collect();
    assert!(names.iter().any(|name| name == "c1.weight") && names.iter().any(|name| name == "f2.weight"), "{names:?}");
}

#[test]
fn fitting_is_worth_decibels() {
    let fitted_db = lenet5("ternary=target=0").snr_db;
    let plain_db = lenet5("ternary=target=0:repair=false").snr_db;
    assert!(fitted_db > plain_db + 5.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encoded(&lenet5("ternary").model))
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
    let model = lenet5("ternary=target=0:all=true").model;
    let Some(operators) = operators_in_onnx_runtime(&model) else { return };
    for decoder in ["Gather", "Cast", "Slice", "Mul"] {
        assert!(!operators.lines().any(|line| line.starts_with(decoder)), "{operators}");
    }
}
