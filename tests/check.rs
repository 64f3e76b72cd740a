//! `check` as a gate for CI: every form of output against its schema, every exit code, and what the action and the hook run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use onnx_shrink::ir::text;
use onnx_shrink::onnx::{EncodeOptions, encode};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Value, json};
use support::sandbox::{ROOT, Ran, Sandbox, assert_valid, ran};

impl Sandbox {
    /// The digits model, and one a little and one much worse.
    fn new() -> Self {
        let sandbox = Self::with_digits_model();
        sandbox.run(&["model.onnx", "-p", "quant8=weights", "--no-validate", "-q", "-o", "small.onnx"]).code(0);
        sandbox.run(&["model.onnx", "-p", "prune=0.97", "--no-validate", "-q", "-o", "bad.onnx"]).code(0);
        sandbox
    }

    /// `check model.onnx CANDIDATE` on real digits.
    fn check(&self, candidate: &str, args: &[&str]) -> Ran {
        let data = Path::new(ROOT).join("testdata/digits_test.npz");
        let fixed = ["check", "model.onnx", candidate, "--inputs", data.to_str().unwrap()];
        self.run(&[&fixed, args].concat())
    }
}

#[test]
fn json_is_what_its_schema_says() {
    let sandbox = Sandbox::new();
    let schema: Value = serde_json::from_str(&sandbox.run(&["check", "--json-schema"]).code(0).stdout).unwrap();
    for (candidate, args, code, outcome) in [
        ("small.onnx", &["--max-size", "1MB", "--max-latency-ratio", "100"][..], 0, "passed"),
        ("small.onnx", &["--max-drift", "snr=90", "--max-size", "9"], 1, "failed"),
        ("model.onnx", &[], 0, "passed"),
    ] {
        let report = sandbox.check(candidate, &[args, &["--json"]].concat()).code(code);
        let report: Value = serde_json::from_str(&report.stdout).unwrap();
        assert_valid(&schema, &report);
        assert_eq!(report["outcome"], outcome);
    }
    // A schema that takes everything would check nothing.
    assert!(!jsonschema::validator_for(&schema).unwrap().is_valid(&json!({ "version": 1 })));
}

#[test]
fn intervals_are_around_what_was_measured() {
    let sandbox = Sandbox::new();
    let report: Value = serde_json::from_str(&sandbox.check("small.onnx", &["--json"]).code(0).stdout).unwrap();
    let output = &report["validation"]["drift"]["outputs"][0];
    let (snr, interval) = (output["snr_db"].as_f64().unwrap(), &output["snr_interval95_db"]);
    let (low, high) = (interval[0].as_f64().unwrap(), interval[1].as_f64().unwrap());
    assert!(low < snr && snr < high && high - low < 2.0, "{low} {snr} {high}");
    // A bound inside the interval is not settled by these samples.
    let bound = format!("snr={}", (low + snr) / 2.0);
    sandbox.check("small.onnx", &["--max-drift", &bound]).code(0).says(&["do not settle the gate snr="]);
    sandbox.run(&["check", "model.onnx", "small.onnx"]).code(0).says(&["the inputs are made up"]);
}

/// An element of an XML file.
struct Element {
    /// The names of the elements around it, from the outside in, and its own.
    path: Vec<String>,
    attributes: Vec<(String, String)>,
}

impl Element {
    fn name(&self) -> &str {
        self.path.last().unwrap()
    }

    #[track_caller]
    fn attribute(&self, name: &str) -> String {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.attributes)).1.clone()
    }
}

/// The elements of a well-formed file, in order.
fn elements(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let (mut path, mut found) = (Vec::new(), Vec::new());
    let mut open = |path: &mut Vec<String>, start: &BytesStart<'_>| {
        path.push(start.name().as_ref().to_owned());
        let attributes = start.attributes().map(|attribute| {
            let attribute = attribute.unwrap();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned();
            (attribute.key.as_ref().to_owned(), value)
        });
        found.push(Element { path: path.clone(), attributes: attributes.collect() });
    };
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => open(&mut path, &start),
            Event::Empty(start) => {
                open(&mut path, &start);
                path.pop();
            }
            Event::End(_) => drop(path.pop()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(path.is_empty(), "an element is not closed: {path:?}");
    found
}

