//! What the gate in front of tract refuses: what tract is known to compute wrongly, to panic on or to lack.

use onnx_shrink::backend::tract::Tract;
use onnx_shrink::backend::{Backend, BackendChoice, ModelBytes};
use onnx_shrink::ir::{DType, Tensor};
use onnx_shrink::onnx::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use onnx_shrink::{Error, ErrorKind};

use super::ONE_THREAD;
use super::support::models::{
    self, bytes, float, floats, graph_attribute, int, int64s, ints, model, node, string, strings, tensor, untyped,
    value,
};

fn load(model: &ModelBytes) -> Result<(), Error> {
    Tract.load(model, &ONE_THREAD).map(|_| ())
}

/// Asserts that tract is refused the model, for a reason that has `reason` in it.
fn refused(model: &ModelProto, reason: &str) {
    let error = load(&bytes(model)).expect_err(reason);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.what().contains(reason), "{error}");
}

/// A node that reads a float input `x` and constants, at an operator set.
fn refused_node(opset: i64, node: NodeProto, constants: Vec<TensorProto>, reason: &str) {
    let name = node.name().to_owned();
    let model = model(opset, vec![node], vec![value("x", DType::F32, &[1, 4, 4, 4])], constants);
    refused(&model, reason);
    let error = load(&bytes(&model)).unwrap_err();
    assert_eq!(error.site().node.as_deref(), Some(name.as_str()));
}

/// The same node in two forms: the first runs, the second is refused.
fn only_second(
    opset: i64,
    inputs: &[&str],
    forms: [(&str, Vec<AttributeProto>); 2],
    constants: &[TensorProto],
    why: &str,
) {
    let [(op, right), (_, wrong)] = forms;
    let input = || vec![value("x", DType::F32, &[1, 4, 4, 4])];
    let accepted = model(opset, vec![node(op, inputs, right)], input(), constants.to_vec());
    load(&bytes(&accepted)).unwrap_or_else(|error| panic!("{op}: {error}"));
    refused_node(opset, node(op, inputs, wrong), constants.to_vec(), why);
}

/// Weights of a recurrent node with `gates` gates, hidden size 2, input size 3.
fn recurrent(op: &str, gates: i64, attributes: Vec<AttributeProto>) -> ModelProto {
    let size = |count: i64| vec![0.1; usize::try_from(count).unwrap()];
    let weights = floats("w", &[1, gates * 2, 3], &size(gates * 6));
    let recurrence = floats("r", &[1, gates * 2, 2], &size(gates * 4));
    let attributes = [vec![int("hidden_size", 2)], attributes].concat();
    let node = node(op, &["x", "w", "r"], attributes);
    model(14, vec![node], vec![value("x", DType::F32, &[5, 1, 3])], vec![weights, recurrence])
}

#[test]
fn recurrent_networks_run_forward_with_usual_activations_only() {
    for (op, gates, others) in
        [("LSTM", 4, ["Sigmoid", "Relu", "Tanh"]), ("GRU", 3, ["Relu", "Tanh", ""]), ("RNN", 1, ["Relu", "", ""])]
    {
        load(&bytes(&recurrent(op, gates, vec![]))).unwrap();
        load(&bytes(&recurrent(op, gates, vec![string("direction", "forward")]))).unwrap();
        refused(&recurrent(op, gates, vec![string("direction", "reverse")]), "direction=reverse");
        refused(&recurrent(op, gates, vec![float("clip", 1.0)]), "ignores the attribute `clip`");
        let others: Vec<&str> = others.into_iter().filter(|name| !name.is_empty()).collect();
        refused(&recurrent(op, gates, vec![strings("activations", &others)]), "choice of activations");
    }
    refused(&recurrent("LSTM", 4, vec![int("input_forget", 1)]), "input_forget");
}

