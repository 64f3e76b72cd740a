//! Operators that give the same elements another shape, in the same order or another.

use super::elementwise::spread_elements;
use crate::infer::cx::{Cx, Rule, axis, fixed, numbers, product, small};
use crate::infer::fact::{Element, Extent};
use crate::infer::sym::SymExpr;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => transpose,
        "Expand" => expand,
        "Tile" => tile,
        _ => return None,
    })
}

/// Sets the shape, and the elements of the input in their order.
fn relabel(cx: &mut Cx<'_, '_>, shape: Vec<Extent>) {
    cx.set_shape(0, shape);
    if let Some(elements) = cx.elements(0) {
        cx.set_contents(0, elements.to_vec());
    }
}

fn reshape(cx: &mut Cx<'_, '_>) -> Option<()> {
    let keeps_zero = cx.int("allowzero") == Some(1);
    let Some(wanted) = cx.elements(1) else {
        // The number of extents alone tells the rank.
        let count = usize::try_from(cx.shape(1)?.first()?.as_ref()?.as_int()?).ok().filter(|rank| *rank <= 64)?;
        cx.set_shape(0, vec![None; count]);
        return None;
    };
    let input = cx.shape(0);
    let mut shape: Vec<Extent> = Vec::with_capacity(wanted.len());
    let mut inferred = None;
    for (place, element) in wanted.iter().enumerate() {
        shape.push(match element {
            Element::Int(value) if value.as_int() == Some(-1) => {
                inferred = Some(place);
                None
            }
            Element::Int(value) if value.as_int() == Some(0) && !keeps_zero => {
                input.as_ref().and_then(|input| input.get(place)).cloned().flatten()
            }
            // An expression may be 0, which takes the input's extent, or -1: where it comes from the input's shape
            // that is the same number.
            Element::Int(value) if value.lower_bound().is_some_and(|bound| bound >= 0) => Some(value.clone()),
            _ => None,
        });
    }
    if let (Some(place), Some(input)) = (inferred, &input)
        && let Some(extent) = shape.get(place)
        && extent.is_none()
    {
        let found = remaining(cx, input, &shape, place);
        if let Some(extent) = shape.get_mut(place) {
            *extent = found;
        }
    }
    if inferred.is_none()
        && let (Some(before), Some(after)) = (input.as_deref().and_then(product), product(&shape))
        && before != after
    {
        match before.as_int().zip(after.as_int()) {
            Some((before, after)) => cx.state.misfit(|| format!("{before} elements, which do not make {after}")),
            None => cx.state.demands.equal(&before, &after),
        }
    }
    relabel(cx, shape);
    Some(())
}

/// The extent that makes up for what the others leave of the elements.
fn remaining(cx: &mut Cx<'_, '_>, input: &[Extent], shape: &[Extent], place: usize) -> Extent {
    let mut others: Vec<Extent> = shape.to_vec();
    others.remove(place);
    // Extents that stand on both sides cancel, even where others of the input are unknown.
    let mut input = input.to_vec();
    others.retain(|extent| match input.iter().position(|e| e.is_some() && e == extent && e != &fixed(0)) {
        Some(place) => {
            input.remove(place);
            false
        }
        None => true,
    });
    let (whole, part) = (product(&input)?, product(&others)?);
    match whole.exact_div(&part) {
        Some(quotient) => Some(quotient),
        // A number that is no whole multiple is an invalid model; an expression must be a multiple in every run.
        None if whole.as_int().is_some() && part.as_int().is_some() => {
            cx.state.misfit(|| format!("{whole} elements, which no multiple of {part} makes"));
            None
        }
        None => {
            if let Some(rest) = whole.modulo(&part) {
                cx.state.demands.equal(&rest, &SymExpr::from(0));
            }
            whole.floor_div(&part)
        }
    }
}

fn flatten(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0);
    let split = shape.as_ref().and_then(|shape| {
        let rank = i64::try_from(shape.len()).ok()?;
        let at = cx.int("axis")?;
        usize::try_from(if at < 0 { at.checked_add(rank)? } else { at }).ok().filter(|at| *at <= shape.len())
    });
    let (Some(shape), Some(split)) = (shape, split) else {
        cx.set_shape(0, vec![None, None]);
        return None;
    };
    let (outer, inner) = shape.split_at(split);
    relabel(cx, vec![product(outer), product(inner)]);
    Some(())
}

