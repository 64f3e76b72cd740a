//! Operators that move elements and compute none.

use onnx_shrink::ir::DType;
use rand::seq::SliceRandom;

use super::{Draw, MAX_ELEMENTS, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Reshape", 7, reshape),
    ("Reshape", 7, reshape),
    ("Flatten", 9, flatten),
    ("Squeeze", 7, squeeze),
    ("Unsqueeze", 7, unsqueeze),
    ("Transpose", 7, transpose),
    ("Transpose", 7, transpose),
    ("Expand", 8, expand),
    ("Tile", 7, tile),
    ("Concat", 7, concat),
    ("Split", 7, split),
    ("Slice", 7, slice),
    ("Slice", 7, slice),
    ("Pad", 7, pad),
    ("Gather", 7, gather),
    ("GatherElements", 11, gather_elements),
    ("Resize", 11, resize),
    ("Trilu", 14, trilu),
];

fn with_axes(value: &Value) -> bool {
    value.rank() > 0 && value.len() > 0
}

fn reshape(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(with_axes)?;
    let mut rest = x.len();
    let mut shape = Vec::new();
    for _ in 0..draft.below(4) {
        let divisors: Vec<i64> = [1, 2, 3, 4, 5].into_iter().filter(|divisor| rest % divisor == 0).collect();
        shape.push(draft.one_of(&divisors));
        rest /= shape[shape.len() - 1];
    }
    shape.push(rest);
    shape.shuffle(&mut draft.rng);
    let mut target = shape.clone();
    if draft.chance(40) {
        let hidden = draft.below(target.len());
        target[hidden] = -1;
    }
    let same: Vec<usize> = (0..shape.len().min(x.rank())).filter(|&axis| shape[axis] == x.shape[axis]).collect();
    for axis in same {
        if target[axis] != -1 && draft.chance(40) {
            target[axis] = 0;
        }
    }
    let target = draft.int64s(&target);
    draft.emit(op, &[&x.name, &target.name], "", Value { shape, ..x.clone() });
    Some(())
}

fn flatten(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let axis = draft.below(x.rank() + 1);
    let shape = vec![x.shape[..axis].iter().product(), x.shape[axis..].iter().product()];
    draft.emit(op, &[&x.name], &format!("axis = {axis}"), Value { shape, ..x.clone() });
    Some(())
}

fn squeeze(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.shape.contains(&1))?;
    let ones: Vec<usize> = (0..x.rank()).filter(|&axis| x.shape[axis] == 1).collect();
    let axis = draft.one_of(&ones);
    let mut shape = x.shape.clone();
    shape.remove(axis);
    let written = if draft.opset >= 11 && draft.chance(30) { axis as i64 - x.rank() as i64 } else { axis as i64 };
    with_axes_at(draft, op, &x, &[written], shape);
    Some(())
}

fn unsqueeze(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() < 5)?;
    let axis = draft.below(x.rank() + 1);
    let mut shape = x.shape.clone();
    shape.insert(axis, 1);
    let written = if draft.opset >= 11 && draft.chance(30) { axis as i64 - shape.len() as i64 } else { axis as i64 };
    with_axes_at(draft, op, &x, &[written], shape);
    Some(())
}

/// Axes were an attribute before operator set 13.
fn with_axes_at(draft: &mut Draft, op: &str, x: &Value, axes: &[i64], shape: Vec<i64>) {
    let like = Value { shape, ..x.clone() };
    if draft.opset >= 13 {
        let axes = draft.int64s(axes);
        draft.emit(op, &[&x.name, &axes.name], "", like);
    } else {
        draft.emit(op, &[&x.name], &format!("axes = {}", list(axes)), like);
    }
}

fn transpose(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 1)?;
    let mut order: Vec<i64> = (0..x.rank() as i64).collect();
    order.shuffle(&mut draft.rng);
    let attributes = if draft.chance(15) {
        order = (0..x.rank() as i64).rev().collect();
        String::new()
    } else {
        format!("perm = {}", list(&order))
    };
    let shape = order.iter().map(|&axis| x.shape[axis as usize]).collect();
    draft.emit(op, &[&x.name], &attributes, Value { shape, ..x.clone() });
    Some(())
}

