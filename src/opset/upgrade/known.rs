//! What can be told of the element type and rank of a value without inferring the shapes of the whole graph.

use std::collections::BTreeMap;

use crate::ir::{AttrRef, DType, Graph, Node, NodeId, ValueId};
use crate::opset::table::schema;

/// How many operators are looked through; a longer way gives up.
const REACH: usize = 4096;

/// How deep the search for a rank may branch.
const DEPTH: usize = 64;

/// What is known of the values of enclosing graphs, by name.
pub(super) type Outer = BTreeMap<String, Known>;

/// What is known of one value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    dtype: Option<DType>,
    rank: Option<usize>,
}

/// Operators whose output has the rank of their first input.
const KEEP_RANK: &[&str] = &[
    "Abs",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Hardmax",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MaxPool",
    "Neg",
    "Not",
    "Pad",
    "QuantizeLinear",
    "Reciprocal",
    "Relu",
    "Resize",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Tanh",
    "Tile",
    "TopK",
    "Transpose",
    "Upsample",
];

/// Operators whose output has the rank of the largest of their inputs.
const BROADCAST: &[&str] = &[
    "Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub",
    "Sum", "Where", "Xor",
];

/// What an inner graph of the operator can know of the values it reads from around it.
pub(super) fn captured(graph: &Graph, node: NodeId, version: i64, outer: &Outer) -> Outer {
    let known = |value| Known { dtype: dtype(graph, value, version, outer), rank: rank(graph, value, outer) };
    graph.captures(node).into_iter().map(|value| (graph.value(value).name().to_owned(), known(value))).collect()
}

/// The element type of a value, followed through operators that keep it. `version` is that of the operators.
pub(super) fn dtype(graph: &Graph, value: ValueId, version: i64, outer: &Outer) -> Option<DType> {
    let mut value = value;
    for _ in 0..REACH {
        let held = graph.value(value);
        if let Some(dtype) = held.dtype() {
            return Some(dtype);
        }
        if let Some(known) = held.is_outer().then(|| outer.get(held.name())).flatten() {
            return known.dtype;
        }
        let (node, slot) = graph.producer(value)?;
        let producer = graph.node(node);
        if let Some(dtype) = stated_dtype(producer) {
            return Some(dtype);
        }
        let definition = schema(producer.domain(), producer.op_type(), version)?;
        let output = definition.output(slot)?;
        if let Some(dtype) = DType::from_name(output.type_name) {
            return Some(dtype);
        }
        let is_source =
            |&slot: &usize| definition.input(slot).is_some_and(|formal| formal.type_name == output.type_name);
        value = (0..producer.input_slots()).filter(is_source).find_map(|slot| graph.input(node, slot))?;
    }
    None
}

/// The element type that an operator names in its attributes.
fn stated_dtype(node: &Node) -> Option<DType> {
    if let Some(tensor) = node.constant_value() {
        return Some(tensor.dtype());
    }
    match (node.op_type(), node.attr("to"), node.attr("value")) {
        ("Cast", Some(AttrRef::Int(to)), _) => DType::from_onnx(i32::try_from(to).ok()?),
        ("ConstantOfShape", _, Some(AttrRef::Tensor(tensor))) => Some(tensor.dtype()),
        ("ConstantOfShape", _, None) => Some(DType::F32),
        _ => None,
    }
}

/// The rank of a value, followed through operators that keep it or state it.
pub(super) fn rank(graph: &Graph, value: ValueId, outer: &Outer) -> Option<usize> {
    rank_within(graph, value, outer, DEPTH, &mut { REACH })
}

fn rank_within(graph: &Graph, value: ValueId, outer: &Outer, depth: usize, budget: &mut usize) -> Option<usize> {
    let mut value = value;
    loop {
        *budget = budget.checked_sub(1)?;
        let held = graph.value(value);
        if let Some(shape) = held.shape() {
            return Some(shape.rank());
        }
        if let Some(known) = held.is_outer().then(|| outer.get(held.name())).flatten() {
            return known.rank;
        }
        let (node, slot) = graph.producer(value)?;
        let producer = graph.node(node);
        if !producer.domain().is_empty() {
            return None;
        }
        let mut below = |value: ValueId| rank_within(graph, value, outer, depth.checked_sub(1)?, budget);
        match producer.op_type() {
            "Flatten" | "Gemm" => return Some(2),
            "Constant" => return producer.constant_value().map(|tensor| tensor.rank()),
            "Shape" | "NonZero" => return Some(1 + usize::from(producer.is("NonZero"))),
            "Reshape" => return constant_len(graph, graph.input(node, 1)?),
            "MatMul" => {
                let (left, right) = (below(graph.input(node, 0)?)?, below(graph.input(node, 1)?)?);
                return (left >= 2 && right >= 2).then(|| left.max(right));
            }
            "Gather" => {
                let (data, indices) = (below(graph.input(node, 0)?)?, below(graph.input(node, 1)?)?);
                return (data + indices).checked_sub(1);
            }
            op_type if op_type.starts_with("Reduce") && producer.attr_int("keepdims", 1) == 1 => {
                value = graph.input(node, 0)?;
            }
            op_type if KEEP_RANK.contains(&op_type) && (slot == 0 || producer.is_any(&["Split", "TopK"])) => {
                value = graph.input(node, 0)?;
            }
            op_type if BROADCAST.contains(&op_type) => {
                let ranks = graph.node_inputs(node).into_iter().map(|input| below(input?));
                return ranks.collect::<Option<Vec<_>>>()?.into_iter().max();
            }
            _ => return None,
        }
    }
}

/// The number of elements of a constant, which is the rank that it gives to what is reshaped by it.
fn constant_len(graph: &Graph, value: ValueId) -> Option<usize> {
    graph.constant(value).filter(|tensor| tensor.rank() == 1).map(|tensor| tensor.len())
}