/// The elements of JUnit in the schema that Jenkins publishes (`junit-10.xsd`), of those used here: where they may be, the
/// attributes they must have, and those they may have.
const JUNIT: &[(&str, &str, &[&str], &[&str])] = &[
    ("testsuites", "", &[], &["name", "time", "tests", "failures", "errors"]),
    (
        "testsuite",
        "testsuites",
        &["name", "tests", "failures", "errors"],
        &["skipped", "time", "timestamp", "hostname"],
    ),
    ("testcase", "testsuite", &["name"], &["classname", "time"]),
    ("failure", "testcase", &[], &["type", "message"]),
    ("error", "testcase", &[], &["type", "message"]),
    ("skipped", "testcase", &[], &["type", "message"]),
];

/// A file holds to that, and its counts to what is in it.
#[track_caller]
fn assert_junit(text: &str) -> Vec<Element> {
    let found = elements(text);
    for element in &found {
        let known = JUNIT.iter().find(|(name, ..)| *name == element.name());
        let (_, parent, must, may) = known.unwrap_or_else(|| panic!("no element <{}>", element.name()));
        let around = element.path.len().checked_sub(2).map_or("", |place| element.path[place].as_str());
        assert_eq!(around, *parent, "<{}> is in <{around}>", element.name());
        for name in *must {
            element.attribute(name);
        }
        for (name, _) in &element.attributes {
            assert!(must.contains(&name.as_str()) || may.contains(&name.as_str()), "<{} {name}>", element.name());
        }
    }
    let count = |name: &str| found.iter().filter(|element| element.name() == name).count().to_string();
    for suite in found.iter().take(2) {
        let counted = ["testcase", "failure", "error"].map(count);
        assert_eq!(["tests", "failures", "errors"].map(|name| suite.attribute(name)), counted);
    }
    assert_eq!(found[1].attribute("skipped"), count("skipped"));
    found
}

#[test]
fn junit_has_a_case_for_each_gate() {
    let sandbox = Sandbox::new();
    let args = ["--junit", "j.xml", "--max-drift", "snr=90", "--max-drift", "top1=0.5", "--max-size", "2MB"];
    sandbox.check("small.onnx", &args).code(1);
    let found = assert_junit(&sandbox.text("j.xml"));
    let named = |name: &str| -> Vec<&Element> { found.iter().filter(|element| element.name() == name).collect() };
    let (cases, failures) = (named("testcase"), named("failure"));
    for case in &cases {
        assert!(!case.attribute("name").is_empty() && case.attribute("classname") == "small.onnx");
    }
    assert!(failures.iter().all(|failure| !failure.attribute("message").is_empty()));
    assert_eq!((cases.len(), failures.len()), (3, 1));
}

