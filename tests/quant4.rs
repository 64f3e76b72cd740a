//! `quant4` on real models: size, drift, the same bytes at any number of threads, and kernels that ONNX Runtime really uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says that it is skipped"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, check, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::opset::upgrade::upgrade;
use onnx_shrink::pass::{Changed, Cx, Env, Opts, Scratch};
use onnx_shrink::passes;
use onnx_shrink::validate::{self, CompareOptions};
use support::{corpus, python};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn samples(path: &Path, model: &Model) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    data::open(&path.display().to_string(), &options).unwrap()
}

/// Runs the pass with options as a pipeline has them, on a model that is raised to its operator set.
fn run(options: &str, model: &mut Model, calibration: Option<&dyn Samples>) -> Changed {
    upgrade(model, 21).unwrap();
    let scratch = Scratch::in_memory();
    let env = Env { calibration, ..Env::plain(&scratch) };
    let info = passes::find("quant4").unwrap();
    let pair =
        |option: &str| option.split_once('=').map(|(key, value)| (Some(key.to_owned()), value.to_owned())).unwrap();
    let args: Vec<_> = options.split(':').map(pair).collect();
    let mut pass = (info.build)(&Opts::new(info, &args).unwrap()).unwrap();
    pass.run(model, &mut Cx::new(&env, info.name)).unwrap()
}

fn encoded(model: &Model) -> Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

/// The worst signal-to-noise ratio of an output, and accuracy before and after where there are labels.
fn drift(before: &Bytes, after: &Bytes, samples: &dyn Samples, backend: BackendChoice) -> (f64, Option<(f64, f64)>) {
    let load =
        |bytes: &Bytes| backend::load(backend, &ModelBytes::new(bytes.clone(), None), &LoadOptions::default()).unwrap();
    let report = validate::compare(&*load(before), &*load(after), samples, &CompareOptions::default()).unwrap();
    let worst = report.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min);
    (worst, report.accuracy.map(|accuracy| (accuracy.before, accuracy.after)))
}

/// Quantizes a model of `testdata/` and holds the result against what it must reach, in tract.
fn assert_reaches(name: &str, options: &str, least_ratio: f64, least_snr_db: f64) {
    let mut model = onnx::read(&testdata(name)).unwrap();
    let (before, signature) = (encoded(&model), model.signature());
    let calibration = samples(&testdata("digits_calib.npz"), &model);
    assert_eq!(run(options, &mut model, Some(&*calibration)), Changed::Yes);
    check::structure(&model).unwrap();
    assert_eq!(model.signature(), signature);
    let after = encoded(&model);
    let ratio = before.len() as f64 / after.len() as f64;
    assert!(ratio >= least_ratio, "{name}, {options}: {ratio:.2} x smaller");
    let test = samples(&testdata("digits_test.npz"), &model);
    let (snr_db, accuracy) = drift(&before, &after, &*test, BackendChoice::Tract);
    println!("{name}, {options}: {ratio:.2} x smaller, {snr_db:.1} dB, accuracy {accuracy:?}");
    assert!(snr_db >= least_snr_db, "{name}, {options}: {snr_db:.1} dB");
    let accuracy = accuracy.unwrap();
    assert!(accuracy.1 >= accuracy.0 - 0.01, "{name}, {options}: {accuracy:?}");
    let mut again = onnx::decode(after, None).unwrap();
    assert_eq!(run(options, &mut again, Some(&*calibration)), Changed::No, "{name}, {options}: a second run");
}

#[test]
fn lenet5_by_gptq() {
    assert_reaches("lenet5.onnx", "method=gptq:target=0", 6.5, 36.0);
}

#[test]
fn lenet5_by_gptq_for_kernels() {
    assert_reaches("lenet5.onnx", "method=gptq:target=0:format=dq", 6.0, 36.0);
    assert_reaches("lenet5.onnx", "method=gptq:target=0:format=matmulnbits", 6.0, 36.0);
}

#[test]
fn a_target_is_reached_on_a_residual_net() {
    assert_reaches("mnist_resnet_bn.onnx", "target=25", 5.0, 25.0);
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = onnx::read(&testdata("lenet5.onnx")).unwrap();
            let calibration = samples(&testdata("digits_calib.npz"), &model);
            let _ = run("method=gptq:target=30", &mut model, Some(&*calibration));
            encoded(&model)
        })
    };
    assert!(result(1) == result(3));
}

