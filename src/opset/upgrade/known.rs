//! What can be told of the element type and rank of a value without inferring the shapes of the whole graph.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::ir::{AttrRef, DType, Graph, Node, NodeId, ValueId};
use crate::opset::table::schema;

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

/// Element types and ranks of the values of one graph. Raising the operator set changes neither.
#[derive(Debug)]
pub(super) struct Facts(HashMap<ValueId, Known>);

impl Facts {
    /// What declarations say, followed from operator to operator. `version` is that of the operators.
    ///
    /// # Errors
    /// Fails where the graph has a cycle.
    pub(super) fn of(graph: &Graph, version: i64, outer: &Outer) -> Result<Self> {
        let declared = |value: ValueId| {
            let held = graph.value(value);
            let around = held.is_outer().then(|| outer.get(held.name()).copied()).flatten().unwrap_or_default();
            let rank = held.shape().map(|shape| shape.rank());
            Known { dtype: held.dtype().or(around.dtype), rank: rank.or(around.rank) }
        };
        let mut facts = Self(graph.values().into_iter().map(|value| (value, declared(value))).collect());
        for node in graph.topological_order()? {
            for (slot, output) in graph.node_outputs(node).into_iter().enumerate() {
                let Some(output) = output else { continue };
                let known = facts.get(output);
                let dtype = known.dtype.or_else(|| facts.dtype_of_output(graph, node, slot, version));
                let rank = known.rank.or_else(|| facts.rank_of_output(graph, node, slot));
                facts.0.insert(output, Known { dtype, rank });
            }
        }
        Ok(facts)
    }

    fn get(&self, value: ValueId) -> Known {
        self.0.get(&value).copied().unwrap_or_default()
    }

    pub(super) fn dtype(&self, value: ValueId) -> Option<DType> {
        self.get(value).dtype
    }

    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.get(value).rank
    }

    /// What the inner graphs of an operator can know of the values they read from around them.
    pub(super) fn captured(&self, graph: &Graph, node: NodeId) -> Outer {
        let named = |value| (graph.value(value).name().to_owned(), self.get(value));
        graph.captures(node).into_iter().map(named).collect()
    }

    fn dtype_of_output(&self, graph: &Graph, node: NodeId, slot: usize, version: i64) -> Option<DType> {
        let held = graph.node(node);
        if let Some(dtype) = stated_dtype(held) {
            return Some(dtype);
        }
        let definition = schema(held.domain(), held.op_type(), version)?;
        let output = definition.output(slot)?;
        let same_type = |slot: usize| {
            let is_same = definition.input(slot)?.type_name == output.type_name;
            self.dtype(graph.input(node, slot).filter(|_| is_same)?)
        };
        DType::from_name(output.type_name).or_else(|| (0..held.input_slots()).find_map(same_type))
    }

    fn rank_of_output(&self, graph: &Graph, node: NodeId, slot: usize) -> Option<usize> {
        let held = graph.node(node);
        if !held.domain().is_empty() {
            return None;
        }
        let rank = |slot: usize| self.rank(graph.input(node, slot)?);
        match held.op_type() {
            "Shape" => Some(1),
            "Flatten" | "Gemm" | "NonZero" => Some(2),
            "Constant" => held.constant_value().map(|tensor| tensor.rank()),
            // As many as the shape has elements.
            "Reshape" => graph.constant(graph.input(node, 1)?).map(|shape| shape.len()),
            "MatMul" => rank(0).zip(rank(1)).filter(|&(left, right)| left.min(right) >= 2).map(|(l, r)| l.max(r)),
            "Gather" => (rank(0)? + rank(1)?).checked_sub(1),
            op_type if op_type.starts_with("Reduce") => rank(0).filter(|_| held.attr_int("keepdims", 1) == 1),
            op_type if KEEP_RANK.contains(&op_type) && (slot == 0 || held.does_any(&["Split", "TopK"])) => rank(0),
            op_type if BROADCAST.contains(&op_type) => {
                (0..held.input_slots()).map(rank).collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            _ => None,
        }
    }
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