#[test]
fn space_and_depth_swap_in_one_mode_only() {
    let block = || int("blocksize", 2);
    let crd = || vec![block(), string("mode", "CRD")];
    only_second(13, &["x"], [("DepthToSpace", vec![block()]), ("", crd())], &[], "CRD");
    only_second(13, &["x"], [("SpaceToDepth", vec![block()]), ("", crd())], &[], "CRD");
}

#[test]
fn attention_has_no_window_and_no_causal_mask_over_a_past() {
    let attention = |inputs: &[&str], attributes| {
        let inputs_of = |name: &&str| value(name, DType::F32, &[1, 2, 4, 8]);
        let present: Vec<_> = inputs.iter().filter(|name| !name.is_empty()).map(inputs_of).collect();
        model(23, vec![node("Attention", inputs, attributes)], present, vec![])
    };
    load(&bytes(&attention(&["q", "k", "v"], vec![int("is_causal", 1)]))).unwrap();
    load(&bytes(&attention(&["q", "k", "v"], vec![]))).unwrap();
    refused(&attention(&["q", "k", "v", "", "pk", "pv"], vec![int("is_causal", 1)]), "causal mask");
    refused(&attention(&["q", "k", "v"], vec![int("left_window_size", 2)]), "left_window_size");
    refused(&attention(&["q", "k", "v"], vec![float("softcap", 2.0)]), "softcap");
}

#[test]
fn bits_shift_by_less_than_the_width() {
    let shift = |amounts: &[u8]| {
        let amounts = tensor("n", DType::U8, &[2], amounts.to_vec());
        let node = node("BitShift", &["x", "n"], vec![string("direction", "LEFT")]);
        model(11, vec![node], vec![value("x", DType::U8, &[2])], vec![amounts])
    };
    load(&bytes(&shift(&[0, 7]))).unwrap();
    refused(&shift(&[0, 8]), "width");
    let node = node("BitShift", &["x", "x"], vec![string("direction", "LEFT")]);
    refused(&model(11, vec![node], vec![value("x", DType::U8, &[2])], vec![]), "not constant");
}

#[test]
fn celu_runs_on_float32_only() {
    let celu = |dtype| model(12, vec![node("Celu", &["x"], vec![])], vec![value("x", dtype, &[2])], vec![]);
    load(&bytes(&celu(DType::F32))).unwrap();
    refused(&celu(DType::F16), "float16");
}

#[test]
fn resize_does_not_align_corners() {
    let scales = [floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])];
    let mode = |mode| vec![string("coordinate_transformation_mode", mode), string("mode", "linear")];
    only_second(
        13,
        &["x", "", "s"],
        [("Resize", mode("half_pixel")), ("", mode("align_corners"))],
        &scales,
        "align_corners",
    );
}

#[test]
fn an_old_resize_rounds_down() {
    let resize = |factor: f32| {
        let scales = vec![floats("s", &[4], &[1.0, 1.0, factor, factor])];
        model(10, vec![node("Resize", &["x", "s"], vec![])], vec![value("x", DType::F32, &[1, 4, 4, 4])], scales)
    };
    load(&bytes(&resize(2.0))).unwrap();
    refused(&resize(3.0), "rounds positions");
}

#[test]
fn transposed_convolution_takes_no_output_shape() {
    let kernel = [floats("w", &[4, 1, 2, 2], &[0.5; 16])];
    only_second(
        11,
        &["x", "w"],
        [("ConvTranspose", vec![]), ("", vec![ints("output_shape", &[6, 6])])],
        &kernel,
        "output_shape",
    );
}

#[test]
fn negative_pads_are_refused() {
    let pad = |pads: &[i64]| {
        let pads = int64s("p", &[8], pads);
        model(13, vec![node("Pad", &["x", "p"], vec![])], vec![value("x", DType::F32, &[1, 4, 4, 4])], vec![pads])
    };
    load(&bytes(&pad(&[0, 0, 1, 1, 0, 0, 1, 1]))).unwrap();
    refused(&pad(&[0, 0, -1, 1, 0, 0, 1, 1]), "negative pads");
    let kernel = vec![floats("w", &[1, 4, 1, 1], &[0.5; 4])];
    refused_node(11, node("Conv", &["x", "w"], vec![ints("pads", &[0, 0, -1, 0])]), kernel, "negative pads");
}

