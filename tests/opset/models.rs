//! Whole models keep to their operator sets, and broken ones are caught where the official checker catches them.

use std::collections::BTreeMap;
use std::path::Path;

use onnx_shrink::{Site, onnx, opset};

use crate::support::corpus;

fn check(path: &Path) -> Vec<(Site, String)> {
    let model = onnx::read(path).unwrap_or_else(|error| panic!("{error}"));
    opset::check(&model)
}

#[test]
fn models_of_the_corpus_keep_to_their_operator_sets() {
    let Some(manifest) = corpus::file("manifest.json") else { return };
    let mut found = BTreeMap::new();
    let mut models = 0;
    for entry in std::fs::read_dir(manifest.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            models += 1;
            let warnings = check(&path);
            if !warnings.is_empty() {
                found.insert(path, warnings);
            }
        }
    }
    assert!(models >= 13, "found only {models} models");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn warnings_come_where_the_official_checker_complains() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_) = crate::run("opset/mutants.py", &[folder.path()], &["onnx"]) else { return };
    let verdicts = std::fs::read_to_string(folder.path().join("verdicts")).unwrap();
    let (mut fine, mut broken) = (0, 0);
    let mut disagreements = Vec::new();
    for line in verdicts.lines() {
        let (number, verdict) = line.split_once(' ').unwrap();
        let warnings = check(&folder.path().join(format!("{number}.onnx")));
        let is_fine = verdict.ends_with(" fine");
        *(if is_fine { &mut fine } else { &mut broken }) += 1;
        if warnings.is_empty() != is_fine {
            disagreements.push(format!("{verdict}: {warnings:?}"));
        }
    }
    assert!(fine >= 1000 && broken >= 500, "{fine} sound and {broken} broken models prove little");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
