//! What tract computes rightly: operators, the attributes it honours, and the rule for the rest.
//!
//! An attribute in a row is one that tract reads, or that a rule limits to the value tract assumes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::rules::{self, Rule};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator {
    pub(super) attributes: &'static [&'static str],
    pub(super) rule: Rule,
}

/// The row of an operator; the default domain is `""`.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    static DEFAULT: OnceLock<Table> = OnceLock::new();
    static MICROSOFT: OnceLock<Table> = OnceLock::new();
    let table = match domain {
        "" => DEFAULT.get_or_init(|| {
            let plain = PLAIN.iter().map(|&name| (name, Operator { attributes: &[], rule: rules::always }));
            plain.chain(operators(ROWS)).collect()
        }),
        "com.microsoft" => MICROSOFT.get_or_init(|| operators(CONTRIB).collect()),
        _ => return None,
    };
    table.get(name)
}

type Table = BTreeMap<&'static str, Operator>;

fn operators(rows: &[Row]) -> impl Iterator<Item = (&'static str, Operator)> {
    rows.iter().map(|&(name, attributes, rule)| (name, Operator { attributes, rule }))
}

/// Operators without attributes and without surprises.
const PLAIN: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "Cos",
    "Cosh",
    "Div",
    "DynamicQuantizeLinear",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Floor",
    "GlobalAveragePool",
    "Greater",
    "GreaterOrEqual",
    "HardSwish",
    "Identity",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "Log",
    "MatMul",
    "MatMulInteger",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "QLinearMatMul",
    "Range",
    "Reciprocal",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "Tile",
    "Where",
    "Xor",
];

