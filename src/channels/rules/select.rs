//! Operators that put channels together, take them apart, and pick some.

use super::{axes, list};
use crate::channels::Edit;
use crate::channels::sets::{Atom, Atoms};
use crate::channels::walk::{Axis, Outcome, Walk, axis_of, number};
use crate::ir::{NodeId, ValueId};

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Gather" => gather,
        "Pad" => pad,
        "Tile" => tile,
        _ => return None,
    })
}

fn concat(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let inputs: Vec<ValueId> = walk.graph.node_inputs(node).into_iter().flatten().collect();
    let mut labels = Vec::with_capacity(inputs.len());
    for &input in &inputs {
        labels.push(walk.axes(input)?);
    }
    let Some(mut result) = labels.first().cloned() else { return Err("puts nothing together".to_owned()) };
    let along = axis_of(walk.held(node).attr_int("axis", 0), result.len())?;
    for (place, slot) in result.iter_mut().enumerate() {
        if place != along {
            for axes in labels.iter().skip(1) {
                let axis = axes.get(place).ok_or("has inputs of different ranks")?;
                walk.unify(node, &slot.clone(), axis);
                let is_zero = slot.is_zero() && axis.is_zero();
                // A label with channels says more than one without.
                let better = if slot.atoms().is_none() { axis.clone() } else { slot.clone() };
                *slot = better.with_zero(is_zero);
            }
            continue;
        }
        let parts: Vec<Axis> = labels.iter().filter_map(|axes| axes.get(place).cloned()).collect();
        if let Some(fixed) = parts.first().filter(|_| parts.iter().all(|axis| axis.atoms().is_none())) {
            *slot = fixed.clone();
            continue;
        }
        let mut atoms: Option<Vec<Atom>> = Some(Vec::new());
        for (axis, &input) in parts.iter().zip(&inputs) {
            let extent = walk.shape(input)?.get(place).cloned().flatten();
            let more = walk.atoms_or_blocked(axis, &extent);
            atoms = atoms.zip(more).map(|(mut atoms, more)| {
                atoms.extend(more);
                atoms
            });
        }
        let is_zero = parts.iter().all(|axis| axis.is_zero() || axis.atoms().is_none());
        *slot = match atoms {
            Some(atoms) => Axis::Channels { atoms: atoms.into(), is_zero },
            None => {
                let fixed: Vec<Axis> =
                    parts.iter().map(|a| walk.fix(node, a, "puts an unknown number of others beside them")).collect();
                fixed.first().cloned().unwrap_or_else(|| walk.one())
            }
        };
    }
    walk.set(node, 0, result);
    Ok(())
}

fn split(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let along = axis_of(walk.held(node).attr_int("axis", 0), x.len())?;
    let outputs = walk.graph.node_outputs(node);
    let atoms = x.get(along).and_then(Axis::atoms).cloned();
    let Some(atoms) = atoms else {
        super::pass_on(walk, node, &x);
        return Ok(());
    };
    // Sizes that are not given are told by the outputs.
    let known = list(walk, node, "split", 1)?;
    let sizes: Vec<usize> = match known {
        Some(sizes) => sizes.iter().filter_map(|&size| usize::try_from(size).ok()).collect(),
        None => {
            let chunk = atoms.len().div_ceil(outputs.len().max(1));
            (0..outputs.len()).map(|part| chunk.min(atoms.len().saturating_sub(part * chunk))).collect()
        }
    };
    if sizes.len() != outputs.len() || sizes.iter().sum::<usize>() != atoms.len() {
        return Err("has sizes that do not fit".to_owned());
    }
    let is_zero = x.get(along).is_some_and(Axis::is_zero);
    let mut start = 0;
    let mut parts: Vec<Atoms> = Vec::new();
    for (slot, size) in sizes.into_iter().enumerate() {
        let part: Atoms = atoms.get(start..start + size).unwrap_or_default().into();
        start += size;
        parts.push(part.clone());
        let mut axes = x.clone();
        if let Some(axis) = axes.get_mut(along) {
            *axis = Axis::Channels { atoms: part, is_zero };
        }
        walk.set(node, slot, axes);
    }
    keep_one_of_each(walk, node, &parts);
    walk.edits.push(Edit::Sizes { node, parts });
    Ok(())
}