/// The parts of the published structure of SARIF 2.1.0 that are used here (sections 3.4, 3.11 to 3.14, 3.18, 3.19, 3.27 to 3.30
/// and 3.49): what they must have, and, of what they may have, what is there. As in the published schema, no object takes
/// properties it does not know.
const SARIF: &str = r##"{
  "type": "object",
  "required": ["version", "runs"],
  "properties": {
    "version": { "type": "string", "enum": ["2.1.0"] },
    "$schema": { "type": "string", "format": "uri" },
    "runs": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/run" } }
  },
  "additionalProperties": false,
  "$defs": {
    "message": {
      "type": "object",
      "required": ["text"],
      "properties": { "text": { "type": "string", "minLength": 1 } },
      "additionalProperties": false
    },
    "run": {
      "type": "object",
      "required": ["tool", "results"],
      "properties": {
        "tool": {
          "type": "object",
          "required": ["driver"],
          "properties": { "driver": { "$ref": "#/$defs/component" } },
          "additionalProperties": false
        },
        "results": { "type": "array", "items": { "$ref": "#/$defs/result" } }
      },
      "additionalProperties": false
    },
    "component": {
      "type": "object",
      "required": ["name"],
      "properties": {
        "name": { "type": "string", "minLength": 1 },
        "version": { "type": "string", "minLength": 1 },
        "rules": { "type": "array", "uniqueItems": true, "items": { "$ref": "#/$defs/rule" } }
      },
      "additionalProperties": false
    },
    "rule": {
      "type": "object",
      "required": ["id"],
      "properties": { "id": { "type": "string", "minLength": 1 }, "shortDescription": { "$ref": "#/$defs/message" } },
      "additionalProperties": false
    },
    "result": {
      "type": "object",
      "required": ["message"],
      "properties": {
        "message": { "$ref": "#/$defs/message" },
        "level": { "type": "string", "enum": ["none", "note", "warning", "error"] },
        "ruleId": { "type": "string" },
        "ruleIndex": { "type": "integer", "minimum": -1 },
        "locations": { "type": "array", "items": { "$ref": "#/$defs/location" } }
      },
      "additionalProperties": false
    },
    "location": {
      "type": "object",
      "properties": {
        "physicalLocation": {
          "type": "object",
          "required": ["artifactLocation"],
          "properties": {
            "artifactLocation": {
              "type": "object",
              "properties": { "uri": { "type": "string", "format": "uri-reference" } },
              "additionalProperties": false
            },
            "region": {
              "type": "object",
              "properties": { "startLine": { "type": "integer", "minimum": 1 } },
              "additionalProperties": false
            }
          },
          "additionalProperties": false
        }
      },
      "additionalProperties": false
    }
  }
}"##;

/// A file holds to the structure, formats included, and what the standard asks beyond it.
#[track_caller]
fn assert_sarif(text: &str) -> Value {
    let sarif: Value = serde_json::from_str(text).unwrap();
    let schema: Value = serde_json::from_str(SARIF).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&sarif).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{sarif:#}");
    for run in sarif["runs"].as_array().unwrap() {
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        for result in run["results"].as_array().unwrap() {
            // Sections 3.27.5 and 3.27.6: both name the same rule.
            assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
            // Code scanning shows nothing without a place.
            assert_eq!(result["locations"].as_array().unwrap().len(), 1);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), rules.len(), "a rule is there twice");
    }
    sarif
}

#[test]
fn sarif_has_a_result_for_each_gate_that_fails() {
    let sandbox = Sandbox::new();
    sandbox.check("bad.onnx", &["--sarif", "s.json", "--max-drift", "snr=40", "--max-size", "9"]).code(1);
    let sarif = assert_sarif(&sandbox.text("s.json"));
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|r| r["ruleId"].as_str().unwrap()).collect::<Vec<_>>(), ["drift", "size"]);
    sandbox.check("small.onnx", &["--sarif", "s.json"]).code(0);
    assert_eq!(assert_sarif(&sandbox.text("s.json"))["runs"][0]["results"], json!([]));
    // A name with everything that a URI cannot hold as it is.
    fs::copy(sandbox.path("bad.onnx"), sandbox.path("a b#ü%[1].onnx")).unwrap();
    sandbox.check("a b#ü%[1].onnx", &["--sarif", "s.json", "--max-size", "9"]).code(1);
    let sarif = assert_sarif(&sandbox.text("s.json"));
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "a%20b%23%C3%BC%25%5B1%5D.onnx");
}

#[test]
fn github_sees_annotations_and_a_summary() {
    let sandbox = Sandbox::new();
    let run = |candidate: &str, more: &[&str]| {
        let args = [&["check", "model.onnx", candidate, "--github"], more].concat();
        ran(sandbox.command().args(args).env("GITHUB_STEP_SUMMARY", sandbox.path("summary.md")))
    };
    let failed = run("bad.onnx", &["--max-drift", "snr=60"]).code(1);
    let errors: Vec<&str> = failed.stdout.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!(errors.len(), 1, "{}", failed.stdout);
    assert!(errors[0].starts_with("::error file=bad.onnx,title=onnx-shrink drift::"), "{}", errors[0]);
    run("small.onnx", &["--max-size", "1MB"]).code(0).says(&["::warning file=small.onnx"]);
    let summary = sandbox.text("summary.md");
    for part in
        ["### FAILED: `bad.onnx`", "### passed: `small.onnx`", "| gate | outcome | measured |", "max-size=1000000"]
    {
        assert!(summary.contains(part), "no `{part}` in {summary}");
    }
    run("missing.onnx", &[]).code(2).says(&["::error title=onnx-shrink::"]);
}

