//! Operators that move elements and compute nothing.

use super::view::{View, element_bytes};
use super::{Answer, Call, Decline, broadcast, normal_axis};
use crate::ir::{AttrRef, DType, Tensor};

pub(super) fn transpose(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let rank = data.rank();
    let order: Vec<usize> = match call.node.attr_ints("perm") {
        Some(order) => order.iter().filter_map(|&axis| normal_axis(axis, rank)).collect(),
        None => (0..rank).rev().collect(),
    };
    let is_permutation = order.len() == rank && (0..rank).all(|axis| order.contains(&axis));
    if !is_permutation {
        return Err(Decline::NotHere);
    }
    let whole = View::of(data);
    let view = View {
        dims: order.iter().map(|&axis| whole.dims[axis]).collect(),
        strides: order.iter().map(|&axis| whole.strides[axis]).collect(),
        ..whole
    };
    view.collect(call, view.dims.clone())
}

pub(super) fn reshape(call: &Call<'_>) -> Answer<Tensor> {
    if call.opset < 5 {
        return Err(Decline::NotHere);
    }
    let data = call.input(0)?;
    let asked = call.integers(1)?;
    let keeps_zero = call.node.attr_int("allowzero", 0) != 0;
    let mut dims = Vec::with_capacity(asked.len());
    let mut open = None;
    for (place, &extent) in asked.iter().enumerate() {
        dims.push(match extent {
            -1 if open.is_none() => {
                open = Some(place);
                1
            }
            0 if !keeps_zero => *data.shape().get(place).ok_or(Decline::NotHere)?,
            extent => u64::try_from(extent).map_err(|_| Decline::NotHere)?,
        });
    }
    if let Some(place) = open {
        let others = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)).ok_or(Decline::NotHere)?;
        let elements = data.len() as u64;
        if others == 0 || !elements.is_multiple_of(others) {
            return Err(Decline::NotHere);
        }
        dims[place] = elements / others;
    }
    under_shape(call, data, dims)
}

pub(super) fn flatten(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let axis = call.node.attr_int("axis", 1);
    // The axis after the last one is allowed.
    let axis = match i64::try_from(data.rank()) {
        Ok(rank) if axis == rank => data.rank(),
        _ => normal_axis(axis, data.rank()).ok_or(Decline::NotHere)?,
    };
    let (outer, inner) = data.shape().split_at(axis);
    under_shape(call, data, vec![outer.iter().product(), inner.iter().product()])
}

pub(super) fn squeeze(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let axes = match call.attribute_or_input("axes", 1, 13)? {
        Some(axes) => places(&axes, data.rank())?,
        None => (0..data.rank()).filter(|&axis| data.shape()[axis] == 1).collect(),
    };
    if axes.iter().any(|&axis| data.shape()[axis] != 1) {
        return Err(Decline::NotHere);
    }
    let kept = data.shape().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    under_shape(call, data, kept.map(|(_, &dim)| dim).collect())
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let axes = call.attribute_or_input("axes", 1, 13)?.ok_or(Decline::NotHere)?;
    let rank = data.rank() + axes.len();
    let axes = places(&axes, rank)?;
    let mut own = data.shape().iter().copied();
    let dims = (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { own.next() });
    under_shape(call, data, dims.collect::<Option<_>>().ok_or(Decline::NotHere)?)
}

pub(super) fn expand(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let asked = extents(&call.integers(1)?)?;
    let dims = broadcast(data.shape(), &asked).ok_or(Decline::NotHere)?;
    let view = View::broadcast(data, &dims).ok_or(Decline::NotHere)?;
    view.collect(call, dims)
}

pub(super) fn tile(call: &Call<'_>) -> Answer<Tensor> {
    if call.opset < 6 {
        return Err(Decline::NotHere);
    }
    let data = call.input(0)?;
    let repeats = extents(&call.integers(1)?)?;
    if repeats.len() != data.rank() {
        return Err(Decline::NotHere);
    }
    let whole = View::of(data);
    let product = |(&a, &b): (&u64, &u64)| a.checked_mul(b);
    let shape = whole.dims.iter().zip(&repeats).map(product).collect::<Option<Vec<u64>>>().ok_or(Decline::TooLarge)?;
    // Each axis becomes two, of which the outer one stands still.
    let view = View {
        dims: repeats.iter().zip(&whole.dims).flat_map(|(&times, &dim)| [times, dim]).collect(),
        strides: whole.strides.iter().flat_map(|&stride| [0, stride]).collect(),
        ..whole
    };
    view.collect(call, shape)
}

