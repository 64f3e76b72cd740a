//! Shapes computed by operators, as exporters write them.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_ELEMENTS};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Shape", 7, shape_of),
    ("Size", 7, size_of),
    ("Reshape", 9, reshape_by_shape),
    ("Reshape", 9, reshape_by_shape),
    ("Expand", 9, expand_as),
    ("ConstantOfShape", 9, constant_of_shape),
    ("Range", 11, range),
];

fn shape_value(x: &Value) -> Value {
    let high = x.shape.iter().copied().max().unwrap_or(0) as f64;
    let low = x.shape.iter().copied().min().unwrap_or(0) as f64;
    Value { name: String::new(), dtype: DType::I64, shape: vec![x.rank() as i64], low, high, is_exact: true }
}

fn shape_of(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 0)?;
    draft.emit(op, &[&x.name], "", shape_value(&x));
    Some(())
}

fn size_of(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let size = x.len() as f64;
    let like = Value { dtype: DType::I64, shape: Vec::new(), low: size, high: size, is_exact: true, ..x.clone() };
    draft.emit(op, &[&x.name], "", like);
    Some(())
}

/// `Reshape(x, Concat(Shape(x)[0], -1))`, and the like.
fn reshape_by_shape(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 1 && value.len() > 0)?;
    let axis = draft.below(x.rank());
    let extent = x.shape[axis];
    let shape = draft.emit("Shape", &[&x.name], "", shape_value(&x));
    let one = Value { shape: vec![1], low: extent as f64, high: extent as f64, ..shape.clone() };
    let kept = if draft.chance(50) {
        let index = draft.int64s(&[axis as i64]);
        draft.emit("Gather", &[&shape.name, &index.name], "axis = 0", one)
    } else {
        let index = draft.constant(DType::I64, &[], &[axis as f64]);
        let scalar = Value { shape: Vec::new(), ..one.clone() };
        let scalar = draft.emit("Gather", &[&shape.name, &index.name], "axis = 0", scalar);
        if draft.opset >= 13 {
            let axes = draft.int64s(&[0]);
            draft.emit("Unsqueeze", &[&scalar.name, &axes.name], "", one)
        } else {
            draft.emit("Unsqueeze", &[&scalar.name], "axes = [0]", one)
        }
    };
    let kept = match draft.chance(25) {
        true => {
            let factor = draft.int64s(&[1]);
            draft.emit("Mul", &[&kept.name, &factor.name], "", kept.clone())
        }
        false => kept,
    };
    let rest = draft.int64s(&[-1]);
    let both = Value { shape: vec![2], low: -1.0, ..kept.clone() };
    let target = draft.emit("Concat", &[&kept.name, &rest.name], "axis = 0", both);
    let reshaped = Value { shape: vec![extent, x.len() / extent], ..x.clone() };
    draft.emit(op, &[&x.name, &target.name], "", reshaped);
    Some(())
}

/// `Expand(x, Shape(y))`.
fn expand_as(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.len() <= MAX_ELEMENTS / 8)?;
    let y = draft.pick(|value| super::broadcast(&x.shape, &value.shape).is_some())?;
    let result = super::broadcast(&x.shape, &y.shape)?;
    if y.rank() == 0 {
        return None;
    }
    let shape = draft.emit("Shape", &[&y.name], "", shape_value(&y));
    draft.emit(op, &[&x.name, &shape.name], "", Value { shape: result, ..x.clone() });
    Some(())
}

fn constant_of_shape(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 0)?;
    let shape = draft.emit("Shape", &[&x.name], "", shape_value(&x));
    let like = Value { dtype: DType::F32, low: 0.0, high: 0.0, is_exact: true, ..x.clone() };
    let half = Value { low: 0.5, high: 0.5, ..like.clone() };
    match draft.chance(50) {
        true => draft.emit(op, &[&shape.name], "value = float[1] {0.5}", half),
        false => draft.emit(op, &[&shape.name], "", like),
    };
    Some(())
}

fn range(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.rank() > 0 && value.shape[0] > 0)?;
    let shape = draft.emit("Shape", &[&x.name], "", shape_value(&x));
    let index = draft.constant(DType::I64, &[], &[0.0]);
    let extent = x.shape[0] as f64;
    let scalar = Value { shape: Vec::new(), low: extent, high: extent, ..shape.clone() };
    let limit = draft.emit("Gather", &[&shape.name, &index.name], "axis = 0", scalar);
    let step = draft.constant(DType::I64, &[], &[1.0]);
    let like = Value { shape: vec![x.shape[0]], low: 0.0, high: extent - 1.0, ..limit.clone() };
    draft.emit(op, &[&index.name, &limit.name, &step.name], "", like);
    Some(())
}