/// A part of one channel is never emptied.
fn keep_one_of_each(walk: &mut Walk<'_>, node: NodeId, parts: &[Atoms]) {
    for part in parts {
        if let [only] = part.as_ref() {
            let why = walk.barrier(walk.graph.site(node), "has a part of one channel");
            walk.sets.block(*only, why);
        }
    }
}

fn slice(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    let input = walk.input(node, 0)?;
    let shape = walk.shape(input)?.to_vec();
    let inputs_from = walk.opset >= 10;
    let slot = |slot: usize| if inputs_from { slot } else { usize::MAX };
    let places: Vec<usize> = match list(walk, node, "axes", slot(3))? {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, x.len())).collect::<Outcome<_>>()?,
        None => (0..x.len()).collect(),
    };
    for (entry, &place) in places.iter().enumerate() {
        let Some(axis) = x.get(place).cloned() else { continue };
        let Some(atoms) = axis.atoms().cloned() else { continue };
        let bound = |walk: &Walk<'_>, name: &str, at: usize| -> Option<i64> {
            list(walk, node, name, slot(at)).ok()?.and_then(|list| list.get(entry).copied())
        };
        let step = if walk.graph.input(node, 4).is_some() { bound(walk, "steps", 4) } else { Some(1) };
        let (start, end) = (bound(walk, "starts", 1), bound(walk, "ends", 2));
        let extent = shape.get(place).and_then(number).unwrap_or(0);
        let cut = match (start, end, step) {
            (Some(start), Some(end), Some(1)) => {
                let clamp =
                    |bound: i64| (if bound < 0 { bound.saturating_add(extent) } else { bound }).clamp(0, extent);
                Some((clamp(start) as usize, clamp(end) as usize))
            }
            _ => None,
        };
        let label = match cut.and_then(|(start, end)| Some((start, end, atoms.get(start..end)?))) {
            Some((_, _, part)) if part.len() == atoms.len() => axis,
            Some((start, end, part)) if part.len() > 1 => {
                let part: Atoms = part.into();
                walk.edits.push(Edit::Bounds { node, entry, atoms, start, end });
                Axis::Channels { atoms: part, is_zero: axis.is_zero() }
            }
            Some(_) => walk.fix(node, &axis, "picks one of them"),
            None => walk.fix(node, &axis, "picks them by a step, or by bounds that are computed as it runs"),
        };
        if let Some(slot) = x.get_mut(place) {
            *slot = label;
        }
    }
    walk.set(node, 0, x);
    Ok(())
}

/// Constant indices follow the channels they pick; others are for axes that stay.
fn gather(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let indices = walk.input(node, 1)?;
    let along = axis_of(walk.held(node).attr_int("axis", 0), x.len())?;
    let index_axes = walk.axes(indices)?;
    let axis = x.get(along).cloned().ok_or("has no such axis")?;
    let listed = if index_axes.len() == 1 { walk.ints(indices) } else { None };
    let picked = match (axis.atoms(), listed, index_axes.len()) {
        (Some(atoms), Some(listed), 1) if listed.len() > 1 && walk.graph.constant(indices).is_some() => {
            let len = atoms.len() as i64;
            let places: Option<Vec<usize>> = listed
                .iter()
                .map(|&index| {
                    usize::try_from(if index < 0 { index + len } else { index }).ok().filter(|&i| i < atoms.len())
                })
                .collect();
            places.map(|places| (atoms.clone(), places))
        }
        _ => None,
    };
    let middle = match picked {
        Some((atoms, places)) => {
            let part: Atoms = places.iter().filter_map(|&place| atoms.get(place).copied()).collect();
            walk.edits.push(Edit::Indices { node, atoms, indices: places });
            vec![Axis::Channels { atoms: part, is_zero: axis.is_zero() }]
        }
        None => {
            walk.fix(node, &axis, "picks some of them by their numbers");
            index_axes.iter().map(|axis| walk.fix(node, axis, "picks by them")).collect()
        }
    };
    let is_table = walk.graph.constant(walk.input(node, 0)?).is_some() && walk.graph.constant(indices).is_none();
    let mut result: Vec<Axis> = x.get(..along).unwrap_or_default().to_vec();
    result.extend(middle);
    result.extend(x.get(along + 1..).unwrap_or_default().iter().cloned());
    if is_table && let (true, Some(out)) = (x.len() == 2, x.get(1 - along.min(1))) {
        // An embedding is a layer without multiplications.
        let table = walk.input(node, 0)?;
        super::conv::add_layer(walk, node, out, &[], 0.0, table);
    }
    walk.set(node, 0, result);
    Ok(())
}

