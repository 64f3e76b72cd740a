//! What ONNX Runtime makes of models with floats of 16 bits: it loads them, and computes the Casts of weights when it does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::{Backend, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, TypedName, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use onnx_shrink::validate::{self, CompareOptions};
use support::{corpus, python, transform};

/// The model after a pipeline; `data` is seeded calibration data.
fn shrunk(mut model: Model, pipeline: &str, data: Option<&str>) -> Model {
    let (signature, hints) = (model.signature(), Hints::from_graph(&model.graph));
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let calibration = data.map(|spec| data::open(spec, &options).unwrap());
    let scratch = Scratch::in_memory();
    let env = Env { calibration: calibration.as_deref(), ..Env::plain(&scratch) };
    let plan = pipeline.parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, &mut model, &env, &RunOptions::default()).unwrap_or_else(|e| panic!("{pipeline}: {e}"));
    model
}

/// How many Casts are left of each model once ONNX Runtime has loaded it; `None` where it is not installed.
fn casts(models: &[(String, Model)]) -> Option<Vec<usize>> {
    if !python::has("onnxruntime, onnx") {
        corpus::skip("Python has no onnxruntime and onnx");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, (_, model)) in models.iter().enumerate() {
        let path = folder.path().join(format!("{index}.onnx"));
        std::fs::write(&path, onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
        paths.push(path);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/half.py");
    let output = Command::new(python::interpreter()).arg(script).args(paths).output().unwrap();
    let counts: Vec<usize> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let failed = models.get(counts.len()).map(|(name, _)| name.as_str()).unwrap_or_default();
    assert!(output.status.success(), "{failed}: {}", String::from_utf8_lossy(&output.stderr));
    Some(counts)
}

#[test]
fn casts_of_weights_are_computed_at_load() {
    let weights = "float[64,64] w = rand(1)";
    let sources = [
        ("an initializer", format!("g (float[4,64] x) => (float[4,64] y) <{weights}> {{ y = MatMul(x, w) }}")),
        (
            "a Constant",
            "g (float[1,8,6,6] x) => (float[1,64,4,4] y) {
                w = Constant<value = float[64,8,3,3] rand(1)>()
                y = Conv(x, w)
            }"
            .to_owned(),
        ),
        (
            "branches, and a captured tensor",
            format!(
                "g (bool c, float[4,64] x) => (float[4,64] y) <{weights}> {{
                    y = If(c) <
                        then_branch = t () => (float[4,64] p) {{ p = MatMul(x, w) }},
                        else_branch = e () => (float[4,64] q) <float[64,64] own = rand(2)> {{ q = MatMul(x, own) }}
                    >
                }}"
            ),
        ),
        (
            "the body of a loop",
            "g (float[4,64] x) => (float[4,64] y) <int64 n = {3}, bool t = {1}> {
                y = Loop(n, t, x) <body = l (int64 i, bool go, float[4,64] s) => (bool on, float[4,64] r)
                <float[64,64] w = rand(1)> {
                    on = Identity(go)
                    r = MatMul(s, w)
                }>
            }"
            .to_owned(),
        ),
        (
            "an LSTM",
            "g (float[3,1,32] x) => (float[3,1,1,32] y) <float[1,128,32] w = rand(1), float[1,128,32] r = rand(2)> {
                y = LSTM<hidden_size = 32>(x, w, r)
            }"
            .to_owned(),
        ),
        (
            "small values, restored by a Mul too",
            "g (float[4,64] x) => (float[4,64] y) <float[64,64] w = rand(1), float tiny = {1e-8}> {
                t = Mul(w, tiny)
                y = MatMul(x, t)
            }"
            .to_owned(),
        ),
    ];
    for pass in ["fp16", "bf16"] {
        let pipeline = format!("fold-constants,{pass}");
        let models: Vec<(String, Model)> = sources
            .iter()
            .map(|(name, source)| {
                let model = shrunk(text::parse(source).unwrap(), &pipeline, None);
                let has_cast = text::print(&model, &text::PrintOptions::default()).contains("Cast<to = 1>");
                assert!(has_cast, "{pass}, {name}: nothing to compute");
                (format!("{pass}, {name}"), model)
            })
            .collect();
        let Some(counts) = casts(&models) else { return };
        for ((name, _), count) in models.iter().zip(counts) {
            assert_eq!(count, 0, "{name}: Casts are computed on every run");
        }
    }
}

/// The models of all goldens of the two passes, but for those that fail and the arithmetic that no backend has.
#[test]
fn onnxruntime_loads_the_result_of_every_golden() {
    let mut models: Vec<(String, Model)> = Vec::new();
    for pass in ["fp16", "bf16"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes").join(pass);
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let golden = std::fs::read_to_string(&file).unwrap();
            let input = golden.split("---\n").next().unwrap();
            let directive = |key: &str| input.lines().find_map(|line| line.strip_prefix(&format!("// {key}: ")));
            let pipeline = directive("RUN").unwrap();
            if directive("ERROR").is_some() || pipeline.starts_with("bf16=bf16") {
                continue;
            }
            let mut model = text::parse(input).unwrap();
            if let Some(version) = directive("OPSET") {
                model.set_opset("", version.parse().unwrap());
            }
            let name = format!("{pass}/{}", file.file_name().unwrap().to_string_lossy());
            models.push((name, shrunk(model, pipeline, directive("CALIB"))));
        }
    }
    let _ = casts(&models);
}

#[test]
fn callers_may_get_16_bits_too() {
    let mut model = onnx::read(&transform::testdata("lenet5.onnx")).unwrap();
    let (samples, before) = (transform::samples("digits_test.npz", &model), transform::encoded(&model));
    model = shrunk(model, "fp16=compute=f16:io=convert", None);
    let signature = model.signature();
    let types = |values: &[TypedName]| values.iter().map(|value| value.ty.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(types(&signature.inputs), "float16[N,1,28,28]");
    assert_eq!(types(&signature.outputs), "float16[N,10]");
    assert!(model.graph.nodes().iter().all(|&node| !model.graph.node(node).is("Cast")));
    let load = |bytes: Bytes| OnnxRuntime.load(&ModelBytes::new(bytes, None), &LoadOptions::default());
    match (load(before), load(transform::encoded(&model))) {
        (Ok(before), Ok(after)) => {
            // Data of 32 bits are rounded for it, and its outputs compared with those of the model it was made from.
            let report = validate::compare(&*before, &*after, &*samples, &CompareOptions::default()).unwrap();
            let worst = report.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min);
            assert!(worst > 50.0, "{worst:.1} dB");
        }
        (Err(error), _) => println!("skipped: {error}"),
        (_, Err(error)) => panic!("{error}"),
    }
}
