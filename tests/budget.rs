//! `--budget`: the best pipeline within bounds, with the best so far on disk throughout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use onnx_shrink::input::Input;
use serde_json::Value;
use support::sandbox::{ROOT, Ran, Sandbox};

fn data(name: &str) -> String {
    Path::new(ROOT).join("testdata").join(name).display().to_string()
}

/// A search without data to learn from, which makes it short.
const SEARCH: [&str; 7] = ["model.onnx", "--budget", "drift>=30dB,size<=30%", "-o", "best.onnx", "--cache", "cache"];

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", ran.stdout, ran.stderr))
}

/// Runs the command that a report names, in the sandbox, with another output.
fn run_again(sandbox: &Sandbox, report: &Value, output: &str) {
    let command = report["command"].as_str().unwrap();
    let binary = env!("CARGO_BIN_EXE_onnx-shrink");
    let command = command.replacen("onnx-shrink", binary, 1).replace("best.onnx", output);
    let status =
        std::process::Command::new("sh").arg("-c").arg(&command).current_dir(sandbox.0.path()).output().unwrap();
    assert!(status.status.success(), "{command}\n{}", String::from_utf8_lossy(&status.stderr));
}

#[test]
fn the_pipeline_that_is_told_makes_the_winner_again() {
    let sandbox = Sandbox::with_digits_model();
    let inputs = data("digits_test.npz");
    let more = ["--eval-inputs", &inputs, "--max-time", "300s", "--json", "--pareto", "front"];
    let report = json(&sandbox.run(&[&SEARCH[..], &more[..]].concat()).code(0));
    assert_eq!(report["met"], true);
    assert_eq!(report["time_was_up"], false);
    assert!(report["best"]["bytes"].as_u64().unwrap() * 10 <= 3 * 1_725_610);
    // What is taken for the best was timed more than once.
    assert!(!report["untimed"].is_null() || report["best"]["speed"]["races"] == 3, "{report}");
    run_again(&sandbox, &report, "again.onnx");
    let (best, again) = (std::fs::read(sandbox.path("best.onnx")), std::fs::read(sandbox.path("again.onnx")));
    assert!(best.unwrap() == again.unwrap());

    // The front: every file is there and is what its pipeline makes.
    let index: Value = serde_json::from_str(&sandbox.text("front/index.json")).unwrap();
    let front = index["front"].as_array().unwrap();
    assert_eq!(front, report["front"].as_array().unwrap());
    assert!(front.len() > 2 && sandbox.text("front/index.md").contains("quant8=weights"), "{index}");
    for picture in front {
        let file = Path::new("front").join(picture["file"].as_str().unwrap()).display().to_string();
        assert_eq!(std::fs::metadata(sandbox.path(&file)).unwrap().len(), picture["bytes"].as_u64().unwrap());
    }
    let names = std::fs::read_dir(sandbox.path("front")).unwrap().count();
    assert_eq!(names, front.len() + 2, "something else is left");

    // A second search knows all of it, and leaves the output as it is.
    let written = std::fs::metadata(sandbox.path("best.onnx")).unwrap().modified().unwrap();
    let second = json(&sandbox.run(&[&SEARCH[..], &more[..]].concat()).code(0));
    assert_eq!(second["best"]["sha256"], report["best"]["sha256"]);
    assert_eq!(second["tried"], report["tried"]);
    assert_eq!(std::fs::metadata(sandbox.path("best.onnx")).unwrap().modified().unwrap(), written);
    // An output that is gone is made again.
    std::fs::remove_file(sandbox.path("best.onnx")).unwrap();
    sandbox.run(&[&SEARCH[..], &more[..]].concat()).code(0).says(&["best.onnx"]);
    assert!(std::fs::read(sandbox.path("best.onnx")).unwrap() == std::fs::read(sandbox.path("again.onnx")).unwrap());
}

#[test]
fn the_front_holds_side_files_too() {
    let sandbox = Sandbox::with_digits_model();
    let args =
        ["model.onnx", "--budget", "drift>=30dB,size<=60%", "-o", "best.onnx", "--external-data", "--pareto", "f"];
    let report = json(&sandbox.run(&[&args[..], &["--json", "--max-time", "8s"]].concat()).code(0));
    let front = report["front"].as_array().unwrap();
    let mut with_side = 0;
    for picture in front {
        let file = picture["file"].as_str().unwrap();
        let model = sandbox.path(&format!("f/{file}"));
        // It loads with the side file beside it, and both have the bytes that were measured.
        let input = Input::open(&model).unwrap();
        let side: u64 = input.side_files.keys().map(|side| std::fs::metadata(side).unwrap().len()).sum();
        let bytes = std::fs::metadata(&model).unwrap().len() + side;
        assert_eq!(bytes, picture["bytes"].as_u64().unwrap(), "{file}");
        with_side += usize::from(side > 0);
    }
    assert!(with_side > 0, "no result has a side file: {front:#?}");
    let names = std::fs::read_dir(sandbox.path("f")).unwrap().count();
    assert_eq!(names, front.len() + 2, "something else is left");
}

