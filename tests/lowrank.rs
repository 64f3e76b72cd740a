//! `lowrank` on models whose weights are of low rank and on real ones: outputs, size, and the same bytes at any number of
//! threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, Tensor, check, text};
use onnx_shrink::onnx;
use support::compare::{Tolerance, first_difference};
use support::corpus;
use support::sandbox::Sandbox;
use support::transform::{After, after, encoded, lenet5, run, samples, session, testdata};

/// Factors of low rank multiplied out, in the order of the elements: `[outputs, inputs]` of `rank`.
fn of_rank(rank: usize, outputs: usize, inputs: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 1013) as f32 / 506.0 - 1.0;
    let at = |i: usize, j: usize| (0..rank).map(|r| number(i * rank + r) * number(5000 + r * inputs + j)).sum::<f32>();
    (0..outputs).flat_map(|i| (0..inputs).map(move |j| at(i, j))).collect()
}

/// A kernel `[outputs, inputs, 3, 3]` that is a column and a row, or that reads few mixtures of its inputs.
fn kernel(outputs: usize, inputs: usize, is_separable: bool) -> Vec<f32> {
    let rank = 3;
    // [outputs * 3, inputs * 3], or [outputs * 9, inputs].
    let side = if is_separable { 3 } else { 1 };
    let flat = of_rank(rank, outputs * 9 / side, inputs * side, 5);
    let at = |n: usize, c: usize, i: usize, j: usize| match is_separable {
        true => flat[(n * 3 + j) * inputs * 3 + c * 3 + i],
        false => flat[(n * 9 + i * 3 + j) * inputs + c],
    };
    let places = (0..outputs).flat_map(|n| (0..inputs * 9).map(move |rest| (n, rest / 9, rest / 3 % 3, rest % 3)));
    places.map(|(n, c, i, j)| at(n, c, i, j)).collect()
}

fn list(values: &[f32]) -> String {
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<String>>().join(", ")
}

/// A model with weights in every place that are of rank 3.
fn low_rank_model() -> Model {
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 13]> g (float[1,24,8,9] x, float[32,2] t) => (float[4,30] y, float[2,28] z)
         <float[20,24,1,1] point = {{ {} }}, float[20] pb = rand(1), float[16,20,3,3] apart = {{ {} }},
          float[16] ab = rand(2), float[18,16,3,3] mixed = {{ {} }}, float[18,40] m = {{ {} }}, float[30,40] fc = {{ {} }},
          float[30] fb = rand(3), float[32,28] s = {{ {} }}, int64[2] shape = {{ -1, 18 }}, int64[1] zero = {{ 0 }},
          int64[1] four = {{ 4 }}> {{
            a = Conv<strides = [1, 2], pads = [1, 1, 0, 1]>(x, point, pb)
            b = Relu(a)
            c = Conv<auto_pad = \"SAME_LOWER\", strides = [2, 1], dilations = [1, 1]>(b, apart, ab)
            d = Tanh(c)
            e = Conv<kernel_shape = [3, 3], pads = [0, 2, 1, 1], dilations = [1, 2]>(d, mixed)
            f = Transpose<perm = [0, 2, 3, 1]>(e)
            h = Reshape(f, shape)
            i = Slice(h, zero, four, zero)
            j = MatMul(i, m)
            k = Relu(j)
            y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(k, fc, fb)
            z = Gemm<transA = 1>(t, s)
         }}",
        list(&of_rank(3, 20, 24, 1)),
        list(&kernel(16, 20, true)),
        list(&kernel(18, 16, false)),
        list(&of_rank(3, 18, 40, 2)),
        list(&of_rank(3, 30, 40, 3)),
        list(&of_rank(3, 32, 28, 4)),
    );
    text::parse(&source).unwrap()
}

fn synthetic(model: &Model, count: usize) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 3, hints: &hints, limit: None };
    data::open(&format!("synthetic:{count}"), &options).unwrap()
}

