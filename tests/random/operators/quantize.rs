//! Quantization in the graph: pairs around values, and weights kept as integers.

use onnx_shrink::ir::DType;

use super::Draw;
use crate::draft::{Draft, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] =
    &[("QuantizeLinear", 10, pair), ("DequantizeLinear", 10, weights), ("DynamicQuantizeLinear", 11, dynamic)];

fn pair(draft: &mut Draft, op: &str) -> Option<()> {
    if !draft.is_quantized {
        return None;
    }
    let x = draft.pick(|value| value.is_float() && value.is_exact)?;
    let scale = draft.constant(DType::F32, &[], &[0.0625]);
    let zero_point = draft.constant(DType::U8, &[], &[128.0]);
    let parts = [scale.name.as_str(), zero_point.name.as_str()];
    let bytes = Value { dtype: DType::U8, low: 0.0, high: 255.0, ..x.clone() };
    let quantized = draft.emit(op, &[&x.name, parts[0], parts[1]], "", bytes);
    let like = Value { low: -8.0, high: 8.0, ..x.clone() };
    draft.emit("DequantizeLinear", &[&quantized.name, parts[0], parts[1]], "", like);
    Some(())
}

/// `MatMul(x, DequantizeLinear(constant))`.
fn weights(draft: &mut Draft, op: &str) -> Option<()> {
    if !draft.is_quantized {
        return None;
    }
    let x = draft.pick(|value| value.is_float() && value.rank() >= 2 && value.peak() < 100.0)?;
    let inner = x.shape[x.rank() - 1];
    if inner > 32 {
        return None;
    }
    let elements: Vec<f64> = (0..inner * 2).map(|_| draft.below(256) as f64 - 128.0).collect();
    let quantized = draft.constant(DType::I8, &[inner, 2], &elements);
    let scale = draft.constant(DType::F32, &[], &[0.0078125]);
    let zero_point = draft.constant(DType::I8, &[], &[0.0]);
    let names = [&quantized, &scale, &zero_point].map(|value| value.name.as_str());
    let like = Value { dtype: DType::F32, low: -1.0, high: 1.0, ..quantized.clone() };
    let restored = draft.emit(op, &names, "", like);
    let mut shape = x.shape.clone();
    shape[x.rank() - 1] = 2;
    let peak = inner as f64 * x.peak();
    let product = Value { shape, low: -peak, high: peak, is_exact: false, ..x.clone() };
    draft.emit("MatMul", &[&x.name, &restored.name], "", product);
    Some(())
}

fn dynamic(draft: &mut Draft, op: &str) -> Option<()> {
    if !draft.is_quantized {
        return None;
    }
    let x = draft.pick(|value| value.is_float() && value.is_exact && value.len() > 0)?;
    let quantized = Value { dtype: DType::U8, low: 0.0, high: 255.0, ..x.clone() };
    let scale = Value { shape: Vec::new(), low: 0.0, high: x.peak(), is_exact: false, ..x.clone() };
    let zero_point = Value { shape: Vec::new(), ..quantized.clone() };
    draft.emit_all(op, &[&x.name], "", vec![quantized, scale, zero_point]);
    Some(())
}
