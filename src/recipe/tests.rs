//! What recipes become, and what is said of mistakes in them.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use super::*;

fn parse(text: &str) -> Result<Recipe> {
    Recipe::parse(text, Path::new("r/shrink.toml"))
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_recipe_becomes_the_words_of_the_command_line() {
    let recipe = parse(
        r#"
model = "m.onnx"
output = "/tmp/out.onnx"
pipeline = ["simplify", "prune=mask=mask.npz", "quant8=auto:target=30"]
inputs = { path = "images", crop = 224, scale = "1/255", mean = [0.485, 0.456, 0.406], std = 1 }
eval-inputs = "eval.npz:limit=3"
keep = ["a"]
seed = 7
threads = 2
backend = "tract"
external-data = true
report = ["r.html", "r.json"]
[gates]
snr = 30
top1 = 0.995
[gates.logits]
max-abs = 1
[input-shape]
x = [1, "?", 224, "W"]
y = "1x3"
[dim]
N = 1
S = "length"
[layer."/head/*"]
exclude = ["quant8"]
[layer.fc]
keep = true
prune.ratio = 0.9
"#,
    )
    .unwrap();
    let pipeline = recipe.pipeline(None, "none").unwrap().to_string();
    assert_eq!(pipeline, "simplify,prune=mask=r/mask.npz:ratio=fc@0.9,quant8=auto:target=30:exclude=/head/*");
    let data = "r/images:crop=224:mean=0.485/0.456/0.406:scale=1/255:std=1";
    assert_eq!((recipe.inputs.as_deref(), recipe.eval_inputs.as_deref()), (Some(data), Some("r/eval.npz:limit=3")));
    assert_eq!((recipe.model.unwrap(), recipe.output.unwrap()), ("r/m.onnx".into(), "/tmp/out.onnx".into()));
    assert_eq!(recipe.gates, ["logits:max-abs=1", "snr=30", "top1=0.995"]);
    assert_eq!(recipe.input_shapes, ["x:1x?x224xW", "y:1x3"]);
    assert_eq!(recipe.dims, ["N=1", "S=length"]);
    assert_eq!(recipe.keep, ["a", "fc"]);
    assert_eq!((recipe.seed, recipe.threads, recipe.backend.as_deref()), (Some(7), Some(2), Some("tract")));
    assert_eq!(recipe.external_from_bytes, Some(1024));
    assert_eq!(recipe.reports, [PathBuf::from("r/r.html"), "r/r.json".into()]);
}

#[test]
fn an_empty_recipe_says_nothing() {
    let recipe = parse("").unwrap();
    assert_eq!(recipe.pipeline(None, "simplify").unwrap().to_string(), "simplify");
    assert_eq!(recipe.pipeline(Some("fp16"), "simplify").unwrap().to_string(), "fp16");
    assert_eq!(parse("inputs = \"synthetic:9\"").unwrap().inputs.as_deref(), Some("synthetic:9"));
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, words) in [
        ("seed = 1\npipline = \"simplify\"", &["shrink.toml:2", "no key `pipline`", "did you mean `pipeline`?"][..]),
        ("seed = \"x\"", &["shrink.toml:1", "seed", "u64"]),
        ("seed = ", &["shrink.toml:1"]),
        ("\n\npipeline = \"simplfy\"", &["shrink.toml:3", "did you mean `simplify`?"]),
        ("pipeline = 3", &["shrink.toml:1", "`pipeline`", "simplify,quant8"]),
        ("inputs = { pth = \"a\" }", &["shrink.toml:1", "path"]),
        ("inputs = { path = \"a\", crop = { a = 1 } }", &["inputs.crop"]),
        ("[gates]\nsnr = 30\ntop2 = 1", &["shrink.toml:3", "top2"]),
        ("[gates]\nsnr = \"high\"", &["shrink.toml:2", "high"]),
        ("[dim]\nN = []", &["shrink.toml:2", "`N`"]),
        ("threads = 0", &["shrink.toml:1", "from 1 up"]),
        ("\nbackend = \"tracd\"", &["shrink.toml:2", "tracd"]),
        ("[layer.a]\nexclude = false", &["shrink.toml:2", "exclude"]),
        ("[layer.\"a*\"]\nkeep = true", &["shrink.toml:2", "pattern `a*`"]),
        ("[layer.a]\nbits = 4", &["shrink.toml:2", "`bits = 4`", "no pass can do"]),
    ] {
        let error = error(text);
        words.iter().for_each(|word| assert!(error.contains(word), "no `{word}` in: {error}"));
    }
}

#[test]
fn what_a_pipeline_cannot_do_for_a_layer_is_told_with_its_line() {
    let error = |text: &str| parse(text).unwrap().pipeline(None, "simplify,quant8").unwrap_err().to_string();
    let target = error("seed = 0\n[layer.fc]\nquant8.target = 30");
    assert!(target.contains("shrink.toml:3") && target.contains("about the whole model"), "{target}");
    let absent = error("[layer.fc]\n\nexclude = [\"quant8\", \"prune\"]");
    assert!(absent.contains("shrink.toml:3") && absent.contains("does not run `prune`"), "{absent}");
}
