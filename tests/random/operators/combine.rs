//! Operators of two and more inputs, with broadcasting.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_ELEMENTS, MAX_PEAK, broadcast};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Add", 7, binary),
    ("Add", 7, binary),
    ("Sub", 7, binary),
    ("Mul", 7, binary),
    ("Mul", 7, binary),
    ("Div", 7, binary),
    ("Min", 8, binary),
    ("Max", 8, binary),
    ("Add", 7, whole),
    ("Sub", 7, whole),
    ("Mul", 7, whole),
    ("Pow", 7, pow),
    ("PRelu", 9, prelu),
    ("Sum", 8, several),
    ("Mean", 8, several),
    ("MatMul", 9, matmul),
    ("MatMul", 9, matmul_values),
    ("Gemm", 7, gemm),
];

/// A constant or another value that broadcasts with `x`, or `x` itself.
fn partner(draft: &mut Draft, x: &Value, low: f64, high: f64) -> Option<Value> {
    if draft.chance(50) {
        return draft.pick(|value| {
            value.is_float() && value.low >= low && value.high <= high && broadcast(&x.shape, &value.shape).is_some()
        });
    }
    let mut shape = x.shape.clone();
    match draft.below(4) {
        0 => shape.clear(),
        1 => shape.iter_mut().rev().skip(1).for_each(|extent| *extent = 1),
        2 => shape = shape.split_off(shape.len() / 2),
        _ => {
            if let Some(channels) = shape.get(1).copied() {
                shape.fill(1);
                shape[1] = channels;
            }
        }
    }
    if shape.iter().product::<i64>() > 256 {
        shape.clear();
    }
    Some(draft.floats(&shape, low.max(-1.0), high.min(2.0)))
}

fn binary(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let (low, high) = if op == "Div" { (0.25, MAX_PEAK) } else { (-MAX_PEAK, MAX_PEAK) };
    let y = partner(draft, &x, low, high)?;
    let shape = broadcast(&x.shape, &y.shape)?;
    let (a, b) = if op != "Div" && draft.chance(30) { (y, x) } else { (x, y) };
    let corners = |of: fn(f64, f64) -> f64| {
        let all = [of(a.low, b.low), of(a.low, b.high), of(a.high, b.low), of(a.high, b.high)];
        (all.into_iter().fold(f64::INFINITY, f64::min), all.into_iter().fold(f64::NEG_INFINITY, f64::max))
    };
    let (low, high) = corners(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Min" => f64::min,
        _ => f64::max,
    });
    if low.abs().max(high.abs()) > MAX_PEAK {
        return None;
    }
    let is_exact = matches!(op, "Min" | "Max") && a.is_exact && b.is_exact;
    let names = [a.name.as_str(), b.name.as_str()];
    draft.emit(op, &names, "", Value { shape, low, high, is_exact, ..a.clone() });
    Some(())
}

/// Arithmetic on whole numbers.
fn whole(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| matches!(value.dtype, DType::I64 | DType::I32) && value.peak() < 1e3)?;
    let y = match draft.chance(50) {
        true => draft.pick(|value| {
            value.dtype == x.dtype && value.peak() < 1e3 && broadcast(&x.shape, &value.shape).is_some()
        })?,
        false => draft.constant(x.dtype, &[1], &[2.0]),
    };
    let shape = broadcast(&x.shape, &y.shape)?;
    let peak = if op == "Mul" { x.peak() * y.peak() } else { x.peak() + y.peak() };
    draft.emit(op, &[&x.name, &y.name], "", Value { shape, low: -peak, high: peak, ..x.clone() });
    Some(())
}

fn pow(draft: &mut Draft, op: &str) -> Option<()> {
    let exponent = draft.one_of(&[2.0, 0.5, 3.0, 1.0]);
    let fits = |value: &Value| value.is_float() && value.peak() < 20.0 && (exponent != 0.5 || value.low > 0.05);
    let x = draft.pick(fits)?;
    let power = draft.constant(DType::F32, &[], &[exponent]);
    let peak = x.peak().powf(exponent) * 1.01;
    let low = if exponent == 0.5 { 0.2 } else { -peak };
    draft.emit(op, &[&x.name, &power.name], "", Value { low, high: peak, is_exact: false, ..x.clone() });
    Some(())
}

