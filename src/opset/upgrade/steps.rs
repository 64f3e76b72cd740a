//! What each new definition of an operator means for nodes of the one before: nothing, an adapter, or no way.

use super::spot::Spot;
use super::{attributes, normalization, resize, softmax};
use crate::error::Result;
use crate::opset::table::versions;

/// Rewrites an operator to mean the same in its new definition; says whether there was anything to do.
pub(super) type Adapter = fn(&mut Spot<'_>) -> Result<bool>;

/// What there is to do for one operator in one version.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The new definition gives every node of the old one the same meaning: it takes more types, or has a new attribute
    /// or optional input whose absence means what was always meant.
    Same,
    /// An adapter.
    Adapt(Adapter),
    /// The meaning cannot be kept, for this reason.
    Refuse(&'static str),
    /// Nobody looked at it yet: a version after [`super::NEWEST`].
    Missing,
}

/// Operators by the version whose definition gives older nodes the same meaning.
///
/// Some texts changed without a change of what runtimes do: how ConvTranspose of opset 11 splits odd padding that
/// `output_shape` leaves, and what AveragePool of opset 19 divides the windows by that `ceil_mode` adds.
const SAME: &[(i64, &[&str])] = &[
    (8, &["Max", "MaxPool", "Mean", "Min", "Sum"]),
    (9, &["Cast", "Constant", "Flatten", "Gemm", "Greater", "Less", "MatMul", "PRelu"]),
    (10, &["AveragePool", "MaxPool"]),
    (
        11,
        &[
            "ArgMax",
            "ArgMin",
            "AveragePool",
            "Compress",
            "Concat",
            "Constant",
            "Conv",
            "ConvTranspose",
            "DepthToSpace",
            "Equal",
            "Flatten",
            "Gather",
            "Gemm",
            "Hardmax",
            "If",
            "LogSoftmax",
            "Loop",
            "LpPool",
            "MaxPool",
            "MaxUnpool",
            "NonMaxSuppression",
            "OneHot",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
            "Scan",
            "Slice",
            "Softmax",
            "Split",
            "Squeeze",
            "TopK",
            "Unsqueeze",
        ],
    ),
    (
        12,
        &["ArgMax", "ArgMin", "Clip", "Constant", "GatherND", "Max", "MaxPool", "Min", "Pow", "ReduceMax", "ReduceMin"],
    ),
    (
        13,
        &[
            "Abs",
            "Add",
            "ArgMax",
            "ArgMin",
            "Cast",
            "Ceil",
            "Clip",
            "Concat",
            "Constant",
            "DepthToSpace",
            "DequantizeLinear",
            "Div",
            "Dropout",
            "Equal",
            "Erf",
            "Exp",
            "Expand",
            "Flatten",
            "Floor",
            "Gather",
            "GatherElements",
            "GatherND",
            "Gemm",
            "Greater",
            "Identity",
            "If",
            "IsNaN",
            "LRN",
            "Less",
            "Log",
            "Loop",
            "MatMul",
            "Max",
            "Mean",
            "MeanVarianceNormalization",
            "Min",
            "Mod",
            "Mul",
            "Neg",
            "NegativeLogLikelihoodLoss",
            "NonZero",
            "Pad",
            "Pow",
            "QuantizeLinear",
            "Reciprocal",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSumSquare",
            "Relu",
            "Reshape",
            "ScatterElements",
            "ScatterND",
            "Shape",
            "Sigmoid",
            "Sign",
            "Size",
            "Slice",
            "SoftmaxCrossEntropyLoss",
            "SpaceToDepth",
            "Sqrt",
            "Sub",
            "Sum",
            "Tanh",
            "Tile",
            "Transpose",
        ],
    ),
    (14, &["Add", "CumSum", "Div", "GRU", "Identity", "LSTM", "Mul", "RNN", "Relu", "Reshape", "Sub"]),
    (15, &["BatchNormalization", "Pow", "Shape"]),
    (
        16,
        &[
            "GreaterOrEqual",
            "Identity",
            "If",
            "LeakyRelu",
            "LessOrEqual",
            "Loop",
            "PRelu",
            "Scan",
            "ScatterElements",
            "ScatterND",
            "Where",
        ],
    ),
    (18, &["LpPool", "OptionalGetElement", "OptionalHasElement", "Pad", "Resize", "ScatterElements", "ScatterND"]),
    (
        19,
        &[
            "AveragePool",
            "Cast",
            "CastLike",
            "Constant",
            "DequantizeLinear",
            "Equal",
            "Identity",
            "If",
            "Loop",
            "Pad",
            "QuantizeLinear",
            "Reshape",
            "Resize",
            "Scan",
            "Shape",
            "Size",
        ],
    ),
    (20, &["ConstantOfShape", "IsInf", "IsNaN", "ReduceMax", "ReduceMin"]),
    (
        21,
        &[
            "Cast",
            "CastLike",
            "Constant",
            "ConstantOfShape",
            "DequantizeLinear",
            "Flatten",
            "Identity",
            "If",
            "Loop",
            "Pad",
            "QLinearMatMul",
            "QuantizeLinear",
            "Reshape",
            "Scan",
            "Shape",
            "Size",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ],
    ),
];

/// Operators by the version whose definition needs something done.
const ADAPTED: &[(i64, &str, Step)] = &[
    (9, "BatchNormalization", Step::Adapt(normalization::batch_without_spatial)),
    (9, "Scan", Step::Refuse("Scan of opset 8 runs over a batch, with a length for each of its sequences")),
    (9, "Upsample", Step::Adapt(resize::upsample_scales)),
    (10, "Dropout", Step::Adapt(attributes::dropout_mask)),
    (10, "Slice", Step::Adapt(attributes::slice)),
    (10, "TopK", Step::Adapt(attributes::top_k)),
    (10, "Upsample", Step::Adapt(resize::upsample_to_resize)),
    (11, "Clip", Step::Adapt(attributes::clip)),
    (11, "Pad", Step::Adapt(attributes::pad)),
    (11, "Resize", Step::Adapt(resize::state_coordinates)),
    (11, "Scatter", Step::Adapt(attributes::scatter)),
    (12, "Dropout", Step::Adapt(attributes::dropout_ratio)),
    (13, "Hardmax", Step::Adapt(softmax::one_axis)),
    (13, "LogSoftmax", Step::Adapt(softmax::one_axis)),
    (13, "ReduceSum", Step::Adapt(attributes::axes)),
    (13, "Resize", Step::Adapt(resize::optional_inputs)),
    (13, "Softmax", Step::Adapt(softmax::one_axis)),
    (13, "Split", Step::Adapt(attributes::split)),
    (13, "Squeeze", Step::Adapt(attributes::axes)),
    (13, "Unsqueeze", Step::Adapt(attributes::axes)),
    (14, "BatchNormalization", Step::Adapt(normalization::batch_training_mode)),
    (16, "RoiAlign", Step::Adapt(attributes::roi_align)),
    (18, "ReduceL1", Step::Adapt(attributes::axes)),
    (18, "ReduceL2", Step::Adapt(attributes::axes)),
    (18, "ReduceLogSum", Step::Adapt(attributes::axes)),
    (18, "ReduceLogSumExp", Step::Adapt(attributes::axes)),
    (18, "ReduceMax", Step::Adapt(attributes::axes)),
    (18, "ReduceMean", Step::Adapt(attributes::axes)),
    (18, "ReduceMin", Step::Adapt(attributes::axes)),
    (18, "ReduceProd", Step::Adapt(attributes::axes)),
    (18, "ReduceSumSquare", Step::Adapt(attributes::axes)),
    (18, "Split", Step::Adapt(attributes::split_count)),
    (20, "DFT", Step::Adapt(attributes::dft)),
    (20, "GridSample", Step::Adapt(attributes::grid_sample)),
    (21, "GroupNormalization", Step::Adapt(normalization::group_per_channel)),
];

/// What there is to do for an operator where a version redefines it; `None` where it does not.
pub(super) fn at(op_type: &str, version: i64) -> Option<Step> {
    // The first definition redefines nothing: some exporters used operators before they were in a release.
    versions("", op_type).skip(1).find(|&defined| defined == version)?;
    let adapted = ADAPTED.iter().find(|(at, op, _)| *at == version && *op == op_type).map(|&(.., step)| step);
    let is_same = || SAME.iter().any(|(at, operators)| *at == version && operators.contains(&op_type));
    Some(adapted.unwrap_or_else(|| if is_same() { Step::Same } else { Step::Missing }))
}

#[cfg(test)]
mod tests {
    use super::super::{NEWEST, OLDEST};
    use super::*;
    use crate::opset::all;

    #[test]
    fn every_definition_of_every_operator_was_looked_at() {
        let mut redefined = 0;
        for schema in all().filter(|schema| schema.domain.is_empty()) {
            let is_first = versions("", schema.op_type).next() == Some(schema.since_version);
            if is_first || !(OLDEST + 1..=NEWEST).contains(&schema.since_version) {
                continue;
            }
            redefined += 1;
            let step = at(schema.op_type, schema.since_version);
            assert!(
                !matches!(step, None | Some(Step::Missing)),
                "nothing is said of {} in opset {}",
                schema.op_type,
                schema.since_version
            );
        }
        let listed = ADAPTED.len() + SAME.iter().map(|(_, operators)| operators.len()).sum::<usize>();
        assert_eq!(redefined, listed, "an entry names no definition, or one is listed twice");
    }

    #[test]
    fn what_has_the_same_meaning_keeps_its_attributes_and_inputs() {
        use crate::opset::schema;
        for &(version, operators) in SAME {
            for op_type in operators {
                let old = schema("", op_type, version - 1).unwrap();
                let new = schema("", op_type, version).unwrap();
                for attribute in &old.attributes {
                    let kept = new.attribute(attribute.name);
                    assert!(kept.is_some(), "{op_type} loses `{}` in opset {version}", attribute.name);
                    assert_eq!(kept.and_then(|a| a.default()), attribute.default(), "{op_type}, opset {version}");
                }
                assert!(
                    new.attributes.iter().all(|a| !a.required || old.attribute(a.name).is_some_and(|o| o.required))
                );
                assert!(new.inputs.len() >= old.inputs.len() && new.min_inputs() <= old.min_inputs(), "{op_type}");
                assert_eq!(new.outputs.len().max(old.outputs.len()), new.outputs.len(), "{op_type}, opset {version}");
                assert!(!new.deprecated, "{op_type}, opset {version}");
            }
        }
    }
}
