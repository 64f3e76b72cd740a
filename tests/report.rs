//! `--report`: pages that a stranger understands and that run nothing, JSON by its schema, Markdown with tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use onnx_shrink::ir::text;
use onnx_shrink::onnx::{EncodeOptions, encode};
use serde_json::Value;
use support::sandbox::{ROOT, Ran, Sandbox, assert_valid};

impl Sandbox {
    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    #[track_caller]
    fn ends(&self, code: i32, args: &[&str]) -> Ran {
        self.run(args).code(code)
    }
}

fn digits(name: &str) -> String {
    Path::new(ROOT).join("testdata").join(name).to_str().unwrap().to_owned()
}

/// Nothing is loaded and nothing runs.
#[track_caller]
fn assert_self_contained(page: &str) {
    for word in ["http://", "https://", "<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "href="] {
        assert!(!page.contains(word), "the page contains `{word}`");
    }
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("default-src 'none'"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<div").count(), page.matches("</div>").count());
}

#[test]
fn an_accepted_result_is_told_in_three_forms() {
    let sandbox = Sandbox::with_digits_model();
    let args = [
        "model.onnx",
        "-p",
        "simplify,quant8=weights",
        "--eval-inputs",
        &digits("digits_test.npz"),
        "-o",
        "small.onnx",
        "--report",
        "r.html",
        "--report",
        "r.json",
        "--report",
        "r.md",
    ];
    sandbox.ends(0, &args);
    assert_eq!(sandbox.names(), ["model.onnx", "r.html", "r.json", "r.md", "small.onnx"]);

    let schema: Value = serde_json::from_str(&sandbox.ends(0, &["--report-schema"]).stdout).unwrap();
    let report = sandbox.json("r.json");
    assert_valid(&schema, &report);
    assert_eq!(report["schema"], schema["properties"]["schema"]["const"]);
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    for words in ["x smaller", " dB", "% of top answers agree", "accepted"] {
        assert!(sentence.contains(words), "{sentence}");
    }
    assert!(!report["layers"]["layers"].as_array().unwrap().is_empty());
    let weights = report["largest_weights"].as_array().unwrap();
    // The small first kernel is not worth it.
    let shrank = weights.iter().filter(|weight| weight["bytes_after"].as_u64() < weight["bytes_before"].as_u64());
    assert_eq!((weights.len(), shrank.count()), (4, 3), "{weights:#?}");
    assert!(!report["histograms"].as_array().unwrap().is_empty());
    assert_eq!(report["output_file"]["bytes"], fs::metadata(sandbox.path("small.onnx")).unwrap().len());
    assert!(report["command"].as_str().unwrap().starts_with("onnx-shrink model.onnx -p simplify,quant8=weights"));

    let page = sandbox.text("r.html");
    assert_self_contained(&page);
    for words in [sentence, "Drift by layer", "The largest weights", "Weights before and after", "quant8=weights"] {
        assert!(page.contains(words), "no `{words}`");
    }
    assert!(page.contains(report["output_file"]["sha256"].as_str().unwrap()));

    let markdown = sandbox.text("r.md");
    assert!(markdown.contains(sentence) && markdown.contains("| | before | after |\n|---|--:|--:|\n"), "{markdown}");
    assert!(markdown.contains("| output | drift |"), "{markdown}");
}

#[test]
fn a_refused_result_is_told_too() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "-p", "prune=0.97", "--max-drift", "snr=90", "-o", "small.onnx"];
    sandbox.ends(1, &[&args[..], &["--report", "r.html", "--report", "r.json", "-q"]].concat());
    assert_eq!(sandbox.names(), ["model.onnx", "r.html", "r.json"], "the result is not there");
    let report = sandbox.json("r.json");
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert_eq!(report["verdict"]["accepted"], false);
    for words in ["Refused, nothing written", "drifted too far", "snr=90"] {
        assert!(sentence.contains(words), "{sentence}");
    }
    assert!(report["layers_reason"].as_str().unwrap().contains("--inputs"));
    let page = sandbox.text("r.html");
    assert_self_contained(&page);
    assert!(page.contains("verdict bad") && page.contains("failed</span>"));
}