fn prelu(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() >= 2)?;
    let mut shape = vec![1; x.rank() - 1];
    shape[0] = x.shape[1];
    let slope = draft.floats(&shape, 0.0, 0.5);
    draft.emit(op, &[&x.name, &slope.name], "", Value { low: x.low.min(0.0), is_exact: false, ..x.clone() });
    Some(())
}

fn several(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.peak() < MAX_PEAK / 4.0)?;
    let mut inputs = vec![x.clone()];
    for _ in 0..draft.below(3) {
        let y = draft.pick(|value| value.is_float() && value.peak() < MAX_PEAK / 4.0 && value.shape == x.shape)?;
        inputs.push(y);
    }
    let peak: f64 = inputs.iter().map(Value::peak).sum();
    let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
    draft.emit(op, &names, "", Value { low: -peak, high: peak, is_exact: false, ..x.clone() });
    Some(())
}

/// A product with a constant, which may have leading axes.
fn matmul(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() >= 2 && value.len() > 0)?;
    let (inner, columns) = (x.shape[x.rank() - 1], draft.one_of(&[1, 3, 5]));
    let peak = inner as f64 * x.peak();
    if peak > MAX_PEAK || inner * columns > 1024 {
        return None;
    }
    let weights = draft.floats(&[inner, columns], -1.0, 1.0);
    let mut shape = x.shape.clone();
    shape[x.rank() - 1] = columns;
    let names = [x.name.as_str(), weights.name.as_str()];
    let y = draft.emit(op, &names, "", Value { shape, low: -peak, high: peak, is_exact: false, ..x.clone() });
    if draft.chance(40) {
        let bias = draft.floats(&[columns], -1.0, 1.0);
        let bounds = Value { low: y.low - 1.0, high: y.high + 1.0, ..y.clone() };
        draft.emit("Add", &[&y.name, &bias.name], "", bounds);
    }
    Some(())
}

/// A product of two values.
fn matmul_values(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() >= 2)?;
    let rank = x.rank();
    let y = draft.pick(|value| {
        value.is_float()
            && value.rank() == rank
            && value.shape[..rank - 2] == x.shape[..rank - 2]
            && value.shape[rank - 2] == x.shape[rank - 1]
    })?;
    let mut shape = x.shape.clone();
    shape[rank - 1] = y.shape[rank - 1];
    let peak = x.shape[rank - 1] as f64 * x.peak() * y.peak();
    if peak > MAX_PEAK || shape.iter().product::<i64>() > MAX_ELEMENTS {
        return None;
    }
    let like = Value { shape, low: -peak, high: peak, is_exact: false, ..x.clone() };
    draft.emit(op, &[&x.name, &y.name], "", like);
    Some(())
}

fn gemm(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() == 2)?;
    let (trans_a, trans_b) = (draft.chance(30), draft.chance(50));
    let (rows, inner) = if trans_a { (x.shape[1], x.shape[0]) } else { (x.shape[0], x.shape[1]) };
    let columns = draft.one_of(&[1, 2, 4]);
    let peak = inner as f64 * x.peak() + 1.0;
    if peak > MAX_PEAK || inner > 256 {
        return None;
    }
    let weights = draft.floats(&if trans_b { [columns, inner] } else { [inner, columns] }, -1.0, 1.0);
    let alpha = draft.one_of(&["", ", alpha = 0.5", ", beta = 0.5"]);
    let attributes = format!("transA = {}, transB = {}{alpha}", i64::from(trans_a), i64::from(trans_b));
    let like = Value { shape: vec![rows, columns], low: -peak, high: peak, is_exact: false, ..x.clone() };
    if draft.opset >= 11 && draft.chance(30) {
        draft.emit(op, &[&x.name, &weights.name], &attributes, like);
        return Some(());
    }
    let shape = draft.one_of(&[vec![columns], vec![1, columns], vec![rows, columns], vec![1]]);
    let bias = draft.floats(&shape, -1.0, 1.0);
    draft.emit(op, &[&x.name, &weights.name, &bias.name], &attributes, like);
    Some(())
}