type Row = (&'static str, &'static [&'static str], Rule);

const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];
const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
const ARG: &[&str] = &["axis", "keepdims", "select_last_index"];

/// Operators with attributes or limits.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("ArgMax", ARG, rules::always),
    ("ArgMin", ARG, rules::always),
    ("Attention", &["is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap"],
        rules::attention),
    ("AveragePool", &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        rules::pool),
    ("BatchNormalization", &["epsilon", "momentum", "spatial", "training_mode"], rules::batch_normalization),
    ("BitShift", &["direction"], rules::bit_shift),
    ("Cast", &["saturate", "to"], rules::cast),
    ("CastLike", &["saturate"], rules::cast_like),
    ("Celu", &["alpha"], rules::celu),
    ("Clip", &["max", "min"], rules::always),
    ("Compress", &["axis"], rules::always),
    ("Concat", &["axis"], rules::always),
    ("Constant", &["value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"],
        rules::always),
    ("ConstantOfShape", &["value"], rules::always),
    ("Conv", CONV, rules::pool),
    ("ConvInteger", CONV, rules::pool),
    ("ConvTranspose", &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads",
        "strides"], rules::conv_transpose),
    ("CumSum", &["exclusive", "reverse"], rules::always),
    ("DFT", &["axis", "inverse", "onesided"], rules::always),
    ("DepthToSpace", &["blocksize", "mode"], rules::depth_to_space),
    ("DequantizeLinear", &["axis", "block_size", "output_dtype"], rules::quantization),
    ("Dropout", &["ratio", "seed"], rules::dropout),
    ("Einsum", &["equation"], rules::always),
    ("Elu", &["alpha"], rules::always),
    ("EyeLike", &["dtype", "k"], rules::always),
    ("Flatten", &["axis"], rules::always),
    ("GRU", &["activation_alpha", "activation_beta", "activations", "direction", "hidden_size", "layout",
        "linear_before_reset"], rules::gru),
    ("Gather", &["axis"], rules::always),
    ("GatherElements", &["axis"], rules::always),
    ("GatherND", &["batch_dims"], rules::gather_nd),
    ("Gelu", &["approximate"], rules::always),
    ("Gemm", &["alpha", "beta", "transA", "transB"], rules::always),
    ("GlobalLpPool", &["p"], rules::always),
    ("GlobalMaxPool", &[], rules::extremum),
    ("GridSample", &["align_corners", "mode", "padding_mode"], rules::always),
    ("GroupNormalization", &["epsilon", "num_groups", "stash_type"], rules::group_normalization),
    ("HardSigmoid", &["alpha", "beta"], rules::always),
    ("Hardmax", &["axis"], rules::always),
    ("If", &["else_branch", "then_branch"], rules::always),
    ("InstanceNormalization", &["epsilon"], rules::always),
    ("IsInf", &["detect_negative", "detect_positive"], rules::always),
    ("LRN", &["alpha", "beta", "bias", "size"], rules::always),
    ("LSTM", &["activation_alpha", "activation_beta", "activations", "direction", "hidden_size", "input_forget",
        "layout"], rules::lstm),
    ("LayerNormalization", &["axis", "epsilon", "stash_type"], rules::always),
    ("LeakyRelu", &["alpha"], rules::always),
    ("LogSoftmax", &["axis"], rules::always),
    ("LpNormalization", &["axis", "p"], rules::always),
    ("MaxPool", &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        rules::pool),
    ("MeanVarianceNormalization", &["axes"], rules::always),
    ("Mod", &["fmod"], rules::always),
    ("NonMaxSuppression", &["center_point_box"], rules::always),
    ("OneHot", &["axis"], rules::one_hot),
    ("Pad", &["mode", "pads", "value"], rules::pad),
    ("QuantizeLinear", &["axis", "block_size", "output_dtype", "saturate"], rules::quantization),
    ("RMSNormalization", &["axis", "epsilon", "stash_type"], rules::rms_normalization),
    ("RNN", &["activation_alpha", "activation_beta", "activations", "direction", "hidden_size", "layout"], rules::rnn),
    ("ReduceL1", REDUCE, rules::always),
    ("ReduceL2", REDUCE, rules::always),
    ("ReduceLogSum", REDUCE, rules::always),
    ("ReduceLogSumExp", REDUCE, rules::always),
    ("ReduceMax", REDUCE, rules::extremum),
    ("ReduceMean", REDUCE, rules::always),
    ("ReduceMin", REDUCE, rules::extremum),
    ("ReduceProd", REDUCE, rules::always),
    ("ReduceSum", REDUCE, rules::always),
    ("ReduceSumSquare", REDUCE, rules::always),
    ("Reshape", &["allowzero"], rules::always),
    ("Resize", &["antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
        "extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode"], rules::resize),
    ("RotaryEmbedding", &["interleaved", "num_heads", "rotary_embedding_dim"], rules::always),
    ("Scan", &["body", "num_scan_inputs", "scan_input_axes", "scan_input_directions", "scan_output_axes",
        "scan_output_directions"], rules::always),
    ("Scatter", &["axis"], rules::always),
    ("ScatterElements", &["axis", "reduction"], rules::always),
    ("ScatterND", &["reduction"], rules::always),
    ("Selu", &["alpha", "gamma"], rules::always),
    ("Shape", &["end", "start"], rules::always),
    ("Shrink", &["bias", "lambd"], rules::always),
    ("Slice", &["axes", "ends", "starts"], rules::always),
    ("Softmax", &["axis"], rules::always),
    ("SpaceToDepth", &["blocksize", "mode"], rules::space_to_depth),
    ("Split", &["axis", "num_outputs", "split"], rules::always),
    ("Squeeze", &["axes"], rules::always),
    ("Swish", &["alpha"], rules::swish),
    ("ThresholdedRelu", &["alpha"], rules::always),
    ("TopK", &["axis", "largest", "sorted"], rules::always),
    ("Transpose", &["perm"], rules::always),
    ("Trilu", &["upper"], rules::always),
    ("Unsqueeze", &["axes"], rules::always),
];

/// Operators of ONNX Runtime's own domain, each compared with ONNX Runtime in `tests/backend`.
const CONTRIB: &[Row] = &[
    ("BiasGelu", &[], rules::always),
    ("FastGelu", &[], rules::always),
    ("QuickGelu", &["alpha"], rules::always),
    ("SkipLayerNormalization", &["epsilon"], rules::skip_layer_normalization),
];