/// Channels that padding adds stay, and so do those they are added to.
fn pad(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    let slot = if walk.opset >= 11 { 1 } else { usize::MAX };
    let mut pads =
        list(walk, node, "pads", slot)?.or_else(|| walk.held(node).attr_ints("paddings").map(<[i64]>::to_vec));
    if walk.graph.input(node, 3).is_some() {
        let places = list(walk, node, "axes", 3)?.unwrap_or_default();
        let given = pads.take().unwrap_or_default();
        let mut whole = vec![0; 2 * x.len()];
        for (entry, &place) in places.iter().enumerate() {
            let place = axis_of(place, x.len())?;
            let ends = [(place, entry), (x.len() + place, places.len() + entry)];
            for (to, from) in ends {
                if let (Some(to), Some(&from)) = (whole.get_mut(to), given.get(from)) {
                    *to = from;
                }
            }
        }
        pads = Some(whole);
    }
    let pads = pads.filter(|pads| pads.len() == 2 * x.len()).ok_or("has no pads")?;
    let constant = walk.held(node).attr_str("mode", "constant") == "constant";
    let rank = x.len();
    for (place, axis) in x.iter_mut().enumerate() {
        let (before, after) = (pads.get(place).copied().unwrap_or(0), pads.get(rank + place).copied().unwrap_or(0));
        let Some(atoms) = axis.atoms().cloned() else { continue };
        if before == 0 && after == 0 {
            // Padding elsewhere writes into every channel.
            *axis = axis.with_zero(axis.is_zero() && is_zero_padding(walk, node, constant));
            continue;
        }
        if before < 0 || after < 0 || !constant {
            *axis = walk.fix(node, axis, "takes some of them away, or repeats them");
            continue;
        }
        let why = walk.barrier(walk.graph.site(node), "adds channels beside them");
        let added = walk.sets.blocked(why);
        let run = |count: i64| std::iter::repeat_n(added, count as usize);
        let atoms: Vec<Atom> = run(before).chain(atoms.iter().copied()).chain(run(after)).collect();
        *axis = Axis::Channels { atoms: atoms.into(), is_zero: axis.is_zero() };
    }
    walk.set(node, 0, x);
    Ok(())
}

fn is_zero_padding(walk: &Walk<'_>, node: NodeId, is_constant: bool) -> bool {
    if !is_constant || walk.held(node).attr_float("value", 0.0) != 0.0 {
        return !is_constant;
    }
    let value = if walk.opset >= 11 { walk.graph.input(node, 2) } else { None };
    value.is_none_or(|value| walk.graph.constant(value).and_then(|t| t.scalar_f32()) == Some(0.0))
}

fn tile(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let repeats = list(walk, node, "repeats", 1)?.unwrap_or_default();
    let mut result = Vec::with_capacity(x.len());
    for (place, axis) in x.iter().enumerate() {
        let is_whole = repeats.get(place) == Some(&1);
        result.push(if is_whole { axis.clone() } else { walk.fix(node, axis, "repeats them") });
    }
    walk.set(node, 0, result);
    Ok(())
}