fn expand(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.len() <= MAX_ELEMENTS / 8)?;
    let mut shape = x.shape.clone();
    for extent in &mut shape {
        if *extent == 1 && draft.chance(60) {
            *extent = draft.one_of(&[2, 3]);
        }
    }
    if shape.iter().product::<i64>() > MAX_ELEMENTS {
        return None;
    }
    if shape.len() < 5 && draft.chance(25) {
        shape.insert(0, draft.one_of(&[1, 2]));
    }
    let target = draft.int64s(&shape);
    draft.emit(op, &[&x.name, &target.name], "", Value { shape, ..x.clone() });
    Some(())
}

fn tile(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| with_axes(value) && value.len() <= MAX_ELEMENTS / 16 && value.is_float())?;
    let repeats: Vec<i64> = x.shape.iter().map(|_| draft.one_of(&[1, 1, 2])).collect();
    let shape: Vec<i64> = x.shape.iter().zip(&repeats).map(|(extent, times)| extent * times).collect();
    if shape.iter().product::<i64>() > MAX_ELEMENTS {
        return None;
    }
    let repeats = draft.int64s(&repeats);
    draft.emit(op, &[&x.name, &repeats.name], "", Value { shape, ..x.clone() });
    Some(())
}

fn concat(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| with_axes(value) && value.len() <= MAX_ELEMENTS / 4)?;
    let axis = draft.below(x.rank());
    let mut joined = x.clone();
    let mut names = vec![x.name.clone()];
    for _ in 0..draft.below(3) {
        let fits = |value: &Value| {
            let agrees = |other: usize| other == axis || value.shape[other] == x.shape[other];
            value.dtype == x.dtype && value.rank() == x.rank() && (0..x.rank()).all(agrees)
        };
        let y = draft.pick(fits)?;
        joined.shape[axis] += y.shape[axis];
        joined.low = joined.low.min(y.low);
        joined.high = joined.high.max(y.high);
        joined.is_exact &= y.is_exact;
        names.push(y.name);
    }
    if joined.len() > MAX_ELEMENTS {
        return None;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    draft.emit(op, &names, &format!("axis = {axis}"), joined);
    Some(())
}

fn split(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.shape.iter().any(|&extent| extent > 1))?;
    let wide: Vec<usize> = (0..x.rank()).filter(|&axis| x.shape[axis] > 1).collect();
    let axis = draft.one_of(&wide);
    let first = 1 + draft.below(x.shape[axis] as usize - 1) as i64;
    let sizes = [first, x.shape[axis] - first];
    let part = |size: i64| {
        let mut part = x.clone();
        part.shape[axis] = size;
        part
    };
    let parts = sizes.map(part).to_vec();
    if draft.opset >= 13 {
        let sizes = draft.int64s(&sizes);
        draft.emit_all(op, &[&x.name, &sizes.name], &format!("axis = {axis}"), parts);
    } else {
        draft.emit_all(op, &[&x.name], &format!("axis = {axis}, split = {}", list(&sizes)), parts);
    }
    Some(())
}

fn slice(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(with_axes)?;
    let axis = draft.below(x.rank());
    let extent = x.shape[axis];
    let start = draft.below(extent as usize) as i64;
    let end = start + 1 + draft.below((extent - start) as usize) as i64;
    let step = if draft.opset >= 10 && draft.chance(25) { 2 } else { 1 };
    let mut shape = x.shape.clone();
    shape[axis] = (end - start + step - 1) / step;
    // An end past the extent means all of it.
    let end = if end == extent && draft.chance(50) { i64::from(i32::MAX) } else { end };
    let like = Value { shape, ..x.clone() };
    if draft.opset < 10 {
        let attributes = format!("axes = [{axis}], starts = [{start}], ends = [{end}]");
        draft.emit(op, &[&x.name], &attributes, like);
        return Some(());
    }
    let (start, end) = if draft.chance(20) && start > 0 { (start - extent, end) } else { (start, end) };
    let parts = [[start], [end], [axis as i64], [step]].map(|part| draft.int64s(&part).name);
    let mut names = vec![x.name.as_str()];
    names.extend(parts.iter().take(if step == 1 && draft.chance(50) { 3 } else { 4 }).map(String::as_str));
    draft.emit(op, &names, "", like);
    Some(())
}

