//! The node tests of the `onnx` package, as files.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{corpus, python};

/// A folder with a folder for each node test, written by Python; `None` where there is none.
pub fn write() -> Option<TempDir> {
    if !python::has("onnx.backend.test") {
        corpus::skip("no Python with the package `onnx` (set PYTHON)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/node_tests.py");
    let written = Command::new(python::interpreter()).arg(script).arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    Some(folder)
}
