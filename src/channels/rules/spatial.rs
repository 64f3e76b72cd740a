//! Pools and resizing: channels pass, each on its own.

use super::{axes, fix_from};
use crate::channels::Edit;
use crate::channels::edit::Entry;
use crate::channels::walk::{Axis, Outcome, Walk};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "AveragePool" | "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" | "LpPool" | "MaxPool" => pool,
        "Resize" | "Upsample" => resize,
        _ => return None,
    })
}

fn pool(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let mut x = fix_from(walk, node, &x, 2, "pools over them");
    if walk.graph.output(node, 1).is_some() {
        // Indices of maxima count through all channels before.
        x = fix_from(walk, node, &x, 0, "tells the places of its maxima");
    }
    let is_global = walk.held(node).op_type().starts_with("Global");
    for axis in x.iter_mut().skip(2) {
        *axis = if is_global { walk.one() } else { walk.made(node, "slides over the axis") };
    }
    super::pass_on(walk, node, &x);
    Ok(())
}

/// Channels stay whole; sizes that name them follow.
fn resize(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let (input, output) = (walk.input(node, 0)?, walk.graph.output(node, 0).ok_or("has no output")?);
    let (before, after) = (walk.shape(input)?.to_vec(), walk.shape(output)?.to_vec());
    if walk.held(node).attr("axes").is_some()
        || walk.held(node).attr_str("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    {
        let named = walk.held(node).attr_ints("axes").unwrap_or_default().to_vec();
        let touches = named.iter().any(|&place| {
            let place = usize::try_from(if place < 0 { place + x.len() as i64 } else { place }).unwrap_or(0);
            x.get(place).is_some_and(|axis| axis.atoms().is_some())
        });
        if touches || named.is_empty() {
            return Err("resizes them".to_owned());
        }
        let result: Vec<Axis> = passed(walk, node, &x, &before, &after);
        walk.set(node, 0, result);
        return Ok(());
    }
    let mut result = passed(walk, node, &x, &before, &after);
    if let Some(sizes) = walk.graph.input(node, 3) {
        let counts = walk.counts.get(&sizes).cloned().unwrap_or_default();
        let known = walk.ints(sizes);
        let mut entries: Vec<Entry> = known.iter().flatten().map(|&size| Entry::Number(size)).collect();
        for (place, axis) in result.iter_mut().enumerate() {
            let Some(atoms) = axis.atoms().cloned() else { continue };
            if super::reshape::follows(walk, node, axis, counts.get(place)) {
                continue;
            }
            match entries.get_mut(place) {
                Some(entry) => *entry = Entry::Count(atoms),
                None => *axis = walk.fix(node, axis, "takes its sizes from what is computed as it runs"),
            }
        }
        if entries.iter().any(|entry| matches!(entry, Entry::Count(_))) {
            walk.edits.push(Edit::Target { node, slot: 3, entries });
        }
    }
    walk.set(node, 0, result);
    Ok(())
}

/// Axes whose extent stays pass; those that are resized are no channels.
fn passed(
    walk: &mut Walk<'_>,
    node: NodeId,
    x: &[Axis],
    before: &[crate::infer::Extent],
    after: &[crate::infer::Extent],
) -> Vec<Axis> {
    let mut result = Vec::with_capacity(x.len());
    for (place, axis) in x.iter().enumerate() {
        let stays = matches!((before.get(place), after.get(place)), (Some(Some(b)), Some(Some(a))) if a == b);
        result.push(if stays { axis.clone() } else { walk.fix(node, axis, "resizes them") });
    }
    result
}
