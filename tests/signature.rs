//! Signatures that are narrowed on purpose, and names that are kept, on real models.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::path::Path;

use onnx_shrink::backend::BackendChoice;
use onnx_shrink::data::Samples;
use onnx_shrink::error::ErrorKind;
use onnx_shrink::ir::{Graph, Model, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, NoProgress, PassInfo, Scope, Scratch};
use onnx_shrink::passes;
use onnx_shrink::shrink::{ShrinkOptions, Status, data_for, shrink};
use rayon::prelude::*;
use support::corpus;

fn run(model: &Model, pipeline: &str) -> Model {
    run_on(model, pipeline, None)
}

fn run_on(model: &Model, pipeline: &str, calibration: Option<&dyn Samples>) -> Model {
    let scratch = Scratch::in_memory();
    let env = Env { calibration, ..Env::plain(&scratch) };
    let mut model = model.clone();
    let plan = pipeline.parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, &mut model, &env, &RunOptions::default()).unwrap_or_else(|e| panic!("{pipeline}: {e}"));
    check::structure(&model).unwrap_or_else(|e| panic!("{pipeline}: {e}"));
    model
}

fn output_types(model: &Model) -> Vec<String> {
    model.signature().outputs.iter().map(ToString::to_string).collect()
}

/// Shapes that are fixed make operators constant: at most so many are left, and never more than without.
#[test]
fn fixed_shapes_fold_what_was_computed_from_them() {
    for (name, steps, outputs, most) in [
        ("minilm_l6.onnx", "set-dim=N:to=1,set-dim=S:to=128", "float[1,384] embedding", 227),
        ("ppocr_v6_rec.onnx", "set-shape=x:to=1x3x48x320", "float[1,40,18710] fetch_name_0", 273),
        ("silero_vad.onnx", "set-shape=input:to=1x?,set-shape=state:to=?x1x?", "float[?,1] output", 148),
    ] {
        let Some(path) = corpus::file(name) else { continue };
        let model = onnx::read(&path).unwrap();
        let fixed = run(&model, steps);
        assert_eq!(output_types(&fixed)[0], outputs, "{name}");
        let (open, folded) = (run(&model, "simplify").node_count(), run(&fixed, "simplify").node_count());
        assert!(folded <= most && folded <= open, "{name}: {folded} operators with fixed shapes, {open} without");
    }
}

#[test]
fn declared_types_follow_a_fixed_image() {
    let Some(path) = corpus::file("ppocr_v6_det.onnx") else { return };
    let fixed = run(&onnx::read(&path).unwrap(), "set-shape=x:to=1x3x640x480");
    assert_eq!(output_types(&fixed), ["float[1,1,640,480] fetch_name_0"]);
    let graph = &fixed.graph;
    let open =
        graph.values().into_iter().map(|value| graph.value(value)).filter(|value| {
            value.initializer().is_none() && value.shape().is_some_and(|shape| shape.as_fixed().is_none())
        });
    assert_eq!(open.map(|value| value.describe()).collect::<Vec<_>>(), [""; 0]);
}

/// The pipeline that the file remembers gives the same file again.
#[test]
fn the_stored_pipeline_reproduces_the_file() {
    let Some(path) = corpus::file("magika.onnx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let write = |pipeline: &str, name: &str| {
        let output = folder.path().join(name);
        let options = ShrinkOptions { output: Some(output.clone()), ..ShrinkOptions::new(pipeline.parse().unwrap()) };
        let shrunk = shrink(&path, &options, &NoProgress).unwrap();
        assert!(shrunk.refusal.is_none(), "{:?}", shrunk.refusal);
        (shrunk.report.pipeline, std::fs::read(output).unwrap())
    };
    let (stored, first) = write("set-dim=unk__214:to=2,simplify", "a.onnx");
    let (_, second) = write(&stored, "b.onnx");
    assert!(first == second);
}

/// Every name of an operator, and of what operators write, in all graphs.
fn names(model: &Model) -> Vec<(Option<String>, String)> {
    let mut found = Vec::new();
    let mut one = |graph: &Graph| {
        for node in graph.nodes() {
            let name = graph.node(node).name();
            let written = graph.node_outputs(node).into_iter().flatten();
            let named = (!name.is_empty()).then(|| name.to_owned());
            found.extend(written.map(|value| (named.clone(), graph.value(value).name().to_owned())));
        }
    };
    model
        .visit_graphs(|graph, _| {
            one(graph);
            Ok(())
        })
        .unwrap();
    found
}

fn keep(names: impl Iterator<Item = String>) -> String {
    let escape = |name: String| name.replace('%', "%25").replace(':', "%3A").replace(',', "%2C").replace('=', "%3D");
    format!("keep={}", names.map(escape).collect::<Vec<_>>().join(":name="))
}

/// What a pass needs as options to do something everywhere.
fn step(name: &str) -> String {
    match name {
        "strip" => "strip=all".into(),
        "freeze-defaults" => "freeze-defaults=true".into(),
        "prune" => "prune=gzip=false".into(),
        name => name.into(),
    }
}

