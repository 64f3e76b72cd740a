//! Finding what went wrong: `check --layers` names planted errors, `reduce` cuts a failure out, `shrink --bisect` names the
//! step and the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use onnx_shrink::backend::{BackendChoice, ModelBytes, NamedTensors};
use onnx_shrink::data::Samples;
use onnx_shrink::input::Input;
use onnx_shrink::ir::text;
use onnx_shrink::ir::{Graph, Model, NodeId, NodeSpec, Tensor, ValueId};
use onnx_shrink::layers::{LayersReport, layers};
use onnx_shrink::onnx::{EncodeOptions, decode, encode};
use onnx_shrink::pass::NoProgress;
use onnx_shrink::shrink::{Comparing, ShrinkOptions, data_for, shrink};
use support::corpus;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What is done to one layer of a candidate.
#[derive(Debug, Clone, Copy)]
enum Mistake {
    /// A scale that restores 8-bit weights is half as large again.
    Scale,
    /// The input of a layer is restored with another zero point than it was quantized with.
    ZeroPoint,
    /// The two axes of a kernel, or of a square matrix, are swapped.
    Axis,
    /// The bias is gone.
    Bias,
    /// BatchNormalization is folded with its mean left out.
    BatchNorm,
}

/// A model after a pipeline, in memory.
fn after(path: &Path, pipeline: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.onnx");
    let options = ShrinkOptions {
        output: Some(output.clone()),
        validate: false,
        force: true,
        ..ShrinkOptions::new(pipeline.parse().unwrap())
    };
    shrink(path, &options, &NoProgress).unwrap();
    decode(fs::read(output).unwrap().into(), None).unwrap()
}

fn file(model: &Model) -> ModelBytes {
    ModelBytes::new(encode(model, &EncodeOptions::default()).unwrap().to_bytes(), None)
}

fn layers_of(graph: &Graph) -> Vec<NodeId> {
    let order = graph.topological_order().unwrap();
    order.into_iter().filter(|&node| graph.node(node).is_any(&["Conv", "Gemm", "MatMul"])).collect()
}

/// The constant that the weights of a layer are multiplied with where they are restored.
fn scale_of(graph: &Graph, layer: NodeId) -> Option<(ValueId, Tensor)> {
    let mut weight = graph.input(layer, 1)?;
    // A Reshape or Transpose may lie between.
    for _ in 0..3 {
        let (node, _) = graph.producer(weight)?;
        if graph.node(node).is("Mul") {
            let inputs = graph.node_inputs(node).into_iter().flatten();
            return inputs.filter_map(|input| Some((input, graph.constant(input)?))).next();
        }
        weight = graph.input(node, 0)?;
    }
    None
}

fn weight_of(graph: &Graph, layer: NodeId) -> Option<Tensor> {
    graph.input(layer, 1).and_then(|weight| graph.constant(weight))
}

/// The same weights with their last two axes swapped, where those have the same extent and it makes a difference.
fn swapped(weight: &Tensor) -> Option<Tensor> {
    let shape = weight.shape();
    let (&width, &height) = (shape.last()?, shape.get(shape.len().checked_sub(2)?)?);
    let (width, height) = (width as usize, height as usize);
    if width != height || width < 2 {
        return None;
    }
    let values = weight.to_f32()?;
    let mut turned = values.clone();
    for (from, to) in values.chunks(width * height).zip(turned.chunks_mut(width * height)) {
        for (index, value) in from.iter().enumerate() {
            to[(index % width) * height + index / width] = *value;
        }
    }
    (turned != values).then(|| Tensor::from_f32(shape.to_vec(), &turned).unwrap())
}

