//! Reductions, and operators that order or sum up along an axis.

use super::{axes, list};
use crate::channels::walk::{Axis, Outcome, Walk, axis_of};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "ReduceSum" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => sum,
        "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceLogSum" | "ReduceLogSumExp" => reduce,
        "ArgMax" | "ArgMin" => arg,
        "CumSum" => cumulate,
        "TopK" => top,
        _ => return None,
    })
}

/// A channel that is zero adds nothing to a sum.
fn sum(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    over_axes(
        walk,
        node,
        |axis| if axis.is_zero() { None } else { Some("sums over them, and they need not be zero there") },
    )
}

fn reduce(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    over_axes(walk, node, |_| Some("reduces over them"))
}

fn over_axes(walk: &mut Walk<'_>, node: NodeId, barrier: fn(&Axis) -> Option<&'static str>) -> Outcome {
    let x = axes(walk, node, 0)?;
    let held = walk.held(node);
    let listed = list(walk, node, "axes", 1)?.filter(|list| !list.is_empty());
    let places: Vec<usize> = match listed {
        Some(list) => list.iter().map(|&axis| axis_of(axis, x.len())).collect::<Outcome<_>>()?,
        None if held.attr_int("noop_with_empty_axes", 0) != 0 => Vec::new(),
        None => (0..x.len()).collect(),
    };
    let keeps = held.attr_int("keepdims", 1) != 0;
    let mean =
        held.is("ReduceMean") || held.op_type().starts_with("ReduceSum") || held.op_type().starts_with("ReduceL");
    let keeps_zero = mean && !held.op_type().starts_with("ReduceLog");
    reduced(walk, node, &x, &places, keeps, |walk, axis| {
        if let Some(reason) = barrier(axis) {
            walk.fix(node, axis, reason);
        }
    });
    if !keeps_zero && let Some(output) = walk.graph.output(node, 0) {
        let result = walk.axes(output)?.iter().map(|axis| axis.with_zero(false)).collect();
        walk.set(node, 0, result);
    }
    Ok(())
}

fn reduced(
    walk: &mut Walk<'_>,
    node: NodeId,
    x: &[Axis],
    places: &[usize],
    keeps: bool,
    mut visit: impl FnMut(&mut Walk<'_>, &Axis),
) {
    let mut result = Vec::with_capacity(x.len());
    for (place, axis) in x.iter().enumerate() {
        if !places.contains(&place) {
            result.push(axis.clone());
            continue;
        }
        visit(walk, axis);
        if keeps {
            result.push(walk.one());
        }
    }
    walk.set(node, 0, result);
}

fn arg(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x: Vec<Axis> = axes(walk, node, 0)?.iter().map(|axis| axis.with_zero(false)).collect();
    let held = walk.held(node);
    let place = axis_of(held.attr_int("axis", 0), x.len())?;
    let keeps = held.attr_int("keepdims", 1) != 0;
    reduced(walk, node, &x, &[place], keeps, |walk, axis| {
        walk.fix(node, axis, "tells which of them it is");
    });
    Ok(())
}

fn cumulate(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    let place = list(walk, node, "axis", 1)?.and_then(|list| list.first().copied()).ok_or("has no axis")?;
    let place = axis_of(place, x.len())?;
    if let Some(axis) = x.get_mut(place) {
        *axis = walk.fix(node, axis, "sums up along them");
    }
    walk.set(node, 0, x);
    Ok(())
}

fn top(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x: Vec<Axis> = axes(walk, node, 0)?.iter().map(|axis| axis.with_zero(false)).collect();
    let place = axis_of(walk.held(node).attr_int("axis", -1), x.len())?;
    if let Some(axis) = x.get_mut(place) {
        *axis = walk.fix(node, axis, "picks the largest of them");
    }
    walk.set(node, 0, x.clone());
    walk.set(node, 1, x);
    Ok(())
}
