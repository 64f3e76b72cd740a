//! Operators that the node tests lack (older forms, those of ONNX Runtime's own domain): tract agrees with ONNX Runtime
//! or is refused.

use onnx_shrink::ErrorKind;
use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::tract::Tract;
use onnx_shrink::backend::{Backend, ModelBytes};
use onnx_shrink::ir::{DType, Tensor};
use onnx_shrink::onnx::proto::{AttributeProto, OperatorSetIdProto, TensorProto};

use super::support::compare::{Tolerance, first_difference};
use super::support::models::{bytes, float, floats, int, int64s, ints, model, node, string, tensor, value};
use super::{ONE_THREAD, onnxruntime};

const TOLERANCE: Tolerance = Tolerance { relative: 1e-4, absolute: 1e-6 };

/// A model with one node that reads `x`, a float `[2, 3, 4, 6]`, and constants.
fn with_node(opset: i64, op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>) -> ModelBytes {
    let names: Vec<String> = constants.iter().map(|tensor| tensor.name().to_owned()).collect();
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    let mut model =
        model(opset, vec![node(op, &inputs, attributes)], vec![value("x", DType::F32, &[2, 3, 4, 6])], constants);
    // Operator sets up to 8 came with versions that had names for no optional types; 3 is read by all.
    model.ir_version = Some(if opset < 9 { 3 } else { 7 });
    bytes(&model)
}

enum Verdict {
    Agrees,
    Refused,
    Differs(String),
}

/// What tract makes of a model, beside ONNX Runtime.
fn judge(name: &str, model: &ModelBytes, shape: &[u64]) -> Verdict {
    let values: Vec<f32> = (0..144).map(|index| ((index * 29) % 83) as f32 / 20.0 - 2.0).collect();
    let inputs = [("x".to_owned(), Tensor::from_f32(shape, &values).unwrap())];
    let expected = match OnnxRuntime.load(model, &ONE_THREAD).and_then(|session| session.run(&inputs)) {
        Ok(expected) => expected,
        Err(error) => panic!("{name}: {error}"),
    };
    match Tract.load(model, &ONE_THREAD).and_then(|session| session.run(&inputs)) {
        Ok(found) => first_difference(&found, &expected, TOLERANCE).map_or(Verdict::Agrees, Verdict::Differs),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
            println!("{name} is refused: {}", error.to_string().replace('\n', " "));
            Verdict::Refused
        }
    }
}

#[test]
fn operators_of_onnxruntime_agree() {
    if onnxruntime(&super::relu_add(), &ONE_THREAD).is_none() {
        return;
    }
    let six = |name: &str| floats(name, &[6], &[0.5, -1.0, 0.25, 2.0, -0.75, 1.5]);
    let cases = [
        ("BiasGelu", vec![six("b")], vec![]),
        ("FastGelu", vec![], vec![]),
        ("FastGelu", vec![six("b")], vec![]),
        ("QuickGelu", vec![], vec![]),
        ("QuickGelu", vec![], vec![float("alpha", 1.1)]),
        ("SkipLayerNormalization", vec![six("g")], vec![]),
        ("SkipLayerNormalization", vec![six("g"), six("beta")], vec![float("epsilon", 0.01)]),
        ("SkipLayerNormalization", vec![six("g"), six("beta"), six("bias")], vec![]),
    ];
    for (op, constants, attributes) in cases {
        let names: Vec<String> = constants.iter().map(|tensor| tensor.name().to_owned()).collect();
        let skip = if op.starts_with("Skip") { vec!["x", "x"] } else { vec!["x"] };
        let inputs: Vec<&str> = skip.into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut contributed = node(op, &inputs, attributes);
        contributed.domain = Some("com.microsoft".into());
        let mut model = model(17, vec![contributed], vec![value("x", DType::F32, &[4, 6, 6])], constants);
        let domain = OperatorSetIdProto { domain: Some("com.microsoft".into()), version: Some(1) };
        model.opset_import.push(domain);
        match judge(op, &bytes(&model), &[4, 6, 6]) {
            Verdict::Agrees => {}
            Verdict::Refused => panic!("{op} is refused"),
            Verdict::Differs(how) => panic!("{op}: {how}"),
        }
    }
}