/// GPTQ on a transformer, embeddings included: 15 dB and 3 dB more than rounding to nearest, at a sixth of the size.
#[test]
fn a_transformer_by_gptq() {
    let Some(path) = corpus::file("minilm_l6.onnx") else { return };
    let folder = path.parent().unwrap();
    let original = onnx::read(&path).unwrap();
    let before = encoded(&original);
    let calibration = samples(&folder.join("minilm_l6.calib.npz"), &original);
    let test = samples(&folder.join("minilm_l6.eval.npz"), &original);
    let of = |options: &str| {
        let mut model = original.clone();
        assert_eq!(run(options, &mut model, Some(&*calibration)), Changed::Yes);
        let after = encoded(&model);
        let (snr_db, _) = drift(&before, &after, &*test, BackendChoice::Auto);
        let ratio = before.len() as f64 / after.len() as f64;
        println!("{options}: {ratio:.2} x smaller, {snr_db:.1} dB");
        (ratio, snr_db)
    };
    let (ratio, snr_db) = of("method=gptq:target=15");
    let (_, nearest_db) = of("method=rtn:target=0");
    assert!(ratio >= 6.0, "{ratio:.2} x smaller");
    assert!(snr_db >= 15.0, "{snr_db:.1} dB");
    assert!(snr_db >= nearest_db + 3.0, "{snr_db:.1} dB, rounding to nearest {nearest_db:.1} dB");
}

/// The operators of a model as ONNX Runtime runs it; `None` where it is not installed for Python.
fn optimized(model: &Bytes) -> Option<Vec<String>> {
    const SCRIPT: &str = "import sys, onnx, onnxruntime as ort
options = ort.SessionOptions()
options.optimized_model_filepath = sys.argv[2]
options.log_severity_level = 4
ort.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
print(' '.join(node.op_type for node in onnx.load(sys.argv[2]).graph.node))";
    if !python::has("onnxruntime") || !python::has("onnx") {
        corpus::skip("no Python with onnx and onnxruntime");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, result) = (folder.path().join("model.onnx"), folder.path().join("optimized.onnx"));
    std::fs::write(&path, model).unwrap();
    let output = Command::new(python::interpreter()).args(["-c", SCRIPT]).arg(path).arg(result).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect())
}

const PRODUCTS: &str = "<ir_version: 10, opset_import: [\"\" : 21]>
g (float[4,64] x, float[1,8,6,6] i, int64[3] n) => (float[4,24] y, float[1,16,4,4] c, float[3,64] e) <
  float[64,64] a = rand(1), float[24,64] b = rand(2), float[24] bias = rand(3), float[16,8,3,3] w = rand(4), float[40,64] t = rand(5)
> {
  h = MatMul(x, a)
  y = Gemm<transB = 1>(h, b, bias)
  c = Conv(i, w)
  e = Gather(t, n)
}";

#[test]
fn onnxruntime_has_kernels_for_what_it_does_not_fold() {
    for (options, expected) in [
        // Nothing is left of what restores weights.
        ("method=rtn:target=0", ["Conv", "Gather", "Gemm", "MatMul"]),
        ("method=rtn:target=0:format=dq", ["Conv", "Gather", "MatMulNBits", "MatMulNBits"]),
        ("method=rtn:target=0:format=dq:symmetric=true", ["Conv", "Gather", "MatMulNBits", "MatMulNBits"]),
        ("method=rtn:target=0:format=matmulnbits", ["Conv", "Gather", "MatMulNBits", "MatMulNBits"]),
    ] {
        let mut model = text::parse(PRODUCTS).unwrap();
        assert_eq!(run(options, &mut model, None), Changed::Yes);
        let Some(mut operators) = optimized(&encoded(&model)) else { return };
        // A bias may be added apart, and a result put into the usual layout.
        operators.retain(|operator| !matches!(operator.as_str(), "Add" | "ReorderOutput"));
        operators.sort();
        assert_eq!(operators, expected, "{options}");
    }
}
