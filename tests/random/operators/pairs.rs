//! Pairs of neighbours that one operator stands for, or none: constants in turn, gates, axes that go and come, parts put
//! together again.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_PEAK, broadcast, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Add", 7, sums),
    ("Mul", 7, products),
    ("HardSigmoid", 7, gate),
    ("Reciprocal", 7, quotient),
    ("LogSoftmax", 13, log_of_softmax),
    ("Clip", 8, bounds),
    ("Clip", 11, clips),
    ("Gemm", 11, gemm_of_transpose),
    ("Einsum", 12, einsum),
    ("ReduceSum", 13, reductions),
    ("Concat", 13, split_and_concat),
    ("Slice", 13, slice_and_concat),
    ("Expand", 8, expanded_operand),
    ("Transpose", 7, transposed_operands),
    ("Where", 9, constant_choice),
    ("Squeeze", 13, axes_go_and_come),
    ("Shape", 15, part_of_shape),
];

fn plain(value: &Value) -> bool {
    value.is_float() && value.peak() < 50.0
}

fn around(x: &Value, shape: &[i64], peak: f64) -> Value {
    Value { low: -peak, high: peak, is_exact: false, shape: shape.to_vec(), ..x.clone() }
}

/// A constant that broadcasts to `x`, of one element or along the last axis.
fn operand(draft: &mut Draft, x: &Value, low: f64, high: f64) -> Value {
    let shape = match x.shape.last() {
        Some(&last) if draft.chance(50) => vec![last],
        _ => Vec::new(),
    };
    draft.floats(&shape, low, high)
}

fn sums(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(plain)?;
    let mut value = x.clone();
    for _ in 0..2 {
        let added = operand(draft, &x, -2.0, 2.0);
        let op = draft.one_of(&["Add", "Sub"]);
        let shape = broadcast(&value.shape, &added.shape)?;
        let like = around(&x, &shape, value.peak() + 2.0);
        let names =
            if draft.chance(50) { [&value.name, &added.name] } else { [&added.name, &value.name] }.map(String::as_str);
        value = draft.emit(op, &names, "", like);
    }
    Some(())
}

fn products(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(plain)?;
    let mut value = x.clone();
    for _ in 0..2 {
        let factor = operand(draft, &x, 0.5, 2.0);
        let op = draft.one_of(&["Mul", "Div"]);
        let shape = broadcast(&value.shape, &factor.shape)?;
        let like = around(&x, &shape, value.peak() * 2.0);
        value = draft.emit(op, &[&value.name, &factor.name], "", like);
    }
    Some(())
}

/// `x + x HardSigmoid(Conv(mean x))`.
fn gate(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| plain(value) && value.rank() == 4 && value.shape[1] <= 8)?;
    let channels = x.shape[1];
    let pooled = draft.emit("GlobalAveragePool", &[&x.name], "", around(&x, &[x.shape[0], channels, 1, 1], x.peak()));
    let weights = draft.floats(&[channels, channels, 1, 1], -1.0, 1.0);
    let bias = draft.floats(&[channels], -1.0, 1.0);
    let peak = pooled.peak() * channels as f64 + 1.0;
    let names = [pooled.name.as_str(), &weights.name, &bias.name];
    let read = if draft.chance(80) { 3 } else { 2 };
    let conv = draft.emit("Conv", &names[..read], "", around(&x, &pooled.shape, peak));
    let attributes = if draft.chance(50) { "alpha = 0.3, beta = 0.4" } else { "" };
    let sigmoid = draft.emit(op, &[&conv.name], attributes, Value { low: 0.0, ..around(&x, &pooled.shape, 1.0) });
    let product = draft.emit("Mul", &[&x.name, &sigmoid.name], "", around(&x, &x.shape, x.peak()));
    draft.emit("Add", &[&product.name, &x.name], "", around(&x, &x.shape, 2.0 * x.peak()));
    Some(())
}

fn quotient(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.low >= 0.1 && value.high <= 50.0)?;
    let y = draft.pick(plain)?;
    let shape = broadcast(&x.shape, &y.shape)?;
    let inverse = if draft.chance(50) {
        draft.emit(op, &[&x.name], "", around(&x, &x.shape, 10.0))
    } else {
        let one = draft.constant(DType::F32, &[], &[1.0]);
        draft.emit("Div", &[&one.name, &x.name], "", around(&x, &x.shape, 10.0))
    };
    draft.emit("Mul", &[&y.name, &inverse.name], "", around(&y, &shape, 10.0 * y.peak()));
    Some(())
}

fn log_of_softmax(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() > 0 && value.peak() < 10.0)?;
    let axis = draft.below(x.rank());
    let softmax = draft.emit("Softmax", &[&x.name], &format!("axis = {axis}"), around(&x, &x.shape, 1.0));
    draft.emit("Log", &[&softmax.name], "", around(&x, &x.shape, 40.0));
    Some(())
}