#[test]
fn what_tract_panics_on_is_refused() {
    let indices = [int64s("i", &[1, 1], &[0])];
    only_second(12, &["x", "i"], [("GatherND", vec![]), ("", vec![int("batch_dims", 1)])], &indices, "batch_dims");
    let constants = vec![int64s("d", &[], &[3]), floats("v", &[2], &[0.0, 1.0])];
    refused_node(11, node("OneHot", &["x", "d", "v"], vec![]), constants, "OneHot");
}

#[test]
fn the_domain_counts() {
    let mut foreign = node("Relu", &["x"], vec![]);
    foreign.domain = Some("com.example".into());
    refused_node(13, foreign, vec![], "com.example");
    let mut default = node("Relu", &["x"], vec![]);
    default.domain = Some("ai.onnx".into());
    load(&bytes(&model(13, vec![default], vec![value("x", DType::F32, &[2])], vec![]))).unwrap();
}

#[test]
fn a_function_of_the_model_is_no_operator() {
    let mut model = model(13, vec![node("Relu", &["x"], vec![])], vec![value("x", DType::F32, &[2])], vec![]);
    model.functions = vec![FunctionProto { name: Some("Relu".into()), ..FunctionProto::default() }];
    refused(&model, "functions");
}

/// `y = DequantizeLinear(x, s, z)` on a stored type.
fn dequantize(dtype: DType, zero_point: Vec<u8>, attributes: Vec<AttributeProto>) -> ModelProto {
    let node = node("DequantizeLinear", &["x", "s", "z"], attributes);
    let constants = vec![floats("s", &[], &[0.5]), tensor("z", dtype, &[], zero_point)];
    model(21, vec![node], vec![value("x", dtype, &[4])], constants)
}

#[test]
fn quantization_is_of_eight_bits_by_tensor_or_axis() {
    load(&bytes(&dequantize(DType::U8, vec![3], vec![]))).unwrap();
    load(&bytes(&dequantize(DType::I8, vec![3], vec![]))).unwrap();
    refused(&dequantize(DType::U8, vec![3], vec![int("block_size", 2)]), "blocked");
    refused(&dequantize(DType::U16, vec![3, 0], vec![]), "uint16");
    refused(&dequantize(DType::I16, vec![3, 0], vec![]), "int16");
    for dtype in [DType::I4, DType::U4, DType::F8E4M3FN, DType::F8E5M2] {
        refused(&dequantize(dtype, vec![0], vec![]), dtype.name());
    }
}

#[test]
fn scale_and_zero_point_are_constant() {
    let quantize = |constants| {
        let node = node("QuantizeLinear", &["x", "s", "z"], vec![]);
        let inputs = vec![value("x", DType::F32, &[4]), value("s", DType::F32, &[]), value("z", DType::U8, &[])];
        let mut model = model(13, vec![node], inputs, constants);
        let graph = model.graph.as_mut().unwrap();
        let is_constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
        graph.input = graph.input.iter().filter(|info| !is_constant(info.name())).cloned().collect();
        model
    };
    let (scale, zero_point) = (floats("s", &[], &[0.5]), tensor("z", DType::U8, &[], vec![3]));
    load(&bytes(&quantize(vec![scale.clone(), zero_point.clone()]))).unwrap();
    refused(&quantize(vec![scale]), "constant");
    refused(&quantize(vec![zero_point]), "constant");
}

#[test]
fn types_tract_does_not_have_are_refused() {
    for dtype in [DType::BF16, DType::I4, DType::F8E5M2, DType::Complex64] {
        let identity = model(21, vec![node("Identity", &["x"], vec![])], vec![value("x", dtype, &[2])], vec![]);
        refused(&identity, dtype.name());
        let cast = node("Cast", &["x"], vec![int("to", i64::from(dtype.to_onnx()))]);
        refused_node(21, cast, vec![], dtype.name());
    }
}