/// Another program may make something else of the same pipeline.
#[test]
#[cfg(target_os = "linux")]
fn another_build_measures_anew() {
    let sandbox = Sandbox::with_digits_model();
    let program = sandbox.path("other");
    std::fs::copy(env!("CARGO_BIN_EXE_onnx-shrink"), &program).unwrap();
    let tried = || {
        let args = ["sweep", "model.onnx", "-p", "fp16", "--no-timing", "--cache", "cache", "--json"];
        let output = std::process::Command::new(&program).args(args).current_dir(sandbox.0.path()).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["rows"][0]["from_cache"].as_bool().unwrap()
    };
    assert_eq!([tried(), tried()], [false, true]);
    // Linux passes over what stands behind the end of a program.
    let mut bytes = std::fs::read(&program).unwrap();
    bytes.push(0);
    std::fs::write(&program, bytes).unwrap();
    assert_eq!([tried(), tried()], [false, true]);
}

#[test]
fn a_search_that_is_killed_leaves_a_valid_file_and_goes_on() {
    let sandbox = Sandbox::with_digits_model();
    let mut seen = 0;
    for moment in [40, 150, 400, 900, 1700] {
        let mut command = sandbox.command();
        let mut child = command.args(SEARCH).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        // A search that is done already cannot be killed any more.
        let _ = child.kill();
        child.wait().unwrap();
        if sandbox.path("best.onnx").exists() {
            seen += 1;
            Input::open(&sandbox.path("best.onnx")).unwrap();
            let args = ["check", "model.onnx", "best.onnx", "--max-drift", "snr=29"];
            sandbox.run(&args).code(0);
        }
    }
    let report = json(&sandbox.run(&[&SEARCH[..], &["--json"]].concat()).code(0));
    assert_eq!(report["met"], true);
    // What the killed runs measured is not measured again.
    assert!(seen == 0 || report["from_cache"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(sandbox.names(), ["best.onnx", "cache", "model.onnx"]);
}

#[test]
fn what_cannot_be_met_writes_nothing_and_says_how_near_it_came() {
    let sandbox = Sandbox::with_digits_model();
    let impossible = ["model.onnx", "--budget", "drift>=30dB,size<=1kB", "-o", "best.onnx", "--cache", "cache"];
    let ran = sandbox.run(&impossible).code(1);
    ran.says(&["nothing that was tried holds to the budget", "at the nearest", "simplify", "nothing was written"]);
    assert_eq!(sandbox.names(), ["cache", "model.onnx"]);
    let forced = sandbox.run(&[&impossible[..], &["--force"]].concat()).code(1);
    forced.says(&["because of --force", "wrote best.onnx"]);
    Input::open(&sandbox.path("best.onnx")).unwrap();
}

#[test]
fn time_ends_a_search() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "--budget", "drift>=30dB", "-o", "best.onnx", "--max-time", "0.5s", "--json"];
    let report = json(&sandbox.run(&args).code(0));
    assert_eq!(report["time_was_up"], true);
    Input::open(&sandbox.path("best.onnx")).unwrap();
    assert_eq!(sandbox.names(), [".best.onnx.onnx-shrink.cache", "best.onnx", "model.onnx"]);
}

#[test]
fn says_what_is_wrong_before_the_work_begins() {
    let sandbox = Sandbox::with_digits_model();
    let run = |args: &[&str], words: &[&str]| {
        sandbox.run(&[&["model.onnx", "--budget"], args].concat()).code(2).says(words);
    };
    run(&["sise<=5MB", "-o", "o.onnx"], &["did you mean `size`"]);
    run(&["size>=5MB", "-o", "o.onnx"], &["`size<=5MB`"]);
    run(&["size<=5MB"], &["no output is named"]);
    run(&["size<=5MB", "-o", "model.onnx"], &["name another output"]);
    run(&["size<=5MB", "-o", "o.onnx", "-p", "fp16"], &["cannot be used with"]);
    run(&["accuracy-drop<=0.1", "-o", "o.onnx"], &["needs labels"]);
    sandbox.run(&["model.onnx", "--max-time", "10m", "-o", "o.onnx"]).code(2).says(&["--budget"]);
    assert_eq!(sandbox.names(), ["model.onnx"]);
}
