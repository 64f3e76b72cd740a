//! Comparison, logic and choice.

use onnx_shrink::ir::DType;

use super::{Draw, broadcast};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Less", 9, compare),
    ("Greater", 9, compare),
    ("Equal", 11, compare),
    ("LessOrEqual", 12, compare),
    ("GreaterOrEqual", 12, compare),
    ("And", 7, logic),
    ("Or", 7, logic),
    ("Xor", 7, logic),
    ("Not", 7, not),
    ("Where", 9, choose),
    ("Where", 9, choose),
    ("ArgMax", 7, arg),
    ("ArgMin", 7, arg),
    ("TopK", 11, top_k),
    ("OneHot", 11, one_hot),
];

fn is_bool(value: &Value) -> bool {
    value.dtype == DType::Bool
}

fn compare(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_exact && matches!(value.dtype, DType::F32 | DType::I64))?;
    let y = match draft.chance(50) {
        true => draft
            .pick(|value| value.is_exact && value.dtype == x.dtype && broadcast(&x.shape, &value.shape).is_some())?,
        false => draft.constant(x.dtype, &[], &[0.0]),
    };
    let shape = broadcast(&x.shape, &y.shape)?;
    let like = Value { dtype: DType::Bool, shape, low: 0.0, high: 1.0, ..x.clone() };
    draft.emit(op, &[&x.name, &y.name], "", like);
    Some(())
}

fn logic(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(is_bool)?;
    let y = match draft.chance(60) {
        true => draft.pick(|value| is_bool(value) && broadcast(&x.shape, &value.shape).is_some())?,
        false => {
            let element = draft.one_of(&[0.0, 1.0]);
            draft.constant(DType::Bool, &[1], &[element])
        }
    };
    let shape = broadcast(&x.shape, &y.shape)?;
    draft.emit(op, &[&x.name, &y.name], "", Value { shape, ..x.clone() });
    Some(())
}

fn not(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(is_bool)?;
    draft.emit(op, &[&x.name], "", x.clone());
    Some(())
}

fn choose(draft: &mut Draft, op: &str) -> Option<()> {
    let condition = match draft.chance(80) {
        true => draft.pick(is_bool)?,
        false => {
            let element = draft.one_of(&[0.0, 1.0]);
            draft.constant(DType::Bool, &[1], &[element])
        }
    };
    let x = draft.pick(|value| value.is_float() && broadcast(&condition.shape, &value.shape).is_some())?;
    let both = broadcast(&condition.shape, &x.shape)?;
    let y = match draft.chance(60) {
        true => draft.pick(|value| value.is_float() && broadcast(&both, &value.shape).is_some())?,
        false => draft.floats(&[], -1.0, 1.0),
    };
    let shape = broadcast(&both, &y.shape)?;
    let (low, high, is_exact) = (x.low.min(y.low), x.high.max(y.high), x.is_exact && y.is_exact);
    let names = [condition.name.as_str(), x.name.as_str(), y.name.as_str()];
    draft.emit(op, &names, "", Value { shape, low, high, is_exact, ..x.clone() });
    Some(())
}

fn arg(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_exact && value.is_float() && value.rank() > 0)?;
    let axis = draft.below(x.rank());
    let keep = draft.chance(50);
    let mut shape = x.shape.clone();
    let extent = shape[axis];
    shape[axis] = 1;
    if !keep {
        shape.remove(axis);
    }
    let attributes = format!("axis = {axis}, keepdims = {}", i64::from(keep));
    let like = Value { dtype: DType::I64, shape, low: 0.0, high: extent as f64 - 1.0, ..x.clone() };
    draft.emit(op, &[&x.name], &attributes, like);
    Some(())
}

fn top_k(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_exact && value.is_float() && value.rank() > 0)?;
    let axis = draft.below(x.rank());
    let mut shape = x.shape.clone();
    shape[axis] = 1 + draft.below(x.shape[axis].min(3) as usize) as i64;
    let k = draft.int64s(&[shape[axis]]);
    let values = Value { shape, ..x.clone() };
    let indices = Value { dtype: DType::I64, low: 0.0, high: x.shape[axis] as f64 - 1.0, ..values.clone() };
    draft.emit_all(op, &[&x.name, &k.name], &format!("axis = {axis}"), vec![values, indices]);
    Some(())
}

fn one_hot(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft
        .pick(|value| value.dtype == DType::I64 && value.rank() > 0 && value.peak() <= 8.0 && value.len() <= 64)?;
    let depth = draft.int64s(&[4]);
    let values = draft.constant(DType::F32, &[2], &[0.0, 1.0]);
    let mut shape = x.shape.clone();
    shape.push(4);
    let like = Value { dtype: DType::F32, shape, low: 0.0, high: 1.0, ..x.clone() };
    draft.emit(op, &[&x.name, &depth.name, &values.name], "", like);
    Some(())
}
