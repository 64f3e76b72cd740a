//! `sweep`: many pipelines on one model, in a table.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::sandbox::{ROOT, Sandbox};

fn data(name: &str) -> String {
    Path::new(ROOT).join("testdata").join(name).display().to_string()
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ran = sandbox.run(&[&["sweep", "model.onnx", "--json"], args].concat()).code(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn column(report: &Value, key: &str) -> Vec<Value> {
    report["rows"].as_array().unwrap().iter().map(|row| row[key].clone()).collect()
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let sandbox = Sandbox::with_digits_model();
    let inputs = data("digits_test.npz");
    let pipelines = ["-p", "simplify,quant8=weights", "-p", "layers=1", "-p", "none", "-p", "fp16"];
    let gate = ["--inputs", &inputs, "--max-drift", "snr=60", "--no-timing"];
    let report = json(&sandbox, &[&pipelines[..], &gate[..]].concat());
    assert_eq!(column(&report, "verdict"), ["refused", "passed", "passed", "passed"]);
    assert!(report["rows"][0]["reason"].as_str().unwrap().contains("60 dB"), "{report}");
    // There is no block to remove: the first two that pass are both the original. `fp16` alone is smaller.
    assert_eq!(column(&report, "on_front"), [false, true, false, true]);
    assert_eq!(report["accuracy"], report["rows"][2]["accuracy"]);
    let table = sandbox.run(&[&["sweep", "model.onnx"], &pipelines[..], &gate[..]].concat()).code(0);
    table.says(&["(original)", "1,725,610", "accuracy", "*", "refused", "speed was not measured: not asked for"]);
    // A pass that cannot work is a row, too.
    let failing = ["-p", "quant8=static", "-p", "fp16", "--no-timing", "--csv"];
    let csv = sandbox.run(&[&["sweep", "model.onnx"], &failing[..]].concat()).code(0);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert!(lines[1].contains("failed") && lines[1].contains("calibration data"), "{}", csv.stdout);
    assert!(lines[2].contains("\"fp16\"") && lines[2].contains("passed"), "{}", csv.stdout);
}

#[test]
fn kept_models_are_those_of_single_runs() {
    let sandbox = Sandbox::with_digits_model();
    let inputs = data("digits_calib.npz");
    std::fs::write(sandbox.path("list.txt"), "# what comes first is computed once\nprune=0.5:method=l1\n\nsimplify,prune=0.5:method=l1,quant8=weights # small\n").unwrap();
    let args = [
        "-p",
        "simplify,prune=0.5:method=l1",
        "--pipelines",
        "list.txt",
        "--inputs",
        &inputs,
        "--no-timing",
        "-o",
        "kept",
    ];
    let report = json(&sandbox, &args);
    let files: Vec<String> = column(&report, "file").iter().map(|file| file.as_str().unwrap().to_owned()).collect();
    assert_eq!(files.len(), 3);
    for (row, file) in report["rows"].as_array().unwrap().iter().zip(&files) {
        let pipeline = row["pipeline"].as_str().unwrap();
        sandbox.run(&["model.onnx", "-p", pipeline, "--inputs", &inputs, "-o", "single.onnx"]).code(0);
        let (single, kept) = (std::fs::read(sandbox.path("single.onnx")), std::fs::read(sandbox.path(file)));
        assert!(single.unwrap() == kept.unwrap(), "{pipeline}");
    }
    let names: Vec<_> = std::fs::read_dir(sandbox.path("kept")).unwrap().collect();
    assert_eq!(names.len(), 3, "something else was left");
}

#[test]
fn nothing_is_measured_twice() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["-p", "fp16", "-p", "quant8=weights", "--cache", "cache", "--no-timing"];
    let first = json(&sandbox, &args);
    assert_eq!(column(&first, "from_cache"), [false, false]);
    let entries: Vec<_> = std::fs::read_dir(sandbox.path("cache")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 2);
    let second = json(&sandbox, &args);
    assert_eq!(column(&second, "from_cache"), [true, true]);
    for key in ["bytes", "sha256", "drift", "verdict", "seconds"] {
        assert_eq!(column(&first, key), column(&second, key), "{key}");
    }
    // A damaged entry is told of and measured again; another seed is another measurement.
    std::fs::write(&entries[0], "{").unwrap();
    let ran = sandbox.run(&[&["sweep", "model.onnx"], &args[..]].concat()).code(0);
    assert!(ran.stderr.contains("is passed over"), "{}", ran.stderr);
    let other = json(&sandbox, &[&args[..], &["--seed", "1"]].concat());
    assert_eq!(column(&other, "from_cache"), [false, false]);
}

#[test]
fn says_what_is_wrong_before_the_work_begins() {
    let sandbox = Sandbox::with_digits_model();
    sandbox.run(&["sweep", "model.onnx"]).code(2).says(&["no pipeline", "-p"]);
    sandbox.run(&["sweep", "model.onnx", "-p", "fp16", "-p", "quant9"]).code(2).says(&["did you mean `quant"]);
    sandbox.run(&["sweep", "model.onnx", "--pipelines", "none.txt"]).code(2).says(&["no file `none.txt`"]);
    let labels = ["sweep", "model.onnx", "-p", "fp16", "--max-drift", "accuracy-drop=0.1"];
    sandbox.run(&labels).code(2).says(&["needs labels"]);
}
