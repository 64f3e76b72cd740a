//! What ONNX Runtime makes of quantized models: the kernels it really uses, read from its optimised graph.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use support::python;

/// The model after a pipeline; `data` is seeded calibration data.
fn shrunk(source: &str, pipeline: &str, data: Option<&str>) -> Model {
    let mut model = text::parse(source).unwrap();
    let (signature, hints) = (model.signature(), Hints::from_graph(&model.graph));
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let calibration = data.map(|spec| data::open(spec, &options).unwrap());
    let scratch = Scratch::in_memory();
    let env = Env { calibration: calibration.as_deref(), ..Env::plain(&scratch) };
    let plan = pipeline.parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, &mut model, &env, &RunOptions::default()).unwrap();
    model
}

/// The operators of the model as ONNX Runtime runs it; `None` where there is none.
fn optimised(model: &Model) -> Option<BTreeMap<String, usize>> {
    if !python::has("onnxruntime, onnx") {
        println!("skipped: Python has no onnxruntime and onnx");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/quant8_fused.py");
    let output = Command::new(python::interpreter()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
            .collect(),
    )
}

/// Checks how often each of some operators is in what ONNX Runtime runs.
fn assert_runs(model: &Model, expected: &[(&str, usize)]) {
    let Some(found) = optimised(model) else { return };
    for (name, count) in expected {
        assert_eq!(found.get(*name).copied().unwrap_or(0), *count, "{name} in {found:?}");
    }
}

fn model(graph: &str) -> String {
    format!("<ir_version: 8, opset_import: [\"\" : 13]> {graph}")
}

#[test]
fn a_small_product_behind_integers_is_one_of_them_and_nothing_is_restored_for_it() {
    let source = model(
        "g (float[N,64] x) => (float[N,8] y) <float[64,64] w = rand(1), float[64] b = rand(2), float[64,8] s = rand(3)> {
           m = Gemm(x, w, b)
           r = Relu(m)
           y = Gemm(r, s)
         }",
    );
    let expected = [("QGemm", 2), ("Gemm", 0), ("QuantizeLinear", 1), ("DequantizeLinear", 0)];
    assert_runs(&shrunk(&source, "quant8=static", Some("synthetic:4")), &expected);
}

#[test]
fn a_dynamic_product_is_one_kernel_and_takes_its_bias_in() {
    let source = model(
        "g (float[N,16,256] x) => (float[N,16,128] y) <float[256,128] w = rand(1), float[128] b = rand(2)> {
           p = MatMul(x, w)
           y = Add(p, b)
         }",
    );
    let expected =
        [("DynamicQuantizeMatMul", 1), ("MatMulInteger", 0), ("DynamicQuantizeLinear", 0), ("Add", 0), ("Mul", 0)];
    assert_runs(&shrunk(&source, "quant8=dynamic", None), &expected);
}

#[test]
fn a_dynamic_gemm_is_one_kernel_whatever_its_attributes() {
    for attributes in ["transB = 1", "transB = 1, alpha = 0.5, beta = 2.0", "alpha = -3.0"] {
        let shape = if attributes.contains("transB") { "128,256" } else { "256,128" };
        let source = model(&format!(
            "g (float[N,256] x) => (float[N,128] y) <float[{shape}] w = rand(1), float[128] b = rand(2)> {{
               y = Gemm<{attributes}>(x, w, b)
             }}"
        ));
        let expected = [("DynamicQuantizeMatMul", 1), ("Gemm", 0), ("Add", 0), ("Mul", 0)];
        assert_runs(&shrunk(&source, "quant8=dynamic", None), &expected);
    }
}

#[test]
fn several_dynamic_products_share_the_quantization_of_what_they_read() {
    let source = model(
        "g (float[N,256] x) => (float[N,128] q, float[N,128] k, float[N,128] v) <
           float[256,128] a = rand(1), float[256,128] b = rand(2), float[256,128] c = rand(3)
         > {
           q = MatMul(x, a)
           k = MatMul(x, b)
           v = Gemm<alpha = 2.0>(x, c)
         }",
    );
    let expected = [("DynamicQuantizeLinear", 1), ("MatMulIntegerToFloat", 3), ("MatMulInteger", 0), ("Mul", 0)];
    assert_runs(&shrunk(&source, "quant8=dynamic", None), &expected);
}

