//! What `fold-constants` computes is what ONNX's own node tests expect, and what real models compute without it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it counted"
)]

mod support;

use std::fs;
use std::path::Path;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, Tensor};
use onnx_shrink::onnx::proto::ModelProto;
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Cx, Env, Opts, Scratch};
use onnx_shrink::{ErrorKind, passes};
use prost::Message;
use rayon::prelude::*;
use support::{compare, corpus, node_tests};

fn run(pass: &str, max_growth: Option<&str>, backend: BackendChoice, model: &mut Model) {
    let scratch = Scratch::in_memory();
    let env = Env { backend, ..Env::plain(&scratch) };
    let info = passes::find(pass).unwrap();
    let given: Vec<_> = max_growth.map(|bytes| (None, bytes.to_owned())).into_iter().collect();
    let mut pass = (info.build)(&Opts::new(info, &given).unwrap()).unwrap();
    let _ = pass.run(model, &mut Cx::new(&env, info.name)).unwrap_or_else(|e| panic!("{}: {e}", info.name));
}

fn bytes(model: &Model) -> ModelBytes {
    ModelBytes::new(onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes(), None)
}

/// What came of a node test whose inputs were all made constant.
#[derive(Debug, PartialEq)]
enum Outcome {
    Folded,
    Left,
    Wrong(String),
}

#[test]
fn node_tests_fold_to_the_stored_outputs() {
    let Some(folder) = node_tests::write() else { return };
    let mut cases: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let outcomes: Vec<(String, Outcome)> = cases
        .par_iter()
        .map(|case| (case.file_name().unwrap().to_string_lossy().into_owned(), fold_case(case)))
        .collect();
    let count = |wanted: &Outcome| outcomes.iter().filter(|(_, outcome)| outcome == wanted).count();
    println!("{} node tests: {} folded, {} left", outcomes.len(), count(&Outcome::Folded), count(&Outcome::Left));
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{} folded to something else: {wrong:#?}", wrong.len());
    assert!(count(&Outcome::Folded) > 500, "only {} folded", count(&Outcome::Folded));
    let random = ["test_bernoulli", "test_training_dropout"];
    for (name, outcome) in outcomes.iter().filter(|(name, _)| random.iter().any(|start| name.starts_with(start))) {
        // A ratio of zero drops nothing, but that is not for this pass to know.
        assert_eq!(*outcome, Outcome::Left, "{name} is random");
    }
}

fn fold_case(case: &Path) -> Outcome {
    let proto = ModelProto::decode(fs::read(case.join("model.onnx")).unwrap().as_slice()).unwrap();
    let graph = proto.graph.clone().unwrap();
    let data_set = case.join("test_data_set_0");
    if !data_set.is_dir() {
        return Outcome::Left;
    }
    let inputs = node_tests::tensors(&data_set, "input", graph.input.iter().map(|info| info.name()));
    let expected = node_tests::tensors(&data_set, "output", graph.output.iter().map(|info| info.name()));
    let (Some(inputs), Some(expected)) = (inputs, expected) else { return Outcome::Left };
    let constant = node_tests::with_constants(&proto, &inputs);
    let Ok(mut model) = onnx::decode(constant.encode_to_vec().into(), None) else { return Outcome::Left };
    run("fold-constants", Some("1000000000"), BackendChoice::Tract, &mut model);
    let outputs: Vec<_> = model.graph.outputs().collect();
    let results = outputs.iter().map(|&output| {
        let (node, _) = model.graph.producer(output)?;
        Some((model.graph.value(output).name().to_owned(), model.graph.node(node).constant_value()?))
    });
    // Only what all comes from folding: some tests are a Constant operator to begin with.
    let Some(results) = results.collect::<Option<NamedTensors>>() else { return Outcome::Left };
    let tolerance = compare::Tolerance::parse(&fs::read_to_string(case.join("tolerance")).unwrap());
    match compare::first_difference(&results, &expected, tolerance) {
        None => Outcome::Folded,
        Some(difference) => Outcome::Wrong(difference),
    }
}

#[test]
fn real_models_compute_the_same_after_folding_and_never_grow() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !folder.exists() {
        return corpus::skip("no ../shared/corpus beside the crate");
    }
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let original = onnx::read(&path).unwrap();
        let mut folded = original.clone();
        run("fold-constants", None, BackendChoice::Auto, &mut folded);
        run("inline-if", None, BackendChoice::Auto, &mut folded);
        run("fold-constants", None, BackendChoice::Auto, &mut folded);
        let (before, after) = (bytes(&original), bytes(&folded));
        println!(
            "{name}: {} -> {} operators, {} -> {} bytes",
            original.node_count(),
            folded.node_count(),
            before.bytes().len(),
            after.bytes().len()
        );
        assert!(after.bytes().len() <= before.bytes().len(), "{name} grew");
        assert_eq!(folded.signature(), original.signature(), "{name}");
        let signature = original.signature();
        let hints = Hints::default();
        let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: Some(1) };
        let samples = data::open(folder.join(format!("{name}.eval.npz")).to_str().unwrap(), &options).unwrap();
        let inputs = samples.get(0).unwrap();
        let (Some(expected), Some(found)) = (results(&before, &inputs), results(&after, &inputs)) else {
            println!("skipped: no backend here runs {name}");
            continue;
        };
        let tolerance = compare::Tolerance { relative: 1e-5, absolute: 0.0 };
        assert_eq!(compare::first_difference(&found, &expected, tolerance), None, "{name}");
    }
}

/// What a model computes; `None` where no backend here can run it.
fn results(model: &ModelBytes, inputs: &[(String, Tensor)]) -> Option<NamedTensors> {
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    match backend::load(BackendChoice::Auto, model, &options).and_then(|session| session.run(inputs)) {
        Ok(results) => Some(results),
        Err(error) if error.kind() == ErrorKind::CannotValidate => None,
        Err(error) => panic!("{error}"),
    }
}
