//! Operators that give the same elements another shape, in the same order or another.
//!
//! Extents of input and output are matched from both ends; what is left is factored until every axis of either side is a
//! grid of common factors. Extents may be names where they match as they are.

use super::axes;
use super::conv::grid;
use crate::channels::Edit;
use crate::channels::edit::Entry;
use crate::channels::sets::Atoms;
use crate::channels::walk::{Axis, Outcome, Walk, number};
use crate::infer::Extent;
use crate::ir::{NodeId, ValueId};

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "Flatten" | "Squeeze" | "Unsqueeze" => regroup,
        "Reshape" => reshape,
        "Transpose" => transpose,
        "Expand" => expand,
        "DepthToSpace" | "SpaceToDepth" => depth_space,
        _ => return None,
    })
}

fn regroup(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let result = regrouped(walk, node)?;
    walk.set(node, 0, result);
    Ok(())
}

fn reshape(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut result = regrouped(walk, node)?;
    target(walk, node, &mut result)?;
    walk.set(node, 0, result);
    Ok(())
}

/// The labels of the output of an operator that keeps the elements in their order.
fn regrouped(walk: &mut Walk<'_>, node: NodeId) -> Outcome<Vec<Axis>> {
    let input = walk.input(node, 0)?;
    let output = walk.graph.output(node, 0).ok_or("has no output")?;
    let (before, after) = (walk.shape(input)?.to_vec(), walk.shape(output)?.to_vec());
    let axes = walk.axes(input)?;
    let mut result = vec![walk.one(); after.len()];
    // Axes of one element stand for nothing.
    let matters = |extents: &[Extent]| -> Vec<usize> {
        (0..extents.len()).filter(|&place| extents.get(place).and_then(number) != Some(1)).collect()
    };
    let (mut old, mut new) = (matters(&before), matters(&after));
    let same = |old: Option<&usize>, new: Option<&usize>| match (old, new) {
        (Some(&old), Some(&new)) => {
            matches!((before.get(old), after.get(new)), (Some(Some(old)), Some(Some(new))) if old == new)
        }
        _ => false,
    };
    let mut pass = |old: usize, new: usize| {
        if let (Some(axis), Some(place)) = (axes.get(old), result.get_mut(new)) {
            *place = axis.clone();
        }
    };
    while same(old.last(), new.last()) {
        if let (Some(old), Some(new)) = (old.pop(), new.pop()) {
            pass(old, new);
        }
    }
    let front = old.iter().zip(&new).take_while(|(old, new)| same(Some(*old), Some(*new))).count();
    old.drain(..front).zip(new.drain(..front)).for_each(|(old, new)| pass(old, new));
    if !old.is_empty() || !new.is_empty() {
        let parts = factored(walk, node, &axes, [&before, &after], [&old, &new]);
        for (place, axis) in new.iter().zip(parts) {
            if let Some(slot) = result.get_mut(*place) {
                *slot = axis;
            }
        }
    }
    Ok(result)
}

/// The labels of the axes `new`, which have the elements of the axes `old` in their order.
fn factored(
    walk: &mut Walk<'_>,
    node: NodeId,
    axes: &[Axis],
    [before, after]: [&[Extent]; 2],
    [old, new]: [&[usize]; 2],
) -> Vec<Axis> {
    let own: Vec<Axis> = old.iter().filter_map(|&place| axes.get(place).cloned()).collect();
    if own.iter().all(|axis| axis.atoms().is_none()) {
        let fixed = own.first().cloned().unwrap_or_else(|| walk.one());
        return vec![fixed; new.len()];
    }
    let numbers = |extents: &[Extent], places: &[usize]| -> Option<Vec<usize>> {
        places.iter().map(|&place| usize::try_from(number(extents.get(place)?)?).ok().filter(|&e| e > 0)).collect()
    };
    let factors = match (numbers(before, old), numbers(after, new)) {
        (Some(old), Some(new)) => common_factors(&old, &new),
        _ => None,
    };
    let Some((old_factors, new_factors)) = factors else {
        let fixed: Vec<Axis> =
            own.iter().map(|axis| walk.fix(node, axis, "gives them a shape they do not fit")).collect();
        let first = fixed.first().cloned().unwrap_or_else(|| walk.one());
        return vec![first; new.len()];
    };
    // Each factor gets a label: that of the axis it is all of, or a new one.
    let mut labels: Vec<(usize, Axis)> = Vec::new();
    for (axis, sizes) in own.iter().zip(&old_factors) {
        match (axis, sizes.as_slice()) {
            (axis, [only]) => labels.push((*only, axis.clone())),
            (Axis::Fixed(_), sizes) => labels.extend(sizes.iter().map(|&size| (size, axis.clone()))),
            (axis, sizes) => {
                let start = labels.len();
                for &size in sizes {
                    let label =
                        walk.fresh(size, axis.is_zero()).unwrap_or_else(|| walk.made(node, "is too long an axis"));
                    labels.push((size, label));
                }
                let parts = labels.get(start..).unwrap_or_default().to_vec();
                grid(walk, node, axis, &parts);
            }
        }
    }
    let mut result = Vec::with_capacity(new.len());
    let mut labels = labels.into_iter();
    for sizes in &new_factors {
        let parts: Vec<(usize, Axis)> = labels.by_ref().take(sizes.len()).collect();
        result.push(merged(walk, node, &parts));
    }
    result
}

