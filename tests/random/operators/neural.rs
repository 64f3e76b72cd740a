//! Convolutions, pools and normalizations over `[N, C, H, W]` and `[N, C, L]`.

use super::{Draw, MAX_ELEMENTS, MAX_PEAK, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Conv", 7, conv),
    ("Conv", 7, conv),
    ("Conv", 7, conv),
    ("ConvTranspose", 7, conv_transpose),
    ("MaxPool", 7, pool),
    ("AveragePool", 7, pool),
    ("GlobalAveragePool", 7, global_pool),
    ("GlobalMaxPool", 7, global_pool),
    ("BatchNormalization", 9, batch_norm),
    ("BatchNormalization", 9, batch_norm),
    ("InstanceNormalization", 7, instance_norm),
    ("LRN", 7, lrn),
    ("DepthToSpace", 11, depth_to_space),
    ("SpaceToDepth", 7, space_to_depth),
];

/// A value with channels and one or two axes of space.
fn image(draft: &mut Draft) -> Option<Value> {
    draft.pick(|value| {
        value.is_float() && matches!(value.rank(), 3 | 4) && value.shape[1] <= 16 && value.shape.iter().all(|&d| d > 0)
    })
}

fn conv(draft: &mut Draft, op: &str) -> Option<()> {
    let x = image(draft)?;
    let axes = x.rank() - 2;
    let kernel: Vec<i64> = x.shape[2..].iter().map(|&extent| draft.one_of(&[1, 2, 3]).min(extent)).collect();
    let pads: Vec<i64> = kernel.iter().map(|&k| if draft.chance(40) { k / 2 } else { 0 }).collect();
    let stride = draft.one_of(&[1, 1, 2]);
    let channels = x.shape[1];
    let is_grouped = channels > 1 && draft.chance(25);
    let filters = if is_grouped { channels } else { draft.one_of(&[1, 2, 4]) };
    let per_group = if is_grouped { 1 } else { channels };
    let mut weights_shape = vec![filters, per_group];
    weights_shape.extend(&kernel);
    let peak = weights_shape[1..].iter().product::<i64>() as f64 * x.peak() + 1.0;
    if peak > MAX_PEAK {
        return None;
    }
    let weights = draft.floats(&weights_shape, -1.0, 1.0);
    let mut shape = vec![x.shape[0], filters];
    for axis in 0..axes {
        shape.push((x.shape[2 + axis] + 2 * pads[axis] - kernel[axis]) / stride + 1);
    }
    let mut attributes = vec![format!("strides = {}", list(&vec![stride; axes]))];
    if pads.iter().any(|&pad| pad > 0) || draft.chance(50) {
        attributes.push(format!("pads = {}", list(&[pads.as_slice(), pads.as_slice()].concat())));
    }
    if is_grouped {
        attributes.push(format!("group = {channels}"));
    }
    if draft.chance(50) {
        attributes.push(format!("kernel_shape = {}", list(&kernel)));
    }
    let bias = if draft.chance(50) { draft.floats(&[filters], -1.0, 1.0).name } else { String::new() };
    let mut inputs = vec![x.name.as_str(), weights.name.as_str()];
    inputs.extend((!bias.is_empty()).then_some(bias.as_str()));
    let like = Value { shape, low: -peak, high: peak, is_exact: false, ..x.clone() };
    draft.emit(op, &inputs, &attributes.join(", "), like);
    Some(())
}

fn conv_transpose(draft: &mut Draft, op: &str) -> Option<()> {
    let x = image(draft)?;
    let axes = x.rank() - 2;
    let (kernel, stride) = (draft.one_of(&[1, 2, 3]), draft.one_of(&[1, 2]));
    let filters = draft.one_of(&[1, 2, 3]);
    let mut weights_shape = vec![x.shape[1], filters];
    weights_shape.extend(vec![kernel; axes]);
    let mut shape = vec![x.shape[0], filters];
    shape.extend(x.shape[2..].iter().map(|&extent| (extent - 1) * stride + kernel));
    let peak = (x.shape[1] * kernel.pow(axes as u32)) as f64 * x.peak() + 1.0;
    if peak > MAX_PEAK || shape.iter().product::<i64>() > MAX_ELEMENTS {
        return None;
    }
    let weights = draft.floats(&weights_shape, -1.0, 1.0);
    let bias = if draft.chance(50) { draft.floats(&[filters], -1.0, 1.0).name } else { String::new() };
    let mut inputs = vec![x.name.as_str(), weights.name.as_str()];
    inputs.extend((!bias.is_empty()).then_some(bias.as_str()));
    let attributes = format!("strides = {}", list(&vec![stride; axes]));
    let like = Value { shape, low: -peak, high: peak, is_exact: false, ..x.clone() };
    draft.emit(op, &inputs, &attributes, like);
    Some(())
}

