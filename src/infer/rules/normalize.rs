//! Normalisations, whose first output has the shape of the input, and statistics beside it.

use crate::infer::cx::{Cx, Rule, axis, fixed};
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "BatchNormalization" => batch,
        "InstanceNormalization" | "GroupNormalization" | "RMSNormalization" | "RotaryEmbedding" => {
            super::elementwise::same_shape
        }
        "LayerNormalization" => layer,
        "Dropout" => dropout,
        _ => return None,
    })
}

fn batch(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let channels = vec![shape.get(1).cloned().flatten()];
    cx.set_shape(0, shape);
    for slot in 1..cx.outputs.len() {
        cx.set_shape(slot, channels.clone());
    }
    Some(())
}

pub(super) fn layer(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let along = axis(cx.int("axis").unwrap_or(-1), shape.len())?;
    let reduced: Vec<_> =
        shape.iter().enumerate().map(|(place, e)| if place < along { e.clone() } else { fixed(1) }).collect();
    cx.set_shape(0, shape);
    let dtype = cx.dtype_attr("stash_type");
    for slot in 1..3 {
        cx.set_dtype(slot, dtype);
        cx.set_shape(slot, reduced.clone());
    }
    Some(())
}

fn dropout(cx: &mut Cx<'_, '_>) -> Option<()> {
    // The mask was of the type of the data until opset 10.
    let mask = if cx.version >= 10 { Some(DType::Bool) } else { cx.dtype(0) };
    cx.set_dtype(1, mask);
    let shape = cx.shape(0)?;
    cx.set_shape(0, shape.clone());
    cx.set_shape(1, shape);
    Some(())
}
