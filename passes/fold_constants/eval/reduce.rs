//! Sums, products and extrema of integers over axes.

use super::movement::places;
use super::numbers::Numbers;
use super::{Answer, Call, Decline};
use crate::ir::Tensor;

/// `ReduceProd`, `ReduceSum`, `ReduceMax` and `ReduceMin` of integers: those have no rounding that an order could change.
pub(super) fn reduce(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    call.allowed(data.dtype(), data.shape())?;
    let input_since = if call.node.is("ReduceSum") { 13 } else { 18 };
    let axes = call.attribute_or_input("axes", 1, input_since)?.unwrap_or_default();
    if axes.is_empty() && call.opset >= input_since && call.node.attr_int("noop_with_empty_axes", 0) != 0 {
        return Ok(data.clone());
    }
    let mut axes = places(&axes, data.rank())?;
    if axes.is_empty() {
        axes = (0..data.rank()).collect();
    }
    let Some(Numbers::Int(values)) = Numbers::of(data).filter(|_| data.dtype().is_integer()) else {
        return Err(Decline::NotHere);
    };
    let apply: fn(i128, i128) -> Option<i128> = match call.node.op_type() {
        "ReduceProd" => i128::checked_mul,
        "ReduceSum" => i128::checked_add,
        "ReduceMax" => |a, b| Some(a.max(b)),
        _ => |a, b| Some(a.min(b)),
    };
    let kept: Vec<u64> =
        data.shape().iter().enumerate().map(|(axis, &dim)| if axes.contains(&axis) { 1 } else { dim }).collect();
    let mut results: Vec<Option<i128>> = vec![None; kept.iter().product::<u64>() as usize];
    for (place, value) in values.into_iter().enumerate() {
        let slot = results.get_mut(target(place, data.shape(), &kept)).ok_or(Decline::NotHere)?;
        *slot = match *slot {
            None => Some(value),
            Some(so_far) => Some(apply(so_far, value).ok_or(Decline::NotHere)?),
        };
    }
    // What is reduced from nothing is left to a backend.
    let results = results.into_iter().collect::<Option<Vec<i128>>>().ok_or(Decline::NotHere)?;
    let shape = if call.node.attr_int("keepdims", 1) != 0 {
        kept
    } else {
        kept.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &dim)| dim).collect()
    };
    Numbers::Int(results).into_tensor(data.dtype(), shape).ok_or(Decline::NotHere)
}

/// Where the element at `place` of a tensor goes in a result of shape `kept`.
fn target(place: usize, shape: &[u64], kept: &[u64]) -> usize {
    let (mut rest, mut target, mut stride) = (place as u64, 0, 1);
    for (&dim, &extent) in shape.iter().zip(kept).rev() {
        let at = rest % dim;
        rest /= dim;
        if extent > 1 {
            target += at * stride;
        }
        stride *= extent;
    }
    target as usize
}