#[test]
fn a_baseline_is_written_held_to_and_moved() {
    let sandbox = Sandbox::new();
    let lock = ["--baseline", "lock.json"];
    sandbox.check("small.onnx", &lock).code(2).says(&["there is no baseline `lock.json`", "--update-baseline"]);
    let update = [&lock[..], &["--update-baseline"]].concat();
    sandbox.check("bad.onnx", &[&update[..], &["--max-drift", "snr=60"]].concat()).code(1);
    assert!(!sandbox.path("lock.json").exists(), "what fails a gate is not accepted");
    sandbox.check("small.onnx", &update).code(0).says(&["is the baseline now"]);
    let first = sandbox.text("lock.json");
    sandbox.check("small.onnx", &update).code(0);
    assert_eq!(sandbox.text("lock.json"), first, "the same models give the same file");
    sandbox.check("small.onnx", &lock).code(0).says(&["holds: max-ratio-loss=0.01", "holds: logits: max-drift-loss=1"]);
    // No smaller than the original: the ratio falls from nearly 4 to 1.
    sandbox.check("model.onnx", &lock).code(1).says(&["max-ratio-loss", "--update-baseline"]);
    sandbox.check("model.onnx", &[&lock[..], &["--max-ratio-loss", "0.9"]].concat()).code(0);
    // Smaller, but further off.
    let loose = [&lock[..], &["--max-drift", "snr=0", "--max-ratio-loss", "1"]].concat();
    sandbox.check("bad.onnx", &loose).code(1).says(&["failed: logits: max-drift-loss=1"]);
    sandbox.check("bad.onnx", &[&loose[..], &["--max-drift-loss", "200"]].concat()).code(0);
    sandbox.check("small.onnx", &["--max-ratio-loss", "0.1"]).code(2).says(&["--baseline"]);
    fs::write(sandbox.path("lock.json"), first.replace("\"version\": 1", "\"version\": 9")).unwrap();
    sandbox.check("small.onnx", &lock).code(2).says(&["version 9"]);
}

#[test]
fn size_and_time_are_gates() {
    let sandbox = Sandbox::new();
    sandbox
        .check("small.onnx", &["--max-size", "100kB"])
        .code(1)
        .says(&["failed: max-size=100000", "at most 100000 bytes"]);
    sandbox.check("small.onnx", &["--max-size", "lots"]).code(2).says(&["--max-size", "4.5MB"]);
    sandbox.check("small.onnx", &["--max-latency-ratio", "0.0001"]).code(1).says(&["failed: max-latency-ratio=0.0001"]);
    // Without ONNX Runtime nothing is timed, and a line says so.
    let mut command = sandbox.command();
    command.args(["check", "model.onnx", "small.onnx", "--max-latency-ratio", "0.0001"]);
    command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    ran(&mut command).code(0).says(&["max-latency-ratio=0.0001: skipped: not measured in ONNX Runtime"]);
}

#[test]
fn what_cannot_be_compared_is_neither_right_nor_wrong() {
    let sandbox = Sandbox::new();
    let secret = "<ir_version: 8, opset_import: [\"\" : 17, \"vendor\" : 1]>
        g (float[N,4] x) => (float[N,4] y) {
          y = vendor.Secret(x)
        }";
    for (name, source) in [("a.onnx", secret.to_owned()), ("b.onnx", secret.replace("Secret", "Other"))] {
        let bytes = encode(&text::parse(&source).unwrap(), &EncodeOptions::default()).unwrap().to_bytes();
        fs::write(sandbox.path(name), bytes).unwrap();
    }
    sandbox.run(&["check", "a.onnx", "b.onnx", "--junit", "j.xml", "--sarif", "s.json"]).code(3).says(&["Secret"]);
    let found = assert_junit(&sandbox.text("j.xml"));
    assert!(found.iter().any(|element| element.name() == "error"));
    assert_sarif(&sandbox.text("s.json"));
    // What is known to fail counts for more than what is not known.
    sandbox.run(&["check", "a.onnx", "b.onnx", "--max-size", "1"]).code(1);
}

