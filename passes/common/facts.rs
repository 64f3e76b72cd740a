//! What is known of values and operators. The one place where passes ask for types and shapes.
//!
//! `None` always means "not known", never "none".

use crate::ir::{AttrRef, DType, Dim, Graph, Node, NodeId, Shape, ValueId};

/// How far a rank is looked for through operators that keep it.
const MAX_STEPS: usize = 64;

/// The element type of a value.
pub(in crate::passes) fn dtype(graph: &Graph, value: ValueId) -> Option<DType> {
    let declared = || graph.value(value).dtype();
    let written = || {
        let (node, slot) = graph.producer(value)?;
        let held = graph.node(node);
        match held.op_type() {
            "Cast" if held.is("Cast") => cast_target(held),
            "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" if held.domain().is_empty() => Some(DType::I64),
            "Equal" | "Less" | "Greater" | "And" | "Or" | "Not" | "LessOrEqual" | "GreaterOrEqual"
                if held.domain().is_empty() && slot == 0 =>
            {
                Some(DType::Bool)
            }
            _ => graph.constant(value).map(|tensor| tensor.dtype()),
        }
    };
    declared().or_else(written)
}

/// The type that a `Cast` converts to.
pub(in crate::passes) fn cast_target(cast: &Node) -> Option<DType> {
    match cast.attr("to") {
        Some(AttrRef::Int(number)) => DType::from_onnx(i32::try_from(number).ok()?),
        _ => None,
    }
}

/// The shape of a value, where the rank is known.
pub(in crate::passes) fn shape(graph: &Graph, value: ValueId) -> Option<Shape> {
    let constant = || graph.constant(value).map(|tensor| Shape::fixed(tensor.shape().iter().copied()));
    graph.value(value).shape().or_else(constant)
}

/// The number of axes of a value; also from the operators before it that tell it.
pub(in crate::passes) fn rank(graph: &Graph, value: Option<ValueId>) -> Option<usize> {
    let mut value = value?;
    for _ in 0..MAX_STEPS {
        if let Some(shape) = shape(graph, value) {
            return Some(shape.rank());
        }
        let (node, slot) = graph.producer(value)?;
        let held = graph.node(node);
        if slot != 0 || !held.domain().is_empty() {
            return None;
        }
        match held.op_type() {
            "Flatten" | "Gemm" => return Some(2),
            "Conv" | "ConvTranspose" => value = graph.input(node, 1)?,
            "BatchNormalization" | "InstanceNormalization" | "LayerNormalization" | "Relu" | "LeakyRelu" | "Clip"
            | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "Erf" | "Softmax" | "Gelu" | "Cast" | "Identity"
            | "Dropout" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "Exp" | "Sqrt" | "Neg"
            | "Transpose" | "Concat" | "Pad" | "Slice" | "Resize" => value = graph.input(node, 0)?,
            // One constant operand with no more axes than a scalar does not add any.
            "Add" | "Sub" | "Mul" | "Div" => {
                let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
                let is_scalar = |v| graph.constant(v).is_some_and(|tensor| tensor.rank() == 0);
                value = match (is_scalar(a), is_scalar(b)) {
                    (_, true) => a,
                    (true, _) => b,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    None
}

/// The extent of one axis of a value.
pub(in crate::passes) fn extent(graph: &Graph, value: ValueId, axis: usize) -> Option<u64> {
    shape(graph, value)?.0.get(axis).and_then(Dim::fixed)
}

/// Whether two shapes are equal for certain: in each place the same number or the same name.
pub(in crate::passes) fn surely_equal(a: &Shape, b: &Shape) -> bool {
    a.rank() == b.rank() && a.0.iter().zip(&b.0).all(|(a, b)| a == b && *a != Dim::Unknown)
}

/// An axis counted from the front.
pub(in crate::passes) fn axis_from_front(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// Whether the value of an attribute comes from the caller of the function that the operator is in.
pub(in crate::passes) fn depends_on_caller(node: &Node) -> bool {
    node.attributes().iter().any(|attribute| matches!(attribute.value(), AttrRef::Reference(_)))
}

/// A list of integers that older versions of an operator take as an attribute and newer ones as an input: where it is
/// there at all, and constant.
pub(in crate::passes) fn ints(graph: &Graph, node: NodeId, attribute: &str, slot: usize) -> Ints {
    if let Some(values) = graph.node(node).attr_ints(attribute) {
        return Ints::Known(values.to_vec());
    }
    match graph.input(node, slot) {
        None => Ints::Absent,
        Some(value) => match graph.constant(value).and_then(|tensor| tensor.to_i64()) {
            Some(values) => Ints::Known(values),
            None => Ints::Computed,
        },
    }
}

/// What is known of a list of integers that an operator may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::passes) enum Ints {
    /// The operator goes without.
    Absent,
    /// These.
    Known(Vec<i64>),
    /// It depends on the inputs of the graph.
    Computed,
}

impl Ints {
    /// The list, where it is there and known.
    pub(in crate::passes) fn known(self) -> Option<Vec<i64>> {
        match self {
            Self::Known(values) => Some(values),
            _ => None,
        }
    }
}
