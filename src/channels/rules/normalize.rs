//! Normalizations. Statistics over channels stand in the way: fewer channels have others.

use super::conv::grid;
use super::{axes, fix_from, is_zero_vector, pass_on, unify_vector};
use crate::channels::Edit;
use crate::channels::walk::{Axis, Outcome, Walk, axis_of, number};
use crate::ir::NodeId;
use crate::opset;

const OVER_CHANNELS: &str = "normalizes over them";

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "BatchNormalization" => batch_norm,
        "InstanceNormalization" => instance_norm,
        "GroupNormalization" => group_norm,
        "LayerNormalization" | "RMSNormalization" => layer_norm,
        "LRN" => lrn,
        "LpNormalization" => one_axis,
        "Softmax" | "LogSoftmax" | "Hardmax" => softmax,
        _ => return None,
    })
}

fn batch_norm(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    if walk.held(node).attr_int("training_mode", 0) != 0 {
        return Err("is in training mode".to_owned());
    }
    let Some(channels) = x.get(1).cloned() else { return Err("normalizes a vector".to_owned()) };
    for slot in 1..5 {
        unify_vector(walk, node, slot, &channels)?;
    }
    let is_zero = is_zero_vector(walk, node, 1) && is_zero_vector(walk, node, 2);
    if let Some(axis) = x.get_mut(1) {
        *axis = axis.with_zero(is_zero);
    }
    pass_on(walk, node, &x);
    Ok(())
}

fn instance_norm(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let mut x = fix_from(walk, node, &x, 2, OVER_CHANNELS);
    let Some(channels) = x.get(1).cloned() else { return Err("normalizes a vector".to_owned()) };
    unify_vector(walk, node, 1, &channels)?;
    unify_vector(walk, node, 2, &channels)?;
    let is_zero = is_zero_vector(walk, node, 1) && is_zero_vector(walk, node, 2);
    if let Some(axis) = x.get_mut(1) {
        *axis = axis.with_zero(is_zero);
    }
    pass_on(walk, node, &x);
    Ok(())
}

/// Whole groups may go: a group has statistics of its own.
fn group_norm(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let x = fix_from(walk, node, &x, 2, OVER_CHANNELS);
    let Some(channels) = x.get(1).cloned() else { return Err("normalizes a vector".to_owned()) };
    let extent = walk.shape(walk.input(node, 0)?)?.get(1).and_then(number);
    let groups = walk.held(node).attr_int("num_groups", 0);
    let (Some(extent), true) = (extent, groups > 0) else { return Err("has an unknown number of groups".to_owned()) };
    let group = walk.fresh(groups as usize, false).ok_or("has too many groups to follow")?;
    let inner = walk.made(node, OVER_CHANNELS);
    grid(walk, node, &channels, &[(groups as usize, group.clone()), ((extent / groups) as usize, inner)]);
    // Before version 21 there is one scale for each group, since then one for each channel.
    for slot in [1, 2] {
        let width = walk.input(node, slot).and_then(|value| walk.shape(value))?.first().and_then(number);
        let with = if width == Some(extent) { &channels } else { &group };
        unify_vector(walk, node, slot, with)?;
    }
    if let Some(atoms) = group.into_atoms() {
        walk.edits.push(Edit::Count { node, attribute: "num_groups", atoms });
    }
    let is_zero = is_zero_vector(walk, node, 1) && is_zero_vector(walk, node, 2);
    let x: Vec<Axis> = x.iter().enumerate().map(|(place, a)| a.with_zero(place == 1 && is_zero)).collect();
    pass_on(walk, node, &x);
    Ok(())
}

fn layer_norm(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let first = axis_of(walk.held(node).attr_int("axis", -1), x.len())?;
    let x = fix_from(walk, node, &x, first, OVER_CHANNELS);
    for slot in [1, 2] {
        let Some(value) = walk.graph.input(node, slot) else { continue };
        let scale = walk.axes(value)?;
        fix_from(walk, node, &scale, 0, OVER_CHANNELS);
    }
    let x: Vec<Axis> = x.iter().map(|axis| axis.with_zero(false)).collect();
    walk.set(node, 0, x.clone());
    for slot in 1..walk.held(node).output_slots() {
        let fixed = fix_from(walk, node, &x, 0, "gives its statistics away");
        walk.set(node, slot, fixed);
    }
    Ok(())
}

fn lrn(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    if let Some(axis) = x.get_mut(1) {
        *axis = walk.fix(node, axis, "normalizes with the channels beside each");
    }
    pass_on(walk, node, &x);
    Ok(())
}

fn one_axis(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let mut x = axes(walk, node, 0)?;
    let place = axis_of(walk.held(node).attr_int("axis", -1), x.len())?;
    if let Some(axis) = x.get_mut(place) {
        *axis = walk.fix(node, axis, OVER_CHANNELS);
    }
    let x: Vec<Axis> = x.iter().map(|axis| axis.with_zero(false)).collect();
    pass_on(walk, node, &x);
    Ok(())
}

fn softmax(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let x = axes(walk, node, 0)?;
    let place = opset::int(walk.held(node), "axis", walk.opset).ok_or("has an unknown axis")?;
    let place = axis_of(place, x.len())?;
    // Before version 13 all axes from that one on are one.
    let last = if walk.opset < 13 { x.len() } else { place + 1 };
    let mut result = Vec::with_capacity(x.len());
    for (at, axis) in x.iter().enumerate() {
        let fixed = if (place..last).contains(&at) { walk.fix(node, axis, OVER_CHANNELS) } else { axis.clone() };
        result.push(fixed.with_zero(false));
    }
    pass_on(walk, node, &result);
    Ok(())
}