/// The label of an axis that is a grid of others.
pub(super) fn merged(walk: &mut Walk<'_>, node: NodeId, parts: &[(usize, Axis)]) -> Axis {
    let free: Vec<&Axis> = parts.iter().map(|(_, axis)| axis).filter(|axis| axis.atoms().is_some()).collect();
    match (parts, free.as_slice()) {
        ([(_, only)], _) => only.clone(),
        (_, []) => parts.first().map_or_else(|| walk.one(), |(_, axis)| axis.clone()),
        _ => {
            let is_zero = free.iter().all(|axis| axis.is_zero());
            let extent = parts.iter().map(|(extent, _)| extent).product();
            let Some(flat) = walk.fresh(extent, is_zero) else {
                let fixed: Vec<Axis> =
                    parts.iter().map(|(_, axis)| walk.fix(node, axis, "puts them on too long an axis")).collect();
                return fixed.first().cloned().unwrap_or_else(|| walk.one());
            };
            grid(walk, node, &flat, parts);
            flat
        }
    }
}

/// The factors of each of several extents.
type Factors = Vec<Vec<usize>>;

/// Factors both lists of extents so that they become one list; `None` where an extent of neither divides the other's.
fn common_factors(old: &[usize], new: &[usize]) -> Option<(Factors, Factors)> {
    let (mut old_factors, mut new_factors) = (vec![Vec::new(); old.len()], vec![Vec::new(); new.len()]);
    let (mut i, mut j) = (0, 0);
    let (mut left, mut right) = (old.first().copied().unwrap_or(1), new.first().copied().unwrap_or(1));
    while i < old.len() && j < new.len() {
        let factor = left.min(right);
        if left % factor != 0 || right % factor != 0 {
            return None;
        }
        old_factors.get_mut(i)?.push(factor);
        new_factors.get_mut(j)?.push(factor);
        (left, right) = (left / factor, right / factor);
        if left == 1 {
            i += 1;
            left = old.get(i).copied().unwrap_or(1);
        }
        if right == 1 {
            j += 1;
            right = new.get(j).copied().unwrap_or(1);
        }
    }
    (i == old.len() && j == new.len()).then_some((old_factors, new_factors))
}

