//! Groups of operators that passes look for, which chance alone would hardly ever put together.

use onnx_shrink::ir::DType;

use super::{Draw, list};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Gelu", 9, gelu),
    ("Swish", 7, swish),
    ("HardSwish", 9, hard_swish),
    ("LayerNormalization", 9, layer_norm),
    ("Transpose", 7, there_and_back),
    ("Dead", 7, nothing),
    ("Twice", 7, twice),
    ("Where", 9, not_where),
];

fn small(value: &Value) -> bool {
    value.is_float() && value.peak() < 50.0
}

fn around(x: &Value, peak: f64) -> Value {
    Value { low: -peak, high: peak, is_exact: false, ..x.clone() }
}

/// `x * 0.5 * (1 + erf(x / sqrt(2)))`.
fn gelu(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(small)?;
    let [root, one, half] =
        [std::f64::consts::SQRT_2, 1.0, 0.5].map(|element| draft.constant(DType::F32, &[], &[element]));
    let scaled = draft.emit("Div", &[&x.name, &root.name], "", around(&x, x.peak()));
    let erf = draft.emit("Erf", &[&scaled.name], "", around(&x, 1.0));
    let shifted = draft.emit("Add", &[&erf.name, &one.name], "", around(&x, 2.0));
    let product = draft.emit("Mul", &[&x.name, &shifted.name], "", around(&x, 2.0 * x.peak()));
    draft.emit("Mul", &[&product.name, &half.name], "", around(&x, x.peak()));
    Some(())
}

fn swish(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(small)?;
    let gate = draft.emit("Sigmoid", &[&x.name], "", around(&x, 1.0));
    draft.emit("Mul", &[&x.name, &gate.name], "", around(&x, x.peak()));
    Some(())
}

/// `x * clip(x + 3, 0, 6) / 6`.
fn hard_swish(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(small)?;
    let [zero, three, six] = [0.0, 3.0, 6.0].map(|element| draft.constant(DType::F32, &[], &[element]));
    let shifted = draft.emit("Add", &[&x.name, &three.name], "", around(&x, x.peak() + 3.0));
    let clipped = match draft.opset >= 11 {
        true => draft.emit("Clip", &[&shifted.name, &zero.name, &six.name], "", around(&x, 6.0)),
        false => draft.emit("Clip", &[&shifted.name], "min = 0.0, max = 6.0", around(&x, 6.0)),
    };
    let product = draft.emit("Mul", &[&x.name, &clipped.name], "", around(&x, 6.0 * x.peak()));
    draft.emit("Div", &[&product.name, &six.name], "", around(&x, x.peak()));
    Some(())
}

fn layer_norm(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(|value| small(value) && value.rank() > 0)?;
    let last = x.rank() - 1;
    let mut kept = around(&x, x.peak());
    kept.shape[last] = 1;
    let mean_of = |draft: &mut Draft, value: &Value, like: Value| match draft.opset >= 18 {
        true => {
            let axes = draft.int64s(&[-1]);
            draft.emit("ReduceMean", &[&value.name, &axes.name], "", like)
        }
        false => draft.emit("ReduceMean", &[&value.name], "axes = [-1]", like),
    };
    let (two, epsilon) = (draft.constant(DType::F32, &[], &[2.0]), draft.constant(DType::F32, &[], &[0.01]));
    let mean = mean_of(draft, &x, kept.clone());
    let centred = draft.emit("Sub", &[&x.name, &mean.name], "", around(&x, 2.0 * x.peak()));
    let squares = draft.emit("Pow", &[&centred.name, &two.name], "", around(&x, 4.0 * x.peak().powi(2)));
    let variance = mean_of(draft, &squares, Value { low: -1.0, high: squares.high, ..kept.clone() });
    let shifted = draft.emit("Add", &[&variance.name, &epsilon.name], "", variance.clone());
    let root = draft.emit("Sqrt", &[&shifted.name], "", Value { low: 0.0, high: 2.0 * x.peak() + 1.0, ..kept });
    let normal = draft.emit("Div", &[&centred.name, &root.name], "", around(&x, 20.0 * x.peak() + 1.0));
    let scale = draft.floats(&x.shape[last..], 0.5, 1.5);
    let shift = draft.floats(&x.shape[last..], -1.0, 1.0);
    let scaled = draft.emit("Mul", &[&normal.name, &scale.name], "", around(&x, 1.5 * normal.peak()));
    draft.emit("Add", &[&scaled.name, &shift.name], "", around(&x, scaled.peak() + 1.0));
    Some(())
}

/// A Transpose and its inverse, with something between them.
fn there_and_back(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.rank() >= 3)?;
    let count = x.rank() as i64;
    let turned: Vec<i64> = (0..count).map(|axis| (axis + 1) % count).collect();
    let back: Vec<i64> = (0..count).map(|axis| (axis + count - 1) % count).collect();
    let shape = turned.iter().map(|&axis| x.shape[axis as usize]).collect();
    let mut between = draft.emit(op, &[&x.name], &format!("perm = {}", list(&turned)), Value { shape, ..x.clone() });
    if draft.chance(50) {
        between = draft.emit("Neg", &[&between.name], "", Value { low: -x.high, high: -x.low, ..between.clone() });
    }
    let like = Value { shape: x.shape.clone(), ..between.clone() };
    draft.emit(op, &[&between.name], &format!("perm = {}", list(&back)), like);
    Some(())
}

/// Arithmetic that changes nothing: `+ 0`, `* 1`, `/ 1`, `- 0`, a power of 1.
fn nothing(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let (op, element) = draft.one_of(&[("Add", 0.0), ("Mul", 1.0), ("Div", 1.0), ("Sub", 0.0), ("Pow", 1.0)]);
    let shape: Vec<i64> = vec![1; draft.below(x.rank() + 1)];
    let unit = draft.constant(DType::F32, &shape, &[element]);
    draft.emit(op, &[&x.name, &unit.name], "", Value { is_exact: false, ..x.clone() });
    Some(())
}

/// The same operator twice on the same value.
fn twice(draft: &mut Draft, _: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let op = draft.one_of(&["Tanh", "Sigmoid"]);
    let first = draft.emit(op, &[&x.name], "", around(&x, 1.0));
    let second = draft.emit(op, &[&x.name], "", around(&x, 1.0));
    draft.emit("Sub", &[&first.name, &second.name], "", around(&x, 2.0));
    Some(())
}

fn not_where(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.is_exact)?;
    let zero = draft.constant(DType::F32, &[], &[0.0]);
    let truth = Value { dtype: DType::Bool, low: 0.0, high: 1.0, ..x.clone() };
    let greater = draft.emit("Greater", &[&x.name, &zero.name], "", truth.clone());
    let not = draft.emit("Not", &[&greater.name], "", truth);
    let peak = x.peak();
    draft.emit(op, &[&not.name, &x.name, &zero.name], "", Value { low: -peak, high: peak, ..x.clone() });
    Some(())
}
