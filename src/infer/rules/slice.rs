//! Operators that put tensors together along an axis, take them apart, or widen them.

use crate::infer::cx::{Cx, Rule, axis, fixed, numbers, small};
use crate::infer::fact::{Element, Extent};
use crate::infer::sym::SymExpr;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Pad" => pad,
        "CenterCropPad" => center_crop_pad,
        _ => return None,
    })
}

fn concat(cx: &mut Cx<'_, '_>) -> Option<()> {
    let count = cx.inputs.len();
    let rank = (0..count).find_map(|slot| cx.rank(slot))?;
    let along = axis(cx.int("axis")?, rank)?;
    let mut shape: Vec<Extent> = vec![None; rank];
    let mut length = fixed(0);
    for slot in 0..count {
        let Some(input) = cx.shape(slot) else {
            length = None;
            continue;
        };
        if input.len() != rank {
            return None;
        }
        for (place, (extent, other)) in shape.iter_mut().zip(&input).enumerate() {
            if place == along {
                length = length.and_then(|length| length.add(other.as_ref()?));
            } else {
                *extent = cx.state.merge(extent, other);
            }
        }
    }
    *shape.get_mut(along)? = length;
    cx.set_shape(0, shape);
    if rank == 1 {
        let mut all = Vec::new();
        for slot in 0..count {
            match cx.elements(slot) {
                Some(elements) => all.extend(elements.iter().cloned()),
                // Elements that are not known still take their places.
                None => all.extend(vec![Element::Unknown; *small(&cx.shape(slot)?)?.first()?]),
            }
        }
        super::elementwise::set_useful(cx, all);
    }
    Some(())
}

fn split(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let along = axis(cx.int("axis").unwrap_or(0), shape.len())?;
    let count = cx.outputs.len();
    let whole = shape.get(along)?.clone();
    let sizes: Vec<Extent> = match cx.int_list("split") {
        Some(sizes) => sizes.iter().map(|&size| fixed(size)).collect(),
        None if cx.has(1) => match cx.elements(1) {
            Some(sizes) => sizes.iter().map(|size| size.int().cloned()).collect(),
            None => vec![None; count],
        },
        None => equal_parts(&whole, cx.int("num_outputs").unwrap_or(i64::try_from(count).ok()?), count),
    };
    let mut start = 0usize;
    for slot in 0..count {
        let mut part = shape.clone();
        let size = sizes.get(slot).cloned().flatten();
        *part.get_mut(along)? = size.clone();
        cx.set_shape(slot, part);
        if shape.len() == 1
            && let Some(elements) = cx.elements(0)
        {
            let length = usize::try_from(size?.as_int()?).ok()?;
            let end = start.checked_add(length)?;
            let part = elements.get(start..end)?.to_vec();
            cx.set_contents(slot, part);
            start = end;
        }
    }
    Some(())
}

/// Parts of one length; the last is shorter where that does not come out even.
fn equal_parts(whole: &Extent, parts: i64, count: usize) -> Vec<Extent> {
    let each = || whole.as_ref()?.ceil_div(&SymExpr::from(parts));
    let last = || whole.as_ref()?.sub(&each()?.times(parts.checked_sub(1)?)?);
    (0..count).map(|slot| if slot + 1 == count { last() } else { each() }).collect()
}

/// Where a slice begins and ends along one axis.
struct Range {
    axis: usize,
    start: Element,
    end: Element,
    step: Element,
}

fn ranges(cx: &Cx<'_, '_>, rank: usize) -> Option<Vec<Range>> {
    let ints = |values: &[i64]| values.iter().map(|&v| Element::Int(SymExpr::from(v))).collect::<Vec<_>>();
    let (starts, ends, axes, steps);
    if cx.version < 10 {
        starts = ints(cx.int_list("starts")?);
        ends = ints(cx.int_list("ends")?);
        axes = cx.int_list("axes").map(<[i64]>::to_vec);
        steps = None;
    } else {
        axes = if cx.has(3) { Some(cx.ints(3)?) } else { None };
        let count = axes.as_ref().map(Vec::len).or_else(|| Some(*small(&cx.shape(1)?)?.first()?))?;
        let given = |slot| cx.elements(slot).map_or_else(|| vec![Element::Unknown; count], |e| e.to_vec());
        starts = given(1);
        ends = given(2);
        steps = cx.has(4).then(|| given(4));
    }
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let range = |(place, at): (usize, i64)| {
        let step = match &steps {
            Some(steps) => steps.get(place)?.clone(),
            None => Element::Int(SymExpr::from(1)),
        };
        Some(Range { axis: axis(at, rank)?, start: starts.get(place)?.clone(), end: ends.get(place)?.clone(), step })
    };
    axes.into_iter().enumerate().map(range).collect()
}