/// How the target of a Reshape follows the channels: entries that say nothing (0 and -1) stay, others become the number
/// that is left. A target computed at run time becomes constant where 0 and -1 can say what it says.
fn target(walk: &mut Walk<'_>, node: NodeId, result: &mut [Axis]) -> Outcome {
    let has_channels = |axes: &[Axis]| axes.iter().any(|axis| axis.atoms().is_some());
    let input = walk.input(node, 0)?;
    let input_axes = walk.axes(input)?;
    if !has_channels(result) && !has_channels(&input_axes) {
        return Ok(());
    }
    let Some(shape) = walk.graph.input(node, 1) else { return Err("takes its shape from an attribute".to_owned()) };
    let literal = walk.graph.constant(shape).and_then(|tensor| tensor.to_i64());
    let keeps_zero = walk.held(node).attr_int("allowzero", 0) != 0;
    let output = walk.graph.output(node, 0).ok_or("has no output")?;
    let (before, after) = (walk.shape(input)?, walk.shape(output)?);
    let mut entries = Vec::with_capacity(result.len());
    let mut open = 0;
    for (place, axis) in result.iter().enumerate() {
        let written = literal.as_ref().and_then(|literal| literal.get(place)).copied();
        let copies = match (input_axes.get(place), axis) {
            (Some(Axis::Channels { atoms: old, .. }), Axis::Channels { atoms: new, .. }) => old == new,
            (Some(Axis::Channels { .. }), Axis::Fixed(_)) => false,
            (Some(Axis::Fixed(_)), Axis::Fixed(_)) => {
                after.get(place).is_some_and(|e| e.is_some() && before.get(place) == Some(e))
            }
            _ => false,
        };
        let entry = match (written, axis) {
            (Some(-1), _) => Entry::Number(-1),
            (Some(0), _) if copies && !keeps_zero => Entry::Number(0),
            (_, Axis::Channels { atoms, .. }) => Entry::Count(atoms.clone()),
            (_, Axis::Fixed(_)) => match after.get(place).and_then(number) {
                Some(extent) => Entry::Number(extent),
                None if copies && !keeps_zero => Entry::Number(0),
                None => Entry::Number(-1),
            },
        };
        open += usize::from(entry == Entry::Number(-1));
        entries.push(entry);
    }
    // What is computed from the number of channels itself follows on its own.
    let counts = walk.counts.get(&shape).cloned().unwrap_or_default();
    let mut follow = Vec::with_capacity(result.len());
    for (place, axis) in result.iter().enumerate() {
        follow.push(axis.atoms().is_none() || follows(walk, node, axis, counts.get(place)));
    }
    if literal.is_none() && follow.iter().all(|&follows| follows) {
        return Ok(());
    }
    if open <= 1 {
        if entries.iter().any(|entry| matches!(entry, Entry::Count(_))) {
            walk.edits.push(Edit::Target { node, slot: 1, entries });
        }
        return Ok(());
    }
    for (axis, follows) in result.iter_mut().zip(follow) {
        if !follows {
            *axis = walk.fix(node, axis, "takes its shape from what is computed as it runs");
        }
    }
    Ok(())
}

/// Whether an entry of a computed shape is the number of channels of that axis, or can be: then they go together.
pub(super) fn follows(walk: &mut Walk<'_>, node: NodeId, axis: &Axis, count: Option<&Option<Atoms>>) -> bool {
    match (axis, count) {
        (Axis::Channels { atoms, .. }, Some(Some(count))) if atoms.len() == count.len() => {
            let count = Axis::Channels { atoms: count.clone(), is_zero: false };
            walk.unify(node, axis, &count);
            true
        }
        _ => false,
    }
}

fn transpose(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let order: Vec<usize> = match walk.held(node).attr_ints("perm") {
        Some(perm) => perm.iter().filter_map(|&place| usize::try_from(place).ok()).collect(),
        None => (0..x.len()).rev().collect(),
    };
    let result: Vec<Axis> = order.iter().filter_map(|&place| x.get(place).cloned()).collect();
    if result.len() != x.len() {
        return Err("has an order that does not fit".to_owned());
    }
    walk.set(node, 0, result);
    Ok(())
}

