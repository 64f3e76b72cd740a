//! What this crate knows of operators, against the official packages and against models.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests may do what tests may")]

#[path = "../support/mod.rs"]
mod support;

mod models;
mod table;

use std::path::Path;
use std::process::Command;

use support::{corpus, python};

/// What a script of this repository prints; `None`, with a line that says so, where Python lacks a package it needs.
fn run(script: &str, arguments: &[&Path], packages: &[&str]) -> Option<String> {
    if let Some(missing) = packages.iter().find(|package| !python::has(package)) {
        corpus::skip(&format!("Python has no {missing}"));
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = Command::new(python::interpreter()).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