fn slice(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let input = shape.clone();
    let Some(ranges) = ranges(cx, input.len()) else {
        cx.set_shape(0, vec![None; input.len()]);
        return None;
    };
    for range in &ranges {
        let extent = shape.get_mut(range.axis)?;
        *extent = extent.as_ref().and_then(|whole| length(whole, range));
    }
    cx.set_shape(0, shape);
    // Elements are followed through vectors only.
    let (elements, [range]) = (cx.elements(0)?, ranges.as_slice()) else { return None };
    let [whole] = numbers(&input)?.try_into().ok()?;
    let step = range.step.int()?.as_int()?;
    let (start, end) = clamp(whole, range.start.int()?.as_int()?, range.end.int()?.as_int()?, step)?;
    let mut picked = Vec::new();
    let mut place = start;
    while if step > 0 { place < end } else { place > end } {
        picked.push(elements.get(usize::try_from(place).ok()?)?.clone());
        place = place.checked_add(step)?;
    }
    cx.set_contents(0, picked);
    Some(())
}

/// Start and end as the specification clamps them.
fn clamp(whole: i64, start: i64, end: i64, step: i64) -> Option<(i64, i64)> {
    let counted = |place: i64| if place < 0 { place.saturating_add(whole) } else { place };
    match step {
        0 => None,
        1.. => Some((counted(start).clamp(0, whole), counted(end).clamp(0, whole))),
        _ => {
            Some((counted(start).clamp(0, whole.checked_sub(1)?.max(0)), counted(end).clamp(-1, whole.checked_sub(1)?)))
        }
    }
}

/// The length of a slice along its axis.
fn length(whole: &SymExpr, range: &Range) -> Extent {
    let (start, end, step) = (range.start.int()?, range.end.int()?, range.step.int()?.as_int()?);
    if let (Some(whole), Some(start), Some(end)) = (whole.as_int(), start.as_int(), end.as_int()) {
        let (start, end) = clamp(whole, start, end, step)?;
        let span = if step > 0 { end.checked_sub(start)? } else { start.checked_sub(end)? };
        let step = i64::try_from(step.unsigned_abs()).ok()?;
        return fixed(span.max(0).checked_add(step.checked_sub(1)?)?.checked_div(step)?);
    }
    if step <= 0 {
        // Only the reversal of the whole axis is told apart.
        let whole_axis = start.as_int() == Some(-1) && end.as_int().is_some_and(|end| end <= -i64::from(i32::MAX));
        return (step == -1 && whole_axis).then(|| whole.clone());
    }
    let start = place(whole, start)?;
    let end = place(whole, end)?;
    end.sub(&start)?.larger(&SymExpr::from(0))?.ceil_div(&SymExpr::from(step))
}

/// A start or end of an axis of symbolic length, counted from the front and clamped.
fn place(whole: &SymExpr, place: &SymExpr) -> Extent {
    // Everything from 2^31 - 1 on is how exporters write "to the end".
    if place.as_int().is_some_and(|place| place >= i64::from(i32::MAX)) {
        return Some(whole.clone());
    }
    if place.as_int().is_some_and(|place| place <= -i64::from(i32::MAX)) {
        return fixed(0);
    }
    let counted = match place.lower_bound() {
        Some(bound) if bound >= 0 => place.clone(),
        _ if SymExpr::from(0).above(place) => whole.add(place)?,
        _ => return None,
    };
    counted.smaller(whole)?.larger(&SymExpr::from(0))
}

fn pad(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let rank = shape.len();
    cx.set_shape(0, vec![None; rank]);
    let pads: Vec<Element> = match cx.int_list("pads") {
        Some(pads) => pads.iter().map(|&pad| Element::Int(SymExpr::from(pad))).collect(),
        None => cx.elements(1)?.to_vec(),
    };
    let axes: Vec<usize> = if cx.has(3) {
        cx.ints(3)?.into_iter().map(|at| axis(at, rank)).collect::<Option<_>>()?
    } else {
        (0..rank).collect()
    };
    if pads.len() != axes.len().checked_mul(2)? {
        return None;
    }
    let mut padded = shape.clone();
    for (place, &at) in axes.iter().enumerate() {
        let (before, after) = (pads.get(place)?, pads.get(place + axes.len())?);
        let sides = before.int().zip(after.int()).and_then(|(before, after)| before.add(after));
        *padded.get_mut(at)? =
            shape.get(at)?.as_ref().zip(sides.as_ref()).and_then(|(extent, sides)| extent.add(sides));
    }
    cx.set_shape(0, padded);
    Some(())
}

fn center_crop_pad(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let rank = shape.len();
    let axes: Vec<usize> = match cx.int_list("axes") {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?,
        None => (0..rank).collect(),
    };
    let wanted = cx.elements(1);
    for (place, at) in axes.into_iter().enumerate() {
        *shape.get_mut(at)? = wanted.as_ref().and_then(|wanted| wanted.get(place)?.int().cloned());
    }
    cx.set_shape(0, shape);
    Some(())
}
