//! Operators that stay float whatever they compute, and what they do to the size of numbers.

/// Why an operator stays float wherever it stands; `None` where that depends on what it reads.
pub(super) fn always_float(op_type: &str) -> Option<&'static str> {
    Some(match op_type {
        "Exp" | "Pow" | "Sinh" | "Cosh" | "Tan" => "its results grow faster than 16 bits can hold",
        "ReduceSum"
        | "ReduceMean"
        | "ReduceL1"
        | "ReduceL2"
        | "ReduceSumSquare"
        | "ReduceProd"
        | "ReduceLogSum"
        | "ReduceLogSumExp"
        | "CumSum"
        | "LpNormalization"
        | "LpPool"
        | "GlobalLpPool"
        | "LRN"
        | "InstanceNormalization"
        | "MeanVarianceNormalization"
        | "DFT"
        | "STFT"
        | "Det" => "it sums many numbers or their squares",
        "Sqrt" | "Log" | "Reciprocal" => "it turns small errors of small numbers into large ones",
        "LSTM" | "GRU" | "RNN" | "Loop" | "Scan" => "what it carries from step to step would gather errors",
        "GridSample" | "AffineGrid" | "RoiAlign" | "MaxRoiPool" => "it reads positions, which need more digits",
        "EyeLike" => "runtimes have no kernel for it in 16 bits",
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Bernoulli" | "Multinomial" => {
            "it is random"
        }
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => "it belongs to quantized arithmetic",
        _ if op_type.starts_with("QLinear") => "it belongs to quantized arithmetic",
        _ if op_type.contains("Sequence") || op_type.starts_with("Optional") => "it keeps values in a container",
        _ => return None,
    })
}

/// Whether results are small however large the inputs are.
pub(super) fn is_bounded(op_type: &str) -> bool {
    matches!(
        op_type,
        "Softmax"
            | "Sigmoid"
            | "HardSigmoid"
            | "Tanh"
            | "Softsign"
            | "Erf"
            | "Sin"
            | "Cos"
            | "Atan"
            | "Sign"
            | "LayerNormalization"
            | "GroupNormalization"
            | "InstanceNormalization"
            | "BatchNormalization"
            | "RMSNormalization"
            | "MeanVarianceNormalization"
            | "LpNormalization"
            | "Hardmax"
            | "LSTM"
            | "GRU"
            | "RNN"
    )
}

/// Whether an operator goes on computing with counts what was computed with counts: sizes and positions, which exporters
/// compute in floats, have more digits than 16 bits.
pub(super) fn counts_on(op_type: &str) -> bool {
    matches!(
        op_type,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Neg"
            | "Abs"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Min"
            | "Max"
            | "Clip"
            | "Mod"
            | "Where"
            | "Identity"
            | "Concat"
            | "Split"
            | "Slice"
            | "Gather"
            | "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "Expand"
            | "Tile"
    )
}
