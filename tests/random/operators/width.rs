//! Stretches of a graph in floats of 16 and 64 bits, between Casts.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_PEAK, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[("Cast", 9, widen), ("Cast", 9, narrow)];

/// Magnitudes in which 16 bits neither overflow nor vanish.
const HALF_PEAK: f64 = 100.0;

fn widen(draft: &mut Draft, op: &str) -> Option<()> {
    stretch(draft, op, DType::F64, MAX_PEAK)
}

fn narrow(draft: &mut Draft, op: &str) -> Option<()> {
    if !draft.is_half {
        return None;
    }
    stretch(draft, op, DType::F16, HALF_PEAK)
}

fn stretch(draft: &mut Draft, op: &str, dtype: DType, peak: f64) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.peak() <= peak && value.len() <= 512)?;
    let is_exact = x.is_exact && dtype == DType::F64;
    let to = format!("to = {}", dtype.to_onnx());
    let mut value = draft.emit(op, &[&x.name], &to, Value { dtype, is_exact, ..x.clone() });
    for _ in 0..draft.below(5) {
        value = continued(draft, value, peak);
    }
    if draft.chance(75) {
        let to = format!("to = {}", DType::F32.to_onnx());
        draft.emit(op, &[&value.name], &to, Value { dtype: DType::F32, is_exact: false, ..value.clone() });
    }
    Some(())
}

/// One more operator of a stretch; the value itself where it would leave the bounds.
fn continued(draft: &mut Draft, x: Value, peak: f64) -> Value {
    let op = draft.one_of(&[
        "Add",
        "Mul",
        "Sub",
        "Div",
        "Relu",
        "Neg",
        "Abs",
        "Tanh",
        "Identity",
        "Transpose",
        "Reshape",
        "Again",
    ]);
    let round = |low: f64, high: f64| Value { low, high, is_exact: false, ..x.clone() };
    match op {
        "Add" | "Mul" | "Sub" | "Div" => {
            let number = draft.one_of(&[0.5, 1.0, 2.0, 0.25]);
            let other = draft.constant(x.dtype, &[], &[number]);
            let largest = if op == "Div" { x.peak() / number } else { x.peak() * number.max(1.0) + number };
            if largest > peak {
                return x;
            }
            draft.emit(op, &[&x.name, &other.name], "", round(-largest, largest))
        }
        "Relu" => draft.emit(op, &[&x.name], "", Value { low: x.low.max(0.0), high: x.high.max(0.0), ..x.clone() }),
        "Neg" => draft.emit(op, &[&x.name], "", Value { low: -x.high, high: -x.low, ..x.clone() }),
        "Abs" => draft.emit(op, &[&x.name], "", Value { low: 0.0, high: x.peak(), ..x.clone() }),
        "Tanh" => draft.emit(op, &[&x.name], "", round(-1.0, 1.0)),
        "Identity" => draft.emit(op, &[&x.name], "", x.clone()),
        "Transpose" => {
            let order: Vec<i64> = (0..x.rank() as i64).rev().collect();
            let shape = x.shape.iter().rev().copied().collect();
            let attributes = if order.is_empty() { String::new() } else { format!("perm = {}", list(&order)) };
            draft.emit(op, &[&x.name], &attributes, Value { shape, ..x.clone() })
        }
        "Reshape" if x.len() > 0 => {
            let target = draft.int64s(&[-1]);
            draft.emit(op, &[&x.name, &target.name], "", Value { shape: vec![x.len()], ..x.clone() })
        }
        "Again" => {
            let to = format!("to = {}", x.dtype.to_onnx());
            draft.emit("Cast", &[&x.name], &to, x.clone())
        }
        _ => x,
    }
}
