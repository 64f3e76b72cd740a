//! Pairs of operators that one operator stands for.

use super::super::common::merge::{Merge, Operand};
use super::super::common::{facts, pattern, reduction};
use crate::ir::{AttrRef, AttrValue, DType, Dim, Graph, NodeId, ValueId};

/// `(1 / x) y`: a quotient, where `x` is as large as `y`. A smaller `x` is cheaper to invert than `y` is to divide.
pub(super) fn quotient(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Mul") || opset < 7 {
        return None;
    }
    let of = |inverse: ValueId, other: ValueId| {
        graph.only_use(inverse)?;
        let divisor = match pattern::written_by(graph, inverse, "Reciprocal") {
            Some(reciprocal) => graph.input(reciprocal, 0)?,
            None => {
                let division = pattern::written_by(graph, inverse, "Div")?;
                let (divisor, slot, one) = pattern::number_operand(graph, division)?;
                (slot == 1 && one == 1.0).then_some(divisor)?
            }
        };
        let is_as_large = facts::surely_equal(&facts::shape(graph, divisor)?, &facts::shape(graph, other)?);
        is_as_large.then(|| Merge::becomes("Div", [other, divisor].map(|value| Some(Operand::Value(value))).into()))
    };
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    of(a, b).or_else(|| of(b, a))
}

/// `log(softmax(x))`.
pub(super) fn log_softmax(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    if !graph.node(node).is("Log") {
        return None;
    }
    let value = graph.input(node, 0)?;
    let softmax = pattern::written_by(graph, value, "Softmax")?;
    graph.only_use(value)?;
    let axis = match graph.node(softmax).attr("axis") {
        Some(AttrRef::Int(axis)) => Some(AttrValue::Int(axis)),
        _ => None,
    };
    let inputs = vec![Some(Operand::Value(graph.input(softmax, 0)?))];
    Some(Merge::Becomes { op_type: "LogSoftmax", inputs, attributes: vec![("axis", axis)] })
}

/// A Min of a Max, or a Max of a Min, with one number each.
pub(super) fn clip(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let (op_type, earlier) = match graph.node(node).op_type() {
        "Min" => ("Min", "Max"),
        "Max" => ("Max", "Min"),
        _ => return None,
    };
    let is_pair = |node: NodeId| graph.node(node).input_slots() == 2;
    if opset < 8 || !graph.node(node).is(op_type) || !is_pair(node) {
        return None;
    }
    let (value, slot, outer) = pattern::number_operand(graph, node)?;
    let first = pattern::written_by(graph, value, earlier).filter(|&first| is_pair(first))?;
    graph.only_use(value)?;
    let (source, inner_slot, inner) = pattern::number_operand(graph, first)?;
    let bounds = (graph.input(first, 1 - inner_slot)?, graph.input(node, 1 - slot)?);
    let ((low, lower), (high, upper)) =
        if op_type == "Min" { ((inner, bounds.0), (outer, bounds.1)) } else { ((outer, bounds.1), (inner, bounds.0)) };
    if low > high || low.is_nan() || high.is_nan() || !facts::dtype(graph, source)?.is_float() {
        return None;
    }
    if opset < 11 {
        let attribute = |bound: f64| Some(AttrValue::Float(bound as f32));
        let attributes = vec![("min", attribute(low)), ("max", attribute(high))];
        let is_exact = [low, high].iter().all(|&bound| f64::from(bound as f32) == bound);
        let inputs = vec![Some(Operand::Value(source))];
        return is_exact.then_some(Merge::Becomes { op_type: "Clip", inputs, attributes });
    }
    // The bounds of a Clip have no axes.
    let is_scalar = |value: ValueId| graph.constant(value).is_some_and(|tensor| tensor.rank() == 0);
    let inputs = [source, lower, upper].map(|value| Some(Operand::Value(value)));
    (is_scalar(lower) && is_scalar(upper)).then(|| Merge::becomes("Clip", inputs.into()))
}