#[test]
fn weights_of_low_rank_come_back_in_every_form() {
    let original = low_rank_model();
    let inputs = synthetic(&original, 24);
    for calibration in [None, Some(&*inputs)] {
        let mut model = original.clone();
        run("lowrank=energy=0.99999999:min-elements=1", &mut model, calibration);
        check::structure(&model).unwrap();
        assert_eq!(model.signature(), original.signature());
        let operators = |model: &Model, op: &str| {
            model.graph.nodes().into_iter().filter(|&node| model.graph.node(node).is(op)).count()
        };
        // Two for each convolution, and a product in front of each of three.
        let found = ["Conv", "MatMul", "Gemm"].map(|op| operators(&model, op));
        assert_eq!(found, [6, 3, 3], "{}", text::print(&model, &text::PrintOptions::default()));
        let (before, after) = (encoded(&original), encoded(&model));
        assert!(after.len() * 2 < before.len(), "{} -> {}", before.len(), after.len());
        let tolerance = Tolerance { relative: 0.0, absolute: 1e-5 };
        for index in 0..4 {
            let given = inputs.get(index).unwrap();
            let (expected, found) = (session(&before).run(&given).unwrap(), session(&after).run(&given).unwrap());
            assert_eq!(first_difference(&found, &expected, tolerance), None);
        }
    }
}

#[test]
fn fitting_to_data_is_worth_decibels() {
    let After { model: fitted, snr_db: fitted_db, .. } = lenet5("lowrank=0.5");
    let After { model: plain, snr_db: plain_db, .. } = lenet5("lowrank=0.5:repair=false");
    assert!(encoded(&fitted).len() < 1_000_000 && encoded(&plain).len() < 1_000_000);
    assert!(fitted_db > plain_db + 3.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}

#[test]
fn a_target_is_reached_on_other_samples() {
    let After { model, snr_db, .. } = lenet5("lowrank=target=25");
    assert!(snr_db >= 25.0, "{snr_db:.1} dB");
    assert!(encoded(&model).len() < 600_000);
}

#[test]
fn both_backends_agree() {
    let model = lenet5("lowrank=0.5").model;
    let bytes = ModelBytes::new(encoded(&model), None);
    let Ok(other) = backend::load(BackendChoice::OnnxRuntime, &bytes, &LoadOptions::default()) else {
        return corpus::skip("ONNX Runtime is not installed");
    };
    let (built_in, test) = (session(&encoded(&model)), samples("digits_test.npz", &model));
    for index in 0..20 {
        let inputs = test.get(index).unwrap();
        let outputs = |found: NamedTensors| found[0].1.clone();
        let (one, two) = (outputs(built_in.run(&inputs).unwrap()), outputs(other.run(&inputs).unwrap()));
        let largest = |tensor: &Tensor| tensor.to_f32().unwrap().iter().fold(0f32, |most, value| most.max(value.abs()));
        let apart =
            one.to_f32().unwrap().iter().zip(two.to_f32().unwrap()).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart <= 1e-5 * largest(&one), "{apart} of {}", largest(&one));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encoded(&lenet5("lowrank=target=25").model))
    };
    assert!(result(1) == result(3));
}

/// Factors are layers like others to the passes behind.
#[test]
fn other_passes_go_on_from_there() {
    let sandbox = Sandbox::with_digits_model();
    let calibration = testdata("digits_calib.npz").display().to_string();
    let test = testdata("digits_test.npz").display().to_string();
    for pipeline in ["lowrank=target=25,quant8=static", "lowrank=target=25,cluster=64:target=0"] {
        let args = ["model.onnx", "-p", pipeline, "--inputs", &calibration, "--eval-inputs", &test, "-o", "small.onnx"];
        sandbox.run(&args).code(0).says(&["lowrank=target=25: ", "fitted", "accuracy", "wrote small.onnx"]);
        let bytes = std::fs::metadata(sandbox.path("small.onnx")).unwrap().len();
        assert!(bytes < 300_000, "{pipeline}: {bytes} bytes");
    }
}

#[test]
fn large_products_come_closer_with_data() {
    let file = |name: &str| corpus::file(name).map(|path| path.display().to_string());
    let (Some(path), Some(calibration), Some(test)) =
        (file("lenet_300_100.onnx"), file("lenet_300_100.calib.npz"), file("lenet_300_100.eval.npz"))
    else {
        return;
    };
    let model = onnx::read(path.as_ref()).unwrap();
    let (signature, hints) = (model.signature(), Hints::default());
    let open = |spec: &str| {
        data::open(spec, &DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None }).unwrap()
    };
    let (calibration, test) = (open(&calibration), open(&test));
    let fitted_db = after("lowrank=0.5", model.clone(), Some(&*calibration), &*test).snr_db;
    let plain_db = after("lowrank=0.5:repair=false", model, Some(&*calibration), &*test).snr_db;
    assert!(fitted_db > plain_db + 3.0, "{plain_db:.1} -> {fitted_db:.1} dB");
}