fn bounds(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(plain)?;
    let (low, high) = draft.one_of(&[(-0.5, 0.5), (0.0, 1.0), (1.0, -1.0)]);
    let steps = [("Max", low), ("Min", high)];
    let steps = if draft.chance(50) { steps } else { [steps[1], steps[0]] };
    let mut value = x.clone();
    for (op, bound) in steps {
        let bound = draft.constant(DType::F32, &[], &[bound]);
        value = draft.emit(
            op,
            &[&value.name, &bound.name],
            "",
            Value { is_exact: x.is_exact, ..around(&x, &x.shape, x.peak() + 1.0) },
        );
    }
    Some(())
}

fn clips(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(plain)?;
    let mut value = x.clone();
    for _ in 0..2 {
        let (low, high) = draft.one_of(&[(-0.5, 0.5), (0.0, 1.0), (-1.0, 0.25), (2.0, 3.0), (1.0, -1.0)]);
        let [low, high] = [low, high].map(|bound| draft.constant(DType::F32, &[], &[bound]).name);
        let names = match draft.below(4) {
            0 => vec![value.name.as_str(), &low],
            1 => vec![value.name.as_str(), "", &high],
            _ => vec![value.name.as_str(), &low, &high],
        };
        let like = Value { is_exact: x.is_exact, ..around(&x, &x.shape, x.peak() + 3.0) };
        value = draft.emit(op, &names, "", like);
    }
    Some(())
}

fn gemm_of_transpose(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| plain(value) && value.rank() == 2)?;
    let turned = [x.shape[1], x.shape[0]];
    let matrix = draft.emit("Transpose", &[&x.name], "perm = [1, 0]", Value { shape: turned.to_vec(), ..x.clone() });
    let is_again = draft.chance(50);
    let (rows, inner) = if is_again { (turned[1], turned[0]) } else { (turned[0], turned[1]) };
    let weights = draft.floats(&[inner, 3], -1.0, 1.0);
    let attributes = format!("transA = {}", i64::from(is_again));
    let like = around(&x, &[rows, 3], x.peak() * inner as f64);
    draft.emit(op, &[&matrix.name, &weights.name], &attributes, like);
    Some(())
}

fn einsum(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| plain(value) && matches!(value.rank(), 2 | 3))?;
    let inner = *x.shape.last()?;
    let weights = draft.floats(&[inner, 4], -1.0, 1.0);
    let equation = if x.rank() == 2 { "ij,jk->ik" } else { "bij,jk->bik" };
    let mut shape = x.shape.clone();
    *shape.last_mut()? = 4;
    let like = around(&x, &shape, x.peak() * inner as f64);
    draft.emit(op, &[&x.name, &weights.name], &format!("equation = \"{equation}\""), like);
    Some(())
}

/// A reduction of a reduction, and an axis that comes back.
fn reductions(draft: &mut Draft, _: &str) -> Option<()> {
    let op = draft.one_of(&["ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean"]);
    let x =
        draft.pick(|value| value.is_float() && value.rank() > 1 && value.peak() * value.len() as f64 <= MAX_PEAK)?;
    let keep = draft.chance(50);
    let mut value = x.clone();
    for _ in 0..2 {
        let axis = draft.below(value.rank());
        let mut shape = value.shape.clone();
        let peak = value.peak() * shape[axis] as f64;
        if keep {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
        let like = around(&x, &shape, peak);
        let keepdims = format!("keepdims = {}", i64::from(keep));
        let reduced = if op == "ReduceSum" || draft.opset >= 18 {
            let axes = draft.int64s(&[axis as i64]);
            draft.emit(op, &[&value.name, &axes.name], &keepdims, like)
        } else {
            draft.emit(op, &[&value.name], &format!("{keepdims}, axes = [{axis}]"), like)
        };
        if draft.chance(40) {
            let axes = draft.int64s(&[axis as i64]);
            let mut shape = reduced.shape.clone();
            let op = if keep { "Squeeze" } else { "Unsqueeze" };
            if keep {
                shape.remove(axis);
            } else {
                shape.insert(axis, 1);
            }
            draft.emit(op, &[&reduced.name, &axes.name], "", Value { shape, ..reduced.clone() });
            return Some(());
        }
        value = reduced;
    }
    Some(())
}

fn split_and_concat(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.shape.iter().any(|&extent| extent > 1))?;
    let axis = x.shape.iter().position(|&extent| extent > 1)?;
    let sizes = [1, x.shape[axis] - 1];
    let part = |size: i64| {
        let mut part = x.clone();
        part.shape[axis] = size;
        part
    };
    let list = draft.int64s(&sizes);
    let parts = draft.emit_all("Split", &[&x.name, &list.name], &format!("axis = {axis}"), sizes.map(part).to_vec());
    let (a, b) = if draft.chance(70) { (0, 1) } else { (1, 0) };
    draft.emit(op, &[&parts[a].name, &parts[b].name], &format!("axis = {axis}"), x.clone());
    Some(())
}

