//! Operators that pick or place elements by index.

use crate::infer::cx::{Cx, Rule, axis, fixed, numbers};
use crate::infer::fact::Element;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "Scatter" | "ScatterElements" | "ScatterND" | "TensorScatter" | "ReverseSequence" => {
            super::elementwise::same_shape
        }
        "Compress" => compress,
        _ => return None,
    })
}

fn gather(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (data, indices) = (cx.shape(0)?, cx.shape(1)?);
    let along = axis(cx.int("axis")?, data.len())?;
    let (before, after) = data.split_at(along);
    let shape = [before, &indices, after.get(1..)?].concat();
    cx.set_shape(0, shape);
    let elements = cx.elements(0)?;
    let [length] = numbers(&data)?.try_into().ok()?;
    let pick = |element: &Element| {
        let index = element.int()?.as_int()?;
        let index = if index < 0 { index.checked_add(length)? } else { index };
        elements.get(usize::try_from(index).ok()?).cloned()
    };
    let picked = cx.elements(1)?.iter().map(|element| pick(element).unwrap_or_default()).collect();
    super::elementwise::set_useful(cx, picked);
    Some(())
}

fn gather_elements(cx: &mut Cx<'_, '_>) -> Option<()> {
    let indices = cx.shape(1)?;
    cx.set_shape(0, indices);
    Some(())
}

fn gather_nd(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (data, indices) = (cx.shape(0)?, cx.shape(1)?);
    let batch = usize::try_from(cx.int("batch_dims").unwrap_or(0)).ok()?;
    let (depth, lead) = indices.split_last()?;
    let depth = usize::try_from(depth.as_ref()?.as_int()?).ok()?;
    let rest = data.get(batch.checked_add(depth)?..)?;
    let shape = [lead, rest].concat();
    cx.set_shape(0, shape);
    Some(())
}

fn compress(cx: &mut Cx<'_, '_>) -> Option<()> {
    let picked = || {
        let condition = cx.ints(1)?;
        i64::try_from(condition.iter().filter(|picked| **picked != 0).count()).ok()
    };
    let count = picked().and_then(fixed);
    if !cx.says("axis") {
        cx.set_shape(0, vec![count]);
        return Some(());
    }
    let mut shape = cx.shape(0)?;
    let along = axis(cx.int("axis")?, shape.len())?;
    *shape.get_mut(along)? = count;
    cx.set_shape(0, shape);
    Some(())
}
