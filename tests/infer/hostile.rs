//! Models that are built to hurt: extents that overflow, bodies that multiply.

use onnx_shrink::infer::{self, Fact};
use onnx_shrink::ir::DType;
use onnx_shrink::onnx;
use onnx_shrink::onnx::proto::{AttributeProto, ModelProto};
use prost::Message;

use crate::support::models::{int, int64s, ints, model, node, value};

fn infer_model(model: &ModelProto) -> Fact {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), model.encode_to_vec()).unwrap();
    let model = onnx::read(file.path()).unwrap();
    let inference = infer::infer(&model).unwrap();
    let output = model.graph.outputs().next().unwrap();
    inference.main().get(output).cloned().unwrap_or_default()
}

const EXTREMES: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];

#[test]
fn extreme_attributes_overflow_nothing() {
    for a in EXTREMES {
        for b in EXTREMES {
            let cases: Vec<(&str, Vec<AttributeProto>)> = vec![
                ("MaxPool", vec![ints("kernel_shape", &[a, b]), ints("strides", &[b, a]), int("ceil_mode", 1)]),
                ("Conv", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[a, b, b, a]), ints("dilations", &[a, b])]),
                ("ConvTranspose", vec![ints("strides", &[a, b]), ints("output_padding", &[b, a])]),
                ("ConvTranspose", vec![ints("output_shape", &[a, b]), int("group", a)]),
                ("Flatten", vec![int("axis", a)]),
                ("Transpose", vec![ints("perm", &[a, b, 0, 1])]),
                ("Squeeze", vec![ints("axes", &[a, b])]),
                ("Unsqueeze", vec![ints("axes", &[a, b])]),
                ("Slice", vec![ints("starts", &[a, b]), ints("ends", &[b, a])]),
                ("Split", vec![ints("split", &[a, b]), int("axis", b)]),
                ("Pad", vec![ints("pads", &[a, b, a, b, b, a, b, a])]),
                ("DepthToSpace", vec![int("blocksize", a)]),
                ("SpaceToDepth", vec![int("blocksize", b)]),
                ("Concat", vec![int("axis", a)]),
                ("Gather", vec![int("axis", a)]),
                ("ReduceSum", vec![ints("axes", &[a, b])]),
                ("TopK", vec![int("k", a), int("axis", b)]),
                ("ArgMax", vec![int("axis", a)]),
                ("LSTM", vec![int("hidden_size", a)]),
            ];
            for (op, attributes) in cases {
                let inputs =
                    vec![value("x", DType::F32, &[1, 3, i64::MAX / 2, 7]), value("w", DType::F32, &[4, 3, 3, 3])];
                infer_model(&model(9, vec![node(op, &["x", "w"], attributes)], inputs, vec![]));
            }
        }
    }
}

#[test]
fn extreme_contents_overflow_nothing() {
    for a in EXTREMES {
        for b in EXTREMES {
            for op in [
                "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Less", "Range", "Slice", "Reshape", "Expand", "Tile",
                "Pad",
            ] {
                let constants = vec![int64s("a", &[], &[a]), int64s("b", &[1], &[b]), int64s("c", &[2], &[a, b])];
                let inputs: &[&str] = match op {
                    "Slice" => &["c", "b", "b", "z", "b"],
                    "Reshape" | "Expand" | "Tile" | "Pad" => &["c", "c"],
                    "Range" => &["a", "b", "a"],
                    _ => &["a", "b"],
                };
                let constants = constants.into_iter().chain([int64s("z", &[1], &[0])]).collect();
                infer_model(&model(13, vec![node(op, inputs, vec![])], vec![], constants));
            }
        }
    }
}

#[test]
fn repeated_squares_stay_small() {
    // Each step squares the size of the expression; each operator keeps that bounded.
    let mut nodes = vec![node("Shape", &["x"], vec![])];
    for step in 0..60 {
        let name = if step == 0 { "y".to_owned() } else { format!("t{step}") };
        let mut square = node("Mul", &[&name, &name], vec![]);
        square.output = vec![format!("s{step}")];
        let mut more = node("Add", &[&format!("s{step}"), "one"], vec![]);
        more.output = vec![format!("t{}", step + 1)];
        nodes.extend([square, more]);
    }
    let mut wanted = model(13, nodes, vec![value("x", DType::F32, &[3, 4])], vec![int64s("one", &[1], &[1])]);
    let graph = wanted.graph.as_mut().unwrap();
    graph.output[0].name = Some("t60".into());
    let dim = |name: &str| onnx::proto::tensor_shape_proto::Dimension {
        value: Some(onnx::proto::tensor_shape_proto::dimension::Value::DimParam(name.into())),
        ..Default::default()
    };
    if let Some(onnx::proto::type_proto::Value::TensorType(tensor)) =
        graph.input[0].r#type.as_mut().and_then(|ty| ty.value.as_mut())
    {
        tensor.shape.as_mut().unwrap().dim = vec![dim("N"), dim("M")];
    }
    let fact = infer_model(&wanted);
    assert_eq!(fact.shape, Some(vec![Some(2.into())]));
    assert!(fact.contents.is_none(), "{fact:?}");
}

#[test]
fn functions_that_multiply_come_to_an_end() {
    // Each of the functions calls the next one twice: a million million calls.
    let functions: Vec<String> = (0..40)
        .map(|level| {
            let next = if level == 39 { "Relu".to_owned() } else { format!("local.f{}", level + 1) };
            format!(
                "<domain: \"local\", opset_import: [\"\" : 17, \"local\" : 1]>\n\
                 f{level} (a) => (b) {{ t = {next}(a)  b = {next}(t) }}"
            )
        })
        .collect();
    let text = format!(
        "<ir_version: 8, opset_import: [\"\" : 17, \"local\" : 1]>\n\
         g (float[N] x) => (float[] y, float[] z) {{ y = local.f0(x)  z = Relu(x) }}\n{}",
        functions.join("\n")
    );
    let model = onnx_shrink::ir::text::parse(&text).unwrap();
    let inference = infer::infer(&model).unwrap();
    let ty = |name: &str| {
        let fact = inference.main().get(model.graph.find_value(name).unwrap());
        fact.map_or_else(Fact::default, Fact::clone).to_type().to_string()
    };
    assert_eq!(ty("y"), "float[]", "what is declared remains");
    assert_eq!(ty("z"), "float[N]", "the rest of the model is not given up");
}
