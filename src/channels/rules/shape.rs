//! Operators that tell shapes, or make tensors of a shape: what they tell of channels is followed as a number.

use super::axes;
use crate::channels::sets::Atoms;
use crate::channels::walk::{Axis, Outcome, Walk};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "Shape" => shape,
        "Size" => told,
        "ConstantOfShape" | "Range" | "RandomNormal" | "RandomUniform" => made,
        _ => return None,
    })
}

fn shape(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let bound = |name: &str, default: i64| {
        let bound = walk.held(node).attr_int(name, default);
        (if bound < 0 { bound + x.len() as i64 } else { bound }).clamp(0, x.len() as i64) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", x.len() as i64));
    let counts: Vec<Option<Atoms>> =
        x.get(start..end).unwrap_or_default().iter().map(|axis| axis.atoms().cloned()).collect();
    if let Some(output) = walk.graph.output(node, 0)
        && counts.iter().any(Option::is_some)
    {
        walk.counts.insert(output, counts);
    }
    let label = walk.made(node, "tells a shape");
    walk.set(node, 0, vec![label]);
    Ok(())
}

fn told(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    for axis in &x {
        walk.fix(node, axis, "tells how many elements there are");
    }
    walk.set(node, 0, Vec::new());
    Ok(())
}

fn made(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let output = walk.graph.output(node, 0).ok_or("has no output")?;
    let rank = walk.shape(output)?.len();
    let label = walk.made(node, "makes an axis as long as it is told");
    walk.set(node, 0, vec![label; rank]);
    Ok(())
}

/// What each element of the output counts, of operators that take lists of extents apart and put them together. Those
/// whose rules look at the counts themselves give an empty list.
pub(super) fn counts(walk: &Walk<'_>, node: NodeId) -> Option<Vec<Option<Atoms>>> {
    let held = walk.held(node);
    if !held.domain().is_empty() {
        return None;
    }
    let of = |slot: usize| -> Option<Vec<Option<Atoms>>> {
        let value = walk.graph.input(node, slot)?;
        match walk.counts.get(&value) {
            Some(counts) => Some(counts.clone()),
            None => {
                let extents = walk.extents(value)?;
                let len = extents.iter().map(crate::channels::walk::number).collect::<Option<Vec<i64>>>()?;
                Some(vec![None; usize::try_from(len.iter().product::<i64>()).ok()?])
            }
        }
    };
    let only_first = |walk: &Walk<'_>| {
        let others = walk.graph.node_inputs(node).into_iter().flatten().skip(1);
        others.into_iter().all(|value| !walk.has_counts(value))
    };
    match held.op_type() {
        "Identity" | "Squeeze" | "Unsqueeze" | "Cast" if only_first(walk) => {
            // A number that becomes a float goes into arithmetic on data.
            let is_float = held.is("Cast")
                && walk
                    .graph
                    .output(node, 0)
                    .and_then(|v| walk.facts.get(v)?.dtype)
                    .is_none_or(crate::ir::DType::is_float);
            if is_float { None } else { of(0) }
        }
        "Concat" => {
            let slots = 0..held.input_slots();
            slots.map(of).collect::<Option<Vec<_>>>().map(|parts| parts.concat())
        }
        "Gather" if only_first(walk) => {
            let counts = of(0)?;
            let indices = walk.ints(walk.graph.input(node, 1)?)?;
            let len = counts.len() as i64;
            let pick = |index: i64| usize::try_from(if index < 0 { index + len } else { index }).ok();
            indices.into_iter().map(|index| counts.get(pick(index)?).cloned()).collect()
        }
        "Slice" if only_first(walk) => {
            let counts = of(0)?;
            let from = if walk.opset >= 10 { [1, 2, 4] } else { [usize::MAX; 3] };
            let one = |name: &str, slot: usize| super::list(walk, node, name, slot).ok();
            let (start, end) = (one("starts", from[0])??, one("ends", from[1])??);
            let step = one("steps", from[2])?.and_then(|list| list.first().copied()).unwrap_or(1);
            let (&[start], &[end], 1) = (start.as_slice(), end.as_slice(), step) else { return None };
            let len = counts.len() as i64;
            let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(len) } else { bound }).clamp(0, len) as usize;
            Some(counts.get(clamp(start)..clamp(end)).unwrap_or_default().to_vec())
        }
        // Their rules compare the numbers with the channels, and keep these where they differ.
        "Reshape" | "Expand" | "Resize" => {
            let target = if held.is("Resize") { 3 } else { 1 };
            let others = (0..held.input_slots()).filter(|&slot| slot != target);
            let elsewhere = others.filter_map(|slot| walk.graph.input(node, slot)).any(|value| walk.has_counts(value));
            (!elsewhere && !is_stray(walk, node, target)).then(Vec::new)
        }
        _ => None,
    }
}

/// Whether a shape has the number of some channels on an axis that does not have those channels.
fn is_stray(walk: &Walk<'_>, node: NodeId, slot: usize) -> bool {
    let counts = walk.graph.input(node, slot).and_then(|value| walk.counts.get(&value));
    let output = walk.graph.output(node, 0).and_then(|value| walk.values.get(&value));
    let (Some(counts), Some(axes)) = (counts, output) else { return true };
    // A shape with fewer entries than there are axes is for the last of them.
    let skip = axes.len().saturating_sub(counts.len());
    counts.iter().zip(axes.iter().skip(skip)).any(|(count, axis)| match (count, axis) {
        (None, _) => false,
        (Some(count), Axis::Channels { atoms, .. }) => count.len() != atoms.len(),
        (Some(_), Axis::Fixed(_)) => true,
    })
}
