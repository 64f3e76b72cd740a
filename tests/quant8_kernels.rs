//! Every operator that `quant8=static` puts QuantizeLinear and DequantizeLinear around is computed in integers by ONNX
//! Runtime: read from the graph that it makes of the result. Skipped, and said so, without Python's `onnxruntime`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by a panic")]

mod support;

use std::path::Path;
use std::process::Command;

use onnx_shrink::backend::BackendChoice;
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::ir::{Model, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Env, Opts, Scratch};
use onnx_shrink::passes;
use support::python;

/// A graph, and the operators that ONNX Runtime must make of it: besides movers and activation functions in integers
/// there may be no others.
struct Case {
    name: &'static str,
    graph: &'static str,
    runs: &'static [&'static str],
}

/// What carries values into and out of the integers, and layouts.
const AROUND: &[&str] = &["QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape"];

const CASES: &[Case] = &[
    Case {
        name: "conv",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <float[8,8,3,3] w = rand(1), float[8] b = rand(2)> {
          y = Conv(x, w, b)
        }",
        runs: &["QLinearConv"],
    },
    Case {
        name: "conv_relu",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <float[8,8,3,3] w = rand(1), float[8] b = rand(2)> {
          c = Conv(x, w, b)
          y = Relu(c)
        }",
        runs: &["QLinearConv"],
    },
    Case {
        name: "conv_clip",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <
          float[8,8,3,3] w = rand(1), float lo = {0}, float hi = {0.5}
        > {
          c = Conv(x, w)
          y = Clip(c, lo, hi)
        }",
        runs: &["QLinearConv"],
    },
    Case {
        name: "depthwise_conv",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <float[8,1,3,3] w = rand(1), float[8] b = rand(2)> {
          y = Conv<group = 8>(x, w, b)
        }",
        runs: &["QLinearConv"],
    },
    Case {
        name: "conv_1d",
        graph: "g (float[1,8,9] x) => (float[1,8,7] y) <float[8,8,3] w = rand(1), float[8] b = rand(2)> {
          y = Conv(x, w, b)
        }",
        runs: &["QLinearConv"],
    },
    Case {
        name: "gemm",
        graph: "g (float[4,64] x) => (float[4,64] y) <float[64,64] w = rand(1), float[64] b = rand(2)> {
          y = Gemm(x, w, b)
        }",
        runs: &["QGemm"],
    },
    Case {
        name: "gemm_transposed_relu",
        graph: "g (float[4,64] x) => (float[4,64] y) <
          float[64,64] w = rand(1), float[64] b = rand(2), float[64,64] v = rand(3), float[64] d = rand(4)
        > {
          h = Gemm<transB = 1>(x, w, b)
          r = Relu(h)
          y = Gemm<transB = 1>(r, v, d)
        }",
        runs: &["QGemm", "QGemm"],
    },
    Case {
        name: "matmul",
        graph: "g (float[2,4,64] x) => (float[2,4,64] y) <float[64,64] w = rand(1)> {
          y = MatMul(x, w)
        }",
        runs: &["MatMulIntegerToFloat"],
    },
    Case {
        name: "add",
        graph: "g (float[1,8,9,9] x) => (float[1,8,9,9] y) <
          float[8,8,3,3] w1 = rand(1), float[8,8,3,3] w2 = rand(2), float[8,8,3,3] w3 = rand(3)
        > {
          a = Conv<pads = [1, 1, 1, 1]>(x, w1)
          b = Conv<pads = [1, 1, 1, 1]>(a, w2)
          s = Add(a, b)
          r = Relu(s)
          y = Conv<pads = [1, 1, 1, 1]>(r, w3)
        }",
        runs: &["QLinearConv", "QLinearConv", "QLinearAdd", "QLinearConv"],
    },
    Case {
        name: "global_average_pool",
        graph: "g (float[1,8,9,9] x) => (float[1,8,1,1] y) <float[8,8,3,3] w = rand(1), float[8,8,1,1] v = rand(2)> {
          c = Conv(x, w)
          p = GlobalAveragePool(c)
          y = Conv(p, v)
        }",
        runs: &["QLinearConv", "QLinearGlobalAveragePool", "QLinearConv"],
    },
    Case {
        name: "max_pool",
        graph: "g (float[1,8,9,9] x) => (float[1,8,5,5] y) <float[8,8,3,3] w = rand(1), float[8,8,1,1] v = rand(2)> {
          c = Conv(x, w)
          p = MaxPool<kernel_shape = [3, 3]>(c)
          y = Conv(p, v)
        }",
        runs: &["QLinearConv", "NhwcMaxPool", "QLinearConv"],
    },
    Case {
        name: "concat",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <
          float[8,8,3,3] w1 = rand(1), float[8,8,3,3] w2 = rand(2), float[8,16,1,1] v = rand(3)
        > {
          a = Conv(x, w1)
          b = Conv(x, w2)
          j = Concat<axis = 1>(a, b)
          y = Conv(j, v)
        }",
        runs: &["QLinearConv", "QLinearConv", "QLinearConcat", "QLinearConv"],
    },
    Case {
        name: "resize",
        graph: "g (float[1,8,9,9] x) => (float[1,8,14,14] y) <
          float[8,8,3,3] w = rand(1), float[8,8,1,1] v = rand(2), float[4] s = {1, 1, 2, 2}
        > {
          c = Conv(x, w)
          r = Resize<mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\">(c, , s)
          y = Conv(r, v)
        }",
        runs: &["QLinearConv", "Resize", "QLinearConv"],
    },
    Case {
        name: "split",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y, float[1,8,7,7] z) <
          float[8,8,3,3] w = rand(1), float[8,4,1,1] v1 = rand(2), float[8,4,1,1] v2 = rand(3), int64[2] n = {4, 4}
        > {
          c = Conv(x, w)
          a, b = Split<axis = 1>(c, n)
          y = Conv(a, v1)
          z = Conv(b, v2)
        }",
        runs: &["QLinearConv", "Split", "QLinearConv", "QLinearConv"],
    },
    Case {
        name: "slice",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <
          float[8,8,3,3] w = rand(1), float[8,4,1,1] v = rand(2), int64[1] s = {2}, int64[1] e = {6}, int64[1] a = {1}
        > {
          c = Conv(x, w)
          p = Slice(c, s, e, a)
          y = Conv(p, v)
        }",
        runs: &["QLinearConv", "Slice", "QLinearConv"],
    },
    Case {
        name: "reshape_transpose",
        graph: "g (float[1,8,9,9] x) => (float[1,49,64] y) <
          float[64,8,3,3] w = rand(1), float[64,64] v = rand(2), int64[3] s = {1, 64, 49}
        > {
          c = Conv(x, w)
          r = Reshape(c, s)
          t = Transpose<perm = [0, 2, 1]>(r)
          y = MatMul(t, v)
        }",
        runs: &["QLinearConv", "MatMulIntegerToFloat"],
    },
    Case {
        name: "flatten",
        graph: "g (float[2,8,3,3] x) => (float[2,512] y) <
          float[8,8,3,3] w = rand(1), float[8,512] v = rand(2), float[512] b = rand(3)
        > {
          c = Conv(x, w)
          f = Flatten(c)
          y = Gemm(f, v, b)
        }",
        runs: &["QLinearConv", "Flatten", "QGemm"],
    },
    Case {
        name: "squeeze_unsqueeze",
        graph: "g (float[1,8,1,9] x) => (float[1,8,1,5] y) <
          float[8,8,1,3] w = rand(1), float[8,8,1] v = rand(2), float[8,8,1,3] u = rand(3), int64[1] a = {2}
        > {
          c = Conv(x, w)
          s = Squeeze(c, a)
          d = Conv(s, v)
          t = Unsqueeze(d, a)
          y = Conv(t, u)
        }",
        runs: &["QLinearConv", "Squeeze", "QLinearConv", "Unsqueeze", "QLinearConv"],
    },
    Case {
        name: "gather",
        graph: "g (float[1,8,9,9] x) => (float[1,8,7,7] y) <
          float[8,8,3,3] w = rand(1), float[8,4,1,1] v = rand(2), int64[4] i = {1, 3, 4, 7}
        > {
          c = Conv(x, w)
          p = Gather<axis = 1>(c, i)
          y = Conv(p, v)
        }",
        runs: &["QLinearConv", "Gather", "QLinearConv"],
    },
];

