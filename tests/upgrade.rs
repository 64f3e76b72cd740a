//! Real models and the node tests of the `onnx` package compute the same after their operator set was raised.

#![cfg(feature = "onnxruntime")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by a panic and report counts")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, check, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::opset::upgrade;
use onnx_shrink::{ErrorKind, Result};
use rayon::prelude::*;
use support::{compare, corpus, models, node_tests};

const ONE_THREAD: LoadOptions = LoadOptions { taps: Vec::new(), threads: 1, as_written: false };

/// What fusions may make of it.
const ROUNDING: compare::Tolerance = compare::Tolerance { relative: 0.0, absolute: 0.0 };

/// Whether ONNX Runtime is here; says so where it is not.
fn has_onnxruntime() -> bool {
    let relu = models::model(13, vec![models::node("Relu", &["x"], vec![])], vec![float_input()], vec![]);
    match backend::load(BackendChoice::OnnxRuntime, &models::bytes(&relu), &ONE_THREAD) {
        Ok(_) => true,
        Err(error) if error.to_string().contains("not installed") => {
            corpus::skip("ONNX Runtime is not installed");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn float_input() -> onnx_shrink::onnx::proto::ValueInfoProto {
    models::value("x", onnx_shrink::ir::DType::F32, &[1])
}

fn bytes(model: &Model) -> ModelBytes {
    ModelBytes::new(onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes(), None)
}

fn run(model: &Model, samples: &dyn data::Samples, count: usize) -> Vec<NamedTensors> {
    let session =
        backend::load(BackendChoice::OnnxRuntime, &bytes(model), &ONE_THREAD).unwrap_or_else(|e| panic!("{e}"));
    (0..samples.len().min(count)).map(|index| session.run(&samples.get(index).unwrap()).unwrap()).collect()
}

#[test]
fn real_models_compute_the_same_bits() {
    if !has_onnxruntime() || corpus::file("lenet5.onnx").is_none() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    let complaints: Vec<String> = paths.par_iter().flat_map_iter(|path| raise_real_model(path)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Raises a model to several versions; what is wrong with the results.
fn raise_real_model(path: &Path) -> Vec<String> {
    let original = onnx::read(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let (signature, hints) = (original.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let samples = data::open(path.with_extension("eval.npz").to_str().unwrap(), &options).unwrap();
    let expected = run(&original, samples.as_ref(), 2);
    let mut complaints = Vec::new();
    for to in [13, 17, 21] {
        let mut model = original.clone();
        let upgraded = upgrade::upgrade(&mut model, to).unwrap_or_else(|e| panic!("{name} to opset {to}: {e}"));
        assert_eq!(upgraded.is_some(), original.opset() < to, "{name}");
        assert_eq!(model.opset(), original.opset().max(to), "{name}");
        assert_eq!(model.signature(), signature, "{name}");
        check::structure(&model).unwrap_or_else(|e| panic!("{name} to opset {to}: {e}"));
        let departures = onnx_shrink::opset::check(&model);
        let before = onnx_shrink::opset::check(&original);
        if departures.len() > before.len() {
            complaints.push(format!("{name} at opset {to}: {departures:?}"));
        }
        let found = run(&model, samples.as_ref(), 2);
        for (expected, found) in expected.iter().zip(&found) {
            // Runtimes choose what to fuse by the version: one of the models has other fusions from opset 17 on.
            let is_exact = name != "ppocr_v6_rec";
            let is_same = expected.iter().zip(found).all(|((_, left), (_, right))| left.same_as(right));
            let difference = compare::first_difference(found, expected, ROUNDING);
            if difference.is_some() || (is_exact && !is_same) {
                complaints.push(format!("{name} at opset {to}: {difference:?}"));
            }
        }
    }
    complaints
}

/// The golden runner may take another backend, which reads old versions of operators as it likes.
#[test]
fn goldens_compute_the_same_in_onnxruntime() {
    if !has_onnxruntime() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes/upgrade-opset");
    let mut judged = 0;
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        let directive = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        if directive("// ERROR: ").is_some() || directive("// BACKEND: none").is_some() {
            continue;
        }
        let to = directive("// RUN: upgrade-opset=").unwrap().parse().unwrap();
        let mut original = text::parse(text.split("\n---\n").next().unwrap()).unwrap();
        if let Some(opset) = directive("// OPSET: ") {
            original.set_opset("", opset.parse().unwrap());
        }
        if let Err(error) = backend::load(BackendChoice::OnnxRuntime, &bytes(&original), &ONE_THREAD) {
            // It has no kernel for Clip of other floats before opset 11, for instance; nothing else may go wrong.
            assert!(error.to_string().contains("Could not find an implementation"), "{}: {error}", path.display());
            println!("{}: not judged, {error}", path.display());
            continue;
        }
        let mut raised = original.clone();
        upgrade::upgrade(&mut raised, to).unwrap();
        let (signature, hints) = (original.signature(), Hints::default());
        let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
        let samples = data::open("synthetic:2", &options).unwrap();
        for (expected, found) in run(&original, samples.as_ref(), 2).iter().zip(run(&raised, samples.as_ref(), 2)) {
            let difference = compare::first_difference(&found, expected, ROUNDING);
            assert!(difference.is_none(), "{}: {}", path.display(), difference.unwrap());
        }
        judged += 1;
    }
    assert!(judged > 15, "only {judged} goldens can be executed");
}

/// What came of one node test.
#[derive(Debug, PartialEq)]
enum Outcome {
    Same,
    /// The model is as new already, or its original does not give the stored outputs.
    NotJudged,
    Refused(String),
    Wrong(String),
}

#[test]
fn node_tests_compute_the_same() {
    if !has_onnxruntime() {
        return;
    }
    let Some(folder) = node_tests::write() else { return };
    let cases: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let outcomes: Vec<(String, Outcome)> = cases
        .par_iter()
        .map(|case| (case.file_name().unwrap().to_string_lossy().into_owned(), raise_node_test(case)))
        .collect();
    let count = |matching: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| matching(outcome)).count();
    let (same, refused) = (count(|o| *o == Outcome::Same), count(|o| matches!(o, Outcome::Refused(_))));
    println!("{same} the same, {refused} refused, {} not judged", count(|o| *o == Outcome::NotJudged));
    for (name, outcome) in outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_))) {
        println!("{name}: {outcome:?}");
    }
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    assert!(same > 100, "only {same} node tests were raised");
}

fn raise_node_test(case: &Path) -> Outcome {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let in_case = |number: usize| case.join(format!("test_data_set_{number}"));
    let original = onnx::read(&case.join("model.onnx")).unwrap();
    if node_tests::RANDOM.iter().any(|random| name.starts_with(random)) || original.opset() >= upgrade::NEWEST {
        return Outcome::NotJudged;
    }
    let tolerance = compare::Tolerance::parse(&fs::read_to_string(case.join("tolerance")).unwrap());
    let signature = original.signature();
    let mut raised = original.clone();
    let outcome = upgrade::upgrade(&mut raised, upgrade::NEWEST);
    let mut is_judged = false;
    for data_set in (0..).map(in_case).take_while(|folder| folder.is_dir()) {
        let names = |list: &[onnx_shrink::ir::TypedName]| list.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
        let (inputs, outputs) = (names(&signature.inputs), names(&signature.outputs));
        let inputs = node_tests::tensors(&data_set, "input", inputs.iter().map(String::as_str));
        let expected = node_tests::tensors(&data_set, "output", outputs.iter().map(String::as_str));
        let (Some(inputs), Some(expected)) = (inputs, expected) else { return Outcome::NotJudged };
        let run = |model: &Model| -> Result<NamedTensors> {
            backend::load(BackendChoice::OnnxRuntime, &bytes(model), &ONE_THREAD)?.run(&inputs)
        };
        let is_right = |found: &NamedTensors| compare::first_difference(found, &expected, tolerance);
        if !run(&original).is_ok_and(|found| is_right(&found).is_none()) {
            continue;
        }
        is_judged = true;
        if let Err(error) = &outcome {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
            return Outcome::Refused(error.to_string());
        }
        check::structure(&raised).unwrap_or_else(|e| panic!("{name}: {e}"));
        match run(&raised) {
            Err(error) => return Outcome::Wrong(error.to_string()),
            Ok(found) => {
                if let Some(difference) = is_right(&found) {
                    return Outcome::Wrong(difference);
                }
            }
        }
    }
    if is_judged { Outcome::Same } else { Outcome::NotJudged }
}
