//! Operators of one input, element by element.

use onnx_shrink::ir::DType;

use super::{Draw, MAX_PEAK};
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[
    ("Relu", 7, keeping),
    ("Neg", 7, keeping),
    ("Abs", 7, keeping),
    ("Identity", 7, keeping),
    ("Dropout", 7, dropout),
    ("Sigmoid", 7, smooth),
    ("Tanh", 7, smooth),
    ("Exp", 7, smooth),
    ("Log", 7, smooth),
    ("Sqrt", 7, smooth),
    ("Reciprocal", 7, smooth),
    ("Sin", 7, smooth),
    ("Cos", 7, smooth),
    ("Atan", 7, smooth),
    ("Erf", 9, smooth),
    ("Softplus", 7, smooth),
    ("Softsign", 7, smooth),
    ("LeakyRelu", 7, smooth),
    ("Elu", 7, smooth),
    ("Selu", 7, smooth),
    ("HardSigmoid", 7, smooth),
    ("HardSwish", 14, smooth),
    ("Mish", 18, smooth),
    ("Gelu", 20, smooth),
    ("Floor", 7, stepping),
    ("Ceil", 7, stepping),
    ("Round", 11, stepping),
    ("Sign", 9, stepping),
    ("ThresholdedRelu", 10, stepping),
    ("Clip", 7, clip),
    ("Cast", 9, cast),
];

/// Operators that do not round.
fn keeping(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| op == "Identity" || value.is_float())?;
    let (low, high) = match op {
        "Relu" => (x.low.max(0.0), x.high.max(0.0)),
        "Neg" => (-x.high, -x.low),
        "Abs" => (0.0, x.peak()),
        _ => (x.low, x.high),
    };
    draft.emit(op, &[&x.name], "", Value { low, high, ..x.clone() });
    Some(())
}

fn dropout(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    if draft.opset >= 12 && draft.chance(50) {
        let ratio = draft.constant(DType::F32, &[], &[0.25]);
        draft.emit(op, &[&x.name, &ratio.name], "", x.clone());
    } else {
        draft.emit(op, &[&x.name], "", x.clone());
    }
    Some(())
}

/// Operators that round, where their results are in bounds.
fn smooth(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && smooth_bounds(op, value).is_some())?;
    let (low, high) = smooth_bounds(op, &x)?;
    let attributes = match op {
        "LeakyRelu" if draft.chance(50) => "alpha = 0.3",
        "Elu" if draft.chance(50) => "alpha = 0.5",
        "HardSigmoid" if draft.chance(70) => "alpha = 0.16666667, beta = 0.5",
        _ => "",
    };
    draft.emit(op, &[&x.name], attributes, Value { low, high, is_exact: false, ..x.clone() });
    Some(())
}

fn smooth_bounds(op: &str, x: &Value) -> Option<(f64, f64)> {
    let within = |holds: bool, low, high| holds.then_some((low, high));
    match op {
        "Sigmoid" | "HardSigmoid" => Some((0.0, 1.0)),
        "Tanh" | "Erf" | "Softsign" => Some((-1.0, 1.0)),
        "Sin" | "Cos" => within(x.peak() < 30.0, -1.0, 1.0),
        "Atan" => Some((-1.6, 1.6)),
        "Exp" => within(x.high < 4.0 && x.low > -20.0, 0.99 * x.low.exp(), 1.01 * x.high.exp()),
        "Log" => within(x.low > 0.05, x.low.ln() - 0.01, x.high.ln() + 0.01),
        "Sqrt" => within(x.low > 0.05, 0.99 * x.low.sqrt(), 1.01 * x.high.sqrt()),
        "Reciprocal" => within(x.low > 0.1, 0.99 / x.high, 1.01 / x.low),
        "Softplus" => within(x.peak() < 50.0, 0.0, x.high.max(0.0) + 1.0),
        "Elu" | "LeakyRelu" | "HardSwish" | "Mish" | "Gelu" => Some((x.low.min(-1.0), x.high.max(1.0))),
        "Selu" => within(x.peak() < MAX_PEAK / 2.0, -2.0, 1.1 * x.high.max(1.0)),
        _ => None,
    }
}

/// Operators with steps.
fn stepping(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(|value| value.is_float() && value.is_exact && value.peak() < MAX_PEAK / 2.0)?;
    let attributes = if op == "ThresholdedRelu" { "alpha = 0.25" } else { "" };
    draft.emit(op, &[&x.name], attributes, Value { low: x.low - 1.0, high: x.high + 1.0, ..x.clone() });
    Some(())
}

fn clip(draft: &mut Draft, op: &str) -> Option<()> {
    let x = draft.pick(Value::is_float)?;
    let low = draft.one_of(&[-1.0, -0.5, 0.0]);
    let high = draft.one_of(&[0.5, 1.0, 6.0]);
    let (has_low, has_high) = (draft.chance(80), draft.chance(80));
    let bounded = Value {
        low: if has_low { x.low.clamp(low, high) } else { x.low.min(high) },
        high: if has_high { x.high.clamp(low, high) } else { x.high.max(low) },
        ..x.clone()
    };
    if draft.opset < 11 {
        let attributes = [has_low.then(|| format!("min = {low:.1}")), has_high.then(|| format!("max = {high:.1}"))];
        let attributes = attributes.into_iter().flatten().collect::<Vec<_>>().join(", ");
        draft.emit(op, &[&x.name], &attributes, bounded);
        return Some(());
    }
    let min = if has_low { draft.constant(DType::F32, &[], &[low]).name } else { String::new() };
    let max = if has_high { draft.constant(DType::F32, &[], &[high]).name } else { String::new() };
    draft.emit(op, &[&x.name, &min, &max], "", bounded);
    Some(())
}

fn cast(draft: &mut Draft, op: &str) -> Option<()> {
    let to = draft.one_of(&[DType::F32, DType::I64, DType::I32, DType::Bool, DType::F32]);
    // Towards whole numbers is a step.
    let x = draft.pick(|value| value.is_exact || (value.is_float() && to == DType::F32))?;
    let (low, high) = if to == DType::Bool { (0.0, 1.0) } else { (x.low, x.high) };
    let (low, high) = if to == DType::F32 { (low, high) } else { (low.trunc(), high.trunc()) };
    draft.emit(op, &[&x.name], &format!("to = {}", to.to_onnx()), Value { dtype: to, low, high, ..x.clone() });
    Some(())
}
