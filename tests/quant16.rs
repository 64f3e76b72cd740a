//! `quant16` on a real model: drift, types, and the two backends on what it writes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::tract::Tract;
use onnx_shrink::backend::{Backend, LoadOptions, ModelBytes};
use onnx_shrink::ir::DType;
use support::compare::{Tolerance, first_difference};
use support::transform::{After, encoded, lenet5, samples};

#[test]
fn activations_lose_next_to_nothing() {
    let After { model, bytes, snr_db: sixteen, .. } = lenet5("quant16");
    let weights_alone = lenet5("quant8=weights").snr_db;
    let eight = lenet5("quant8=static:target=20:timing=false").snr_db;
    assert!(bytes < 450_000, "{bytes} bytes");
    assert!(
        sixteen > weights_alone - 1.0 && sixteen > eight + 1.0,
        "{sixteen:.1} of {weights_alone:.1}, {eight:.1} dB"
    );
    let is_wide = |value| model.graph.constant(value).is_some_and(|tensor| tensor.dtype() == DType::U16);
    let wide = model.graph.initializers().into_iter().filter(|&value| is_wide(value)).count();
    assert!(wide >= 4, "{wide} zero points");
    assert_eq!(model.opset(), 21);
}

#[test]
fn both_backends_run_it_alike() {
    let model = lenet5("quant16").model;
    let bytes = ModelBytes::new(encoded(&model), None);
    let inputs = samples("digits_test.npz", &model).get(3).unwrap();
    let of_tract = Tract.load(&bytes, &LoadOptions::default()).unwrap().run(&inputs).unwrap();
    match OnnxRuntime.load(&bytes, &LoadOptions::default()) {
        Ok(session) => {
            let expected = session.run(&inputs).unwrap();
            // Sums of floats in another order may end up on the other side of half a step.
            let tolerance = Tolerance { relative: 1e-3, absolute: 1e-3 };
            assert_eq!(first_difference(&of_tract, &expected, tolerance), None);
        }
        Err(error) => println!("skipped: {error}"),
    }
}