#[test]
fn outliers_leave_the_kernel_as_it_is() {
    let source = model(
        "g (float[128,128] x) => (float[128,128] y) <
           float[128] size = iota, float[128,128] w = rand(1), float[128] b = rand(2)
         > {
           power = Constant<value = float {8.0}>()
           spread = Pow(size, power)
           large = Mul(x, spread)
           p = MatMul(large, w)
           y = Add(p, b)
         }",
    );
    let expected = [("DynamicQuantizeMatMul", 1), ("MatMulInteger", 0), ("Gather", 1)];
    assert_runs(&shrunk(&source, "quant8=dynamic", Some("synthetic:2")), &expected);
}

#[test]
fn a_static_convolution_is_one_kernel_whatever_runtime_it_is_for() {
    let source = model(
        "g (float[1,32,12,12] x) => (float[1,32,10,10] y) <float[32,32,3,3] w = rand(1), float[32] b = rand(2)> {
           y = Conv(x, w, b)
         }",
    );
    for runtime in ["ort-x64", "ort-x64-avx2", "ort-arm64", "tensorrt", "openvino", "generic"] {
        let pipeline = format!("quant8=static:for={runtime}");
        let shrunk = shrunk(&source, &pipeline, Some("synthetic:2"));
        assert_runs(&shrunk, &[("QLinearConv", 1), ("Conv", 0), ("DequantizeLinear", 1)]);
    }
}

#[test]
fn relu_is_merged_where_zero_is_the_least_level() {
    let source = model(
        "g (float[1,32,12,12] x) => (float[1,32,8,8] y) <
           float[32,32,3,3] v = rand(1), float[32,32,3,3] w = rand(2), float[32] b = rand(3)
         > {
           c = Conv(x, v, b)
           r = Relu(c)
           y = Conv(r, w)
         }",
    );
    for runtime in ["ort-x64", "ort-x64-avx2", "ort-arm64", "openvino", "generic"] {
        let pipeline = format!("quant8=static:for={runtime}");
        assert_runs(&shrunk(&source, &pipeline, Some("synthetic:2")), &[("QLinearConv", 2), ("Relu", 0)]);
    }
}

#[test]
fn an_activation_behind_integers_is_one_kernel() {
    let net = |activation: &str| {
        model(&format!(
            "g (float[1,32,12,12] x) => (float[1,32,8,8] y) <
               float[32,32,3,3] v = rand(1), float[32,32,3,3] w = rand(2), float[32] b = rand(3)
             > {{
               c = Conv(x, v, b)
               {activation}
               y = Conv(r, w)
             }}"
        ))
    };
    let gelu = "root = Constant<value = float {1.4142135}>()
                one = Constant<value = float {1.0}>()
                half = Constant<value = float {0.5}>()
                d = Div(c, root)
                e = Erf(d)
                a = Add(e, one)
                m = Mul(c, a)
                r = Mul(m, half)";
    let silu = "s = Sigmoid(c)
                r = Mul(c, s)";
    for runtime in ["ort-x64", "ort-x64-avx2", "ort-arm64"] {
        // Simplified again, it stays so.
        let pipeline = format!("quant8=static:for={runtime},simplify");
        let shrunk = |source: &str| shrunk(source, &pipeline, Some("synthetic:2"));
        assert_runs(&shrunk(&net(gelu)), &[("QLinearConv", 2), ("Gelu", 1), ("Erf", 0), ("Mul", 0)]);
        assert_runs(&shrunk(&net(silu)), &[("QLinearConv", 2), ("QuickGelu", 1), ("Sigmoid", 0), ("Mul", 0)]);
    }
}