fn slice_and_concat(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.shape.iter().any(|&extent| extent > 1))?;
    let axis = x.shape.iter().position(|&extent| extent > 1)?;
    let extent = x.shape[axis];
    let cut = 1 + draft.below(extent as usize - 1) as i64;
    // Sometimes an element is there twice.
    let again = if draft.chance(70) { cut } else { cut - 1 };
    let mut parts = Vec::new();
    for (start, end) in [(0, cut), (again, i64::from(i32::MAX))] {
        let mut part = x.clone();
        part.shape[axis] = end.min(extent) - start;
        let lists = [start, end, axis as i64].map(|number| draft.int64s(&[number]).name);
        parts.push(draft.emit(op, &[&x.name, &lists[0], &lists[1], &lists[2]], "", part));
    }
    let mut like = x.clone();
    like.shape[axis] = extent + cut - again;
    draft.emit("Concat", &[&parts[0].name, &parts[1].name], &format!("axis = {axis}"), like);
    Some(())
}

fn expanded_operand(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| plain(value) && value.rank() > 0)?;
    let y = draft.pick(plain)?;
    if broadcast(&x.shape, &y.shape)? != x.shape {
        return None;
    }
    let target = if draft.is_symbolic {
        let like = Value { dtype: DType::I64, shape: vec![x.rank() as i64], low: 0.0, high: 4096.0, ..x.clone() };
        draft.emit("Shape", &[&x.name], "", like)
    } else {
        draft.int64s(&x.shape)
    };
    let large = draft.emit(op, &[&y.name, &target.name], "", Value { shape: x.shape.clone(), ..y.clone() });
    let with = draft.one_of(&["Add", "Sub", "Max"]);
    draft.emit(with, &[&x.name, &large.name], "", around(&x, &x.shape, x.peak() + y.peak()));
    Some(())
}

fn transposed_operands(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| plain(value) && value.rank() > 1)?;
    let y = draft.pick(|value| plain(value) && value.shape == x.shape)?;
    let perm: Vec<i64> = (0..x.rank() as i64).rev().collect();
    let shape: Vec<i64> = x.shape.iter().rev().copied().collect();
    let turn = |draft: &mut Draft, value: &Value| {
        draft.emit(
            op,
            &[&value.name],
            &format!("perm = {}", list(&perm)),
            Value { shape: shape.clone(), ..value.clone() },
        )
    };
    let (a, b) = (turn(draft, &x), turn(draft, &y));
    let sum = draft.emit("Add", &[&a.name, &b.name], "", around(&x, &shape, x.peak() + y.peak()));
    if draft.chance(50) {
        let tanh = draft.emit("Tanh", &[&sum.name], "", around(&x, &shape, 1.0));
        draft.emit(op, &[&tanh.name], &format!("perm = {}", list(&perm)), around(&x, &x.shape, 1.0));
    }
    Some(())
}

fn constant_choice(draft: &mut Draft, op: &str) -> Option<()> {
    let (x, y) = (draft.pick(plain)?, draft.pick(plain)?);
    let shape = broadcast(&x.shape, &y.shape)?;
    let truth = draft.one_of(&[0.0, 1.0]);
    let condition = draft.constant(DType::Bool, &[1], &[truth]);
    let shape = if shape.is_empty() { vec![1] } else { shape };
    let peak = x.peak().max(y.peak());
    let is_exact = x.is_exact && y.is_exact;
    draft.emit(op, &[&condition.name, &x.name, &y.name], "", Value { is_exact, ..around(&x, &shape, peak) });
    Some(())
}

fn axes_go_and_come(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.shape.iter().filter(|&&extent| extent == 1).count() > 1)?;
    let mut value = x.clone();
    for _ in 0..2 {
        let axis = value.shape.iter().position(|&extent| extent == 1)?;
        let mut shape = value.shape.clone();
        shape.remove(axis);
        let written = if draft.chance(50) { axis as i64 } else { axis as i64 - value.rank() as i64 };
        let axes = draft.int64s(&[written]);
        value = draft.emit(op, &[&value.name, &axes.name], "", Value { shape, ..value.clone() });
    }
    let axes = draft.int64s(&[-1]);
    let shape = [value.shape.as_slice(), &[1]].concat();
    draft.emit("Unsqueeze", &[&value.name, &axes.name], "", Value { shape, ..value.clone() });
    Some(())
}

fn part_of_shape(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 1)?;
    let like = Value { dtype: DType::I64, shape: vec![x.rank() as i64], low: 0.0, high: 4096.0, ..x.clone() };
    let shape = draft.emit(op, &[&x.name], "", like);
    let start = draft.below(x.rank()) as i64;
    let lists = [start, i64::from(i32::MAX), 0].map(|number| draft.int64s(&[number]).name);
    let like = Value { shape: vec![x.rank() as i64 - start], ..shape.clone() };
    draft.emit("Slice", &[&shape.name, &lists[0], &lists[1], &lists[2]], "", like);
    Some(())
}
