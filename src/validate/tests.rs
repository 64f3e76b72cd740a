//! Whole comparisons, with sessions that compute in Rust.

use std::sync::Mutex;

use super::*;
use crate::data::{self, DataOptions, Hints};
use crate::ir::{DType, Shape, Signature, TypedName, ValueType};

/// A model that multiplies each element of a row by its weight.
#[derive(Debug)]
struct Scale {
    output: &'static str,
    factor: fn(usize) -> f32,
}

impl Session for Scale {
    fn backend(&self) -> &'static str {
        "scale"
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        let input = &inputs[0].1;
        let values: Vec<f32> =
            input.to_f32().unwrap().iter().enumerate().map(|(index, value)| value * (self.factor)(index)).collect();
        Ok(vec![(self.output.to_owned(), Tensor::from_f32(input.shape(), &values)?)])
    }
}

const ORIGINAL: Scale = Scale { output: "y", factor: |_| 1.0 };
const SMALLER: Scale = Scale { output: "y", factor: |index| if index % 2 == 0 { 1.0 } else { 1.1 } };

fn samples(spec: &str) -> Box<dyn Samples> {
    let ty = ValueType::tensor(DType::F32, Some(Shape::fixed([1, 8])));
    let signature = Signature { inputs: vec![TypedName { name: "x".into(), ty }], outputs: vec![] };
    let hints = Hints::default();
    data::open(spec, &DataOptions { signature: &signature, seed: 3, hints: &hints, limit: None }).unwrap()
}

#[test]
fn the_report_is_the_same_at_any_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = CompareOptions { noise: true, seed: 1, progress: None };
        let report = pool.install(|| compare(&ORIGINAL, &SMALLER, &*samples("synthetic:33"), &options).unwrap());
        serde_json::to_string(&report).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn measures_drift_above_the_noise_floor() {
    let options = CompareOptions { noise: true, ..CompareOptions::default() };
    let report = compare(&ORIGINAL, &SMALLER, &*samples("synthetic:4"), &options).unwrap();
    let noise = report.noise.as_ref().unwrap();
    assert_eq!((report.samples, report.outputs[0].elements, noise[0].elements), (4, 32, 32));
    assert!(report.outputs[0].snr_db.unwrap() < 40.0);
    assert!(noise[0].snr_db.unwrap() > 120.0);
    assert!(!report.judge(&[Gate::tolerance(Tolerance::Exact)]).unwrap().passed());
    assert!(report.judge(&[Gate::tolerance(Tolerance::Lossy)]).unwrap().passed());
}

#[test]
fn a_model_equals_itself() {
    let report = compare(&ORIGINAL, &ORIGINAL, &*samples("synthetic:2"), &CompareOptions::default()).unwrap();
    assert!(report.outputs[0].exact && report.noise.is_none());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outputs"][0]["snr_db"], serde_json::Value::Null);
    assert_eq!(json["outputs"][0]["exact"], true);
    assert!(report.judge(&[Gate::tolerance(Tolerance::Exact), "snr=200".parse().unwrap()]).unwrap().passed());
}

#[test]
fn names_outputs_that_do_not_match() {
    let renamed = Scale { output: "z", ..ORIGINAL };
    let error = compare(&ORIGINAL, &renamed, &*samples("synthetic:1"), &CompareOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("expected: `y`") && text.contains("found:    `z`"), "{text}");
}

#[test]
fn reports_progress_once_for_each_sample() {
    let calls = Mutex::new(Vec::new());
    let progress = |done, total| calls.lock().unwrap().push((done, total));
    let options = CompareOptions { progress: Some(&progress), ..CompareOptions::default() };
    compare(&ORIGINAL, &SMALLER, &*samples("synthetic:5"), &options).unwrap();
    let mut calls = calls.into_inner().unwrap();
    calls.sort_unstable();
    assert_eq!(calls, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
}

/// Fails on every sample, with the sample's first value in the message.
#[derive(Debug)]
struct Failing;

impl Session for Failing {
    fn backend(&self) -> &'static str {
        "failing"
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        Err(Error::backend(format!("no {:?}", inputs[0].1.to_f32().unwrap()[0])))
    }
}

#[test]
fn the_first_failure_is_reported_at_any_number_of_threads() {
    let samples = samples("synthetic:40");
    let first = Failing.run(&samples.get(0).unwrap()).unwrap_err().to_string();
    for _ in 0..20 {
        let error = compare(&ORIGINAL, &Failing, &*samples, &CompareOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), first);
    }
}

/// Programs read this form; changing it breaks them.
#[test]
fn the_json_form_is_stable() {
    let row = |values: [f32; 2]| Tensor::from_f32(vec![1, 2], &values).unwrap();
    let report = DriftReport {
        backend_reference: "a".into(),
        backend_candidate: "b".into(),
        samples: 1,
        outputs: vec![Comparison::of(&row([3.0, 4.0]), &row([3.0, 4.0])).finish("y".into())],
        noise: None,
        accuracy: Some(Accuracy { before: 1.0, after: 0.5, samples: 2, interval95: (0.25, 0.75) }),
    };
    let expected = r#"{"backend_reference":"a","backend_candidate":"b","samples":1,"outputs":[{"name":"y","dtype":"float","elements":2,"exact":true,"mismatch":null,"new_non_finite":0,"changed_non_finite":0,"equal":1.0,"max_abs":0.0,"rel_l2":0.0,"snr_db":null,"cosine":1.0,"top1":1.0,"top5":null,"snr_interval95_db":null,"top1_interval95":[0.20654931437723745,1.0]}],"noise":null,"accuracy":{"before":1.0,"after":0.5,"samples":2,"interval95":[0.25,0.75]}}"#;
    assert_eq!(serde_json::to_string(&report).unwrap(), expected);
}
