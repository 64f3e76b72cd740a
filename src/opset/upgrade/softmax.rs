//! `Softmax`, `LogSoftmax` and `Hardmax` of opset 13 normalize along one axis; before, over that axis and all after it.

use super::attributes::with_axis;
use super::spot::Spot;
use crate::error::Result;
use crate::ir::{Dim, NodeSpec, ValueType};

/// The operator set whose `Reshape` has the attribute `allowzero`.
const ALLOWS_ZERO: i64 = 14;

/// Leaves the operator alone where the axis is the last one, or nothing but extents of 1 follows it; makes a matrix of
/// the input elsewhere, and the result has the shape of the input again.
pub(super) fn one_axis(spot: &mut Spot<'_>) -> Result<bool> {
    let axis = spot.int("axis", 1)?;
    let input = spot.required_input(0)?;
    let output = spot.graph.output(spot.node, 0);
    let rank = spot.rank(input).or_else(|| spot.rank(output?));
    if axis == -1 || rank.is_some_and(|rank| axis.rem_euclid(rank.max(1) as i64) == rank as i64 - 1) {
        return state_axis(spot, axis);
    }
    let shape = spot.graph.value(input).shape();
    if let (Some(shape), Ok(start)) = (&shape, usize::try_from(axis))
        && shape.0.get(start + 1..).is_some_and(|later| later.iter().all(|dim| *dim == Dim::Fixed(1)))
    {
        return state_axis(spot, axis);
    }
    let Some(output) = output else { return Ok(false) };
    let base = spot.output_name();
    let fixed = shape.and_then(|shape| shape.as_fixed()).filter(|dims| !dims.contains(&0));
    let is_fixed = fixed.is_some();
    let shape = match fixed {
        Some(dims) => spot.indices("shape", &dims.into_iter().map(|dim| dim as i64).collect::<Vec<_>>())?,
        None => spot.add_op(NodeSpec::new("Shape"), &[input], &format!("{base}_shape"))?,
    };
    let matrix = spot.add_op(with_axis("Flatten", axis), &[input], &format!("{base}_matrix"))?;
    spot.set_input(0, Some(matrix))?;
    spot.graph.set_attr(spot.node, "axis", -1)?;
    let normalized = spot.graph.add_value(&format!("{base}_normalized"), ValueType::Unknown);
    spot.graph.set_output(spot.node, 0, normalized)?;
    // An extent of zero is meant as such, which a Reshape can be told from opset 14 on.
    let may_be_empty = !is_fixed && spot.target >= ALLOWS_ZERO;
    let reshape = NodeSpec::new("Reshape");
    let reshape = if may_be_empty { reshape.attr("allowzero", 1i64) } else { reshape };
    spot.graph.add_node(reshape, &[Some(normalized), Some(shape)], &[output], spot.node)?;
    Ok(true)
}

/// Writes an axis down that was the default, which is another one now.
fn state_axis(spot: &mut Spot<'_>, axis: i64) -> Result<bool> {
    if spot.held().attr("axis").is_some() {
        return Ok(false);
    }
    spot.graph.set_attr(spot.node, "axis", axis)?;
    Ok(true)
}
