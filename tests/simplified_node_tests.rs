//! The node tests of the `onnx` package still give their stored results in ONNX Runtime once their models are simplified,
//! also after their operator set was raised, and with some of their inputs made constant, so that there is more to do.

#![cfg(feature = "onnxruntime")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by a panic and report counts")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::ir::{Model, TypedName};
use onnx_shrink::onnx::proto::ModelProto;
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use onnx_shrink::{ErrorKind, Result};
use prost::Message;
use rayon::prelude::*;
use support::{compare, corpus, models, node_tests};

const PIPELINES: [&str; 2] = ["simplify", "upgrade-opset=21,simplify"];

/// Which inputs of a case are made constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Constants {
    None,
    /// Weights, shapes, axes: what most operators have beside their data.
    AllButFirst,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Same {
        changed: bool,
    },
    /// The original does not give the stored outputs, or has none that this crate can hold.
    NotJudged,
    /// The operator set cannot be raised.
    Refused,
    Wrong(String),
}

fn has_onnxruntime() -> bool {
    let input = models::value("x", onnx_shrink::ir::DType::F32, &[1]);
    let relu = models::model(13, vec![models::node("Relu", &["x"], vec![])], vec![input], vec![]);
    let loaded = backend::load(BackendChoice::OnnxRuntime, &models::bytes(&relu), &LoadOptions::default());
    match loaded {
        Ok(_) => true,
        Err(error) if error.to_string().contains("not installed") => {
            corpus::skip("ONNX Runtime is not installed");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn simplified_node_tests_give_their_stored_results() {
    if !has_onnxruntime() {
        return;
    }
    let Some(folder) = node_tests::write() else { return };
    let mut cases: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let outcomes: Vec<_> = cases.par_iter().flat_map_iter(|case| judge_case(case)).collect();
    let mut counts: BTreeMap<(&str, Constants), [usize; 4]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, pipeline, constants, outcome) in &outcomes {
        let [same, changed, not_judged, refused] = counts.entry((pipeline, *constants)).or_default();
        match outcome {
            Outcome::Same { changed: is_changed } => {
                *same += 1;
                *changed += usize::from(*is_changed);
            }
            Outcome::NotJudged => *not_judged += 1,
            Outcome::Refused => *refused += 1,
            Outcome::Wrong(what) => wrong.push(format!("{name}, {pipeline}, constants {constants:?}: {what}")),
        }
    }
    for ((pipeline, constants), [same, changed, not_judged, refused]) in &counts {
        println!(
            "{pipeline}, constants {constants:?}: {same} the same, {changed} of them changed; \
             {not_judged} not judged, {refused} refused"
        );
        assert!(*same > 500, "too few are judged: {same}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn judge_case(case: &Path) -> Vec<(String, &'static str, Constants, Outcome)> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let proto = ModelProto::decode(fs::read(case.join("model.onnx")).unwrap().as_slice()).unwrap();
    let mut outcomes = Vec::new();
    for constants in [Constants::None, Constants::AllButFirst, Constants::All] {
        let is_random = node_tests::RANDOM.iter().any(|random| name.starts_with(random));
        let mut found = if is_random { None } else { judge(case, &proto, constants) };
        let found = found.get_or_insert_with(|| PIPELINES.map(|_| Outcome::NotJudged));
        for (pipeline, outcome) in PIPELINES.iter().zip(found.iter()) {
            outcomes.push((name.clone(), *pipeline, constants, outcome.clone()));
        }
    }
    outcomes
}

/// The outcome of each pipeline; `None` where there is nothing to judge by.
fn judge(case: &Path, proto: &ModelProto, constants: Constants) -> Option<[Outcome; 2]> {
    let folder = case.join("test_data_set_0");
    let tolerance = compare::Tolerance::parse(&fs::read_to_string(case.join("tolerance")).unwrap());
    let names = |infos: &[onnx_shrink::onnx::proto::ValueInfoProto]| -> Vec<String> {
        infos.iter().map(|info| info.name().to_owned()).collect()
    };
    let graph = proto.graph.as_ref()?;
    if !folder.is_dir() {
        return None;
    }
    let (inputs, outputs) = (names(&graph.input), names(&graph.output));
    let mut inputs = node_tests::tensors(&folder, "input", inputs.iter().map(String::as_str))?;
    let expected = node_tests::tensors(&folder, "output", outputs.iter().map(String::as_str))?;
    let kept = match constants {
        Constants::None => inputs.len(),
        Constants::AllButFirst => 1,
        Constants::All => 0,
    };
    if kept > inputs.len() || (constants != Constants::None && kept == inputs.len()) {
        return None;
    }
    let model = node_tests::with_constants(proto, &inputs.split_off(kept));
    let original = onnx::decode(model.encode_to_vec().into(), None).ok()?;
    let is_right = |found: &NamedTensors| compare::first_difference(found, &expected, tolerance);
    if !run(&original, &inputs).is_ok_and(|found| is_right(&found).is_none()) {
        return None;
    }
    Some(PIPELINES.map(|pipeline| {
        let (simplified, changed) = match transform(&original, pipeline) {
            Ok(result) => result,
            Err(error) if error.kind() == ErrorKind::Unsupported && pipeline.starts_with("upgrade") => {
                return Outcome::Refused;
            }
            Err(error) => return Outcome::Wrong(error.to_string()),
        };
        let names = |values: Vec<TypedName>| values.into_iter().map(|value| value.name).collect::<Vec<_>>();
        assert_eq!(names(simplified.signature().outputs), names(original.signature().outputs));
        match run(&simplified, &inputs) {
            Err(error) => Outcome::Wrong(error.to_string()),
            Ok(found) => match is_right(&found) {
                Some(difference) => Outcome::Wrong(difference),
                None => Outcome::Same { changed },
            },
        }
    }))
}

fn transform(original: &Model, pipeline: &str) -> Result<(Model, bool)> {
    let scratch = Scratch::in_memory();
    let env = Env::plain(&scratch);
    let mut model = original.clone();
    let plan = pipeline.parse::<Pipeline>()?.plan()?;
    let run = manager::run(plan, &mut model, &env, &RunOptions::default())?;
    Ok((model, run.changed().is_yes()))
}

fn run(model: &Model, inputs: &NamedTensors) -> Result<NamedTensors> {
    let bytes = onnx::encode(model, &EncodeOptions::default())?.to_bytes();
    let options = LoadOptions { taps: Vec::new(), threads: 1, ..LoadOptions::default() };
    backend::load(BackendChoice::OnnxRuntime, &ModelBytes::new(bytes, None), &options)?.run(inputs)
}