pub(super) fn slice(call: &Call<'_>) -> Answer<Tensor> {
    let data = call.input(0)?;
    let starts = call.attribute_or_input("starts", 1, 10)?.ok_or(Decline::NotHere)?;
    let ends = call.attribute_or_input("ends", 2, 10)?.ok_or(Decline::NotHere)?;
    let axes = call.attribute_or_input("axes", 3, 10)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match call.opset {
        ..10 => vec![1; starts.len()],
        _ => call.attribute_or_input("", 4, 10)?.unwrap_or_else(|| vec![1; starts.len()]),
    };
    let axes = places(&axes, data.rank())?;
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Decline::NotHere);
    }
    let mut view = View::of(data);
    for (place, &axis) in axes.iter().enumerate() {
        let (start, step, count) = stretch(data.shape()[axis], starts[place], ends[place], steps[place])?;
        view.offset += start * view.strides[axis];
        view.strides[axis] = view.strides[axis].checked_mul(step).ok_or(Decline::NotHere)?;
        view.dims[axis] = count;
    }
    view.collect(call, view.dims.clone())
}

/// The first place, the step and the number of places of a slice of one axis.
pub(in crate::passes::fold_constants) fn stretch(
    extent: u64,
    start: i64,
    end: i64,
    step: i64,
) -> Answer<(i64, i64, u64)> {
    let extent = i64::try_from(extent).map_err(|_| Decline::NotHere)?;
    let from_end = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
    let (start, end) = (from_end(start), from_end(end));
    let (start, end, width) = match step {
        0 => return Err(Decline::NotHere),
        1.. => (start.clamp(0, extent), end.clamp(0, extent), step),
        _ => (start.clamp(-1, extent - 1), end.clamp(-1, extent - 1), step.checked_neg().ok_or(Decline::NotHere)?),
    };
    let length = if step > 0 { end - start } else { start - end };
    let count = if length > 0 { (length as u64).div_ceil(width as u64) } else { 0 };
    // With one place or none the step does not matter, and a huge one must not overflow.
    Ok((if count == 0 { 0 } else { start }, if count > 1 { step } else { 1 }, count))
}

pub(super) fn split(call: &Call<'_>) -> Answer<Vec<Tensor>> {
    let data = call.input(0)?;
    let axis = normal_axis(call.node.attr_int("axis", 0), data.rank()).ok_or(Decline::NotHere)?;
    let extent = data.shape()[axis];
    let parts = call.node.output_slots() as u64;
    let sizes = match call.attribute_or_input("split", 1, 13)? {
        Some(sizes) => extents(&sizes)?,
        None if call.opset >= 18 => {
            let size = extent.div_ceil(parts);
            (0..parts).map(|part| size.min(extent.saturating_sub(part * size))).collect()
        }
        None if extent % parts == 0 => vec![extent / parts; parts as usize],
        None => return Err(Decline::NotHere),
    };
    if sizes.iter().sum::<u64>() != extent || sizes.len() as u64 != parts {
        return Err(Decline::NotHere);
    }
    let mut view = View::of(data);
    let stride = view.strides[axis];
    let mut pieces = Vec::with_capacity(sizes.len());
    for size in sizes {
        view.dims[axis] = size;
        pieces.push(view.collect(call, view.dims.clone())?);
        view.offset += stride * size as i64;
    }
    Ok(pieces)
}

