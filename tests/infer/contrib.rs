//! Operators of `com.microsoft`: what ONNX Runtime returns has the types and shapes that are inferred for it.

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::infer::{self, Fact, SymExpr};
use onnx_shrink::ir::text;
use onnx_shrink::onnx::{self, EncodeOptions};

use crate::support::corpus;

/// Inputs, initializers and one operator; every output of the operator is compared.
struct Case {
    inputs: &'static str,
    constants: &'static str,
    outputs: &'static str,
    call: &'static str,
}

const fn case(inputs: &'static str, constants: &'static str, outputs: &'static str, call: &'static str) -> Case {
    Case { inputs, constants, outputs, call }
}

const U8: &str = "float s = {0.05}, uint8 z = {128}, float t = {0.1}, uint8 u = {100}";
const CONV: &str = "float s = {0.05}, uint8 z = {128}, float t = {0.1}, uint8 u = {100}, \
                    uint8[4,3,3,3] w = rand(1), float v = {0.02}, int32[4] b = rand(2)";
const LSTM: &str = "uint8[1,5,16] w = rand(1), uint8[1,4,16] r = rand(2), float[1] ws = {0.01}, uint8[1] wz = {128}, \
                    float[1] rs = {0.01}, uint8[1] rz = {128}, float[1,32] b = rand(3)";
const NORM: &str = "float[8] g = rand(1), float[8] b = rand(2), float[8] c = rand(3)";

