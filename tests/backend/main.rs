//! Both backends on real and on small models, and what they decline.

#![cfg(all(feature = "tract", feature = "onnxruntime"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and report counts"
)]

mod against_onnxruntime;
mod gate;
mod node_tests;

mod runtime;
#[path = "../support/mod.rs"]
mod support;

use onnx_shrink::ErrorKind;
use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::tract::Tract;
use onnx_shrink::backend::{self, Backend, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::ir::{DType, Tensor, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use support::{corpus, models};

const ONE_THREAD: LoadOptions = LoadOptions { taps: Vec::new(), threads: 1, as_written: false };

/// A value in 0..1 for each index, the same on every machine.
fn ramp(shape: &[u64]) -> Tensor {
    let count: u64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|index| (index * 37 % 101) as f32 / 101.0).collect();
    Tensor::from_f32(shape, &values).unwrap()
}

/// A session of ONNX Runtime, or `None` with a line that says so where it is not installed.
fn onnxruntime(model: &ModelBytes, options: &LoadOptions) -> Option<Box<dyn backend::Session>> {
    match OnnxRuntime.load(model, options) {
        Ok(session) => Some(session),
        Err(error) if error.to_string().contains("not installed") => {
            corpus::skip("ONNX Runtime is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn largest_difference(left: &NamedTensors, right: &NamedTensors) -> f32 {
    assert_eq!(left.len(), right.len());
    let mut largest = 0.0f32;
    for ((left_name, left), (right_name, right)) in left.iter().zip(right) {
        assert_eq!((left_name, left.shape()), (right_name, right.shape()));
        for (a, b) in left.to_f32().unwrap().into_iter().zip(right.to_f32().unwrap()) {
            largest = largest.max((a - b).abs());
        }
    }
    largest
}

#[test]
fn both_backends_agree_on_lenet5() {
    let Some(path) = corpus::file("lenet5.onnx") else { return };
    let model = ModelBytes::open(&path).unwrap();
    let inputs = [("input".to_owned(), ramp(&[1, 1, 28, 28]))];
    let tract = Tract.load(&model, &ONE_THREAD).unwrap().run(&inputs).unwrap();
    let Some(reference) = onnxruntime(&model, &ONE_THREAD) else { return };
    let difference = largest_difference(&tract, &reference.run(&inputs).unwrap());
    assert!(difference < 1e-4, "{difference}");
}

/// `t = Relu(x)`, `y = t + w`.
fn relu_add() -> ModelBytes {
    let mut relu = models::node("Relu", &["x"], vec![]);
    relu.output = vec!["t".into()];
    let add = models::node("Add", &["t", "w"], vec![]);
    let weights = models::floats("w", &[2], &[10.0, 20.0]);
    models::bytes(&models::model(13, vec![relu, add], vec![models::value("x", DType::F32, &[3, 2])], vec![weights]))
}

#[test]
fn a_model_in_memory_runs_with_taps() {
    let model = relu_add();
    let options = LoadOptions { taps: vec!["t".into(), "w".into(), "y".into()], threads: 1, ..LoadOptions::default() };
    let input = Tensor::from_f32(vec![3, 2], &[-1.0, 2.0, 3.0, -4.0, 0.5, 0.0]).unwrap();
    let tract = Tract.load(&model, &options).unwrap();
    for session in [Some(tract), onnxruntime(&model, &options)].into_iter().flatten() {
        let results = session.run(&[("x".to_owned(), input.clone())]).unwrap();
        let names: Vec<&str> = results.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["y", "t", "w", "y"], "{}", session.backend());
        assert_eq!(results[0].1.to_f32().unwrap(), [10.0, 22.0, 13.0, 20.0, 10.5, 20.0]);
        assert_eq!(results[1].1.to_f32().unwrap(), [0.0, 2.0, 3.0, 0.0, 0.5, 0.0]);
        assert!(results[3].1.same_as(&results[0].1));
    }
}

#[test]
fn names_of_operators_may_be_those_of_values() {
    let text = "g (float[2] x) => (float[2] y) {\n  [b] a = Relu(x)\n  b = Neg(a)\n  [x] y = Add(a, b)\n}";
    let model = onnx::encode(&text::parse(text).unwrap(), &EncodeOptions::default()).unwrap();
    let session = Tract.load(&ModelBytes::new(model.to_bytes(), None), &ONE_THREAD).unwrap();
    let input = Tensor::from_f32(vec![2], &[1.5, -2.0]).unwrap();
    let results = session.run(&[("x".to_owned(), input)]).unwrap();
    assert_eq!(results[0].1.to_f32().unwrap(), [0.0, 0.0]);
}

#[test]
fn wrong_inputs_are_named() {
    let model = relu_add();
    let fit = ramp(&[3, 2]);
    let cases: [(&[(String, Tensor)], &str); 4] = [
        (&[], "no data for input `x`"),
        (&[("xx".to_owned(), fit.clone())], "no input `xx`"),
        (&[("x".to_owned(), ramp(&[2, 2]))], "wrong shape"),
        (&[("x".to_owned(), Tensor::from_i64(vec![3, 2], &[0; 6]).unwrap())], "wrong type"),
    ];
    let tract = Tract.load(&model, &ONE_THREAD).unwrap();
    for session in [Some(tract), onnxruntime(&model, &ONE_THREAD)].into_iter().flatten() {
        for (inputs, text) in &cases {
            let error = session.run(inputs).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.what().contains(text), "{error}");
        }
    }
}

#[test]
fn an_unknown_tap_is_a_mistake_of_the_caller() {
    let options = LoadOptions { taps: vec!["tt".into()], threads: 1, ..LoadOptions::default() };
    let error = Tract.load(&relu_add(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("did you mean"), "{error}");
}

#[test]
fn one_session_serves_many_threads() {
    use rayon::prelude::*;
    let model = relu_add();
    let tract = backend::load(BackendChoice::Auto, &model, &ONE_THREAD).unwrap();
    assert_eq!(tract.backend(), "tract");
    for session in [Some(tract), onnxruntime(&model, &ONE_THREAD)].into_iter().flatten() {
        (0..64u8).into_par_iter().for_each(|sample| {
            let input = Tensor::from_f32(vec![3, 2], &[f32::from(sample); 6]).unwrap();
            let results = session.run(&[("x".to_owned(), input)]).unwrap();
            assert_eq!(results[0].1.to_f32().unwrap()[..2], [f32::from(sample) + 10.0, f32::from(sample) + 20.0]);
        });
    }
}