/// Plants a mistake; `None` where the layer has nothing to make it in.
fn plant(model: &mut Model, layer: NodeId, mistake: Mistake) -> Option<()> {
    let graph = &mut model.graph;
    let map = |tensor: &Tensor, change: &dyn Fn(f32) -> f32| {
        let values: Vec<f32> = tensor.to_f32().unwrap().into_iter().map(change).collect();
        Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap()
    };
    match mistake {
        Mistake::Scale => {
            let (scale, tensor) = scale_of(graph, layer)?;
            graph.set_constant(scale, map(&tensor, &|value| value * 1.5)).unwrap();
        }
        Mistake::ZeroPoint => {
            let input = graph.input(layer, 0)?;
            let scale = graph.add_initializer("planted_scale", Tensor::from_f32(vec![], &[0.05]).unwrap());
            let zero = graph.add_initializer("planted_zero", Tensor::from_u8(vec![], vec![128]).unwrap());
            let wrong = graph.add_initializer("planted_wrong", Tensor::from_u8(vec![], vec![144]).unwrap());
            let codes =
                graph.add_op(NodeSpec::new("QuantizeLinear"), &[input, scale, zero], "planted_codes", layer).unwrap();
            let spec = NodeSpec::new("DequantizeLinear");
            let restored = graph.add_op(spec, &[codes, scale, wrong], "planted_restored", layer).unwrap();
            graph.set_input(layer, 0, Some(restored)).unwrap();
        }
        Mistake::Axis => {
            let weight = swapped(&weight_of(graph, layer)?)?;
            let weight = graph.add_initializer("planted_weight", weight);
            graph.set_input(layer, 1, Some(weight)).unwrap();
        }
        Mistake::Bias | Mistake::BatchNorm => {
            let bias = graph.constant(graph.input(layer, 2)?)?;
            if bias.to_f32()?.iter().all(|value| value.abs() < 1e-3) {
                return None;
            }
            let factor = if matches!(mistake, Mistake::Bias) { 0.0 } else { -0.5 };
            let bias = graph.add_initializer("planted_bias", map(&bias, &|value| value * factor));
            graph.set_input(layer, 2, Some(bias)).unwrap();
        }
    }
    Some(())
}

/// The value a layer writes and those that follow from it alone within two operators: where its mistake can show first.
fn behind(graph: &Graph, layer: NodeId) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open: Vec<(ValueId, usize)> = graph.node_outputs(layer).into_iter().flatten().map(|v| (v, 0)).collect();
    while let Some((value, distance)) = open.pop() {
        names.insert(graph.value(value).name().to_owned());
        let uses = graph.uses(value);
        if let ([only], true) = (&uses[..], distance < 2) {
            open.extend(graph.node_outputs(only.node).into_iter().flatten().map(|v| (v, distance + 1)));
        }
    }
    names
}

/// Gives every value but inputs, outputs and constants another name.
fn rename(model: &mut Model) {
    let graph = &mut model.graph;
    for (index, node) in graph.topological_order().unwrap().into_iter().enumerate() {
        for output in graph.node_outputs(node).into_iter().flatten() {
            if !graph.value(output).is_output() {
                graph.rename_internal(output, &format!("renamed_{index}")).unwrap();
            }
        }
    }
}

/// The first two samples: a mistake shows in any.
#[derive(Debug)]
struct First(Box<dyn Samples>);

impl Samples for First {
    fn len(&self) -> usize {
        self.0.len().min(2)
    }

