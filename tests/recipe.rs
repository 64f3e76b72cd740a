//! Recipes through the built binary: the same bytes as the command line, and mistakes with their lines. Presets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use support::sandbox::{ROOT, Sandbox};

fn testdata(name: &str) -> String {
    Path::new(ROOT).join("testdata").join(name).display().to_string()
}

impl Sandbox {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

#[test]
fn a_recipe_gives_the_bytes_of_its_command_line() {
    let sandbox = Sandbox::with_digits_model();
    fs::create_dir(sandbox.path("in")).unwrap();
    sandbox.write(
        "in/shrink.toml",
        &format!(
            "model = \"../model.onnx\"\noutput = \"small.onnx\"\npipeline = [\"edge\"]\nseed = 3\nthreads = 1\n\
             backend = \"tract\"\ninputs = \"{}\"\nreport = \"r.json\"\n\
             [gates]\nsnr = 25\ntop1 = 0.9\n[layer.\"/f1/*\"]\nexclude = [\"quant8\"]\n",
            testdata("digits_calib.npz")
        ),
    );
    sandbox.run(&["--recipe", "in/shrink.toml"]).code(0).says(&["within the gate: snr=25, top1=0.9"]);
    let pipeline = "simplify,quant8=auto:for=generic:timing=false:exclude=/f1/*,strip";
    let (inputs, gates) = (testdata("digits_calib.npz"), ["--max-drift", "snr=25", "--max-drift", "top1=0.9"]);
    let args = ["model.onnx", "-p", pipeline, "--inputs", &inputs, "--seed", "3", "--backend", "tract", "-o", "a.onnx"];
    sandbox.run(&[&args[..], &gates].concat()).code(0);
    assert!(sandbox.bytes("in/small.onnx") == sandbox.bytes("a.onnx"));
    assert!(sandbox.path("in/r.json").is_file());
}

#[test]
fn the_command_line_goes_before_the_recipe() {
    let sandbox = Sandbox::with_digits_model();
    let recipe = "model = \"missing.onnx\"\noutput = \"r.onnx\"\npipeline = \"prune=0.97\"\n[gates]\nsnr = 90\n";
    sandbox.write("shrink.toml", recipe);
    let args = ["model.onnx", "--recipe", "shrink.toml", "-p", "fp16", "--max-drift", "snr=50", "-o", "c.onnx"];
    sandbox.run(&args).code(0).says(&["within the gate: snr=50", "wrote c.onnx"]);
    assert!(!sandbox.path("r.onnx").exists());
    sandbox.run(&["model.onnx", "--recipe", "shrink.toml"]).code(1).says(&["snr=90"]);
    sandbox.run(&["--recipe", "shrink.toml"]).code(2).says(&["missing.onnx"]);
    sandbox.run(&["model.onnx", "--recipe", "shrink.toml", "-p", "simplify", "--dry-run"]).code(0).says(&["dry run"]);
}

#[test]
fn mistakes_in_a_recipe_leave_no_trace() {
    let sandbox = Sandbox::with_digits_model();
    for (recipe, words) in [
        ("\npipline = \"simplify\"", &["shrink.toml:2", "`pipline`", "did you mean `pipeline`?"][..]),
        ("model = \"model.onnx\"\n[layer.fc]\nquant8.exclude = true", &["shrink.toml:3", "does not run `quant8`"]),
        ("pipeline = \"quant8\"\n[layer.fc]\nquant8.target = 30", &["shrink.toml:3", "about the whole model"]),
        ("[gates]\nsrn = 3", &["shrink.toml:2", "srn", "snr"]),
    ] {
        sandbox.write("shrink.toml", recipe);
        sandbox.run(&["model.onnx", "--recipe", "shrink.toml", "-o", "o.onnx"]).code(2).says(words);
        assert_eq!(sandbox.names(), ["model.onnx", "shrink.toml"]);
    }
    sandbox
        .run(&["model.onnx", "--recipe", "none.toml", "-o", "o.onnx"])
        .code(2)
        .says(&["none.toml", "onnx-shrink init"]);
    sandbox.write("shrink.toml", "pipeline = \"fp16\"\n[layer.\"no*such\"]\nexclude = true");
    let absent = sandbox.run(&["model.onnx", "--recipe", "shrink.toml", "-o", "o.onnx"]);
    absent.code(2).says(&["`no*such`", "which the model does not have"]);
}

#[test]
fn a_written_recipe_runs_as_it_is() {
    for model in ["lenet5.onnx", "mnist_resnet_bn.onnx"] {
        let sandbox = Sandbox(tempfile::tempdir().unwrap());
        fs::copy(testdata(model), sandbox.path("it's.onnx")).unwrap();
        sandbox.run(&["init", "it's.onnx"]).code(0).says(&["wrote shrink.toml"]);
        let text = sandbox.text("shrink.toml");
        for words in
            ["model = \"it's.onnx\"", "pipeline = [\"simplify\", \"quant8\"]", "looks like an image", "# [layer."]
        {
            assert!(text.contains(words), "no `{words}` in: {text}");
        }
        sandbox.run(&["--recipe", "shrink.toml"]).code(0).says(&["wrote it's.small.onnx"]);
        let (before, after) = (sandbox.bytes("it's.onnx").len(), sandbox.bytes("it's.small.onnx").len());
        assert!(after * 3 < before, "{before} -> {after}");
        // Every layer that is named in a comment can be excluded.
        let open: String = text.lines().map(|line| format!("{}\n", uncommented(line))).collect();
        sandbox.write("shrink.toml", &open);
        sandbox.run(&["--recipe", "shrink.toml", "-o", "other.onnx"]).code(0);
        assert!(sandbox.bytes("other.onnx").len() > after);
    }
}

/// A line about a layer without its sign of a comment.
fn uncommented(line: &str) -> &str {
    line.strip_prefix("# ").filter(|rest| rest.starts_with("[layer.") || *rest == "exclude = true").unwrap_or(line)
}

#[test]
fn a_recipe_is_not_overwritten_unasked() {
    let sandbox = Sandbox::with_digits_model();
    sandbox.write("shrink.toml", "seed = 1\n");
    sandbox.run(&["init", "model.onnx"]).code(2).says(&["`shrink.toml` is there already", "--force"]);
    assert_eq!(sandbox.text("shrink.toml"), "seed = 1\n");
    sandbox.run(&["init", "model.onnx", "-o", "model.onnx", "--force"]).code(2).says(&["over the model"]);
    sandbox.run(&["init", "model.onnx", "--force"]).code(0);
    assert!(sandbox.text("shrink.toml").contains("model = \"model.onnx\""));
}

#[test]
fn a_model_that_gains_nothing_gets_a_recipe_too() {
    let sandbox = Sandbox(tempfile::tempdir().unwrap());
    let model =
        onnx_shrink::ir::text::parse("g (float[N,4] \"a\\\"b\") => (float[N,4] y) { y = Relu(\"a\\\"b\") }").unwrap();
    let bytes = onnx_shrink::onnx::encode(&model, &onnx_shrink::onnx::EncodeOptions::default()).unwrap().to_bytes();
    fs::write(sandbox.path("m.onnx"), bytes).unwrap();
    sandbox.run(&["init", "m.onnx", "-q"]).code(0);
    let text = sandbox.text("shrink.toml");
    assert!(
        text.contains("pipeline = \"simplify\"") && text.contains("too few") && text.contains("# \"N\" = 1"),
        "{text}"
    );
    sandbox.run(&["--recipe", "shrink.toml"]).code(0).says(&["identical to the input"]);
}

#[test]
fn presets_work_with_data_and_without() {
    let sandbox = Sandbox::with_digits_model();
    let listed = sandbox.run(&["passes"]).code(0).stdout;
    let help = sandbox.run(&["--help"]).code(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for (preset, most) in [("server", 450_000), ("edge", 450_000), ("mobile", 450_000), ("tiny", 270_000)] {
        let expansion = sandbox.run(&["passes", preset]).code(0).stdout;
        let expansion = expansion.rsplit_once("stands for: ").unwrap().1.trim();
        assert!(listed.contains(expansion) && help.contains(expansion), "{expansion}");
        for data in
            [&["--inputs", &testdata("digits_calib.npz"), "--eval-inputs", &testdata("digits_test.npz")][..], &[]]
        {
            let args = [&["model.onnx", "-p", preset, "-o", "o.onnx", "--max-drift", "snr=15"][..], data].concat();
            sandbox.run(&args).code(0);
            let size = sandbox.bytes("o.onnx").len();
            assert!(size < most, "{preset} with {} words about data: {size} bytes", data.len());
        }
    }
    sandbox.run(&["model.onnx", "-p", "edge=4", "-o", "p.onnx"]).code(2).says(&["takes no options", "quant8=auto"]);
}