/// A pair of operators with a zero point of that type around `x`.
fn pair(zero: TensorProto) -> ModelBytes {
    let constants = vec![floats("scale", &[], &[0.000_061]), zero];
    let mut quantize = node("QuantizeLinear", &["x", "scale", "zero"], vec![]);
    let mut restore = node("DequantizeLinear", &["q", "scale", "zero"], vec![]);
    restore.output.clone_from(&quantize.output);
    quantize.output = vec!["q".to_owned()];
    let mut model = model(21, vec![quantize, restore], vec![value("x", DType::F32, &[2, 3, 4, 6])], constants);
    model.ir_version = Some(10);
    bytes(&model)
}

#[test]
fn pairs_of_16_bits_are_computed_in_floats() {
    if onnxruntime(&super::relu_add(), &ONE_THREAD).is_none() {
        return;
    }
    let zeros = [
        ("uint16", tensor("zero", DType::U16, &[], 30_000u16.to_le_bytes().to_vec())),
        ("int16", tensor("zero", DType::I16, &[], (-7_000i16).to_le_bytes().to_vec())),
    ];
    for (name, zero) in zeros {
        match judge(name, &pair(zero), &[2, 3, 4, 6]) {
            Verdict::Agrees => {}
            Verdict::Refused => panic!("{name} is refused"),
            Verdict::Differs(how) => panic!("{name}: {how}"),
        }
    }
}