const CASES: &[Case] = &[
    // Quantized arithmetic.
    case(
        "uint8[2,3,9,8] x",
        CONV,
        "uint8[] y",
        "QLinearConv<strides = [2, 1], pads = [1, 1, 1, 1]>(x, s, z, w, v, z, t, u, b)",
    ),
    case(
        "uint8[2,3,9,8] x",
        CONV,
        "uint8[] y",
        "QLinearConv<strides = [2, 2], auto_pad = \"SAME_UPPER\">(x, s, z, w, v, z, t, u)",
    ),
    case("uint8[2,3,4] x, uint8[3,1] k", U8, "uint8[] y", "QLinearAdd(x, s, z, k, t, u, s, u)"),
    case("uint8[4] x, uint8[2,3,1] k", U8, "uint8[] y", "QLinearMul(x, s, z, k, t, u, s, u)"),
    case("uint8[2,3] x", U8, "uint8[] y", "QLinearSigmoid(x, s, z, t, u)"),
    case("uint8[2,3] x", U8, "uint8[] y", "QLinearLeakyRelu<alpha = 0.1>(x, s, z, t, u)"),
    case("uint8[2,3] x", U8, "uint8[] y", "QLinearSoftmax<axis = 1, opset = 13>(x, s, z, t, u)"),
    case("uint8[2,3,4] x, uint8[2,1,4] k", U8, "uint8[] y", "QLinearConcat<axis = -2>(s, z, x, s, z, k, t, u)"),
    case(
        "uint8[1,3,7,7] x",
        U8,
        "uint8[] y",
        "QLinearAveragePool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x, s, z, t, u)",
    ),
    case(
        "uint8[1,3,7,7] x",
        U8,
        "uint8[] y",
        "QLinearAveragePool<kernel_shape = [3, 2], pads = [1, 0, 1, 0]>(x, s, z, t, u)",
    ),
    case("uint8[2,3,7,7] x", U8, "uint8[] y", "QLinearGlobalAveragePool<channels_last = 0>(x, s, z, t, u)"),
    case("bool[2,1] c, uint8[3] x, uint8[2,3] k", U8, "uint8[] y", "QLinearWhere(c, x, s, z, k, t, u, s, z)"),
    case(
        "uint8[2,5] x",
        "uint8[3,5] w = rand(1), float s = {0.05}, uint8 z = {128}",
        "uint8[] y",
        "QGemm<transB = 1>(x, s, z, w, s, z, \"\", s, z)",
    ),
    case(
        "uint8[5,2] x",
        "uint8[5,3] w = rand(1), float s = {0.05}, uint8 z = {128}",
        "float[] y",
        "QGemm<transA = 1>(x, s, z, w, s, z)",
    ),
    case(
        "uint8[2,4,5] x",
        "uint8[5,3] w = rand(1), float s = {0.05}, uint8 z = {128}, float[3] b = rand(2)",
        "float[] y",
        "MatMulIntegerToFloat(x, w, s, s, z, z, b)",
    ),
    case(
        "float[2,4,5] x",
        "uint8[5,3] w = rand(1), float s = {0.05}, uint8 z = {128}",
        "float[] y",
        "DynamicQuantizeMatMul(x, w, s, z)",
    ),
    case("float[2,4,5] x", "uint8 z = {128}, float s = {0.1}", "uint8[] y", "QuantizeLinear(x, s, z)"),
    case("uint8[2,4,5] x", "uint8 z = {128}, float s = {0.1}", "float[] y", "DequantizeLinear(x, s, z)"),
    case(
        "float[2,3,32] x",
        "uint8[7,2,8] w = rand(1), float[14] s = rand(2)",
        "float[] y",
        "MatMulNBits<K = 32, N = 7, bits = 4, block_size = 16>(x, w, s)",
    ),
    case(
        "float[2,32] x",
        "uint8[7,1,16] w = rand(1), float[7] s = rand(2), uint8[7] z = rand(3)",
        "float[] y",
        "MatMulNBits<K = 32, N = 7, bits = 4, block_size = 32>(x, w, s, z)",
    ),
    case(
        "float[6,2,5] x",
        LSTM,
        "float[] y, float[] h, float[] c",
        "DynamicQuantizeLSTM<hidden_size = 4>(x, w, r, b, \"\", \"\", \"\", \"\", ws, wz, rs, rz)",
    ),
    // Fused arithmetic.
    case(
        "float[1,3,9,8] x",
        "float[4,3,3,3] w = rand(1), float[4] b = rand(2)",
        "float[] y",
        "FusedConv<activation = \"Relu\", strides = [2, 2]>(x, w, b)",
    ),
    case(
        "float[1,3,9,8] x, float[1,4,7,6] k",
        "float[4,3,3,3] w = rand(1), float[4] b = rand(2)",
        "float[] y",
        "FusedConv<activation = \"Relu\">(x, w, b, k)",
    ),
    case("float[2,3,4] x, float[2,5,4] k", "", "float[] y", "FusedMatMul<transB = 1, alpha = 0.5>(x, k)"),
    case("float[4,3] x, float[7,4,5] k", "", "float[] y", "FusedMatMul<transA = 1>(x, k)"),
    case("float[4] x, float[7,4,5] k", "", "float[] y", "FusedMatMul(x, k)"),
    case("float[2,3,4] x, float[2,4,5] k", "", "float[] y", "FusedMatMul<transBatchA = 0>(x, k)"),
    case(
        "float[4,3] x, float[5,4] k, float[5] b",
        "",
        "float[] y",
        "FusedGemm<activation = \"Relu\", transA = 1, transB = 1>(x, k, b)",
    ),
    case("float[4,3] x, float[5,3] k", "", "float[] y", "CDist<metric = \"sqeuclidean\">(x, k)"),
    case("float[2,3,3] x", "", "float[] y", "Inverse(x)"),
    // Activations and normalisations.
    case("float[2,3,8] x", "", "float[] y", "Gelu(x)"),
    case("float[2,3,8] x", NORM, "float[] y", "FastGelu(x, b)"),
    case("float[2,3,8] x", NORM, "float[] y", "BiasGelu(x, b)"),
    case("float[2,3,8] x", "", "float[] y", "QuickGelu<alpha = 1.5>(x)"),
    case(
        "float[2,3,8] x, float[2,3,8] k",
        NORM,
        "float[] y, float[] a, float[] v, float[] sum",
        "SkipLayerNormalization<epsilon = 0.001>(x, k, g, b, c)",
    ),
    case("float[2,3,8] x, float[2,3,8] k", NORM, "float[] y", "SkipLayerNormalization(x, k, g)"),
    case(
        "float[2,3,8] x, float[2,3,8] k",
        NORM,
        "float[] y, float[] a, float[] v, float[] sum",
        "SkipSimplifiedLayerNormalization(x, k, g)",
    ),
    // Attention.
    case(
        "float[2,3,8] x",
        "float[8,24] w = rand(1), float[24] b = rand(2)",
        "float[] y",
        "Attention<num_heads = 2>(x, w, b)",
    ),
    case(
        "float[2,3,8] x",
        "float[8,20] w = rand(1), float[20] b = rand(2)",
        "float[] y",
        "Attention<num_heads = 2, qkv_hidden_sizes = [8, 8, 4]>(x, w, b)",
    ),
    case(
        "float[2,3,8] x, float[2,5,8] k, float[2,5,6] v",
        "",
        "float[] y",
        "MultiHeadAttention<num_heads = 2>(x, k, v)",
    ),
    case(
        "float[2,3,8] x, float[2,2,5,4] k, float[2,2,5,4] v",
        "",
        "float[] y",
        "MultiHeadAttention<num_heads = 2>(x, k, v)",
    ),
];

