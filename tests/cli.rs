//! The command line, through the built binary: what it does, what it says, what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use onnx_shrink::ir::text;
use onnx_shrink::onnx::{EncodeOptions, encode};
use tempfile::TempDir;

/// A chain with something to remove and weights to quantize.
const NET: &str = "
g (float[N,64] x) => (float[N,32] y) < float[64,32] w = rand(1) > {
  a = Identity(x)
  y = MatMul(a, w)
}";

/// No backend knows the operator.
const FOREIGN: &str = "
<ir_version: 8, opset_import: [\"\" : 17, \"vendor\" : 1]>
g (float[N,4] x) => (float[N,4] y) {
  a = Identity(x)
  y = vendor.Secret(a)
}";

/// A folder with models in it, to run the binary in.
struct Sandbox(TempDir);

/// What a run left on its streams.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A sandbox with a model of that text in `m.onnx`.
    fn with_model(text: &str) -> Self {
        let sandbox = Self::new();
        sandbox.add_model("m.onnx", text);
        sandbox
    }

    fn add_model(&self, name: &str, text: &str) {
        let model = text::parse(text).unwrap_or_else(|e| panic!("{e}"));
        fs::write(self.path(name), encode(&model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onnx-shrink"));
        command.args(args).current_dir(self.0.path()).env_remove("RUST_LOG");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The names of all files, hidden ones too.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Ran {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The run failed with that code, says all of this on standard error, and did not panic.
    #[track_caller]
    fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: ") || self.stderr.starts_with("warning: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {}", self.stderr);
        }
        self
    }
}

/// Every entry and every byte of a folder.
fn contents(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), path.is_file().then(|| fs::read(&path).unwrap())))
        .collect();
    found.sort();
    found
}

/// The run fails, and leaves everything as it was.
#[track_caller]
fn fails_without_trace(sandbox: &Sandbox, args: &[&str], code: i32, words: &[&str]) {
    let before = contents(sandbox.0.path());
    sandbox.run(args).fails(code, words);
    assert!(contents(sandbox.0.path()) == before, "left: {:?}", sandbox.files());
}

#[test]
fn a_result_is_packed_by_pack_alone() {
    let sandbox = Sandbox::with_model(NET);
    fails_without_trace(&sandbox, &["m.onnx", "-p", "simplify", "-o", "o.onnxz"], 2, &["onnx-shrink pack", "o.onnxz"]);
    sandbox.run(&["pack", "m.onnx", "-o", "m.onnxz"]).ok();
    sandbox.run(&["m.onnxz", "-p", "none", "-o", "o.onnx"]).ok();
    assert_eq!(sandbox.read("o.onnx"), sandbox.read("m.onnx"));
}

#[test]
fn the_empty_pipeline_gives_the_same_bytes() {
    let sandbox = Sandbox::with_model(NET);
    let ran = sandbox.run(&["m.onnx", "-p", "none", "-o", "o.onnx"]).ok();
    assert!(ran.stdout.contains("identical"), "{}", ran.stdout);
    assert_eq!(sandbox.read("m.onnx"), sandbox.read("o.onnx"));
    assert_eq!(sandbox.files(), ["m.onnx", "o.onnx"]);
}

#[test]
fn a_pipeline_that_finds_nothing_gives_the_same_bytes() {
    let sandbox = Sandbox::with_model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }");
    sandbox.run(&["m.onnx", "-p", "simplify", "-o", "o.onnx"]).ok();
    assert_eq!(sandbox.read("m.onnx"), sandbox.read("o.onnx"));
}

