//! Reductions, and what normalizes along axes.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_PEAK, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("ReduceSum", 7, reduce),
    ("ReduceMean", 7, reduce),
    ("ReduceMax", 7, reduce),
    ("ReduceMin", 7, reduce),
    ("ReduceL1", 7, reduce),
    ("ReduceL2", 7, reduce),
    ("ReduceSumSquare", 7, reduce),
    ("ReduceLogSumExp", 7, reduce),
    ("Softmax", 7, softmax),
    ("LogSoftmax", 7, softmax),
    ("LayerNormalization", 17, layer_norm),
    ("LpNormalization", 7, lp_norm),
    ("CumSum", 11, cum_sum),
];

fn reduce(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.peak() < 100.0)?;
    let keep = draft.chance(60);
    let mut axes: Vec<i64> = (0..x.rank() as i64).filter(|_| draft.chance(50)).collect();
    let is_all = axes.is_empty();
    let reduced: Vec<usize> = if is_all { (0..x.rank()).collect() } else { axes.iter().map(|&a| a as usize).collect() };
    let mut count = 1;
    let mut shape = Vec::new();
    for (axis, &extent) in x.shape.iter().enumerate() {
        if !reduced.contains(&axis) {
            shape.push(extent);
            continue;
        }
        count *= extent;
        shape.extend(keep.then_some(1));
    }
    let count = count as f64;
    let (low, high) = match op {
        "ReduceSum" => (x.low.min(0.0) * count, x.high.max(0.0) * count),
        "ReduceL1" => (0.0, x.peak() * count),
        "ReduceL2" => (0.0, x.peak() * count.sqrt()),
        "ReduceSumSquare" => (0.0, x.peak().powi(2) * count),
        "ReduceLogSumExp" => (x.low, x.high + count.ln() + 0.1),
        _ => (x.low, x.high),
    };
    if high > MAX_PEAK || low < -MAX_PEAK {
        return None;
    }
    if draft.chance(30) {
        axes.iter_mut().for_each(|axis| *axis -= x.rank() as i64);
    }
    let is_exact = x.is_exact && matches!(op, "ReduceMax" | "ReduceMin");
    let like = Value { shape, low, high, is_exact, ..x.clone() };
    let keep = format!("keepdims = {}", i64::from(keep));
    let takes_input = draft.opset >= if op == "ReduceSum" { 13 } else { 18 };
    if is_all {
        draft.emit(op, &[&x.name], &keep, like);
    } else if takes_input {
        let axes = draft.int64s(&axes);
        draft.emit(op, &[&x.name, &axes.name], &keep, like);
    } else {
        draft.emit(op, &[&x.name], &format!("{keep}, axes = {}", list(&axes)), like);
    }
    Some(())
}

fn softmax(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 0 && value.peak() < 50.0)?;
    let axis = draft.below(x.rank());
    let (low, high) = if op == "Softmax" { (0.0, 1.0) } else { (-120.0, 0.0) };
    let attributes = if draft.chance(80) { format!("axis = {axis}") } else { String::new() };
    // The default axis was 1 before operator set 13.
    if attributes.is_empty() && draft.opset < 13 && x.rank() < 2 {
        return None;
    }
    draft.emit(op, &[&x.name], &attributes, Value { low, high, is_exact: false, ..x.clone() });
    Some(())
}

fn layer_norm(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 0 && value.peak() < 100.0)?;
    let axis = draft.below(x.rank());
    let scale = draft.floats(&x.shape[axis..], 0.5, 1.5);
    let shift = draft.floats(&x.shape[axis..], -1.0, 1.0);
    let peak = (x.peak() * 20.0 + 1.0).min(100.0);
    let mut names = vec![x.name.as_str(), scale.name.as_str()];
    if draft.chance(60) {
        names.push(&shift.name);
    }
    let attributes = format!("axis = {axis}, epsilon = 0.01");
    draft.emit(op, &names, &attributes, Value { low: -peak, high: peak, is_exact: false, ..x.clone() });
    Some(())
}

fn lp_norm(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 0 && (value.low > 0.05 || value.high < -0.05))?;
    let axis = draft.below(x.rank());
    let attributes = format!("axis = {axis}, p = 2");
    draft.emit(op, &[&x.name], &attributes, Value { low: -1.01, high: 1.01, is_exact: false, ..x.clone() });
    Some(())
}

fn cum_sum(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 0 && value.peak() < 100.0)?;
    let axis = draft.below(x.rank());
    let axis_value = draft.constant(DType::I64, &[], &[axis as f64]);
    let peak = x.peak() * x.shape[axis] as f64;
    if peak > MAX_PEAK {
        return None;
    }
    let attributes = draft.one_of(&["", "exclusive = 1", "reverse = 1"]);
    let like = Value { low: -peak, high: peak, is_exact: false, ..x.clone() };
    draft.emit(op, &[&x.name, &axis_value.name], attributes, like);
    Some(())
}