    fn get(&self, index: usize) -> onnx_shrink::Result<NamedTensors> {
        self.0.get(index)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.0.label(index)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

fn diagnose(reference: &Input, candidate: &Model, data: &Path) -> LayersReport {
    let samples = First(data_for(&reference.model, Some(data.to_str().unwrap()), 0).unwrap());
    let how = Comparing { backend: BackendChoice::Auto, seed: 0, progress: &NoProgress };
    let models = ((&reference.model, &reference.file), (candidate, &file(candidate)));
    layers(models.0, models.1, &samples, &how).unwrap()
}

#[test]
fn planted_mistakes_are_named_first() {
    let mut misses = Vec::new();
    let mut cases = 0;
    for name in ["lenet5", "mnist_resnet_bn", "mobilenet_v2_random", "ppocr_v2_cls"] {
        let (Some(path), Some(data)) =
            (corpus::file(&format!("{name}.onnx")), corpus::file(&format!("{name}.eval.npz")))
        else {
            return;
        };
        let reference = Input::open(&path).unwrap();
        let plain = after(&path, "upgrade-opset=13,simplify");
        let quantized = after(&path, "upgrade-opset=13,simplify,quant8=weights:target=0");
        let mistakes = [Mistake::Scale, Mistake::ZeroPoint, Mistake::Axis, Mistake::Bias, Mistake::BatchNorm];
        for (turn, mistake) in mistakes.into_iter().enumerate() {
            let base = if matches!(mistake, Mistake::Scale | Mistake::ZeroPoint) { &quantized } else { &plain };
            let all = layers_of(&base.graph);
            // Each mistake in another part of the model: the first layer from there on that can have it.
            let start = turn * all.len() / mistakes.len();
            let planted = (0..all.len()).map(|step| all[(start + step) % all.len()]).find_map(|layer| {
                let mut candidate = base.clone();
                plant(&mut candidate, layer, mistake).map(|()| (candidate, layer))
            });
            let (mut candidate, layer) = planted.unwrap_or_else(|| panic!("{name} has no layer for {mistake:?}"));
            if turn % 2 == 1 {
                rename(&mut candidate);
            }
            let mut expected = behind(&candidate.graph, layer);
            if let (Mistake::ZeroPoint, Some(restored)) = (mistake, candidate.graph.input(layer, 0)) {
                // The mistake is in the operator before the layer, which nothing but the layer reads.
                expected.insert(candidate.graph.value(restored).name().to_owned());
            }
            let report = diagnose(&reference, &candidate, &data);
            let first = &report.layers[0];
            cases += 1;
            if !(first.is_born && expected.contains(&first.candidate_value)) {
                misses.push(format!("{name} {mistake:?}: {first:?}, not one of {expected:?}"));
            }
        }
    }
    assert_eq!(cases, 20);
    assert!(misses.len() * 10 <= cases, "{} of {cases} were missed: {misses:#?}", misses.len());
}

#[test]
fn a_model_against_itself_has_no_drift_in_any_layer() {
    let path = Path::new(ROOT).join("testdata/mnist_resnet_bn.onnx");
    let reference = Input::open(&path).unwrap();
    let report = diagnose(&reference, &reference.model, &Path::new(ROOT).join("testdata/digits_test.npz"));
    assert_eq!((report.values, report.by_alignment), (report.by_name, 0));
    assert!(report.layers.iter().all(|layer| layer.snr_db.is_none()), "{:?}", report.layers[0]);
}

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary; its exit code and what it wrote.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_onnx-shrink"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = Command::new(binary).args(args).current_dir(self.0.path()).env("PATH", path).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), text)
    }
}