#[test]
fn shrinks_compares_and_reports() {
    let sandbox = Sandbox::with_model(NET);
    let args = ["m.onnx", "-p", "simplify,quant8=weights", "-o", "o.onnx", "--report", "r.json"];
    let ran = sandbox.run(&args).ok();
    assert!(ran.stdout.contains("wrote o.onnx") && ran.stdout.contains("noise floor"), "{}", ran.stdout);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    assert!(sandbox.read("o.onnx").len() * 2 < sandbox.read("m.onnx").len());
    let report: serde_json::Value = serde_json::from_slice(&sandbox.read("r.json")).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["written"], true);
    assert_eq!(report["pipeline"], "simplify,quant8=weights");
    assert_eq!(report["validation"]["status"], "passed");
    assert_eq!(report["output"]["bytes"], sandbox.read("o.onnx").len());
    assert!(report["validation"]["drift"]["outputs"][0]["snr_db"].as_f64().unwrap() > 20.0);
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["step"] == "quant8=weights" && step["changed"] == true));
    assert!(report["steps"].to_string().contains("MatMul"), "remarks say where");
}

#[test]
fn stores_the_pipeline_in_the_file() {
    let sandbox = Sandbox::with_model(NET);
    sandbox.run(&["m.onnx", "-p", "quant8=weights", "-o", "o.onnx"]).ok();
    let ran = sandbox.run(&["inspect", "o.onnx", "--json"]).ok();
    let inspection: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(inspection["metadata"]["onnx_shrink.pipeline"], "quant8=weights");
}

#[test]
fn equal_runs_give_equal_bytes_at_any_number_of_threads() {
    let sandbox = Sandbox::with_model(NET);
    for (threads, out) in [("1", "a.onnx"), ("3", "b.onnx")] {
        sandbox.run(&["m.onnx", "-p", "simplify,quant8=weights", "-o", out, "--threads", threads, "--seed", "7"]).ok();
    }
    assert_eq!(sandbox.read("a.onnx"), sandbox.read("b.onnx"));
}

