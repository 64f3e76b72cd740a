//! If, with conditions that are constant, that a pass can compute, or that depend on inputs.

use onnx_shrink::ir::DType;

use super::{Draw, add_any, all};
use crate::draft::{Draft, Value, type_text};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[("If", 11, choose_graph), ("If", 11, choose_graph)];

/// Graphs inside of graphs inside of the main graph are enough.
pub(super) const MAX_DEPTH: usize = 2;

fn choose_graph(draft: &mut Draft, op: &str) -> Option<()> {
    if draft.is_quantized || draft.depth() >= MAX_DEPTH {
        return None;
    }
    let condition = condition(draft)?;
    let result = draft.pick(|value| value.is_float() && value.len() <= 64)?;
    let (then_value, then_branch, mut reads) = branch(draft, &result);
    let (else_value, else_branch, more) = branch(draft, &result);
    reads.extend(more);
    reads.insert(condition.name.clone());
    let attributes = format!("then_branch = {then_branch}, else_branch = {else_branch}");
    let like = Value {
        low: then_value.low.min(else_value.low),
        high: then_value.high.max(else_value.high),
        is_exact: then_value.is_exact && else_value.is_exact,
        ..then_value
    };
    draft.emit_reading(op, &[&condition.name], &attributes, vec![like], reads);
    Some(())
}

fn condition(draft: &mut Draft) -> Option<Value> {
    let yes_or_no =
        Value { name: String::new(), dtype: DType::Bool, shape: Vec::new(), low: 0.0, high: 1.0, is_exact: true };
    match draft.below(3) {
        0 => {
            let element = draft.one_of(&[0.0, 1.0]);
            Some(draft.constant(DType::Bool, &[], &[element]))
        }
        1 => {
            // Known where the shape is.
            let x = draft.pick(Value::is_float)?;
            let size = Value { dtype: DType::I64, shape: Vec::new(), is_exact: true, ..x.clone() };
            let size = draft.emit("Size", &[&x.name], "", Value { low: x.len() as f64, high: x.len() as f64, ..size });
            let limit = draft.constant(DType::I64, &[], &[7.0]);
            Some(draft.emit("Greater", &[&size.name, &limit.name], "", yes_or_no))
        }
        _ => {
            let x = draft.pick(|value| value.is_float() && value.is_exact && value.len() > 0)?;
            let flat = draft.int64s(&[-1]);
            let line = Value { shape: vec![x.len()], ..x.clone() };
            let line = draft.emit("Reshape", &[&x.name, &flat.name], "", line);
            let index = draft.constant(DType::I64, &[], &[0.0]);
            let first = Value { shape: Vec::new(), ..line.clone() };
            let first = draft.emit("Gather", &[&line.name, &index.name], "axis = 0", first);
            let zero = draft.constant(DType::F32, &[], &[0.0]);
            Some(draft.emit("Greater", &[&first.name, &zero.name], "", yes_or_no))
        }
    }
}

/// A branch that yields a value of the type of `result`, from some operators of its own and values around it.
fn branch(draft: &mut Draft, result: &Value) -> (Value, String, std::collections::BTreeSet<String>) {
    let entries = all();
    let (value, lines, reads) = draft.inside(|draft| {
        for _ in 0..draft.below(5) {
            add_any(draft, &entries);
        }
        let fits = |value: &Value| value.is_float() && value.shape == result.shape;
        let source = draft.pick(fits).unwrap_or_else(|| result.clone());
        let flipped = Value { low: -source.high, high: -source.low, ..source.clone() };
        match draft.chance(50) {
            true => draft.emit("Identity", &[&source.name], "", source.clone()),
            false => draft.emit("Neg", &[&source.name], "", flipped),
        }
    });
    let name = draft.fresh("branch");
    let text = format!("{name} () => ({} {}) {{\n{lines}}}", type_text(&value), value.name);
    (value, text, reads)
}
