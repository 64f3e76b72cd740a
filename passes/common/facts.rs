//! What is known of values and operators. The one place where passes ask for types and shapes.
//!
//! `None` always means "not known", never "none".

use crate::ir::{AttrRef, DType, Dim, Graph, Node, NodeId, Shape, ValueId};
use crate::opset::{self, AllowedType};

/// How many operators are looked at for a type or a rank that values do not tell themselves.
const MAX_STEPS: usize = 64;

/// The element type of a value; also from the operators before it that tell it.
pub(in crate::passes) fn dtype(graph: &Graph, value: ValueId) -> Option<DType> {
    let mut value = value;
    for _ in 0..MAX_STEPS {
        let held = graph.value(value);
        if let Some(dtype) = held.dtype().or_else(|| held.inferred()?.dtype) {
            return Some(dtype);
        }
        let (node, slot) = graph.producer(value)?;
        let held = graph.node(node);
        if held.is("Cast") {
            return cast_target(held);
        }
        if held.is("Constant") {
            return graph.constant(value).map(|tensor| tensor.dtype());
        }
        // Which types go with each other is the same in all versions of an operator.
        let schema = opset::schema(held.domain(), held.op_type(), i64::MAX)?;
        let formal = schema.output(slot)?;
        if let [AllowedType::Tensor(only)] = schema.types(formal) {
            return Some(*only);
        }
        let twin = schema.inputs.iter().position(|input| input.type_name == formal.type_name && input.homogeneous)?;
        value = graph.input(node, twin)?;
    }
    None
}

/// The type that a `Cast` converts to.
pub(in crate::passes) fn cast_target(cast: &Node) -> Option<DType> {
    match cast.attr("to") {
        Some(AttrRef::Int(number)) => DType::from_onnx(i32::try_from(number).ok()?),
        _ => None,
    }
}

/// The shape of a value, where the rank is known: what inference tells, where the pass edits through
/// [`inferred`](super::inferred), or else what the file declares. Not for the file: names of dimensions may be made up.
pub(in crate::passes) fn shape(graph: &Graph, value: ValueId) -> Option<Shape> {
    let held = graph.value(value);
    // Inference has taken in what the file declares, unless that cannot be.
    let known = held.inferred().map_or_else(|| held.shape(), |inferred| inferred.shape.clone());
    known.or_else(|| graph.constant(value).map(|tensor| Shape::fixed(tensor.shape().iter().copied())))
}

/// The number of axes of a value; also from the operators before it that tell it.
pub(in crate::passes) fn rank(graph: &Graph, value: Option<ValueId>) -> Option<usize> {
    rank_within(graph, value?, &mut { MAX_STEPS })
}

fn rank_within(graph: &Graph, value: ValueId, steps: &mut usize) -> Option<usize> {
    *steps = steps.checked_sub(1)?;
    if let Some(shape) = shape(graph, value) {
        return Some(shape.rank());
    }
    let (node, slot) = graph.producer(value)?;
    let held = graph.node(node);
    if slot != 0 || !held.domain().is_empty() {
        return None;
    }
    match held.op_type() {
        "Flatten" | "Gemm" => Some(2),
        "Conv" | "ConvTranspose" => rank_within(graph, graph.input(node, 1)?, steps),
        "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "Relu"
        | "LeakyRelu"
        | "Clip"
        | "Sigmoid"
        | "HardSigmoid"
        | "HardSwish"
        | "Tanh"
        | "Erf"
        | "Softmax"
        | "Gelu"
        | "Cast"
        | "Identity"
        | "Dropout"
        | "MaxPool"
        | "AveragePool"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "Exp"
        | "Sqrt"
        | "Neg"
        | "Transpose"
        | "Concat"
        | "Pad"
        | "Slice"
        | "Resize"
        | "Reciprocal" => rank_within(graph, graph.input(node, 0)?, steps),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" if held.attr_int("keepdims", 1) != 0 => {
            rank_within(graph, graph.input(node, 0)?, steps)
        }
        "Squeeze" | "Unsqueeze" => {
            let axes = ints(graph, node, "axes", 1).known()?.len();
            let before = rank_within(graph, graph.input(node, 0)?, steps)?;
            if held.is("Squeeze") { before.checked_sub(axes) } else { Some(before + axes) }
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" => {
            let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
            let left = rank_within(graph, a, steps)?;
            if a == b { Some(left) } else { Some(left.max(rank_within(graph, b, steps)?)) }
        }
        _ => None,
    }
}