#[test]
fn names_from_a_model_are_never_markup() {
    const EVIL: &str = "<script>alert(1)</script>\" onload='x'";
    let sandbox = Sandbox::with_digits_model();
    let quoted = EVIL.replace('"', "\\\"");
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 13]>\n\
         g (float[2,64] x) => (float[2,64] \"{quoted}\") < float[64,64] \"w{quoted}\" = rand(1) > {{\n  \
         [\"n{quoted}\"] \"{quoted}\" = MatMul(x, \"w{quoted}\")\n}}\n"
    );
    let model = text::parse(&source).unwrap();
    let file = sandbox.path("<img src=x>.onnx");
    fs::write(&file, encode(&model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
    let args = ["<img src=x>.onnx", "-p", "quant8=weights", "--inputs", "synthetic:3", "--dry-run", "-q"];
    sandbox.ends(0, &[&args[..], &["--report", "r.html", "--report", "r.md"]].concat());
    let page = sandbox.text("r.html");
    assert!(page.contains("&lt;script&gt;"), "{page}");
    for word in ["<script", "<img", "\" onload"] {
        assert!(!page.contains(word), "the page contains `{word}`");
    }
    assert!(!sandbox.text("r.md").replace(&format!("`{EVIL}`"), "").contains("\n<script"));
}

/// Weights that an operator reads as integers are shown beside those they stand for.
#[test]
fn integers_have_histograms() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "-p", "upgrade-opset=13,quant8=dynamic", "--eval-inputs", &digits("digits_test.npz")];
    sandbox.ends(0, &[&args[..], &["-o", "small.onnx", "-q", "--report", "r.json"]].concat());
    let report = sandbox.json("r.json");
    let is_integer = |weight: &&Value| weight["type_after"].as_str().is_some_and(|ty| ty.contains("int8"));
    let integers: Vec<&Value> = report["largest_weights"].as_array().unwrap().iter().filter(is_integer).collect();
    assert!(!integers.is_empty(), "{report:#}");
    for weight in integers {
        let mut shown = report["histograms"].as_array().unwrap().iter();
        let shown = shown.find(|one| one["name"] == weight["name"]).unwrap_or_else(|| panic!("{weight} is not shown"));
        // Nearly all stay in their interval.
        let bins = |key: &str| -> Vec<i64> {
            shown[key].as_array().unwrap().iter().map(|bin| bin.as_i64().unwrap()).collect()
        };
        let moved: i64 = bins("before").iter().zip(bins("after")).map(|(before, after)| (before - after).abs()).sum();
        let all: i64 = bins("before").iter().sum();
        assert!(moved * 4 < all, "{moved} of {all} moved: {shown}");
    }
}

/// A bias that is folded into the layer before it is not shown as that layer's weight.
#[test]
fn no_weight_stands_for_two() {
    let sandbox = Sandbox::with_digits_model();
    let net = "g (float[2,8] x) => (float[2,16] y) < float[8,16] w = rand(1), float[1,16] b = rand(2) > {\n\
               m = MatMul(x, w)\n y = Add(m, b)\n}";
    let model = text::parse(net).unwrap();
    fs::write(sandbox.path("m.onnx"), encode(&model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
    let args = ["m.onnx", "-p", "simplify", "-o", "s.onnx", "-q", "--force", "--report", "r.json"];
    sandbox.run(&args);
    let report = sandbox.json("r.json");
    let weights = report["largest_weights"].as_array().unwrap();
    let after = |name: &str| weights.iter().find(|weight| weight["name"] == name).unwrap()["bytes_after"].clone();
    assert_eq!(after("w"), 512, "{weights:#?}");
    assert_eq!(after("b"), Value::Null, "{weights:#?}");
}

/// The proof of `strip=all` is in every form of the report.
#[test]
fn the_scan_is_reported() {
    let sandbox = Sandbox::with_digits_model();
    let args = ["model.onnx", "-o", "s.onnx", "-q", "--report", "r.html", "--report", "r.md", "--report", "r.json"];
    sandbox.ends(0, &[&args[..], &["-p", "fp16,strip=all"]].concat());
    let words = "no doc string, metadata, path, training information or unused tensor";
    for name in ["r.html", "r.md"] {
        let text = sandbox.text(name);
        assert!(text.contains("What the file still tells") && text.contains(words), "{name}: {text}");
    }
    let bytes = sandbox.json("r.json")["scan"]["bytes"].clone();
    assert_eq!(bytes, fs::metadata(sandbox.path("s.onnx")).unwrap().len());
    sandbox.ends(0, &[&args[..], &["-p", "fp16"]].concat());
    assert!(!sandbox.text("r.html").contains(words));
}

#[test]
fn equal_runs_give_equal_reports_but_for_times() {
    let sandbox = Sandbox::with_digits_model();
    let run = || {
        let args = ["model.onnx", "-p", "fp16", "-o", "small.onnx", "-q", "--report", "r.html", "--report", "r.json"];
        sandbox.ends(0, &args);
        let page = sandbox.text("r.html");
        let (before, times) = page.split_once("<details id=\"times\">").unwrap();
        let mut report = sandbox.json("r.json");
        report["seconds"] = Value::Null;
        report["steps"].as_array_mut().unwrap().iter_mut().for_each(|step| step["seconds"] = Value::Null);
        (before.to_owned(), times.split_once("</details>").unwrap().1.to_owned(), report.to_string())
    };
    assert_eq!(run(), run());
}

#[test]
fn says_what_is_wrong_with_a_report() {
    let sandbox = Sandbox::with_digits_model();
    let before = fs::read(sandbox.path("model.onnx")).unwrap();
    fs::copy(sandbox.path("model.onnx"), sandbox.path("model.json")).unwrap();
    let fails = |args: &[&str], words: &str| {
        let ran = sandbox.ends(2, args);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    };
    fails(&["model.onnx", "--dry-run", "--report", "r.pdf"], ".html, .json or .md");
    fails(&["model.onnx", "--dry-run", "--report", "report"], ".html, .json or .md");
    fails(&["model.onnx", "--dry-run", "--report", "model.onnx"], ".html, .json or .md");
    fails(&["model.json", "--dry-run", "--report", "model.json"], "would be written over");
    fails(&["model.onnx", "--dry-run", "--report", "r.md", "--report", "./r.md"], "would be written over");
    fails(&["model.onnx", "--dry-run", "--report", "no/r.md"], "the folder of the report");
    assert_eq!(fs::read(sandbox.path("model.onnx")).unwrap(), before);
    assert_eq!(fs::read(sandbox.path("model.json")).unwrap(), before);
    assert_eq!(sandbox.names(), ["model.json", "model.onnx"]);
}
