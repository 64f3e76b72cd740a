//! Quantization: one scale for all channels, or one for each.

use super::{axes, pass_on, unify_vector};
use crate::channels::walk::{Axis, Outcome, Walk, axis_of};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "DequantizeLinear" | "QuantizeLinear" => linear,
        _ => return None,
    })
}

fn linear(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    if walk.held(node).attr_int("block_size", 0) != 0 {
        return Err("has scales for blocks of them".to_owned());
    }
    let scale = walk.input(node, 1)?;
    if walk.shape(scale)?.len() == 1 {
        let place = axis_of(walk.held(node).attr_int("axis", 1), x.len())?;
        let axis = x.get(place).cloned().ok_or("has no such axis")?;
        let is_one = walk.shape(scale)?.first().and_then(crate::channels::walk::number) == Some(1);
        if !is_one {
            unify_vector(walk, node, 1, &axis)?;
            unify_vector(walk, node, 2, &axis)?;
        }
    }
    // Integers are not masked by zero, so nothing may count on it.
    let x: Vec<Axis> = x.iter().map(|axis| axis.with_zero(false)).collect();
    pass_on(walk, node, &x);
    Ok(())
}
