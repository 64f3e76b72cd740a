//! Pruning and shared values together, as the preset `deep-compress` has them: sizes, accuracy, and that runtimes restore
//! the weights bit for bit, when they load the model.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use onnx_shrink::ir::{Model, text};
use onnx_shrink::onnx;
use support::transform::{compared, encoded, of_identity, operators_in_onnx_runtime, run, samples, testdata};

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
    assert_eq!(of_identity(&before, 104), of_identity(&after, 104));
}

#[test]
fn onnx_runtime_restores_sparse_weights_when_it_loads_the_model() {
    let mut model = sparse_product();
    run("cluster=4:target=0", &mut model, None);
    let Some(operators) = operators_in_onnx_runtime(&model) else { return };
    assert_eq!(operators, "MatMul 1\n");
}

#[test]
fn lenet5_is_as_accurate_in_a_thirtieth_of_its_bytes() {
    let mut model = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let before = encoded(&model);
    let calibration = samples("digits_calib.npz", &model);
    run("deep-compress", &mut model, Some(&*calibration));
    let after = encoded(&model);
    let accuracy = compared(&before, &after, &*samples("digits_test.npz", &model)).accuracy.unwrap();
    let mut packed = Vec::new();
    onnx_shrink::container::pack(&after, &mut packed).unwrap();
    println!("{} -> {} bytes, accuracy {} -> {}", before.len(), packed.len(), accuracy.before, accuracy.after);
    assert!(packed.len() * 30 < before.len(), "{} -> {}", before.len(), packed.len());
    assert!(accuracy.after >= accuracy.before - 0.01, "accuracy {} -> {}", accuracy.before, accuracy.after);
}