/// A Gemm that reads a transposed matrix can transpose it by itself.
pub(super) fn gemm_of_transpose(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let held = graph.node(node);
    if !held.is("Gemm") {
        return None;
    }
    [(0, "transA"), (1, "transB")].into_iter().find_map(|(slot, attribute)| {
        let value = graph.input(node, slot)?;
        graph.only_use(value)?;
        let transpose = pattern::written_by(graph, value, "Transpose")?;
        let swaps = match graph.node(transpose).attr_ints("perm") {
            Some(perm) => perm == [1, 0],
            None => true,
        };
        let source = graph.input(transpose, 0)?;
        let keep = |(place, value): (usize, Option<ValueId>)| {
            value.map(|value| Operand::Value(if place == slot { source } else { value }))
        };
        let turned = AttrValue::Int(i64::from(held.attr_int(attribute, 0) == 0));
        let inputs = graph.node_inputs(node).into_iter().enumerate().map(keep).collect();
        swaps.then_some(Merge::Becomes { op_type: "Gemm", inputs, attributes: vec![(attribute, Some(turned))] })
    })
}

/// An Einsum that multiplies matrices, as MatMul does. Einsum would also broadcast an axis that is summed over.
pub(super) fn matmul_of_einsum(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let held = graph.node(node);
    if !held.is("Einsum") || held.input_slots() != 2 || !is_matmul(held.attr_str("equation", "")) {
        return None;
    }
    let (left, right) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let summed = |value: ValueId, from_back: usize| {
        let shape = facts::shape(graph, value)?;
        let axis = shape.rank().checked_sub(from_back)?;
        shape.0.get(axis).cloned().filter(|dim| *dim != Dim::Unknown)
    };
    // Not of bfloat16, which ONNX Runtime has an Einsum for on processors, but no MatMul.
    let dtype = facts::dtype(graph, left)?;
    let has_kernel = matches!(dtype, DType::F16 | DType::F32 | DType::F64) && facts::dtype(graph, right) == Some(dtype);
    if summed(left, 1)? != summed(right, 2)? || !has_kernel {
        return None;
    }
    let inputs = [left, right].map(|value| Some(Operand::Value(value))).into();
    Some(Merge::Becomes { op_type: "MatMul", inputs, attributes: vec![("equation", None)] })
}

/// Whether an equation is `(batch) i j, (batch) j k -> (batch) i k`, the batch axes of the right side being all or none.
fn is_matmul(equation: &str) -> bool {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let split = || {
        let (inputs, output) = equation.split_once("->")?;
        let (left, right) = inputs.split_once(',')?;
        let letters = |text: &str| text.chars().collect::<Vec<char>>();
        Some((letters(left), letters(right), letters(output)))
    };
    let Some((left, right, output)) = split() else { return false };
    let ([batch @ .., i, j], [right_batch @ .., j2, k], [out_batch @ .., i2, k2]) =
        (left.as_slice(), right.as_slice(), output.as_slice())
    else {
        return false;
    };
    let mut seen: Vec<char> = [batch, &[*i, *j, *k]].concat();
    seen.sort_unstable();
    let are_distinct = seen.windows(2).all(|pair| pair[0] != pair[1]) && seen.iter().all(char::is_ascii_alphabetic);
    are_distinct && (i, j, k) == (i2, j2, k2) && batch == out_batch && (right_batch.is_empty() || right_batch == batch)
}

/// A sum of sums, a mean of means, a product of products.
pub(super) fn reduction_of_reduction(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    ["ReduceSum", "ReduceMean", "ReduceProd"].into_iter().find_map(|op_type| reduction::of_both(graph, node, op_type))
}

#[cfg(test)]
mod tests {
    use super::is_matmul;

    #[test]
    fn equations_of_matrix_products() {
        for equation in ["ij,jk->ik", "bij,bjk->bik", "b i j, j k -> b i k", "abij,abjk->abik"] {
            assert!(is_matmul(equation), "{equation}");
        }
        for equation in ["ij,kj->ik", "bij,cjk->bik", "ij,jk", "ii,ik->ik", "...ij,jk->...ik", "bij,bjk->ibk", "i,i->"]
        {
            assert!(!is_matmul(equation), "{equation}");
        }
    }
}