#[test]
fn results_are_as_inferred() {
    let mut failures = Vec::new();
    let mut judged = 0;
    for case in CASES {
        match judge(case) {
            Ok(found) => {
                judged += 1;
                failures.extend(found.into_iter().map(|what| format!("{}: {what}", case.call)));
            }
            Err(error) if error.contains("not installed") => return corpus::skip("ONNX Runtime is not installed"),
            Err(error) => failures.push(format!("{}: {error}", case.call)),
        }
    }
    println!("{judged} of {} models compared", CASES.len());
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// What is not as inferred.
fn judge(case: &Case) -> Result<Vec<String>, String> {
    let names: Vec<&str> = case.outputs.split(", ").filter_map(|output| output.split(' ').nth(1)).collect();
    let constants = if case.constants.is_empty() { String::new() } else { format!("<{}>", case.constants) };
    let body = format!(
        "<ir_version: 8, opset_import: [\"\" : 17, \"com.microsoft\" : 1]>\ng ({}) => ({}) {constants} {{\n  {} = com.microsoft.{}\n}}",
        case.inputs,
        case.outputs,
        names.join(", "),
        case.call
    );
    let model = text::parse(&body).map_err(|e| e.to_string())?;
    let inference = infer::infer(&model).map_err(|e| e.to_string())?;
    let bytes = onnx::encode(&model, &EncodeOptions::default()).map_err(|e| e.to_string())?.to_bytes();
    let options = LoadOptions { taps: Vec::new(), threads: 1, ..LoadOptions::default() };
    let session = backend::load(BackendChoice::OnnxRuntime, &ModelBytes::new(bytes, None), &options);
    let session = session.map_err(|e| e.to_string())?;
    let (signature, hints) = (model.signature(), Hints::default());
    let data = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None };
    let inputs = data::open("synthetic:1", &data).and_then(|samples| samples.get(0)).map_err(|e| e.to_string())?;
    let mut wrong = Vec::new();
    for (name, tensor) in session.run(&inputs).map_err(|e| e.to_string())? {
        let value = model.graph.find_value(&name).ok_or("no such output")?;
        let fact = inference.main().get(value).cloned().unwrap_or_default();
        if !agrees(&fact, tensor.dtype(), tensor.shape()) {
            wrong.push(format!("`{name}` is {}, inferred {}", tensor.type_text(), fact.to_type()));
        }
    }
    Ok(wrong)
}

fn agrees(fact: &Fact, dtype: onnx_shrink::ir::DType, seen: &[u64]) -> bool {
    let Some(shape) = &fact.shape else { return false };
    let extents = shape.iter().map(|extent| extent.as_ref().and_then(SymExpr::as_int));
    fact.dtype == Some(dtype) && extents.eq(seen.iter().map(|&extent| Some(extent as i64)))
}