/// Whether two shapes are equal for certain: in each place the same number or the same name.
pub(in crate::passes) fn surely_equal(a: &Shape, b: &Shape) -> bool {
    a.rank() == b.rank() && a.0.iter().zip(&b.0).all(|(a, b)| a == b && *a != Dim::Unknown)
}

/// Whether a permutation of axes leaves them where they are.
pub(in crate::passes) fn is_identity(perm: &[i64]) -> bool {
    perm.iter().enumerate().all(|(place, &axis)| usize::try_from(axis) == Ok(place))
}

/// The target of a Reshape from one shape, where known, to another: each extent must be a number, or equal to the extent
/// at the same place before, which 0 stands for; if all the others are numbers, one may be anything, which -1 stands for.
pub(in crate::passes) fn reshape_target(before: Option<&Shape>, after: &Shape) -> Option<Vec<i64>> {
    let mut list = Vec::with_capacity(after.rank());
    let (mut copies, mut unknown) = (0, 0);
    for (place, dim) in after.0.iter().enumerate() {
        let same = before.and_then(|shape| shape.0.get(place));
        list.push(match dim {
            Dim::Fixed(0) => return None,
            Dim::Fixed(extent) => i64::try_from(*extent).ok()?,
            Dim::Sym(_) if same == Some(dim) => {
                copies += 1;
                0
            }
            _ => {
                unknown += 1;
                -1
            }
        });
    }
    (unknown == 0 || (unknown == 1 && copies == 0)).then_some(list)
}

/// Axes that an operator on a value of `rank` axes names, sorted and counted from the front.
pub(in crate::passes) fn axes_from_front(axes: &[i64], rank: usize) -> Option<Vec<i64>> {
    let from_front = |&axis: &i64| axis_from_front(axis, rank).and_then(|axis| i64::try_from(axis).ok());
    let mut found = axes.iter().map(from_front).collect::<Option<Vec<i64>>>()?;
    found.sort_unstable();
    found.windows(2).all(|pair| pair[0] != pair[1]).then_some(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[&str]) -> Shape {
        let dim = |text: &&str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) if *text == "?" => Dim::Unknown,
            Err(_) => Dim::Sym((*text).into()),
        };
        Shape(dims.iter().map(dim).collect())
    }

    #[test]
    fn a_target_of_numbers_copies_and_one_remainder() {
        let of = |before: &[&str], after: &[&str]| reshape_target(Some(&shape(before)), &shape(after));
        assert_eq!(of(&["b", "s", "384"], &["b", "s", "12", "32"]), Some(vec![0, 0, 12, 32]));
        assert_eq!(of(&["b", "8"], &["?", "4"]), Some(vec![-1, 4]));
        assert_eq!(of(&["b", "s", "8"], &["s", "b", "8"]), None);
        assert_eq!(of(&["b", "s", "8"], &["b", "?", "4"]), None);
        assert_eq!(of(&["b", "8"], &["0", "?"]), None);
    }

    #[test]
    fn axes_are_sorted_and_none_is_named_twice() {
        assert_eq!(axes_from_front(&[-1, 0], 3), Some(vec![0, 2]));
        assert_eq!(axes_from_front(&[2, -1], 3), None);
        assert_eq!(axes_from_front(&[3], 3), None);
    }
}