pub(super) fn concat(call: &Call<'_>) -> Answer<Tensor> {
    let parts = (0..call.inputs.len()).map(|slot| call.input(slot)).collect::<Answer<Vec<&Tensor>>>()?;
    let first = *parts.first().ok_or(Decline::NotHere)?;
    let Some(AttrRef::Int(axis)) = call.node.attr("axis") else { return Err(Decline::NotHere) };
    let axis = normal_axis(axis, first.rank()).ok_or(Decline::NotHere)?;
    let without = |tensor: &Tensor| {
        let mut dims = tensor.shape().to_vec();
        if axis < dims.len() {
            dims.remove(axis);
        }
        (dims, tensor.rank(), tensor.dtype())
    };
    if parts.iter().any(|part| without(part) != without(first)) {
        return Err(Decline::NotHere);
    }
    let mut dims = first.shape().to_vec();
    dims[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
    let count = call.allowed(first.dtype(), &dims)?;
    let width = element_bytes(first.dtype()).ok_or(Decline::NotHere)?;
    let outer: u64 = dims[..axis].iter().product();
    let inner: u64 = dims[axis + 1..].iter().product();
    let mut joined = Vec::with_capacity(count * width);
    for row in 0..outer as usize {
        for part in &parts {
            let run = (part.shape()[axis] * inner) as usize * width;
            joined.extend_from_slice(part.data().get(row * run..(row + 1) * run).ok_or(Decline::NotHere)?);
        }
    }
    Tensor::new(first.dtype(), dims, joined).map_err(|_| Decline::NotHere)
}

pub(super) fn gather(call: &Call<'_>) -> Answer<Tensor> {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let axis = normal_axis(call.node.attr_int("axis", 0), data.rank()).ok_or(Decline::NotHere)?;
    let extent = data.shape()[axis];
    let picks = indices.to_i64().ok_or(Decline::NotHere)?;
    let picks = picks.iter().map(|&index| normal_axis(index, extent as usize)).collect::<Option<Vec<usize>>>();
    let picks = picks.ok_or(Decline::NotHere)?;
    let dims = [&data.shape()[..axis], indices.shape(), &data.shape()[axis + 1..]].concat();
    let count = call.allowed(data.dtype(), &dims)?;
    let width = element_bytes(data.dtype()).ok_or(Decline::NotHere)?;
    let outer: u64 = data.shape()[..axis].iter().product();
    let run = data.shape()[axis + 1..].iter().product::<u64>() as usize * width;
    let mut picked = Vec::with_capacity(count * width);
    for row in 0..outer as usize {
        for &pick in &picks {
            let at = (row * extent as usize + pick) * run;
            picked.extend_from_slice(data.data().get(at..at + run).ok_or(Decline::NotHere)?);
        }
    }
    Tensor::new(data.dtype(), dims, picked).map_err(|_| Decline::NotHere)
}

/// `Where`.
pub(super) fn choose(call: &Call<'_>) -> Answer<Tensor> {
    let (condition, yes, no) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let dims = broadcast(yes.shape(), no.shape()).and_then(|dims| broadcast(condition.shape(), &dims));
    let dims = dims.ok_or(Decline::NotHere)?;
    let count = call.allowed(yes.dtype(), &dims)?;
    let width = element_bytes(yes.dtype()).ok_or(Decline::NotHere)?;
    if condition.dtype() != DType::Bool || yes.dtype() != no.dtype() {
        return Err(Decline::NotHere);
    }
    let view = |tensor| View::broadcast(tensor, &dims).ok_or(Decline::NotHere);
    let (conditions, yeses, noes) = (view(condition)?, view(yes)?, view(no)?);
    let mut chosen = Vec::with_capacity(count * width);
    for ((c, y), n) in conditions.places().zip(yeses.places()).zip(noes.places()) {
        let is_yes = condition.data().get(c).is_some_and(|&byte| byte != 0);
        let (data, place) = if is_yes { (yes.data(), y) } else { (no.data(), n) };
        chosen.extend_from_slice(data.get(place * width..(place + 1) * width).ok_or(Decline::NotHere)?);
    }
    Tensor::new(yes.dtype(), dims, chosen).map_err(|_| Decline::NotHere)
}

fn under_shape(call: &Call<'_>, data: &Tensor, dims: Vec<u64>) -> Answer<Tensor> {
    call.allowed(data.dtype(), &dims)?;
    data.reshaped(dims).map_err(|_| Decline::NotHere)
}

/// Axes as places from 0 up, each once.
pub(super) fn places(axes: &[i64], rank: usize) -> Answer<Vec<usize>> {
    let mut found = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = normal_axis(axis, rank).ok_or(Decline::NotHere)?;
        if found.contains(&axis) {
            return Err(Decline::NotHere);
        }
        found.push(axis);
    }
    Ok(found)
}

/// Extents from integers, none of them negative.
pub(super) fn extents(values: &[i64]) -> Answer<Vec<u64>> {
    values.iter().map(|&value| u64::try_from(value).map_err(|_| Decline::NotHere)).collect()
}
