//! Every pass leaves every real model well formed, with its signature, and has nothing left to do when it runs again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says that it is skipped"
)]

use std::path::{Path, PathBuf};

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, Tensor, check, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Effect, Env, Opts, PassInfo, RemarkKind, Scratch};
use onnx_shrink::{ErrorKind, Result, passes};

/// Passes and the options they run with. Those that need names of one model are in tests/signature.rs.
const STEPS: &[(&str, &str, &str)] = &[
    ("dce", "", ""),
    ("eliminate-identity", "", ""),
    ("dedup-initializers", "", ""),
    ("strip", "what", "all"),
    ("eliminate-nop", "", ""),
    ("eliminate-common", "", ""),
    ("fold-reshape", "", ""),
    ("fuse-chains", "", ""),
    ("fuse-bn", "", ""),
    ("freeze-defaults", "all", "true"),
    ("fold-constants", "", ""),
    ("inline-if", "", ""),
    ("fuse-conv", "", ""),
    ("fuse-pad", "", ""),
    ("fuse-activations", "", ""),
    ("fuse-arithmetic", "", ""),
    ("upgrade-opset", "to", "21"),
    ("prune", "gzip", "false"),
    ("quant8", "mode", "weights"),
    ("quant4", "target", "0"),
    ("lowrank", "rank", "0.6"),
    ("channels", "ratio", "0.5"),
    ("fp16", "", ""),
    ("fp16", "compute", "f16"),
    ("bf16", "", ""),
];

fn run(info: &PassInfo, key: &str, value: &str, model: &mut Model) -> (Changed, Vec<onnx_shrink::pass::Remark>) {
    let scratch = Scratch::in_memory();
    let env = Env { seed: 1, ..Env::plain(&scratch) };
    let given = if key.is_empty() { Vec::new() } else { vec![(Some(key.to_owned()), value.to_owned())] };
    let mut pass = (info.build)(&Opts::new(info, &given).unwrap()).unwrap();
    let mut cx = Cx::new(&env, info.name);
    let changed = pass.run(model, &mut cx).unwrap_or_else(|e| panic!("{}: {e}", info.name));
    (changed, cx.into_remarks())
}

/// The models of the corpus, sorted; none where it is missing.
fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !folder.exists() {
        println!("skipped: no ../shared/corpus beside the crate");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs ../shared/corpus");
        return Vec::new();
    }
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    assert!(paths.len() >= 14, "found only {} models", paths.len());
    paths
}

/// What a model gives for the first samples of its evaluation data.
fn outputs(model: &Model, path: &Path) -> Result<Vec<(String, Tensor)>> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 1, hints: &hints, limit: Some(2) };
    let data = path.with_extension("eval.npz");
    let samples = data::open(data.to_str().unwrap(), &options)?;
    let bytes = onnx::encode(model, &EncodeOptions::default())?.to_bytes();
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    let session = backend::load(BackendChoice::Auto, &ModelBytes::new(bytes, None), &options)?;
    let mut outputs = Vec::new();
    for index in 0..samples.len() {
        outputs.extend(session.run(&samples.get(index)?)?);
    }
    Ok(outputs)
}

/// What two models give; `None` where no backend here runs the first, which the second may not depend on.
fn both_outputs(before: &Model, after: &Model, path: &Path) -> Option<[Vec<(String, Tensor)>; 2]> {
    match outputs(before, path) {
        Ok(expected) => Some([expected, outputs(after, path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))]),
        Err(e) if matches!(e.kind(), ErrorKind::CannotValidate | ErrorKind::Unsupported) => {
            println!("skipped: {}: {e}", path.display());
            None
        }
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

#[test]
fn every_pass_settles_on_every_real_model() {
    for path in corpus() {
        let is_small = std::fs::metadata(&path).unwrap().len() <= 30 << 20;
        // A development build prunes a megabyte in 50 ms.
        for (name, key, value) in STEPS.iter().filter(|(name, ..)| is_small || *name != "prune") {
            let label = format!("{name} on {}", path.file_name().unwrap().to_string_lossy());
            let info = passes::find(name).unwrap();
            let original = onnx::read(&path).unwrap();
            let mut model = original.clone();
            let (changed, remarks) = run(info, key, value, &mut model);
            check::structure(&model).unwrap_or_else(|e| panic!("{label}: {e}"));
            assert_eq!(model.signature(), original.signature(), "{label}");
            let applied = remarks.iter().filter(|r| r.kind == RemarkKind::Applied).count();
            assert_eq!(changed.is_yes(), applied > 0, "{label}: {remarks:?}");

            let encoded = onnx::encode(&model, &EncodeOptions::default()).unwrap().to_bytes();
            let mut again = onnx::decode(encoded, None).unwrap_or_else(|e| panic!("{label}: {e}"));
            let (changed, remarks) = run(info, key, value, &mut again);
            assert_eq!(changed, Changed::No, "{label} ran twice: {remarks:?}");
        }
    }
}

#[test]
fn exact_passes_keep_every_bit() {
    for path in corpus().into_iter().filter(|path| std::fs::metadata(path).unwrap().len() <= 10 << 20) {
        let original = onnx::read(&path).unwrap();
        let mut model = original.clone();
        for (name, key, value) in STEPS {
            let info = passes::find(name).unwrap();
            if info.effect == Effect::Exact {
                let _ = run(info, key, value, &mut model);
            }
        }
        let Some([before, after]) = both_outputs(&original, &model, &path) else { continue };
        assert_eq!(before, after, "{}", path.display());
    }
}

#[test]
fn every_batch_norm_of_a_resnet_is_fused() {
    for path in corpus().into_iter().filter(|path| path.ends_with("mnist_resnet_bn.onnx")) {
        let original = onnx::read(&path).unwrap();
        let mut model = original.clone();
        let _ = run(passes::find("fuse-bn").unwrap(), "", "", &mut model);
        let count = |model: &Model| {
            let graph = &model.graph;
            graph.nodes().into_iter().filter(|&node| graph.node(node).is("BatchNormalization")).count()
        };
        assert_eq!((count(&original), count(&model)), (15, 0));
        let Some([before, after]) = both_outputs(&original, &model, &path) else { continue };
        let values = |outputs: &[(String, Tensor)]| -> Vec<f64> {
            outputs.iter().flat_map(|(_, tensor)| tensor.to_f64().unwrap()).collect()
        };
        let (before, after) = (values(&before), values(&after));
        let signal: f64 = before.iter().map(|v| v * v).sum();
        let noise: f64 = before.iter().zip(&after).map(|(a, b)| (a - b) * (a - b)).sum();
        let snr_db = 10.0 * (signal / noise).log10();
        assert!(snr_db >= 100.0, "{snr_db} dB");
    }
}

/// A value that so many operators read that anything quadratic would not come to an end.
#[test]
fn a_fan_of_readers_takes_no_longer_than_a_chain() {
    const READERS: usize = 100_000;
    let branch = |n: usize| format!("  a{n} = Identity(x)\n  b{n} = Relu(a{n})\n");
    let body: String = (0..READERS).map(branch).collect();
    let mut model = text::parse(&format!("g (float[4] x) => (float[4] y) {{\n{body}  y = Add(b0, b1)\n}}")).unwrap();
    for (pass, left) in [("eliminate-identity", READERS + 1), ("dce", 3)] {
        let (changed, _) = run(passes::find(pass).unwrap(), "", "", &mut model);
        assert!(changed.is_yes());
        assert_eq!(model.node_count(), left, "{pass}");
        check::structure(&model).unwrap();
    }
}
