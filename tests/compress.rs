//! `compress` on a real model: against the passes whose forms it chooses from, the goals it is given, the weights that a runtime
//! restores, and the same bytes at any number of threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use onnx_shrink::ir::{DType, Model, text};
use onnx_shrink::onnx;
use support::transform::{After, encoded, lenet5, of_identity, operators_in_onnx_runtime, run, testdata};

#[test]
fn it_is_closer_in_as_many_bytes_than_one_form_for_all() {
    for pipeline in
        ["cluster=16:target=0", "cluster=4:target=0", "ternary=target=0:all=true", "prune=0.8,cluster=16:target=0"]
    {
        let After { bytes, snr_db: alone_db, .. } = lenet5(pipeline);
        let After { bytes: least, snr_db: chosen_db, .. } = lenet5(&format!("compress=size={}B", bytes + 1000));
        assert!(least <= bytes + 1000, "{pipeline}: {least} of {bytes} bytes");
        assert!(chosen_db > alone_db + 0.5, "{pipeline}: {alone_db:.1} dB, chosen {chosen_db:.1} dB");
    }
}

#[test]
fn goals_are_reached_on_data_that_was_not_seen_and_more_decibels_take_more_bytes() {
    let before = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let targets = [15.0, 25.0, 45.0];
    let bytes = targets.map(|target| {
        let After { model, bytes, snr_db, .. } = lenet5(&format!("compress={target}"));
        assert!(snr_db >= target, "{snr_db:.1} of {target} dB");
        assert_restored_at_load(&before, &model);
        bytes
    });
    assert!(bytes.is_sorted(), "{bytes:?}");
    assert!(bytes[0] * 15 < 1_725_610 && bytes[2] < 1_725_610, "{bytes:?}");
}

#[test]
fn a_ratio_is_reached_with_the_same_bytes_at_any_number_of_threads() {
    let before = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| lenet5("compress=ratio=20"))
    };
    let After { model, bytes, .. } = result(1);
    assert!(bytes * 20 <= 1_725_610, "{bytes} bytes");
    assert!(encoded(&model) == encoded(&result(3).model));
    assert_restored_at_load(&before, &model);
}

/// ONNX Runtime runs the same operators: it restores all weights when it loads the model.
fn assert_restored_at_load(before: &Model, after: &Model) {
    let Some(operators) = operators_in_onnx_runtime(after) else { return };
    assert_eq!(Some(operators), operators_in_onnx_runtime(before));
}

/// Weights whose magnitude changes from one run of 32 inputs to the next, in either order of the axes.
fn uneven(op: &str, shape: [usize; 2], block_of: impl Fn(usize) -> usize) -> Model {
    let weight = |i: usize| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3 * 4f32.powi((block_of(i) * 5 % 7) as i32 - 3);
    let weights: Vec<String> = (0..shape[0] * shape[1]).map(|i| format!("{:?}", weight(i))).collect();
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 13]> g (float[256,256] x) => (float[256,256] y)
           <float[{},{}] w = {{ {} }}> {{ y = {op}(x, w) }}",
        shape[0],
        shape[1],
        weights.join(", ")
    );
    text::parse(&source).unwrap()
}

#[test]
fn blocks_of_neighbours_have_scales_where_that_pays() {
    let models = [
        uneven("MatMul", [256, 256], |i| i / 256 / 32 + i % 256),
        uneven("Gemm<transB = 1>", [256, 256], |i| i % 256 / 32 + i / 256),
    ];
    for mut model in models {
        let before = encoded(&model);
        run("compress=size=44KB", &mut model, None);
        let scale = model.graph.initializers().into_iter().find(|&value| model.graph.value(value).name() == "w_scale");
        let scale = model.graph.constant(scale.unwrap()).unwrap();
        assert_eq!((scale.dtype(), scale.len()), (DType::F16, 2048));
        let after = encoded(&model);
        let (wanted, found) = (of_identity(&before, 256), of_identity(&after, 256));
        let energy = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>();
        let signal = energy(&mut wanted.iter().map(|&a| f64::from(a)));
        let noise = energy(&mut wanted.iter().zip(&found).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        assert!(10.0 * (signal / noise).log10() > 20.0, "{signal} {noise}");
        let Some(operators) = operators_in_onnx_runtime(&model) else { continue };
        assert!(operators == "MatMul 1\n" || operators == "Gemm 1\n", "{operators}");
    }
}