#[test]
fn the_command_shows_layers() {
    let sandbox = Sandbox::new();
    let model = Path::new(ROOT).join("testdata/lenet5.onnx");
    let data = Path::new(ROOT).join("testdata/digits_test.npz");
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    assert_eq!(sandbox.run(&[model, "-p", "quant8=weights", "--no-validate", "-q", "-o", "small.onnx"]).0, 0);
    let (code, text) = sandbox.run(&["check", model, "small.onnx", "--inputs", data, "--layers=3"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("added") && text.contains("born here") && text.contains("values by name"), "{text}");
    let (_, json) = sandbox.run(&["check", model, "small.onnx", "--inputs", data, "--layers", "--json", "-q"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(report["layers"]["layers"].as_array().unwrap().len() >= 4, "{json}");
    let (_, schema) = sandbox.run(&["check", "--json-schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report));
}

/// A chain of 400 operators with an Erf and, much later, a Softmax in it.
fn long_chain() -> String {
    let mut text = String::from("g (float[4,8] x) => (float[4,8] y) < float[8] w = rand(1) > {\n");
    let mut last = "x".to_owned();
    for index in 0..400 {
        let output = if index == 399 { "y".to_owned() } else { format!("v{index}") };
        text += &match index {
            137 => format!("{output} = Erf({last})\n"),
            311 => format!("{output} = Softmax({last})\n"),
            _ if index % 3 == 0 => format!("{output} = Add({last}, w)\n"),
            _ if index % 3 == 1 => format!("{output} = Tanh({last})\n"),
            _ => format!("{output} = Mul({last}, {last})\n"),
        };
        last = output;
    }
    text + "}"
}

#[test]
fn a_failure_in_400_operators_is_cut_to_the_few_that_matter() {
    let sandbox = Sandbox::new();
    let model = text::parse(&long_chain()).unwrap();
    fs::write(sandbox.path("m.onnx"), encode(&model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
    let check = "onnx-shrink print \"$1\" | tr -d '\\n' | grep -q 'Erf.*Softmax'";
    let start = Instant::now();
    let (code, text) = sandbox.run(&["reduce", "m.onnx", "--check", check, "-o", "repro.onnx"]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(code, 0, "{text}");
    let repro = Input::open(&sandbox.path("repro.onnx")).unwrap().model;
    assert!(repro.node_count() <= 5, "{} operators: {text}", repro.node_count());
    assert!(text.starts_with("400 -> "), "{text}");
    // The repro runs, too.
    assert_eq!(sandbox.run(&["check", "repro.onnx", "repro.onnx"]).0, 0);
}

#[test]
fn reduce_says_what_is_wrong() {
    let sandbox = Sandbox::new();
    let model = Path::new(ROOT).join("testdata/lenet5.onnx");
    let model = model.to_str().unwrap();
    let (code, text) = sandbox.run(&["reduce", model, "--check", "false", "-o", "r.onnx"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("the whole model does not fail") && !sandbox.path("r.onnx").exists(), "{text}");
    let (code, text) = sandbox.run(&["reduce", model, "--check", "sleep 9", "--timeout", "1", "-o", "r.onnx"]);
    assert_eq!(code, 2, "{text}");
    assert_eq!(sandbox.run(&["reduce", "none.onnx", "--check", "true", "-o", "r.onnx"]).0, 2);
    let (code, text) = sandbox.run(&["reduce", model, "--check", "true", "-o", "r.onnx"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(Input::open(&sandbox.path("r.onnx")).unwrap().model.node_count(), 1);
}

#[test]
fn bisect_names_the_step_and_the_operator() {
    let sandbox = Sandbox::new();
    let model = Path::new(ROOT).join("testdata/mnist_resnet_bn.onnx");
    let data = Path::new(ROOT).join("testdata/digits_test.npz");
    let pipeline = "simplify,prune=0.9:method=l1,fp16";
    let args =
        [model.to_str().unwrap(), "-p", pipeline, "--eval-inputs", data.to_str().unwrap(), "--dry-run", "--bisect"];
    let (code, text) = sandbox.run(&[&args[..], &["--max-drift", "snr=60"]].concat());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the gate breaks first in step") && text.contains("after pass `prune=0.9"), "{text}");
    assert!(text.contains(", at Conv `") || text.contains(", at Gemm `"), "{text}");
    let (code, text) = sandbox.run(&[&args[..], &["--max-drift", "snr=-1"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("breaks first"), "{text}");
}

/// An error is planted in a pass, in every second layer in turn: nearly all weights of that layer go, and next to none of the
/// others.
#[test]
fn bisect_names_the_layer_that_is_to_blame() {
    let sandbox = Sandbox::new();
    let model = Path::new(ROOT).join("testdata/mnist_resnet_bn.onnx");
    let data = Path::new(ROOT).join("testdata/digits_calib.npz");
    let simple = after(&model, "simplify").graph;
    let (mut cases, mut misses) = (0, Vec::new());
    for layer in layers_of(&simple).into_iter().step_by(2) {
        let label = simple.node_label(layer);
        let recipe = format!(
            "model = {model:?}\neval-inputs = {data:?}\n\
             pipeline = \"simplify,prune=0.02:method=l1:scope=layer,fp16\"\n\
             [gates]\nsnr = 25\n[layer.{label:?}]\nprune.ratio = 0.97\n"
        );
        fs::write(sandbox.path("r.toml"), recipe).unwrap();
        let (code, text) = sandbox.run(&["--recipe", "r.toml", "--dry-run", "--bisect"]);
        assert_eq!(code, 1, "{label}: {text}");
        cases += 1;
        let line = text.lines().find(|line| line.contains("breaks first")).unwrap_or_default();
        if !(text.contains("after pass `prune=0.02") && line.contains(&format!("`{label}`"))) {
            misses.push(format!("{label}: {text}"));
        }
    }
    assert!(cases >= 8, "only {cases} layers");
    assert!(misses.len() * 10 <= cases, "{} of {cases} were missed: {misses:#?}", misses.len());
}

#[test]
fn verify_makes_the_file_again() {
    let sandbox = Sandbox::new();
    let (model, other) = ["lenet5", "mnist_resnet_bn"].map(|name| format!("{ROOT}/testdata/{name}.onnx")).into();
    assert_eq!(sandbox.run(&[&model, "-p", "simplify,quant8=weights", "--no-validate", "-q", "-o", "s.onnx"]).0, 0);
    let (code, text) = sandbox.run(&["verify", "s.onnx", "--original", &model]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the same bytes: `simplify,quant8=weights`"), "{text}");
    let (code, text) = sandbox.run(&["verify", "s.onnx", "--original", &other]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("is not what `simplify,quant8=weights` makes of the original"), "{text}");
    let (code, text) = sandbox.run(&["verify", &model, "--original", &model]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("does not tell how it was made"), "{text}");
}