fn pad(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| with_axes(value) && value.is_float() && value.len() <= MAX_ELEMENTS / 8)?;
    let mut pads = vec![0; 2 * x.rank()];
    let mut shape = x.shape.clone();
    for axis in x.rank().saturating_sub(2)..x.rank() {
        let (before, after) = (draft.one_of(&[0, 0, 1]), draft.one_of(&[0, 0, 1]));
        (pads[axis], pads[axis + x.rank()]) = (before, after);
        shape[axis] += before + after;
    }
    let is_small = x.shape.iter().any(|&extent| extent < 2);
    let mode = if is_small { "constant" } else { draft.one_of(&["constant", "constant", "edge", "reflect"]) };
    let fill = if mode == "constant" { draft.one_of(&[0.0, 0.0, 0.5]) } else { 0.0 };
    let like = Value { shape, low: x.low.min(0.0), high: x.high.max(0.5), ..x.clone() };
    if draft.opset < 11 {
        let attributes = format!("mode = \"{mode}\", pads = {}, value = {fill:.1}", list(&pads));
        draft.emit(op, &[&x.name], &attributes, like);
        return Some(());
    }
    let pads = draft.int64s(&pads);
    let attributes = format!("mode = \"{mode}\"");
    if fill != 0.0 || draft.chance(30) {
        let fill = draft.constant(DType::F32, &[], &[fill]);
        draft.emit(op, &[&x.name, &pads.name, &fill.name], &attributes, like);
    } else {
        draft.emit(op, &[&x.name, &pads.name], &attributes, like);
    }
    Some(())
}

fn gather(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(with_axes)?;
    let axis = draft.below(x.rank());
    let extent = x.shape[axis];
    let fits =
        |value: &Value| value.dtype == DType::I64 && value.low >= 0.0 && value.high < extent as f64 && value.len() <= 8;
    let indices = match draft.chance(40).then(|| draft.pick(fits)).flatten() {
        Some(indices) => indices,
        None => {
            let shape: &[i64] = draft.one_of(&[&[][..], &[1], &[2], &[3]]);
            let count = shape.iter().product::<i64>();
            let lowest = if draft.opset >= 11 { -extent } else { 0 };
            let range = (extent - lowest) as usize;
            let elements: Vec<f64> = (0..count).map(|_| (lowest + draft.below(range) as i64) as f64).collect();
            draft.constant(DType::I64, shape, &elements)
        }
    };
    let mut shape = x.shape[..axis].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&x.shape[axis + 1..]);
    if shape.len() > 5 || shape.iter().product::<i64>() > MAX_ELEMENTS {
        return None;
    }
    draft.emit(op, &[&x.name, &indices.name], &format!("axis = {axis}"), Value { shape, ..x.clone() });
    Some(())
}

fn gather_elements(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| with_axes(value) && value.is_float() && value.len() <= 256)?;
    let axis = draft.below(x.rank());
    let elements: Vec<f64> = (0..x.len()).map(|_| draft.below(x.shape[axis] as usize) as f64).collect();
    let indices = draft.constant(DType::I64, &x.shape, &elements);
    draft.emit(op, &[&x.name, &indices.name], &format!("axis = {axis}"), x.clone());
    Some(())
}

fn resize(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() == 4 && value.len() <= MAX_ELEMENTS / 4)?;
    let mut shape = x.shape.clone();
    shape[2] *= 2;
    shape[3] *= 2;
    let scales = draft.constant(DType::F32, &[4], &[1.0, 1.0, 2.0, 2.0]);
    // `roi` could not be left out at first.
    let roi = if draft.opset < 13 { draft.constant(DType::F32, &[0], &[]).name } else { String::new() };
    let (attributes, is_exact) = draft.one_of(&[
        ("mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"", x.is_exact),
        ("mode = \"linear\", coordinate_transformation_mode = \"half_pixel\"", false),
    ]);
    draft.emit(op, &[&x.name, &roi, &scales.name], attributes, Value { shape, is_exact, ..x.clone() });
    Some(())
}

fn trilu(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 1)?;
    let attributes = draft.one_of(&["", "upper = 0"]);
    let like = Value { low: x.low.min(0.0), high: x.high.max(0.0), ..x.clone() };
    draft.emit(op, &[&x.name], attributes, like);
    Some(())
}