#[test]
fn old_forms_agree_or_are_refused() {
    if onnxruntime(&super::relu_add(), &ONE_THREAD).is_none() {
        return;
    }
    let mut cases: Vec<(String, ModelBytes)> = Vec::new();
    let mut case = |opset: i64, op: &str, constants: Vec<TensorProto>, attributes: Vec<AttributeProto>| {
        let name = format!("case {}, {op} of operator set {opset}", cases.len());
        cases.push((name, with_node(opset, op, constants, attributes)));
    };
    for op in ["Softmax", "LogSoftmax", "Hardmax"] {
        for opset in [8, 11, 12] {
            case(opset, op, vec![], vec![]);
            case(opset, op, vec![], vec![int("axis", 2)]);
            case(opset, op, vec![], vec![int("axis", 3)]);
        }
        case(11, op, vec![], vec![int("axis", -1)]);
    }
    case(8, "Clip", vec![], vec![float("min", -0.5), float("max", 1.0)]);
    case(10, "Clip", vec![], vec![float("max", 1.0)]);
    case(11, "Clip", vec![floats("low", &[], &[-0.5]), floats("high", &[], &[1.0])], vec![]);
    for mode in ["constant", "reflect", "edge"] {
        let pads = || ints("pads", &[0, 0, 1, 2, 0, 1, 0, 1]);
        let pads_reflect = || ints("pads", &[0, 0, 1, 2, 0, 0, 0, 1]);
        let chosen = if mode == "constant" { pads() } else { pads_reflect() };
        case(10, "Pad", vec![], vec![chosen, string("mode", mode), float("value", 3.0)]);
        let pads = int64s("pads", &[8], &[0, 0, 1, 2, 0, 0, 0, 1]);
        case(11, "Pad", vec![pads], vec![string("mode", mode)]);
    }
    case(9, "Slice", vec![], vec![ints("axes", &[1, 3]), ints("starts", &[1, -4]), ints("ends", &[3, 1000])]);
    case(9, "Slice", vec![], vec![ints("starts", &[0, 1]), ints("ends", &[1, -1])]);
    let slice = |steps: &[i64]| {
        let parts = [("s", [3, 5]), ("e", [-1000, 0]), ("a", [2, 3])].map(|(name, values)| int64s(name, &[2], &values));
        [parts.to_vec(), vec![int64s("t", &[2], steps)]].concat()
    };
    case(10, "Slice", slice(&[-1, -2]), vec![]);
    for scale in [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 0.5, 0.5], [1.0, 1.0, 1.5, 1.25]] {
        for mode in ["nearest", "linear"] {
            case(10, "Resize", vec![floats("scales", &[4], &scale)], vec![string("mode", mode)]);
            for transform in ["half_pixel", "asymmetric", "pytorch_half_pixel"] {
                for nearest in ["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"] {
                    if mode == "linear" && nearest != "floor" {
                        continue;
                    }
                    let attributes = vec![
                        string("mode", mode),
                        string("coordinate_transformation_mode", transform),
                        string("nearest_mode", nearest),
                    ];
                    let constants = vec![floats("roi", &[0], &[]), floats("scales", &[4], &scale)];
                    case(11, "Resize", constants, attributes);
                }
            }
        }
    }
    case(9, "Upsample", vec![floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0])], vec![]);
    case(11, "Unsqueeze", vec![], vec![ints("axes", &[0, 3])]);
    case(11, "ReduceSum", vec![], vec![ints("axes", &[1, -1]), int("keepdims", 0)]);
    for op in ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"] {
        case(11, op, vec![], vec![ints("axes", &[2, 3])]);
        case(13, op, vec![], vec![]);
    }
    for op in ["ArgMax", "ArgMin"] {
        case(11, op, vec![], vec![int("axis", -1), int("keepdims", 0)]);
    }
    for op in ["MaxPool", "AveragePool"] {
        for opset in [8, 10, 11] {
            let kernel = || ints("kernel_shape", &[3, 2]);
            case(opset, op, vec![], vec![kernel(), ints("strides", &[2, 2]), ints("pads", &[1, 0, 1, 1])]);
            case(opset, op, vec![], vec![kernel(), ints("strides", &[2, 2]), string("auto_pad", "SAME_UPPER")]);
            case(opset, op, vec![], vec![kernel(), ints("strides", &[2, 2]), string("auto_pad", "SAME_LOWER")]);
            if opset >= 10 {
                case(opset, op, vec![], vec![kernel(), ints("strides", &[2, 3]), int("ceil_mode", 1)]);
                let pads = ints("pads", &[1, 1, 1, 1]);
                case(opset, op, vec![], vec![kernel(), ints("strides", &[2, 3]), pads, int("ceil_mode", 1)]);
            }
        }
    }
    let kernel = || vec![floats("w", &[3, 1, 3, 3], &[0.3, -0.2, 0.5, 0.1, 0.9, -0.4, 0.7, 0.2, -0.6].repeat(3))];
    for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let attributes = || vec![string("auto_pad", auto_pad), ints("strides", &[2, 2]), int("group", 3)];
        case(11, "Conv", kernel(), attributes());
        case(11, "ConvTranspose", kernel(), attributes());
    }
    case(11, "Conv", kernel(), vec![ints("dilations", &[1, 2]), ints("pads", &[2, 1, 0, 3]), int("group", 3)]);
    let transposed = vec![ints("strides", &[2, 3]), ints("output_padding", &[1, 1]), ints("pads", &[1, 0, 0, 1])];
    case(11, "ConvTranspose", kernel(), [transposed, vec![int("group", 3)]].concat());
    let channels = |name: &str, base: f32| floats(name, &[3], &[base, base + 0.5, base + 1.0]);
    let normal = vec![channels("s", 1.0), channels("b", -1.0), channels("m", 0.2), channels("v", 0.5)];
    case(9, "BatchNormalization", normal.clone(), vec![float("epsilon", 0.01)]);
    case(7, "BatchNormalization", normal, vec![]);
    case(7, "InstanceNormalization", vec![channels("s", 1.0), channels("b", -1.0)], vec![]);
    case(7, "LRN", vec![], vec![int("size", 3), float("alpha", 0.3)]);
    case(11, "CumSum", vec![int64s("a", &[], &[1])], vec![int("exclusive", 1), int("reverse", 1)]);
    case(9, "Flatten", vec![], vec![int("axis", 2)]);
    case(11, "Flatten", vec![], vec![int("axis", -1)]);
    case(9, "Cast", vec![], vec![int("to", 7)]);
    case(9, "Cast", vec![], vec![int("to", 3)]);
    case(9, "PRelu", vec![floats("slope", &[3, 1, 1], &[0.1, 0.2, 0.3])], vec![]);
    case(9, "PRelu", vec![floats("slope", &[1], &[0.1])], vec![]);
    case(11, "DepthToSpace", vec![], vec![int("blocksize", 1)]);
    case(9, "Transpose", vec![], vec![]);
    case(11, "Gather", vec![int64s("i", &[2, 2], &[0, -1, 1, 2])], vec![int("axis", 1)]);
    case(13, "Squeeze", vec![], vec![]);

    let (mut agree, mut refused, mut wrong) = (0, 0, Vec::new());
    for (name, model) in &cases {
        match judge(name, model, &[2, 3, 4, 6]) {
            Verdict::Agrees => agree += 1,
            Verdict::Refused => refused += 1,
            Verdict::Differs(how) => wrong.push(format!("{name}: {how}")),
        }
    }
    println!("old forms: {agree} agree, {refused} refused, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(agree > 100, "the gate refuses too much: {agree} run");
}