#[test]
fn operators_tract_lacks_are_refused() {
    for op in ["QLinearConv", "SequenceConstruct", "StringConcat", "Det", "NoSuchOperator"] {
        refused_node(18, node(op, &["x"], vec![]), vec![], op);
    }
    for op in ["QLinearAdd", "QGemm", "DynamicQuantizeLSTM"] {
        let mut node = node(op, &["x"], vec![]);
        node.domain = Some("com.microsoft".into());
        refused_node(18, node, vec![], op);
    }
    refused_node(16, node("Loop", &["", "", "x"], vec![]), vec![], "Loop");
}

#[test]
fn a_subgraph_is_searched_and_named() {
    let branch = |node: NodeProto| GraphProto { node: vec![node], output: vec![untyped("y")], ..GraphProto::default() };
    let choose = NodeProto {
        attribute: vec![
            graph_attribute("then_branch", branch(node("Relu", &["x"], vec![]))),
            graph_attribute("else_branch", branch(node("Det", &["x"], vec![]))),
        ],
        ..node("If", &["c"], vec![])
    };
    let inputs = vec![value("c", DType::Bool, &[]), value("x", DType::F32, &[2, 2])];
    let error = load(&bytes(&model(16, vec![choose], inputs, vec![]))).unwrap_err();
    assert_eq!(error.site().path, ["If `the_If`.else_branch"]);
    assert_eq!(error.site().op.as_deref(), Some("Det"));
}

#[test]
fn sequences_and_strange_operator_sets_are_refused() {
    let relu = || vec![node("Relu", &["x"], vec![])];
    refused(&model(99, relu(), vec![value("x", DType::F32, &[2])], vec![]), "operator set 99");
    refused(&model(3, relu(), vec![value("x", DType::F32, &[2])], vec![]), "operator set 3");
}

#[test]
fn attributes_tract_ignores_are_refused() {
    only_second(24, &["x"], [("Swish", vec![]), ("", vec![float("alpha", 2.0)])], &[], "alpha");
    refused_node(7, node("Add", &["x", "x"], vec![int("broadcast", 1)]), vec![], "broadcast");
    refused_node(13, node("Relu", &["x"], vec![int("made_up", 1)]), vec![], "made_up");
}

#[test]
fn training_is_refused() {
    let channels = |name: &str| floats(name, &[4], &[1.0; 4]);
    let constants = [channels("s"), channels("b"), channels("m"), channels("v")];
    only_second(
        15,
        &["x", "s", "b", "m", "v"],
        [("BatchNormalization", vec![]), ("", vec![int("training_mode", 1)])],
        &constants,
        "training",
    );
}

#[test]
fn a_maximum_of_constants_is_refused() {
    let constants = vec![floats("c", &[1, 2], &[f32::NEG_INFINITY; 2])];
    refused_node(13, node("ReduceMax", &["c"], vec![ints("axes", &[1])]), constants, "infinity");
}

#[test]
fn infinity_and_nan_are_not_lost_in_a_maximum() {
    let maximum = models::model(
        13,
        vec![node("ReduceMax", &["x"], vec![ints("axes", &[1])])],
        vec![value("x", DType::F32, &[1, 2])],
        vec![],
    );
    let run = |values: [f32; 2], choice| {
        let input = Tensor::from_f32(vec![1, 2], &values).unwrap();
        let session = onnx_shrink::backend::load(choice, &bytes(&maximum), &ONE_THREAD).unwrap();
        session.run(&[("x".to_owned(), input)]).map(|results| results[0].1.to_f32().unwrap())
    };
    assert_eq!(run([f32::NEG_INFINITY, 1.0], BackendChoice::Tract).unwrap(), [1.0]);
    for values in [[f32::NEG_INFINITY; 2], [f32::NAN, 1.0]] {
        assert_eq!(run(values, BackendChoice::Tract).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