/// The commands of the composite action, run as the runner would: by bash, with its inputs in the environment.
#[test]
fn the_action_runs() {
    let sandbox = Sandbox::new();
    let action = fs::read_to_string(Path::new(ROOT).join("action.yml")).unwrap();
    let script: String = action
        .split_once("# begin: check\n")
        .and_then(|(_, rest)| rest.split_once("# end: check"))
        .map(|(script, _)| script.lines().map(|line| format!("{}\n", line.trim_start())).collect())
        .expect("action.yml marks the script that checks");
    let binary = Path::new(env!("CARGO_BIN_EXE_onnx-shrink")).parent().unwrap().to_owned();
    let run = |candidate: &str, gates: &str| {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]).current_dir(sandbox.0.path());
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("GITHUB_STEP_SUMMARY", sandbox.path("summary.md"));
        command.env("RUNNER_TEMP", sandbox.0.path()).env("GITHUB_OUTPUT", sandbox.path("outputs"));
        let inputs = [("REFERENCE", "model.onnx"), ("CANDIDATE", candidate), ("INPUTS", ""), ("MAX_DRIFT", gates)];
        command.envs(inputs).env("MAX_SIZE", "").env("BASELINE", "").env("ARGS", "");
        ran(&mut command)
    };
    run("small.onnx", "snr=20\ntop1=0.5").code(0).says(&["within the gate: snr=20, top1=0.5"]);
    run("small.onnx", "snr=90").code(1).says(&["::error file=small.onnx"]);
    assert!(sandbox.text("summary.md").contains("FAILED"));
    assert!(sandbox.text("outputs").contains("sarif="), "{}", sandbox.text("outputs"));
    assert!(sandbox.path("onnx-shrink.sarif").is_file());
    // Every input the script reads is declared and handed over.
    for name in ["reference", "candidate", "inputs", "max-drift", "max-size", "baseline", "args"] {
        assert!(action.contains(&format!("\n  {name}:\n")), "no input {name}");
        assert!(action.contains(&format!("${{{{ inputs.{name} }}}}")), "{name} is not handed over");
    }
}

/// The entry of the hook, with the arguments the README gives it.
#[test]
fn the_hook_runs() {
    let sandbox = Sandbox::new();
    let hooks = fs::read_to_string(Path::new(ROOT).join(".pre-commit-hooks.yaml")).unwrap();
    let field = |name: &str| {
        let line = hooks.lines().find_map(|line| line.trim_start_matches("- ").trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in the hook")).trim_start_matches(':').trim().to_owned()
    };
    assert_eq!((field("language"), field("pass_filenames")), ("rust".to_owned(), "false".to_owned()));
    let entry = field("entry");
    let mut words = entry.split_whitespace();
    assert_eq!(words.next(), Some("onnx-shrink"));
    let entry: Vec<&str> = words.collect();
    sandbox.run(&[&entry[..], &["model.onnx", "small.onnx", "--max-drift", "snr=20"]].concat()).code(0);
    sandbox.run(&[&entry[..], &["model.onnx", "bad.onnx", "--max-drift", "snr=60"]].concat()).code(1);
}

#[test]
fn usage_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["check", "--help"]).code(0).says(&["--max-size", "--junit", "--github", "Gates", "Reports"]);
    sandbox.run(&["check", "model.onnx"]).code(2).says(&["CANDIDATE"]);
    sandbox.run(&["check", "model.onnx", "none.onnx"]).code(2).says(&["none.onnx"]);
    sandbox.run(&["check", "model.onnx", "small.onnx", "--max-sise", "1"]).code(2).says(&["--max-size"]);
    sandbox.check("small.onnx", &["--junit", "no/such/j.xml"]).code(2).says(&["the folder of the report"]);
}
