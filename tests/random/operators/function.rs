//! Calls of functions that the model defines.

use super::{Draw, add_any, all};
use crate::draft::{Draft, Function, Value};

pub(super) const ENTRIES: &[(&str, i64, Draw)] = &[("local", 12, call)];

fn call(draft: &mut Draft, _: &str) -> Option<()> {
    if draft.is_function {
        return None;
    }
    if draft.chance(50)
        && let Some(()) = call_again(draft)
    {
        return Some(());
    }
    let count = 1 + draft.below(2);
    let arguments: Vec<Value> =
        (0..count).map(|_| draft.pick(|value| value.is_float() && value.len() <= 256)).collect::<Option<_>>()?;
    let function = define(draft, &arguments)?;
    let names: Vec<&str> = arguments.iter().map(|value| value.name.as_str()).collect();
    draft.emit(&format!("local.{}", function.name), &names, "", function.result.clone());
    draft.functions.push(function);
    Some(())
}

/// Calls a function once more, with values that it can take.
fn call_again(draft: &mut Draft) -> Option<()> {
    let function = draft.functions.last()?.clone();
    let mut arguments = Vec::new();
    for formal in &function.formals {
        let fits = |value: &Value| {
            value.is_float()
                && value.shape == formal.shape
                && value.low >= formal.low
                && value.high <= formal.high
                && (value.is_exact || !formal.is_exact)
        };
        arguments.push(draft.pick(fits)?.name);
    }
    let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
    draft.emit(&format!("local.{}", function.name), &names, "", function.result);
    Some(())
}

/// Draws a function for arguments like these. Names inside are those of other graphs too, which is allowed.
fn define(draft: &mut Draft, arguments: &[Value]) -> Option<Function> {
    let rng = rand::SeedableRng::seed_from_u64(draft.below(usize::MAX) as u64);
    let mut body = Draft::new(draft.opset, rng);
    body.is_function = true;
    body.is_quantized = draft.is_quantized;
    let formals: Vec<Value> =
        arguments.iter().map(|argument| Value { name: body.fresh("a"), ..argument.clone() }).collect();
    body.values.extend(formals.iter().cloned());
    let entries = all();
    for _ in 0..2 + body.below(6) {
        add_any(&mut body, &entries);
    }
    let written: Vec<String> = body.lines.iter().flat_map(|line| line.writes.iter().cloned()).collect();
    let result = body.pick(|value| value.is_float() && value.len() <= 512 && written.contains(&value.name))?;
    body.outputs.push(result.clone());
    body.trim();
    let name = draft.fresh("f");
    let text = body.function_text(&name, &formals);
    Some(Function { name, formals, result, text })
}
