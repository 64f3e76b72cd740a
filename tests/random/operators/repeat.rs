//! Loop and Scan, whose bodies read values around them.

use std::collections::BTreeSet;

use onnx_shrink::ir::DType;

use super::control::MAX_DEPTH;
use super::{Draw, add_any, all};
use crate::draft::{Draft, Value, type_text};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[("Loop", 11, repeat), ("Scan", 9, scan)];

/// Steps of a Loop.
const MAX_TRIPS: usize = 3;

/// Steps of a Scan.
const MAX_LENGTH: i64 = 6;

/// What a step makes of a carried value stays between these, or is the value itself.
const CARRIED: (f64, f64) = (-1.0, 1.0);

/// A value that a body carries from step to step, as each step sees it.
fn carried(draft: &mut Draft, initial: &Value) -> Value {
    let (low, high) = (initial.low.min(CARRIED.0), initial.high.max(CARRIED.1));
    Value { name: draft.fresh("c"), low, high, is_exact: false, ..initial.clone() }
}

/// The next value of a carried one, and what else a step yields: drawn inside of the body.
fn step(draft: &mut Draft, carried: &Value, formals: &[Value]) -> (Value, Value) {
    draft.values.extend(formals.iter().cloned());
    let entries = all();
    for _ in 0..1 + draft.below(5) {
        add_any(draft, &entries);
    }
    let source =
        draft.pick(|value| value.is_float() && value.shape == carried.shape).unwrap_or_else(|| carried.clone());
    let bounded = Value { low: CARRIED.0, high: CARRIED.1, is_exact: false, ..source.clone() };
    let next = match draft.chance(75) {
        true => draft.emit("Tanh", &[&source.name], "", bounded),
        false => draft.emit("Identity", &[&carried.name], "", carried.clone()),
    };
    let each = draft.pick(|value| value.is_float() && value.len() <= 64).unwrap_or_else(|| next.clone());
    let flipped = Value { low: -each.high, high: -each.low, ..each.clone() };
    let each = draft.emit("Neg", &[&each.name], "", flipped);
    (next, each)
}

/// What the body reads of the graphs around it.
fn read_outside(reads: BTreeSet<String>, formals: &[Value]) -> BTreeSet<String> {
    reads.into_iter().filter(|name| !formals.iter().any(|formal| formal.name == *name)).collect()
}

fn declared(values: &[&Value]) -> String {
    values.iter().map(|value| format!("{} {}", type_text(value), value.name)).collect::<Vec<_>>().join(", ")
}

fn repeat(draft: &mut Draft, op: &str) -> Option<()> {
    if draft.is_quantized || draft.depth() >= MAX_DEPTH {
        return None;
    }
    let initial = draft.pick(|value| value.is_float() && value.len() <= 64)?;
    let trips = 1 + draft.below(MAX_TRIPS) as i64;
    let trips_value = draft.constant(DType::I64, &[], &[trips as f64]);
    let go = if draft.chance(50) { draft.constant(DType::Bool, &[], &[1.0]).name } else { String::new() };
    let carried = carried(draft, &initial);
    let whole = Value { dtype: DType::I64, shape: Vec::new(), low: 0.0, high: trips as f64, ..initial.clone() };
    let number = Value { name: draft.fresh("i"), is_exact: true, ..whole.clone() };
    let goes_on = Value { name: draft.fresh("c"), dtype: DType::Bool, low: 1.0, high: 1.0, ..number.clone() };
    let formals = [number, goes_on, carried.clone()];
    let ((next, each, condition), lines, reads) = draft.inside(|draft| {
        let (next, each) = step(draft, &carried, &formals);
        let [number, goes_on, _] = &formals;
        let condition = if draft.chance(50) {
            draft.emit("Identity", &[&goes_on.name], "", goes_on.clone())
        } else {
            let limit = draft.constant(DType::I64, &[], &[trips as f64]);
            draft.emit("Less", &[&number.name, &limit.name], "", goes_on.clone())
        };
        (next, each, condition)
    });
    let [number, goes_on, carried] = &formals;
    let name = draft.fresh("body");
    let inputs = declared(&[number, goes_on, carried]);
    let outputs = declared(&[&condition, &next, &each]);
    let body = format!("body = {name} ({inputs}) => ({outputs}) {{\n{lines}}}");
    let mut reads = read_outside(reads, &formals);
    reads.extend([trips_value.name.clone(), go.clone(), initial.name.clone()].into_iter().filter(|n| !n.is_empty()));
    let last = Value { name: String::new(), ..carried.clone() };
    let mut shape = vec![trips];
    shape.extend(&each.shape);
    let all_of_them = Value { shape, ..each };
    draft.emit_reading(op, &[&trips_value.name, &go, &initial.name], &body, vec![last, all_of_them], reads);
    Some(())
}

fn scan(draft: &mut Draft, op: &str) -> Option<()> {
    if draft.is_quantized || draft.depth() >= MAX_DEPTH {
        return None;
    }
    let initial = draft.pick(|value| value.is_float() && value.len() <= 64)?;
    let items =
        draft.pick(|value| value.is_float() && value.rank() > 0 && (1..=MAX_LENGTH).contains(&value.shape[0]))?;
    let carried = carried(draft, &initial);
    let item = Value { name: draft.fresh("e"), shape: items.shape[1..].to_vec(), ..items.clone() };
    let formals = [carried.clone(), item];
    let ((next, each), lines, reads) = draft.inside(|draft| step(draft, &carried, &formals));
    let name = draft.fresh("body");
    let inputs = declared(&[&formals[0], &formals[1]]);
    let direction = draft.one_of(&["", ", scan_input_directions = [1]", ", scan_output_directions = [1]"]);
    let body = format!(
        "num_scan_inputs = 1{direction}, body = {name} ({inputs}) => ({}) {{\n{lines}}}",
        declared(&[&next, &each])
    );
    let mut reads = read_outside(reads, &formals);
    reads.extend([initial.name.clone(), items.name.clone()]);
    let mut shape = vec![items.shape[0]];
    shape.extend(&each.shape);
    let all_of_them = Value { shape, ..each };
    draft.emit_reading(op, &[&initial.name, &items.name], &body, vec![carried, all_of_them], reads);
    Some(())
}
