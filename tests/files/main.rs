//! Files: untouched models are written back byte for byte; side files stay inside the model's folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skipped"
)]

#[path = "../support/mod.rs"]
mod support;

mod external;

use std::path::{Path, PathBuf};

use onnx_shrink::onnx::{self, EncodeOptions};

/// Every `.onnx` file below a folder, sorted.
fn models_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn assert_round_trips(path: &Path) {
    let model = onnx::read(path).unwrap_or_else(|e| panic!("{e}"));
    let encoded = onnx::encode(&model, &EncodeOptions::default()).unwrap();
    let mut written = Vec::new();
    encoded.write_model(&mut written).unwrap();
    assert_eq!(written.len() as u64, encoded.len(), "{}: announced and written length differ", path.display());
    assert!(written == std::fs::read(path).unwrap(), "{} changed", path.display());
}

#[test]
fn corpus_models_round_trip() {
    let Some(manifest) = support::corpus::file("manifest.json") else { return };
    let models = models_below(manifest.parent().unwrap());
    assert!(models.len() >= 14, "found only {} models", models.len());
    models.iter().for_each(|path| assert_round_trips(path));
}

#[test]
fn test_models_round_trip() {
    let models = models_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
    assert!(models.len() >= 2, "found only {} models", models.len());
    models.iter().for_each(|path| assert_round_trips(path));
}

#[test]
fn node_tests_round_trip() {
    let Some(folder) = support::node_tests::write() else { return };
    let models = models_below(folder.path());
    assert!(models.len() > 1_800, "found only {} models", models.len());
    models.iter().for_each(|path| assert_round_trips(path));
}
