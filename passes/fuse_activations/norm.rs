//! Normalizations over the last axis: LayerNormalization and RMSNormalization.

use super::super::common::facts;
use super::super::common::pattern::{self, Match};
use crate::ir::{Graph, NodeId, NodeSpec, ValueId};

/// `(x - mean) / sqrt(variance + epsilon) scale + bias`.
pub(super) fn layer_norm(graph: &Graph, node: NodeId, opset: i64) -> Option<Match> {
    if opset < 17 || !graph.node(node).is("Add") {
        return None;
    }
    let (scaled, bias) = vector_operand(graph, node)?;
    let scaling = pattern::written_by(graph, scaled, "Mul")?;
    let (normal, scale) = vector_operand(graph, scaling)?;
    if graph.constant(scale)?.shape() != graph.constant(bias)?.shape() {
        return None;
    }
    let mut inner = vec![scaling];
    let (centred, root) = divided_by_root(graph, normal, &mut inner)?;
    let (variance, epsilon) = root_of_sum(graph, root, &mut inner)?;
    let mean_of_squares = mean_of_last_axis(graph, variance, &mut inner)?;
    if square_of(graph, mean_of_squares, &mut inner)? != centred {
        return None;
    }
    let sub = pattern::written_by(graph, centred, "Sub")?;
    inner.push(sub);
    let x = graph.input(sub, 0)?;
    if mean_of_last_axis(graph, graph.input(sub, 1)?, &mut inner)? != x {
        return None;
    }
    let spec = NodeSpec::new("LayerNormalization").attr("epsilon", epsilon as f32);
    let axes = graph.constant(scale)?.rank();
    (has_last_extent(graph, x, scale) && axes == 1).then(|| Match::new(spec, vec![x, scale, bias], inner))
}

/// `x / sqrt(mean(x^2) + epsilon) scale`.
pub(super) fn rms_norm(graph: &Graph, node: NodeId, opset: i64) -> Option<Match> {
    if opset < 23 || !graph.node(node).is("Mul") {
        return None;
    }
    let (normal, scale) = vector_operand(graph, node)?;
    let mut inner = Vec::new();
    let (x, root) = divided_by_root(graph, normal, &mut inner)?;
    let (mean, epsilon) = root_of_sum(graph, root, &mut inner)?;
    let squares = mean_of_last_axis(graph, mean, &mut inner)?;
    if square_of(graph, squares, &mut inner)? != x {
        return None;
    }
    let spec = NodeSpec::new("RMSNormalization").attr("epsilon", epsilon as f32);
    has_last_extent(graph, x, scale).then(|| Match::new(spec, vec![x, scale], inner))
}

/// The computed operand of an operator, and the constant vector that is the other.
fn vector_operand(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    let (value, slot, constant) = pattern::constant_operand(graph, node)?;
    let other = graph.input(node, 1 - slot)?;
    (constant.rank() == 1 && constant.dtype().is_float()).then_some((value, other))
}

/// Whether a vector is known to be as long as the last axis of a value: a longer one would broadcast it.
fn has_last_extent(graph: &Graph, value: ValueId, vector: ValueId) -> bool {
    let extent = facts::shape(graph, value).and_then(|shape| shape.0.last()?.fixed());
    extent.is_some() && extent == graph.constant(vector).and_then(|tensor| tensor.shape().first().copied())
}

/// What is divided by a root, and the root: a division, or a product with the reciprocal.
fn divided_by_root(graph: &Graph, value: ValueId, inner: &mut Vec<NodeId>) -> Option<(ValueId, NodeId)> {
    if let Some(div) = pattern::written_by(graph, value, "Div") {
        let root = pattern::written_by(graph, graph.input(div, 1)?, "Sqrt")?;
        inner.extend([div, root]);
        return Some((graph.input(div, 0)?, root));
    }
    let mul = pattern::written_by(graph, value, "Mul")?;
    let (a, b) = (graph.input(mul, 0)?, graph.input(mul, 1)?);
    let of = |x: ValueId, reciprocal: ValueId| {
        let reciprocal = pattern::written_by(graph, reciprocal, "Reciprocal")?;
        let root = pattern::written_by(graph, graph.input(reciprocal, 0)?, "Sqrt")?;
        Some((x, reciprocal, root))
    };
    let (x, reciprocal, root) = of(a, b).or_else(|| of(b, a))?;
    inner.extend([mul, reciprocal, root]);
    Some((x, root))
}

/// What a root is taken of, without the number that is added to it.
fn root_of_sum(graph: &Graph, root: NodeId, inner: &mut Vec<NodeId>) -> Option<(ValueId, f64)> {
    let add = pattern::written_by(graph, graph.input(root, 0)?, "Add")?;
    inner.push(add);
    pattern::number_behind(graph, add)
}

/// What a mean over the last axis, which stays, is taken of.
fn mean_of_last_axis(graph: &Graph, value: ValueId, inner: &mut Vec<NodeId>) -> Option<ValueId> {
    let mean = pattern::written_by(graph, value, "ReduceMean")?;
    let axes = facts::ints(graph, mean, "axes", 1).known()?;
    let input = graph.input(mean, 0)?;
    let is_last = match axes.as_slice() {
        [-1] => true,
        [axis] => {
            facts::rank(graph, Some(input)).is_some_and(|rank| i64::try_from(rank).is_ok_and(|rank| *axis == rank - 1))
        }
        _ => false,
    };
    inner.push(mean);
    (is_last && graph.node(mean).attr_int("keepdims", 1) != 0).then_some(input)
}

/// What is squared: a power of two or a product with itself.
fn square_of(graph: &Graph, value: ValueId, inner: &mut Vec<NodeId>) -> Option<ValueId> {
    if let Some(pow) = pattern::written_by(graph, value, "Pow") {
        inner.push(pow);
        let (base, slot, exponent) = pattern::number_operand(graph, pow)?;
        return (slot == 0 && exponent == 2.0).then_some(base);
    }
    let mul = pattern::written_by(graph, value, "Mul")?;
    inner.push(mul);
    let (a, b) = (graph.input(mul, 0)?, graph.input(mul, 1)?);
    (a == b).then_some(a)
}