fn quantized(case: &Case) -> Model {
    let source = format!("<ir_version: 8, opset_import: [\"\" : 13]> {}", case.graph);
    let mut model = text::parse(&source).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let signature = model.signature();
    let hints = Hints::default();
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let calibration = data::open("synthetic:2", &options).unwrap();
    let scratch = Scratch::in_memory();
    let env = Env { calibration: Some(&*calibration), backend: BackendChoice::Tract, ..Env::plain(&scratch) };
    let info = passes::find("quant8").unwrap();
    let args: Vec<_> =
        [("mode", "static"), ("outliers", "0")].map(|(key, value)| (Some(key.to_owned()), value.to_owned())).into();
    let mut pass = (info.build)(&Opts::new(info, &args).unwrap()).unwrap();
    assert_eq!(pass.run(&mut model, &mut Cx::new(&env, info.name)).unwrap(), Changed::Yes, "{}", case.name);
    model
}

#[test]
fn onnx_runtime_computes_in_integers_what_is_quantized() {
    if !python::has("onnxruntime, onnx") {
        println!("skipped: Python has no onnxruntime and onnx");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = CASES
        .iter()
        .map(|case| {
            let path = folder.path().join(format!("{}.onnx", case.name));
            let bytes = onnx::encode(&quantized(case), &EncodeOptions::default()).unwrap().to_bytes();
            std::fs::write(&path, &bytes).unwrap();
            path
        })
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fused.py");
    let output = Command::new(python::interpreter()).arg(script).args(&paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut complaints = Vec::new();
    assert_eq!(printed.lines().count(), CASES.len());
    for (case, line) in CASES.iter().zip(printed.lines()) {
        let mut others: Vec<&str> = line.split(' ').filter(|op| !AROUND.contains(op)).collect();
        let missing: Vec<&&str> = case
            .runs
            .iter()
            .filter(|wanted| match others.iter().position(|op| op == *wanted) {
                Some(place) => {
                    others.remove(place);
                    false
                }
                None => true,
            })
            .collect();
        let carried = |op: &str| line.split(' ').filter(|&one| one == op).count();
        if !missing.is_empty() || !others.is_empty() || carried("QuantizeLinear") != 1 {
            complaints.push(format!("{}: without {missing:?}, with {others:?}: {line}", case.name));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
