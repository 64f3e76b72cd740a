//! Operators that reduce along axes, and those that search or sort along one.

use super::reshape::axes;
use crate::infer::cx::{Cx, Rule, axis, fixed};
use crate::infer::fact::Element;
use crate::infer::sym::SymExpr;
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => reduce,
        "ArgMax" | "ArgMin" => arg,
        "TopK" => top_k,
        "Unique" => unique,
        "NonZero" => non_zero,
        _ => return None,
    })
}

fn reduce(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let keeps = cx.int("keepdims")? != 0;
    let Some(wanted) = axes(cx) else {
        // The axes come from a run; the rank is still known where they all stay.
        if keeps {
            cx.set_shape(0, vec![None; shape.len()]);
        }
        return None;
    };
    let wanted = wanted.unwrap_or_default();
    if wanted.is_empty() && cx.int("noop_with_empty_axes") == Some(1) {
        return super::elementwise::same_shape(cx);
    }
    let reduced: Vec<usize> = if wanted.is_empty() {
        (0..shape.len()).collect()
    } else {
        wanted.into_iter().map(|at| axis(at, shape.len())).collect::<Option<_>>()?
    };
    let extents = shape.iter().enumerate().filter_map(|(place, extent)| match reduced.contains(&place) {
        true => keeps.then(|| fixed(1)),
        false => Some(extent.clone()),
    });
    let extents = extents.collect();
    cx.set_shape(0, extents);
    if shape.len() <= 1 && reduced.len() == shape.len() {
        let total = total(cx)?;
        cx.set_contents(0, vec![Element::Int(total)]);
    }
    Some(())
}

/// The result of reducing all elements.
fn total(cx: &Cx<'_, '_>) -> Option<SymExpr> {
    let elements = cx.expressions(0)?;
    let mut elements = elements.iter();
    match cx.node.op_type() {
        "ReduceProd" => elements.try_fold(SymExpr::from(1), |all, one| all.mul(one)),
        "ReduceSum" => elements.try_fold(SymExpr::from(0), |all, one| all.add(one)),
        "ReduceMax" => elements.next().cloned().and_then(|first| elements.try_fold(first, |all, one| all.larger(one))),
        "ReduceMin" => elements.next().cloned().and_then(|first| elements.try_fold(first, |all, one| all.smaller(one))),
        _ => None,
    }
}

fn arg(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let along = axis(cx.int("axis")?, shape.len())?;
    if cx.int("keepdims")? != 0 {
        *shape.get_mut(along)? = fixed(1);
    } else {
        shape.remove(along);
    }
    cx.set_shape(0, shape);
    Some(())
}

fn top_k(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_dtype(1, Some(DType::I64));
    let mut shape = cx.shape(0)?;
    let along = axis(cx.int("axis")?, shape.len())?;
    let count = if cx.version < 10 { fixed(cx.int("k")?) } else { cx.scalar(1) };
    *shape.get_mut(along)? = count;
    cx.set_shape(0, shape.clone());
    cx.set_shape(1, shape);
    Some(())
}

fn unique(cx: &mut Cx<'_, '_>) -> Option<()> {
    let count = Some(cx.state.fresh());
    for slot in 1..4 {
        cx.set_shape(slot, vec![count.clone()]);
    }
    let mut whole = None;
    if cx.says("axis") {
        if let Some(mut shape) = cx.shape(0) {
            let along = axis(cx.int("axis")?, shape.len())?;
            whole = std::mem::replace(shape.get_mut(along)?, count);
            cx.set_shape(0, shape);
        }
    } else {
        whole = cx.shape(0).and_then(|shape| crate::infer::cx::product(&shape));
        cx.set_shape(0, vec![count]);
    }
    cx.set_shape(2, vec![whole]);
    Some(())
}

fn non_zero(cx: &mut Cx<'_, '_>) -> Option<()> {
    let rank = cx.rank(0).and_then(|rank| i64::try_from(rank).ok()).map(SymExpr::from);
    cx.set_shape(0, vec![rank, None]);
    Some(())
}