#[test]
fn json_alone_goes_to_standard_output() {
    let sandbox = Sandbox::with_model(NET);
    let ran = sandbox.run(&["m.onnx", "-p", "quant8", "--dry-run", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["written"], false);
    assert_eq!(report["validation"]["status"], "passed");
    assert_eq!(sandbox.files(), ["m.onnx"]);
}

#[test]
fn quiet_says_nothing() {
    let sandbox = Sandbox::with_model(NET);
    let ran = sandbox.run(&["m.onnx", "-p", "quant8", "-o", "o.onnx", "--quiet"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn typos_are_corrected() {
    let sandbox = Sandbox::with_model(NET);
    let fails = |args: &[&str], words: &[&str]| fails_without_trace(&sandbox, args, 2, words);
    fails(&["m.onnx", "-p", "simplfy", "-o", "o.onnx"], &["`simplfy`", "did you mean `simplify`?"]);
    fails(&["m.onnx", "-p", "quant8=weihgts", "-o", "o.onnx"], &["did you mean `weights`?"]);
    fails(&["m.onnx", "-p", "quant8=modee=auto", "-o", "o.onnx"], &["did you mean `mode`?"]);
    fails(&["m.onnx", "-p", "quant8", "--ouput", "o.onnx"], &["--ouput", "--output"]);
    fails(&["m.onnx", "-p", "quant8", "-o", "o.onnx", "--backend", "tracr"], &["tract"]);
    fails(&["m.onnx", "-p", "quant8", "-o", "o.onnx", "--max-drift", "snt=3"], &["did you mean `snr`?"]);
    fails(&["m.onnx", "-p", "", "-o", "o.onnx"], &["`none`"]);
    fails(&["inspct", "m.onnx"], &["did you mean `inspect`?"]);
    fails(&["chek"], &["did you mean `check`?"]);
    fails(&["passes", "qunat8"], &["did you mean `quant8`?"]);
}

#[test]
fn says_what_is_wrong_with_the_input() {
    let sandbox = Sandbox::with_model(NET);
    let model = sandbox.read("m.onnx");
    fs::write(sandbox.path("half.onnx"), &model[..model.len() / 2]).unwrap();
    fs::write(sandbox.path("text.onnx"), "this is no model at all\n").unwrap();
    fs::write(sandbox.path("empty.onnx"), "").unwrap();
    fs::create_dir(sandbox.path("folder")).unwrap();
    for (input, word) in [
        ("missing.onnx", "missing.onnx"),
        ("half.onnx", "cut off"),
        ("text.onnx", "not an ONNX model"),
        ("empty.onnx", "empty"),
        ("folder", "folder"),
    ] {
        fails_without_trace(&sandbox, &[input, "-p", "quant8", "-o", "o.onnx"], 2, &[word, input]);
        fails_without_trace(&sandbox, &["inspect", input], 2, &[word, input]);
        fails_without_trace(&sandbox, &["print", input], 2, &[word, input]);
        fails_without_trace(&sandbox, &["check", "m.onnx", input], 2, &[word, input]);
    }
}

#[test]
fn says_what_is_wrong_with_the_output() {
    let sandbox = Sandbox::with_model(NET);
    fs::create_dir(sandbox.path("folder")).unwrap();
    fails_without_trace(&sandbox, &["m.onnx"], 2, &["-o FILE", "--dry-run"]);
    fails_without_trace(&sandbox, &["m.onnx", "-o", "folder"], 2, &["`folder` is a folder"]);
    fails_without_trace(&sandbox, &["m.onnx", "-o", "no/o.onnx"], 2, &["does not exist"]);
}

#[test]
fn says_what_is_wrong_with_the_data() {
    let sandbox = Sandbox::with_model(NET);
    fs::write(sandbox.path("bad.npz"), "no archive").unwrap();
    let run = ["m.onnx", "-p", "quant8", "-o", "o.onnx", "--inputs"];
    let with = |data: &'static str| [run.as_slice(), &[data]].concat();
    fails_without_trace(&sandbox, &with("missing.npz"), 2, &["missing.npz"]);
    fails_without_trace(&sandbox, &with("bad.npz"), 2, &["bad.npz"]);
    fails_without_trace(&sandbox, &with("syntetic"), 2, &["did you mean `synthetic`?"]);
}

#[test]
fn a_larger_result_is_refused_unless_forced() {
    // Calibrated arithmetic needs operators around the weight, and their names take more room than int8 saves.
    let name = "x".repeat(4000);
    let sandbox = Sandbox::with_model(&format!(
        "g (float[N,64] {name}) => (float[N,64] y) < float[64,64] w = rand(1) > {{ y = MatMul({name}, w) }}"
    ));
    let args = ["m.onnx", "-p", "quant8=static", "--inputs", "synthetic:2", "-o", "o.onnx"];
    fails_without_trace(&sandbox, &args, 1, &["larger", "--force"]);
    let ran = sandbox.run(&[args.as_slice(), &["--force"]].concat()).fails(1, &["--force", "larger"]);
    assert!(ran.stdout.contains("wrote o.onnx"), "{}", ran.stdout);
    assert!(sandbox.read("o.onnx").len() > sandbox.read("m.onnx").len());
}

#[test]
fn a_newer_operator_set_may_cost_a_few_bytes() {
    let sandbox = Sandbox::with_model(
        "< ir_version: 6, opset_import: [\"\" : 11] >\n\
         g (float[1,4] x) => (float[4] y) { t = Abs(x)  y = Squeeze<axes = [0]>(t) }",
    );
    let ran = sandbox.run(&["m.onnx", "-p", "upgrade-opset=13", "-o", "o.onnx"]).ok();
    assert!(sandbox.read("o.onnx").len() > sandbox.read("m.onnx").len(), "{}", ran.stdout);
}

#[test]
fn too_much_drift_is_refused_unless_forced() {
    let sandbox = Sandbox::with_model(NET);
    let args = ["m.onnx", "-p", "quant8=weights", "-o", "o.onnx", "--max-drift", "snr=150"];
    fails_without_trace(&sandbox, &args, 1, &["drifted", "150 dB"]);
    sandbox.run(&[args.as_slice(), &["--force"]].concat()).fails(1, &["drifted"]);
    assert!(sandbox.path("o.onnx").exists());
}

#[test]
fn what_no_backend_runs_is_refused_unless_forced() {
    let sandbox = Sandbox::with_model(FOREIGN);
    let args = ["m.onnx", "-p", "eliminate-identity", "-o", "o.onnx"];
    fails_without_trace(&sandbox, &args, 3, &["Secret", "--no-validate"]);
    sandbox.run(&[args.as_slice(), &["--force"]].concat()).fails(3, &["Secret"]);
    let forced = sandbox.read("o.onnx");
    fs::remove_file(sandbox.path("o.onnx")).unwrap();
    sandbox.run(&[args.as_slice(), &["--no-validate"]].concat()).ok();
    assert_eq!(sandbox.read("o.onnx"), forced);
}

#[test]
fn check_is_a_gate() {
    let sandbox = Sandbox::with_model(NET);
    sandbox.run(&["m.onnx", "-p", "quant8=weights", "-o", "o.onnx"]).ok();
    let same = sandbox.run(&["check", "m.onnx", "m.onnx"]).ok();
    assert!(same.stdout.contains("identical"), "{}", same.stdout);
    sandbox.run(&["check", "m.onnx", "o.onnx"]).ok();
    sandbox.run(&["check", "m.onnx", "o.onnx", "--max-drift", "max-abs=0"]).fails(1, &["drifted"]);
    sandbox.run(&["check", "m.onnx", "o.onnx", "--max-drift", "z:snr=3"]).fails(2, &["`z`"]);
    let json = sandbox.run(&["check", "m.onnx", "o.onnx", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["validation"]["status"], "passed");
    sandbox.add_model("f.onnx", FOREIGN);
    sandbox.add_model("g.onnx", &FOREIGN.replace("Secret", "Other"));
    sandbox.run(&["check", "f.onnx", "g.onnx"]).fails(3, &["Secret"]);
}

#[test]
fn the_input_may_be_the_output() {
    let sandbox = Sandbox::with_model(NET);
    let before = sandbox.read("m.onnx").len();
    sandbox.run(&["m.onnx", "-p", "quant8=weights", "-o", "m.onnx"]).ok();
    assert!(sandbox.read("m.onnx").len() < before);
    assert_eq!(sandbox.files(), ["m.onnx"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_the_input_is_replaced_not_followed() {
    let sandbox = Sandbox::with_model(NET);
    let before = sandbox.read("m.onnx");
    std::os::unix::fs::symlink("m.onnx", sandbox.path("o.onnx")).unwrap();
    sandbox.run(&["m.onnx", "-p", "quant8=weights", "-o", "o.onnx"]).ok();
    assert_eq!(sandbox.read("m.onnx"), before);
    assert!(sandbox.read("o.onnx").len() < before.len());
}

#[test]
fn weights_can_go_to_a_side_file() {
    let sandbox = Sandbox::with_model(NET);
    let ran = sandbox.run(&["m.onnx", "-p", "none", "-o", "o.onnx", "--external-data"]).ok();
    assert!(ran.stderr.contains("o.onnx.data"), "{}", ran.stderr);
    assert_eq!(sandbox.files(), ["m.onnx", "o.onnx", "o.onnx.data"]);
    assert_eq!(sandbox.read("o.onnx.data").len(), 64 * 32 * 4);
    let ran = sandbox.run(&["check", "m.onnx", "o.onnx", "--max-drift", "max-abs=0"]).ok();
    assert!(ran.stdout.contains("exact"), "{}", ran.stdout);
}

#[test]
fn alignment_in_a_side_file_does_not_count_as_growth() {
    let sandbox = Sandbox::with_model(NET);
    let args = ["m.onnx", "-p", "eliminate-identity", "-o", "o.onnx", "--external-data=64"];
    sandbox.run(&args).ok();
    let written = sandbox.read("o.onnx").len() + sandbox.read("o.onnx.data").len();
    assert!(written > sandbox.read("m.onnx").len(), "the test needs a case that grows");
}

#[test]
fn a_side_file_of_the_input_is_never_overwritten() {
    let sandbox = Sandbox::with_model(NET);
    let external = ["--external-data", "--no-validate"];
    let run = |args: &[&str]| sandbox.run(&[args, external.as_slice()].concat());
    run(&["m.onnx", "-p", "none", "-o", "e.onnx"]).ok();
    let weights = sandbox.read("e.onnx.data");
    run(&["e.onnx", "-p", "none", "-o", "e.onnx.data"]).fails(2, &["e.onnx.data"]);
    run(&["e.onnx", "-p", "quant8=weights", "-o", "e.onnx"]).ok();
    assert_eq!(sandbox.read("e.onnx.data"), weights);
    assert!(sandbox.path("e.onnx.2.data").exists());
    sandbox.run(&["check", "m.onnx", "e.onnx"]).ok();
}

#[test]
fn a_dump_after_each_pass_can_be_read_again() {
    let sandbox = Sandbox::with_model(NET);
    let args = ["m.onnx", "-p", "eliminate-identity,quant8=weights", "--dry-run", "--dump-each", "steps"];
    sandbox.run(&args).ok();
    let dumped = |name: &str| sandbox.path("steps").join(name);
    assert!(fs::read_to_string(dumped("01-eliminate-identity.txt")).unwrap().contains("MatMul"));
    sandbox.run(&["check", "m.onnx", "steps/02-quant8.onnx"]).ok();
    assert!(!dumped("03-quant8.onnx").exists());
}

#[test]
fn stops_after_the_pass_it_is_told() {
    let sandbox = Sandbox::with_model(NET);
    let args = ["m.onnx", "-p", "eliminate-identity,quant8=weights", "-o", "o.onnx", "--stop-after", "1", "--json"];
    let report: serde_json::Value = serde_json::from_str(&sandbox.run(&args).ok().stdout).unwrap();
    assert_eq!(report["steps"].as_array().unwrap().len(), 1);
    assert_eq!(report["validation"]["gates"][0], "equal bits");
}

#[test]
fn verifies_after_each_pass() {
    let sandbox = Sandbox::with_model(NET);
    sandbox.run(&["m.onnx", "-p", "simplify,quant8=weights", "-o", "o.onnx", "--verify-each"]).ok();
    let strict = ["m.onnx", "-p", "quant8=weights", "-o", "p.onnx", "--verify-each", "--max-drift", "snr=150"];
    sandbox.run(&strict).fails(1, &["after pass `quant8`"]);
    assert_eq!(sandbox.files(), ["m.onnx", "o.onnx"]);
}

#[test]
fn inspects_prints_and_lists() {
    let sandbox = Sandbox::with_model(NET);
    let ran = sandbox.run(&["inspect", "m.onnx"]).ok();
    assert!(ran.stdout.contains("float[N,64] x") && ran.stdout.contains("MatMul"), "{}", ran.stdout);
    let ran = sandbox.run(&["print", "--full", "m.onnx"]).ok();
    let reread = text::parse(&ran.stdout).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(encode(&reread, &EncodeOptions::default()).unwrap().to_bytes(), sandbox.read("m.onnx"));
    let ran = sandbox.run(&["passes"]).ok();
    assert!(ran.stdout.contains("quant8") && ran.stdout.contains("simplify"), "{}", ran.stdout);
    let ran = sandbox.run(&["passes", "quant8"]).ok();
    assert!(ran.stdout.contains("exclude="), "{}", ran.stdout);
    let ran = sandbox.run(&["--help"]).ok();
    assert!(ran.stdout.contains("quant8") && ran.stdout.contains("Examples:"), "{}", ran.stdout);
    let ran = sandbox.run(&["completions", "bash"]).ok();
    assert!(ran.stdout.contains("--max-drift"), "{}", ran.stdout);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let sandbox = Sandbox::with_model(NET);
    let mut child =
        sandbox.command(&["print", "--full", "m.onnx"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn statistics_stand_for_the_data_they_were_measured_on() {
    let sandbox =
        Sandbox::with_model("g (float[N,64] x) => (float[N,80] y) < float[64,80] w = rand(1) > { y = MatMul(x, w) }");
    // Validated, each would tell its own drift: statistics are no data to compare on.
    let quantize = ["m.onnx", "-p", "quant8=static", "--no-validate"];
    sandbox.run(&[&quantize[..], &["--inputs", "synthetic:3", "-o", "a.onnx", "--stats", "s.json"]].concat()).ok();
    sandbox.run(&[&quantize[..], &["--stats-in", "s.json", "-o", "b.onnx"]].concat()).ok();
    assert!(sandbox.read("a.onnx") == sandbox.read("b.onnx"));
    let other = sandbox.run(&["m.onnx", "-p", "dce", "--stats-in", "s.json", "-o", "c.onnx"]);
    other.fails(2, &["--stats-in", "quant8"]);
    let missing = sandbox.run(&["m.onnx", "-p", "quant8=static", "--stats-in", "t.json", "-o", "c.onnx"]);
    missing.fails(2, &["cannot read statistics", "t.json"]);
    assert!(!sandbox.path("c.onnx").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let sandbox = Sandbox::with_model(NET);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sandbox.command(&["print", "m.onnx"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("standard output"));
}

/// Runs the command again and again and kills it at many moments; `look` judges what each left.
fn kill_at_many_moments(sandbox: &Sandbox, args: &[&str], prepare: impl Fn(), look: impl Fn()) {
    for moment in 0..16 {
        prepare();
        let mut child = sandbox.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(7 * moment));
        // A run that is done already cannot be killed any more.
        let _ = child.kill();
        child.wait().unwrap();
        look();
    }
}

/// Eight megabytes of weights.
const LARGE: &str = "
g (float[N,1024] x) => (float[N,1024] y) < float[1024,1024] v = rand(1), float[1024,1024] w = rand(2) > {
  a = MatMul(x, v)
  y = MatMul(a, w)
}";

/// Whatever the moment, the output is the old file or the new one, and one undisturbed run leaves nothing else behind.
#[test]
fn a_killed_run_leaves_no_half_file() {
    let sandbox = Sandbox::with_model(LARGE);
    let args = ["m.onnx", "-p", "quant8=weights", "-o", "o.onnx", "--no-validate"];
    sandbox.run(&args).ok();
    let (input, new) = (sandbox.read("m.onnx"), sandbox.read("o.onnx"));
    let prepare = || fs::write(sandbox.path("o.onnx"), "old").unwrap();
    kill_at_many_moments(&sandbox, &args, prepare, || {
        let found = sandbox.read("o.onnx");
        assert!(found == b"old" || found == new, "half a file of {} bytes", found.len());
    });
    sandbox.run(&args).ok();
    assert!(sandbox.read("o.onnx") == new && sandbox.read("m.onnx") == input);
    assert_eq!(sandbox.files(), ["m.onnx", "o.onnx"]);
}

/// Two files cannot be replaced at once: in between there is no model, rather than one with the weights of another.
#[test]
fn a_killed_run_never_mixes_model_and_side_file() {
    let sandbox = Sandbox::with_model(LARGE);
    let args = ["m.onnx", "-p", "none", "-o", "o.onnx", "--no-validate", "--external-data"];
    sandbox.run(&args).ok();
    let (model, side) = (sandbox.read("o.onnx"), sandbox.read("o.onnx.data"));
    let prepare = || {
        fs::write(sandbox.path("o.onnx"), "old model").unwrap();
        fs::write(sandbox.path("o.onnx.data"), "old weights").unwrap();
    };
    kill_at_many_moments(&sandbox, &args, prepare, || {
        let weights = sandbox.read("o.onnx.data");
        match fs::read(sandbox.path("o.onnx")) {
            Ok(found) if found == b"old model" => assert_eq!(weights, b"old weights"),
            Ok(found) => assert!(found == model && weights == side),
            Err(_) => assert!(weights == b"old weights" || weights == side),
        }
    });
    sandbox.run(&args).ok();
    assert_eq!(sandbox.files(), ["m.onnx", "o.onnx", "o.onnx.data"]);
}

/// Inputs whose dimensions are open, with what exporters write to compute a shape.
const OPEN: &str = "
g (float[N,S,4] x, int64[N] lengths) => (float[N,K] y) < int64[1] last = {-1}, int64 zero = {0}, int64[1] axis = {0} > {
  s = Shape(x)
  n = Gather(s, zero)
  n1 = Unsqueeze(n, axis)
  shape = Concat<axis = 0>(n1, last)
  flat = Reshape(x, shape)
  [middle] a = Identity(flat)
  y = Relu(a)
}";

#[test]
fn fixes_shapes_and_remembers_it() {
    let sandbox = Sandbox::with_model(OPEN);
    let ran = sandbox.run(&["m.onnx", "--input-shape", "x:?x5x4", "--dim", "N=2", "-o", "o.onnx"]).ok();
    assert!(ran.stdout.contains("set-dim=N:to=2"), "{}", ran.stdout);
    let text = sandbox.run(&["print", "o.onnx"]).ok().stdout;
    assert!(text.contains("float[2,5,4] x, int64[2] lengths") && text.contains("float[2,20] y"), "{text}");
    assert!(!text.contains("Shape(") && !text.contains("Gather("), "{text}");
    let ran = sandbox.run(&["inspect", "o.onnx", "--json"]).ok();
    let inspection: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let pipeline = inspection["metadata"]["onnx_shrink.pipeline"].as_str().unwrap();
    assert_eq!(pipeline, "set-shape=x:to=?x5x4,set-dim=N:to=2,simplify");
    sandbox.run(&["m.onnx", "-p", pipeline, "-o", "again.onnx"]).ok();
    assert_eq!(sandbox.read("o.onnx"), sandbox.read("again.onnx"));
    sandbox.run(&["check", "m.onnx", "o.onnx"]).ok();
}

#[test]
fn keeps_what_is_named() {
    let sandbox = Sandbox::with_model(OPEN);
    sandbox.run(&["m.onnx", "--keep", "middle", "--keep", "n1", "-o", "o.onnx"]).ok();
    let text = sandbox.run(&["print", "o.onnx"]).ok().stdout;
    assert!(text.contains("[middle] a = Identity(") && text.contains("n1 = Unsqueeze("), "{text}");
}

#[test]
fn mistakes_in_shapes_and_names_leave_no_trace() {
    let sandbox = Sandbox::with_model(OPEN);
    let fails = |args: &[&str], words: &[&str]| {
        fails_without_trace(&sandbox, &[&["m.onnx", "-o", "o.onnx"], args].concat(), 2, words);
    };
    fails(&["--input-shape", "xx:1x5x4"], &["did you mean `x`?"]);
    fails(&["--input-shape", "x:1x5"], &["has 3 dimensions, and the shape 2 dimensions"]);
    fails(&["--input-shape", "x:1x5x7"], &["axis 2", "is 4, and cannot become 7"]);
    fails(&["--input-shape", ":1x5x7"], &["INPUT:SHAPE"]);
    fails(&["--dim", "NN=1"], &["did you mean `N`?"]);
    fails(&["--dim", "N"], &["NAME=EXTENT"]);
    fails(&["--dim", "N=1", "--dim", "N=2"], &["`N` is given twice"]);
    fails(&["--keep", "midle"], &["did you mean `middle`?"]);
    fails(&["--dim", "N=1", "--inputs", "no.npz"], &["`no.npz` does not exist"]);
}

#[test]
fn says_what_a_file_is_that_is_no_model() {
    let sandbox = Sandbox::with_model(NET);
    let fails = |args: &[&str], words: &[&str]| fails_without_trace(&sandbox, args, 2, words);
    fs::write(sandbox.path("t.onnx"), "hello, world").unwrap();
    fs::write(sandbox.path("lfs.onnx"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    let half = sandbox.read("m.onnx").len() / 2;
    fs::write(sandbox.path("half.onnx"), &sandbox.read("m.onnx")[..half]).unwrap();
    fails(&["t.onnx", "--dry-run"], &["a text, which begins with `hello, world`"]);
    fails(&["lfs.onnx", "--dry-run"], &["git lfs pull"]);
    fails(&["half.onnx", "--dry-run"], &["ends in the middle of a field"]);
    fails(&["n.onnx", "--dry-run"], &["did you mean `m.onnx`?"]);
    fails(&["m.onnx", "half.onnx", "--dry-run"], &["one argument too many"]);
    fails(&["m.onnx", "check", "--dry-run"], &["put it in front"]);
    fails(&["m.onnx", "--dry-run", "--report", "no/r.json"], &["the folder of the report"]);
}