fn pool(draft: &mut Draft, op: &str) -> Option<()> {
    let x = image(draft)?;
    let axes = x.rank() - 2;
    let kernel: Vec<i64> = x.shape[2..].iter().map(|&extent| draft.one_of(&[1, 2, 3]).min(extent)).collect();
    let pads: Vec<i64> = kernel.iter().map(|&k| if draft.chance(30) { k / 2 } else { 0 }).collect();
    let stride = draft.one_of(&[1, 2]);
    let mut shape = x.shape[..2].to_vec();
    for axis in 0..axes {
        shape.push((x.shape[2 + axis] + 2 * pads[axis] - kernel[axis]) / stride + 1);
    }
    let mut attributes = format!("kernel_shape = {}, strides = {}", list(&kernel), list(&vec![stride; axes]));
    if pads.iter().any(|&pad| pad > 0) {
        attributes += &format!(", pads = {}", list(&[pads.as_slice(), pads.as_slice()].concat()));
    }
    if op == "AveragePool" && draft.chance(50) {
        attributes += ", count_include_pad = 1";
    }
    let is_exact = x.is_exact && op == "MaxPool";
    let (low, high) = if op == "MaxPool" { (x.low, x.high) } else { (x.low.min(0.0), x.high.max(0.0)) };
    draft.emit(op, &[&x.name], &attributes, Value { shape, low, high, is_exact, ..x.clone() });
    Some(())
}

fn global_pool(draft: &mut Draft, op: &str) -> Option<()> {
    let x = image(draft)?;
    let mut shape = x.shape.clone();
    shape[2..].fill(1);
    let is_exact = x.is_exact && op == "GlobalMaxPool";
    draft.emit(op, &[&x.name], "", Value { shape, is_exact, ..x.clone() });
    Some(())
}

fn batch_norm(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() >= 2 && value.shape[1] <= 64)?;
    let shape = [x.shape[1]];
    let scale = draft.floats(&shape, 0.5, 1.5);
    let shift = draft.floats(&shape, -1.0, 1.0);
    let mean = draft.floats(&shape, -0.5, 0.5);
    let variance = draft.floats(&shape, 0.5, 2.0);
    let peak = (x.peak() + 0.5) * 1.5 / 0.7 + 1.0;
    if peak > MAX_PEAK {
        return None;
    }
    let names = [&x, &scale, &shift, &mean, &variance].map(|value| value.name.as_str());
    let attributes = draft.one_of(&["", "epsilon = 0.001"]);
    draft.emit(op, &names, attributes, Value { low: -peak, high: peak, is_exact: false, ..x.clone() });
    Some(())
}

fn instance_norm(draft: &mut Draft, op: &str) -> Option<()> {
    let x = image(draft)?;
    let scale = draft.floats(&[x.shape[1]], 0.5, 1.5);
    let shift = draft.floats(&[x.shape[1]], -1.0, 1.0);
    let peak = 1.5 * x.peak() * 20.0 + 1.0;
    if peak > MAX_PEAK {
        return None;
    }
    let names = [&x, &scale, &shift].map(|value| value.name.as_str());
    draft.emit(op, &names, "epsilon = 0.01", Value { low: -peak, high: peak, is_exact: false, ..x.clone() });
    Some(())
}

fn lrn(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() == 4)?;
    draft.emit(op, &[&x.name], "size = 3", Value { is_exact: false, low: -x.peak(), high: x.peak(), ..x.clone() });
    Some(())
}

fn depth_to_space(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() == 4 && value.shape[1] % 4 == 0)?;
    let shape = vec![x.shape[0], x.shape[1] / 4, x.shape[2] * 2, x.shape[3] * 2];
    let mode = draft.one_of(&["blocksize = 2", "blocksize = 2, mode = \"CRD\""]);
    draft.emit(op, &[&x.name], mode, Value { shape, ..x.clone() });
    Some(())
}

fn space_to_depth(draft: &mut Draft, op: &str) -> Option<()> {
    let even = |value: &Value| value.rank() == 4 && value.shape[2] % 2 == 0 && value.shape[3] % 2 == 0;
    let x = draft.pick(|value| value.is_float() && even(value))?;
    let shape = vec![x.shape[0], x.shape[1] * 4, x.shape[2] / 2, x.shape[3] / 2];
    draft.emit(op, &[&x.name], "blocksize = 2", Value { shape, ..x.clone() });
    Some(())
}
