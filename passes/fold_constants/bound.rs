//! How large the results of operators can get that a backend computes: an operator whose results have no bound here is
//! not given to one, so that a hostile model cannot make it allocate what it likes.

use crate::ir::{DType, Node, Tensor};

/// Every result has at most as many elements as the first input.
const NO_LARGER_THAN_DATA: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BatchNormalization",
    "BitwiseNot",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Compress",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "Floor",
    "Gelu",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Mish",
    "Neg",
    "Not",
    "RMSNormalization",
    "Reciprocal",
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
    "Relu",
    "ReverseSequence",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "TopK",
    "Trilu",
];

/// The result has the shape that the inputs broadcast to.
const BROADCASTING: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// Bytes that no result exceeds, and steps of work that it takes; `None` where that is not known.
pub(super) fn bound(node: &Node, inputs: &[Option<Tensor>]) -> Option<(u64, u64)> {
    let input = |slot: usize| inputs.get(slot).and_then(Option::as_ref);
    let data = input(0)?;
    let op_type = node.op_type();
    let all = inputs.iter().flatten().map(|tensor| tensor.len() as u64);
    let (elements, steps) = match op_type {
        _ if NO_LARGER_THAN_DATA.contains(&op_type) => (data.len() as u64, all.sum()),
        _ if BROADCASTING.contains(&op_type) => {
            // Each axis at least as long as in every input.
            let rank = inputs.iter().flatten().map(Tensor::rank).max()?;
            let extent =
                |tensor: &Tensor, axis: usize| (axis + tensor.rank()).checked_sub(rank).map(|at| tensor.shape()[at]);
            let longest = |axis| inputs.iter().flatten().filter_map(|tensor| extent(tensor, axis)).max();
            let elements = (0..rank).try_fold(1u64, |product, axis| product.checked_mul(longest(axis)?))?;
            (elements, elements.checked_mul(inputs.len() as u64)?)
        }
        "MatMul" | "Gemm" => {
            let other = input(1)?;
            let inner = inner_extent(node, data)?;
            // Every element of the result takes a row of one factor and a column of the other.
            let (left, right) = (data.len() as u64 / inner, other.len() as u64 / inner);
            let batches = if batch(data) == batch(other) { batch(data).iter().product::<u64>().max(1) } else { 1 };
            let elements = left.checked_mul(right)? / batches;
            (elements, elements.checked_mul(inner)?)
        }
        "GatherElements" => (input(1)?.len() as u64, input(1)?.len() as u64),
        _ => return None,
    };
    let width = inputs.iter().flatten().map(|tensor| tensor.dtype().bits().div_ceil(8)).max()?;
    let width = if node.is("Cast") || op_type.starts_with("Arg") { DType::F64.bits() / 8 } else { width.max(1) };
    Some((elements.checked_mul(width)?, steps))
}

/// The extent that a product sums over; `None` for none.
fn inner_extent(node: &Node, left: &Tensor) -> Option<u64> {
    let is_transposed = node.is("Gemm") && node.attr_int("transA", 0) != 0;
    let inner = if is_transposed { left.shape().first() } else { left.shape().last() };
    inner.copied().filter(|&inner| inner > 0)
}

/// The extents before those of the matrices.
fn batch(tensor: &Tensor) -> &[u64] {
    &tensor.shape()[..tensor.rank().saturating_sub(2)]
}
