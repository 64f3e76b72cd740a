//! Every pass leaves every real model well formed, with its signature, and has nothing left to do when it runs again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says that it is skipped"
)]

use std::path::Path;

use onnx_shrink::backend::BackendChoice;
use onnx_shrink::ir::{Model, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Env, NoProgress, Opts, PassInfo, RemarkKind, Scratch};
use onnx_shrink::passes;

/// Passes and the options they run with.
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
    ("fuse-conv", "", ""),
    ("fuse-pad", "", ""),
    ("fuse-activations", "", ""),
    ("prune", "gzip", "false"),
];

fn run(info: &PassInfo, key: &str, value: &str, model: &mut Model) -> (Changed, Vec<onnx_shrink::pass::Remark>) {
    let env = Env {
        seed: 1,
        calibration: None,
        backend: BackendChoice::Auto,
        scratch: &Scratch::in_memory(),
        progress: &NoProgress,
    };
    let given = if key.is_empty() { Vec::new() } else { vec![(Some(key.to_owned()), value.to_owned())] };
    let mut pass = (info.build)(&Opts::new(info, &given).unwrap()).unwrap();
    let mut cx = Cx::new(&env, info.name);
    let changed = pass.run(model, &mut cx).unwrap_or_else(|e| panic!("{}: {e}", info.name));
    (changed, cx.into_remarks())
}

#[test]
fn every_pass_settles_on_every_real_model() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !corpus.exists() {
        println!("skipped: no ../shared/corpus beside the crate");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs ../shared/corpus");
        return;
    }
    let mut paths: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    assert!(paths.len() >= 14, "found only {} models", paths.len());
    for path in paths {
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
