//! Convolutions: with groups, depthwise, transposed.

use super::{axes, unify_vector};
use crate::channels::product::Product;
use crate::channels::walk::{Axis, Outcome, Walk, number};
use crate::channels::{Edit, Layer};
use crate::infer::Extent;
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

/// `x[N, G*I, ..]`, `w[G*J, I, ..]` gives `y[N, G*J, ..]`.
fn conv(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let (x, w) = (axes(walk, node, 0)?, axes(walk, node, 1)?);
    let ([batch, x_channels, spatial @ ..], [out, members, kernel @ ..]) = (x.as_slice(), w.as_slice()) else {
        return Err("has operands of less than two axes".to_owned());
    };
    let groups = group_count(walk, node)?;
    let factors = [out.clone(), members.clone()];
    walk.note_reader(node, (0, 1), (1, 1));
    if groups == 1 {
        walk.unify(node, x_channels, members);
    } else {
        let w_extents = extents(walk, node, 1, 2)?;
        let group = walk.fresh(groups, true).ok_or("has too many groups to follow")?;
        grid(walk, node, x_channels, &[(groups, group.clone()), (w_extents[1], members.clone())]);
        let width = w_extents[0] / groups.max(1);
        let inner = walk.fresh(width, true).ok_or("has too many channels to follow")?;
        grid(walk, node, out, &[(groups, group.clone()), (width, inner)]);
        if let Some(atoms) = group.into_atoms() {
            walk.edits.push(Edit::Count { node, attribute: "group", atoms });
        }
    }
    finish(walk, node, [batch, out], spatial, kernel, &factors)
}

/// `x[N, G*I, ..]`, `w[G*I, J, ..]` gives `y[N, G*J, ..]`.
fn conv_transpose(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let (x, w) = (axes(walk, node, 0)?, axes(walk, node, 1)?);
    let ([batch, x_channels, spatial @ ..], [inputs, members, kernel @ ..]) = (x.as_slice(), w.as_slice()) else {
        return Err("has operands of less than two axes".to_owned());
    };
    let groups = group_count(walk, node)?;
    walk.unify(node, x_channels, inputs);
    let mut out = members.clone();
    if groups == 1 {
        walk.note_reader(node, (0, 1), (1, 0));
    } else {
        let w_extents = extents(walk, node, 1, 2)?;
        let group = walk.fresh(groups, true).ok_or("has too many groups to follow")?;
        let width = w_extents[0] / groups;
        let inner = walk.fresh(width, true).ok_or("has too many channels to follow")?;
        grid(walk, node, inputs, &[(groups, group.clone()), (width, inner)]);
        out = walk.fresh(groups * w_extents[1], true).ok_or("has too many channels to follow")?;
        grid(walk, node, &out.clone(), &[(groups, group.clone()), (w_extents[1], members.clone())]);
        if let Some(atoms) = group.into_atoms() {
            walk.edits.push(Edit::Count { node, attribute: "group", atoms });
        }
    }
    let factors = [inputs.clone(), members.clone()];
    finish(walk, node, [batch, &out], spatial, kernel, &factors)
}

/// Ties an axis to the axes that it is a grid of. Where it is fixed they are kept, and where they are, it is.
pub(super) fn grid(walk: &mut Walk<'_>, node: NodeId, flat: &Axis, factors: &[(usize, Axis)]) {
    match flat {
        Axis::Fixed(why) => factors.iter().for_each(|(_, factor)| walk.block_axis(factor, *why)),
        Axis::Channels { atoms, .. } if atoms.len() != factors.iter().map(|(extent, _)| extent).product::<usize>() => {
            walk.fix(node, flat, "its groups do not fit the number of channels");
            factors.iter().for_each(|(_, factor)| {
                walk.fix(node, factor, "its groups do not fit the number of channels");
            });
        }
        Axis::Channels { atoms, .. } => walk.products.push(Product::new(atoms, factors)),
    }
}

fn group_count(walk: &Walk<'_>, node: NodeId) -> Outcome<usize> {
    usize::try_from(walk.held(node).attr_int("group", 1)).ok().filter(|&n| n > 0).ok_or("has no groups".to_owned())
}

/// The first extents of an input, which must be numbers.
fn extents(walk: &Walk<'_>, node: NodeId, slot: usize, count: usize) -> Outcome<Vec<usize>> {
    let shape = walk.shape(walk.input(node, slot)?)?;
    let known = shape.iter().take(count).map(|extent| usize::try_from(number(extent)?).ok());
    known.collect::<Option<Vec<usize>>>().filter(|e| e.len() == count).ok_or("has a weight of unknown shape".to_owned())
}

fn finish(
    walk: &mut Walk<'_>,
    node: NodeId,
    [batch, out]: [&Axis; 2],
    spatial: &[Axis],
    kernel: &[Axis],
    factors: &[Axis],
) -> Outcome {
    for axis in spatial.iter().chain(kernel) {
        walk.fix(node, axis, "slides over them");
    }
    unify_vector(walk, node, 2, out)?;
    let window = walk.made(node, "slides over the axis");
    let mut result = vec![batch.with_zero(false), out.with_zero(out.is_zero() && super::is_zero_vector(walk, node, 2))];
    result.resize(spatial.len() + 2, window);
    walk.set(node, 0, result);

    // Each output element of a convolution, each input element of a transposed one, meets the whole kernel.
    let is_transposed = walk.held(node).is("ConvTranspose");
    let sliding = if is_transposed { walk.graph.input(node, 0) } else { walk.graph.output(node, 0) };
    let positions = sliding.and_then(|value| walk.extents(value)).map_or(1.0, |e| size(e.get(2..).unwrap_or_default()));
    let weight = walk.input(node, 1)?;
    let taps = walk.extents(weight).map_or(1.0, |extents| size(extents.get(2..).unwrap_or_default()));
    add_layer(walk, node, out, factors, positions * taps, weight);
    Ok(())
}

/// Notes an operator that multiplies by weights.
pub(super) fn add_layer(
    walk: &mut Walk<'_>,
    node: NodeId,
    out: &Axis,
    factors: &[Axis],
    rest: f64,
    weight: crate::ir::ValueId,
) {
    if !walk.is_constant(weight) {
        return;
    }
    let factors = factors.iter().filter_map(|axis| axis.atoms().cloned()).collect();
    walk.layers.push(Layer { node, out: out.atoms().cloned(), factors, rest });
}

/// The number of elements; extents with names count as 64, those of which nothing is known too.
pub(super) fn size(extents: &[Extent]) -> f64 {
    let nominal = |extent: &Extent| {
        let number = |e: &crate::infer::SymExpr| e.substitute(&|_| Some(64.into()))?.as_int();
        extent.as_ref().and_then(number).unwrap_or(64).max(1) as f64
    };
    extents.iter().map(nominal).product()
}