/// An axis of one element is repeated; others stay as they are, whatever of 1 and their extent the shape says. So a
/// shape that names a number of channels may as well say 1.
fn expand(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let input = walk.input(node, 0)?;
    let shape = walk.input(node, 1)?;
    let output = walk.graph.output(node, 0).ok_or("has no output")?;
    let (x, before, after) = (walk.axes(input)?, walk.shape(input)?.to_vec(), walk.shape(output)?.to_vec());
    let literal = walk.graph.constant(shape).and_then(|tensor| tensor.to_i64());
    let counts = walk.counts.get(&shape).cloned().unwrap_or_default();
    let len = walk.shape(shape)?.first().and_then(number).ok_or("takes a shape of unknown length")?;
    let shorter = after.len().saturating_sub(usize::try_from(len).unwrap_or(0));
    let (mut result, mut entries) = (Vec::with_capacity(after.len()), Some(Vec::new()));
    let mut open = Vec::new();
    for place in 0..after.len() {
        let own = (place + x.len()).checked_sub(after.len());
        let found = own.and_then(|own| Some((x.get(own)?.clone(), before.get(own)?)));
        let entry = place.checked_sub(shorter);
        let written = entry.and_then(|entry| literal.as_ref()?.get(entry)).copied();
        let Some((axis, _)) = found.as_ref().filter(|(_, extent)| number(extent) != Some(1)) else {
            // An axis that is made as long as another value's follows that one.
            let count = entry.and_then(|entry| counts.get(entry)).cloned().flatten();
            push(&mut entries, entry, written.or_else(|| after.get(place).and_then(number)).map(Entry::Number));
            result.push(match count {
                Some(atoms) => Axis::Channels { atoms, is_zero: false },
                None => walk.made(node, "repeats an axis as often as its shape says"),
            });
            continue;
        };
        let is_named = axis.atoms().is_some() && written != Some(1);
        let stays = found.as_ref().is_some_and(|(_, e)| e.is_some() && after.get(place) == Some(*e));
        let one = if is_named || (literal.is_none() && stays) { Some(1) } else { written };
        push(
            &mut entries,
            entry,
            one.map(|one| match axis.atoms().filter(|_| is_named) {
                Some(atoms) => Entry::One(atoms.clone()),
                None => Entry::Number(one),
            }),
        );
        if is_named && entry.is_some() && !follows(walk, node, axis, entry.and_then(|entry| counts.get(entry))) {
            open.push(place);
        }
        result.push(axis.clone());
    }
    match entries {
        _ if open.is_empty() => {}
        Some(entries) => walk.edits.push(Edit::Target { node, slot: 1, entries }),
        None => {
            for place in open {
                if let Some(axis) = result.get_mut(place) {
                    *axis = walk.fix(node, axis, "takes its shape from what is computed as it runs");
                }
            }
        }
    }
    walk.set(node, 0, result);
    Ok(())
}

/// Adds an entry of a shape to a list that is given up where one is not known. Axes before the shape have no entry.
fn push(entries: &mut Option<Vec<Entry>>, place: Option<usize>, entry: Option<Entry>) {
    match (entries.as_mut(), place, entry) {
        (_, None, _) | (None, ..) => {}
        (Some(list), Some(_), Some(entry)) => list.push(entry),
        (Some(_), Some(_), None) => *entries = None,
    }
}

/// `C` is a grid of channels and of the places in a block.
fn depth_space(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let input: ValueId = walk.input(node, 0)?;
    let held = walk.held(node);
    let block = usize::try_from(held.attr_int("blocksize", 0)).unwrap_or(0);
    let [batch, channels, spatial @ ..] = x.as_slice() else { return Err("has too few axes".to_owned()) };
    let extent = walk.shape(input)?.get(1).and_then(number).and_then(|e| usize::try_from(e).ok());
    let (Some(extent), true) = (extent, block > 0) else { return Err("has an unknown number of channels".to_owned()) };
    for axis in spatial {
        walk.fix(node, axis, "moves them into blocks");
    }
    let area = block * block;
    let places = walk.made(node, "moves channels into blocks");
    let out = if held.is("SpaceToDepth") {
        merged(walk, node, &[(area, places.clone()), (extent, channels.clone())])
    } else {
        let width = extent / area.max(1);
        let inner = walk.fresh(width, channels.is_zero()).ok_or("has too many channels to follow")?;
        let is_rows_first = held.attr_str("mode", "DCR") == "CRD";
        let parts = match is_rows_first {
            true => [(width, inner.clone()), (area, places.clone())],
            false => [(area, places.clone()), (width, inner.clone())],
        };
        grid(walk, node, channels, &parts);
        inner
    };
    walk.set(node, 0, vec![batch.clone(), out, places.clone(), places]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::common_factors;

    #[test]
    fn factors_extents_until_they_are_the_same() {
        assert_eq!(common_factors(&[12], &[3, 4]), Some((vec![vec![3, 4]], vec![vec![3], vec![4]])));
        let grouped = Some((vec![vec![32, 2], vec![7], vec![7]], vec![vec![32], vec![2, 7, 7]]));
        assert_eq!(common_factors(&[64, 7, 7], &[32, 98]), grouped);
        assert_eq!(common_factors(&[6, 4], &[4, 6]), None);
        assert_eq!(common_factors(&[4], &[2, 3]), None);
    }
}
