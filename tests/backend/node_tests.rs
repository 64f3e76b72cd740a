//! The node tests of the `onnx` package: what tract accepts it computes rightly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onnx_shrink::backend::Backend;
use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::tract::Tract;
use onnx_shrink::onnx::proto::ModelProto;
use onnx_shrink::{Error, ErrorKind};
use prost::Message;
use rayon::prelude::*;

use super::ONE_THREAD;
use super::support::{compare, models, node_tests};

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Right,
    /// Declined before it ran.
    Refused(String),
    /// An error while it ran.
    Failed(String),
    /// Another result, without an error.
    Wrong(String),
    /// Random, or with values that are no dense tensors.
    NotJudged,
}

#[test]
fn tract_is_never_silently_wrong() {
    let Some(folder) = node_tests::write() else { return };
    let outcomes = run_all(&Tract, folder.path());
    report("tract", &outcomes);
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{} silently wrong: {wrong:#?}", wrong.len());
    let right = outcomes.values().filter(|outcome| **outcome == Outcome::Right).count();
    assert!(right > 500, "the gate refuses too much: {right} right");
}

/// What is computed in front of tract where it is constant.
const QUANTIZATION: [&str; 2] = ["test_dequantizelinear", "test_quantizelinear"];

#[test]
fn quantized_constants_are_computed_in_front_of_tract() {
    let Some(folder) = node_tests::write() else { return };
    let outcomes = run_all(&Tract, folder.path());
    for name in [
        "test_dequantizelinear_int4",
        "test_dequantizelinear_uint4",
        "test_dequantizelinear_int16",
        "test_dequantizelinear_uint16",
        "test_dequantizelinear_blocked",
        "test_quantizelinear_blocked_asymmetric",
        "test_quantizelinear_int16",
        "test_quantizelinear_uint16",
    ] {
        assert_eq!(outcomes.get(name), Some(&Outcome::Right), "{name}");
    }
}

#[test]
fn onnxruntime_passes_the_node_tests() {
    // Any model tells whether it is installed.
    if super::onnxruntime(&super::relu_add(), &ONE_THREAD).is_none() {
        return;
    }
    let Some(folder) = node_tests::write() else { return };
    let outcomes = run_all(&OnnxRuntime, folder.path());
    report("onnxruntime", &outcomes);
    // It lacks some operators and differs from the reference in corner cases; conversions must not add to that.
    let right = outcomes.values().filter(|outcome| **outcome == Outcome::Right).count();
    assert!(right > 1300, "{right} right");
}

fn run_all(backend: &dyn Backend, folder: &Path) -> BTreeMap<String, Outcome> {
    let cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |case: &Path| case.file_name().unwrap().to_str().unwrap().to_owned();
    cases.par_iter().map(|case| (name(case), run_case(backend, case, &name(case)))).collect()
}

fn run_case(backend: &dyn Backend, case: &Path, name: &str) -> Outcome {
    let in_case = |number: usize| case.join(format!("test_data_set_{number}"));
    let data_sets: Vec<PathBuf> = (0..).map(in_case).take_while(|folder| folder.is_dir()).collect();
    if data_sets.is_empty() || node_tests::RANDOM.iter().any(|random| name.starts_with(random)) {
        return Outcome::NotJudged;
    }
    let model = ModelProto::decode(fs::read(case.join("model.onnx")).unwrap().as_slice()).unwrap();
    let graph = model.graph.clone().unwrap();
    let tolerance = compare::Tolerance::parse(&fs::read_to_string(case.join("tolerance")).unwrap());
    let mut outcomes = Vec::new();
    for data_set in &data_sets {
        let inputs = node_tests::tensors(data_set, "input", graph.input.iter().map(|info| info.name()));
        let expected = node_tests::tensors(data_set, "output", graph.output.iter().map(|info| info.name()));
        let (Some(inputs), Some(expected)) = (inputs, expected) else { return Outcome::NotJudged };
        // Once as it is, and once as models are: what follows the first input is constant. Weights are constant altogether.
        let is_quantization = QUANTIZATION.iter().any(|prefix| name.starts_with(prefix));
        for variable in [Some(inputs.len()), Some(1), is_quantization.then_some(0)].into_iter().flatten() {
            let (inputs, constants) = inputs.split_at(variable.min(inputs.len()));
            let bytes = models::bytes(&node_tests::with_constants(&model, constants));
            outcomes.push(match backend.load(&bytes, &ONE_THREAD).and_then(|session| session.run(inputs)) {
                Ok(results) => match compare::first_difference(&results, &expected, tolerance) {
                    None => Outcome::Right,
                    Some(difference) => Outcome::Wrong(difference),
                },
                Err(error) => refused(&error),
            });
        }
    }
    // The worst decides, but a case counts as right where one form of it runs.
    let is_bad = |outcome: &&Outcome| matches!(outcome, Outcome::Wrong(_) | Outcome::Failed(_));
    let worst = outcomes.iter().find(is_bad).or_else(|| outcomes.iter().find(|outcome| **outcome == Outcome::Right));
    worst.unwrap_or(&outcomes[0]).clone()
}

fn refused(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::Unsupported => Outcome::Refused(error.to_string()),
        _ => Outcome::Failed(error.to_string()),
    }
}

/// Prints the counts; `NODE_TEST_OUTCOMES` names a folder for the outcome of each case.
fn report(backend: &str, outcomes: &BTreeMap<String, Outcome>) {
    let count = |matching: fn(&Outcome) -> bool| outcomes.values().filter(|outcome| matching(outcome)).count();
    println!(
        "{backend}, {} node tests: {} right, {} refused, {} failed, {} silently wrong, {} not judged",
        outcomes.len(),
        count(|o| matches!(o, Outcome::Right)),
        count(|o| matches!(o, Outcome::Refused(_))),
        count(|o| matches!(o, Outcome::Failed(_))),
        count(|o| matches!(o, Outcome::Wrong(_))),
        count(|o| matches!(o, Outcome::NotJudged)),
    );
    if let Some(folder) = std::env::var_os("NODE_TEST_OUTCOMES") {
        let path = Path::new(&folder).join(format!("{backend}.tsv"));
        let lines: Vec<String> = outcomes.iter().map(|(name, outcome)| format!("{name}\t{outcome:?}")).collect();
        fs::write(path, lines.join("\n")).unwrap();
    }
}