/// Axes from the attribute of older versions or the input of newer ones. The outer `None`: they cannot be known.
pub(super) fn axes(cx: &Cx<'_, '_>) -> Option<Option<Vec<i64>>> {
    if let Some(axes) = cx.int_list("axes") {
        return Some(Some(axes.to_vec()));
    }
    if cx.has(1) { cx.ints(1).map(Some) } else { Some(None) }
}

fn squeeze(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let squeezed: Vec<usize> = match axes(cx)? {
        Some(axes) => axes.into_iter().map(|at| axis(at, shape.len())).collect::<Option<_>>()?,
        // Without axes every extent that is 1 goes, so each must be known.
        None => {
            let extents = shape.iter().map(|extent| Some(is_one(extent.as_ref()?)));
            let goes: Vec<bool> = extents.map(Option::flatten).collect::<Option<_>>()?;
            goes.iter().enumerate().filter(|(_, one)| **one).map(|(place, _)| place).collect()
        }
    };
    let kept = shape.into_iter().enumerate().filter(|(place, _)| !squeezed.contains(place)).map(|(_, e)| e);
    relabel(cx, kept.collect());
    Some(())
}

fn is_one(extent: &SymExpr) -> Option<bool> {
    match extent.as_int() {
        Some(number) => Some(number == 1),
        None if extent.above(&SymExpr::from(1)) => Some(false),
        None => None,
    }
}

fn unsqueeze(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let wanted = axes(cx)??;
    let rank = shape.len().checked_add(wanted.len())?;
    let mut places: Vec<usize> = wanted.into_iter().map(|at| axis(at, rank)).collect::<Option<_>>()?;
    places.sort_unstable();
    for place in places {
        if place > shape.len() {
            return None;
        }
        shape.insert(place, fixed(1));
    }
    relabel(cx, shape);
    Some(())
}

fn transpose(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let order: Vec<usize> = match cx.int_list("perm") {
        Some(order) => order.iter().map(|&at| axis(at, shape.len())).collect::<Option<_>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    if order.len() != shape.len() {
        return None;
    }
    let turned: Vec<Extent> = order.iter().map(|&place| shape.get(place).cloned()).collect::<Option<_>>()?;
    cx.set_shape(0, turned);
    // Shapes are vectors; those of higher rank are not followed through a transposition.
    if shape.len() <= 1
        && let Some(elements) = cx.elements(0)
    {
        cx.set_contents(0, elements.to_vec());
    }
    Some(())
}

fn expand(cx: &mut Cx<'_, '_>) -> Option<()> {
    let input = cx.shape(0);
    let Some(wanted) = cx.elements(1) else {
        let count = usize::try_from(cx.shape(1)?.first()?.as_ref()?.as_int()?).ok().filter(|rank| *rank <= 64)?;
        let rank = count.max(input?.len());
        cx.set_shape(0, vec![None; rank]);
        return None;
    };
    let wanted: Vec<Extent> = wanted.iter().map(|element| element.int().cloned()).collect();
    let shape = super::elementwise::broadcast(&[input.clone()?, wanted])?;
    cx.set_shape(0, shape.clone());
    let elements = cx.elements(0)?;
    let spread = spread_elements(&elements, &small(&input?)?, &small(&shape)?)?;
    cx.set_contents(0, spread);
    Some(())
}

fn tile(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let Some(repeats) = cx.elements(1) else {
        cx.set_shape(0, vec![None; shape.len()]);
        return None;
    };
    let times = |(extent, repeat): (&Extent, &Element)| extent.as_ref()?.mul(repeat.int()?);
    let tiled: Vec<Extent> = shape.iter().zip(repeats.iter()).map(times).collect();
    if repeats.len() != shape.len() {
        return None;
    }
    cx.set_shape(0, tiled.clone());
    // Of contents, only vectors are followed.
    let (elements, count) = (cx.elements(0)?, small(&tiled)?);
    if let ([_], [count]) = (numbers(&shape)?.as_slice(), count.as_slice()) {
        cx.set_contents(0, elements.iter().cycle().take(*count).cloned().collect());
    }
    Some(())
}