/// With everything kept, no pass takes any operator or value away.
#[test]
fn every_pass_leaves_what_is_kept() {
    let models = ["mnist_resnet_bn.onnx", "silero_vad_op18.onnx", "magika.onnx", "wakeword.onnx"];
    for (model_name, has_data) in models.into_iter().zip([true, false, false, true]) {
        let Some(path) = corpus::file(model_name) else { continue };
        let model = onnx::read(&path).unwrap();
        let data = has_data.then(|| data_for(&model, Some("synthetic:2"), 0).unwrap());
        let all = names(&model);
        let nodes = keep(all.iter().filter_map(|(node, _)| node.clone()));
        let values = keep(all.iter().map(|(_, value)| value.clone()));
        let applies = |info: &&PassInfo| {
            let needs_data = matches!(info.name, "layers" | "quant16");
            info.scope != Scope::Signature && info.name != "keep" && (has_data || !needs_data)
        };
        passes::ALL.par_iter().filter(applies).for_each(|info| {
            for kept in [&nodes, &values] {
                let after = names(&run_on(&model, &format!("{kept},{}", step(info.name)), data.as_deref()));
                let lost: Vec<_> = all
                    .iter()
                    .filter(|(node, value)| {
                        let is_kept = kept == &values || node.is_some();
                        is_kept && !after.iter().any(|(n, v)| v == value && (kept == &values || n == node))
                    })
                    .collect();
                assert!(lost.is_empty(), "{} on {model_name} lost {lost:?}", info.name);
            }
        });
    }
}

/// Each operator kept alone survives all that simplification does, and the file still holds what it held.
#[test]
fn one_kept_operator_survives_simplification() {
    let Some(path) = corpus::file("mnist_resnet_bn.onnx") else { return };
    let model = onnx::read(&path).unwrap();
    let graph = &model.graph;
    for node in graph.nodes() {
        let (name, op_type) = (graph.node(node).name().to_owned(), graph.node(node).op_type().to_owned());
        let after = run(&model, &format!("{},simplify", keep(std::iter::once(name.clone()))));
        let inside = &after.graph;
        let is_there = |n| inside.node(n).name() == name && inside.node(n).op_type() == op_type;
        assert!(inside.nodes().into_iter().any(is_there), "{op_type} `{name}` is gone");
    }
}

/// Nothing of what is kept gets into the file.
#[test]
fn keeping_alone_changes_nothing() {
    let Some(path) = corpus::file("wakeword.onnx") else { return };
    let model = onnx::read(&path).unwrap();
    let kept = run(&model, &keep(names(&model).into_iter().map(|(_, value)| value)));
    let bytes = |model: &Model| onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes();
    assert!(bytes(&model) == bytes(&kept));
}

/// Inputs that the model takes are found for every model, without any from the user.
#[test]
fn every_real_model_is_compared_without_inputs() {
    for (name, shown) in [
        ("silero_vad.onnx", "sr 16000"),
        ("silero_vad_op18.onnx", "sr 16000"),
        ("tashkeel_int8.onnx", "input 1x16"),
        ("magika.onnx", "bytes 1x2048"),
        ("ppocr_v2_cls.onnx", "x 1x3x224x224"),
    ] {
        let Some(path) = corpus::file(name) else { continue };
        let report = dry_run(&path, "simplify");
        let data = report.validation.data.clone().unwrap_or_default();
        match report.validation.status {
            Status::Impossible if !has_onnxruntime() => corpus::skip("no ONNX Runtime"),
            status => assert_eq!((status, data.contains(shown)), (Status::Passed, true), "{name}: {data}"),
        }
    }
}

/// One length fits one of the two sampling rates: ONNX Runtime loads no branch that cannot take it, and the result is to blame.
#[test]
fn a_shape_that_a_branch_cannot_take_makes_a_worse_file() {
    let Some(path) = corpus::file("silero_vad.onnx") else { return };
    if !has_onnxruntime() {
        return corpus::skip("no ONNX Runtime");
    }
    let options = ShrinkOptions::new("set-shape=input:to=1x512,simplify".parse().unwrap());
    let refusal = shrink(&path, &options, &NoProgress).unwrap().refusal.unwrap();
    assert_eq!((refusal.kind(), refusal.what()), (ErrorKind::WorseFile, "the result does not load, the original does"));
}

fn dry_run(path: &Path, pipeline: &str) -> onnx_shrink::shrink::Report {
    shrink(path, &ShrinkOptions::new(pipeline.parse().unwrap()), &NoProgress).unwrap().report
}

fn has_onnxruntime() -> bool {
    let model = onnx_shrink::ir::text::parse("g (float[1] x) => (float[1] y) { y = Relu(x) }").unwrap();
    let bytes = onnx::encode(&model, &EncodeOptions::default()).unwrap().to_bytes();
    let bytes = onnx_shrink::backend::ModelBytes::new(bytes, None);
    onnx_shrink::backend::load(BackendChoice::OnnxRuntime, &bytes, &Default::default()).is_ok()
}
