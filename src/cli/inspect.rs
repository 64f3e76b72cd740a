//! `onnx-shrink inspect MODEL`.

use std::fmt::Write;

use onnx_shrink::Result;
use onnx_shrink::inspect::{Inspection, inspect};
use onnx_shrink::report::words;

use super::args::InspectArgs;
use super::{style, to_stdout, to_stdout_json};

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let inspection = inspect(&args.model)?;
    if args.json {
        return to_stdout_json(&inspection);
    }
    to_stdout(render(&inspection, args.top).as_bytes())
}

fn render(model: &Inspection, top: usize) -> String {
    let mut text = String::new();
    for (label, value) in facts(model) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:12}{value}");
    }
    let share = |bytes: u64| words::percent(bytes as f64 / model.constant_bytes.max(1) as f64);

    let mut types = style::table(&["type", "tensors", "elements", "bytes", "share"], 1);
    for row in &model.types {
        types.add_row([
            row.dtype.clone(),
            words::grouped(row.tensors),
            words::grouped(row.elements),
            words::grouped(row.bytes),
            share(row.bytes),
        ]);
    }
    let mut operators = style::table(&["operator", "count", "bytes of constants", "share"], 1);
    for row in model.operators.iter().take(top) {
        operators.add_row([
            row.operator.clone(),
            words::grouped(row.nodes),
            words::grouped(row.constant_bytes),
            share(row.constant_bytes),
        ]);
    }
    let mut tensors = style::table(&["tensor", "type", "read by", "bytes", "share", "zeros"], 3);
    for row in model.tensors.iter().take(top) {
        tensors.add_row([
            style::shortened(&row.name),
            row.ty.clone(),
            style::shortened(row.reader.as_deref().unwrap_or("nothing")),
            words::grouped(row.bytes),
            share(row.bytes),
            words::figure(row.sparsity, words::percent),
        ]);
    }
    for (table, rows, all) in [
        (types, model.types.len(), model.types.len()),
        (operators, top, model.operators.len()),
        (tensors, top, model.tensors.len()),
    ] {
        if all == 0 || rows == 0 {
            continue;
        }
        text.push('\n');
        text += &style::lines(&table);
        if rows < all {
            let _ = writeln!(text, "... and {} more (--top {all} shows all)", all - rows);
        }
    }
    text
}

fn facts(model: &Inspection) -> Vec<(&'static str, String)> {
    let side = match model.side_bytes {
        0 => String::new(),
        bytes => format!(" + {} in side files", words::grouped(bytes)),
    };
    let opsets: Vec<String> = model.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    let mut facts = vec![
        ("file", model.path.clone()),
        ("bytes", words::grouped(model.bytes) + &side),
        ("IR version", model.ir_version.to_string()),
        ("opsets", opsets.join(", ")),
        ("producer", if model.producer.is_empty() { "-".to_owned() } else { model.producer.clone() }),
        ("operators", words::grouped(model.nodes)),
        (
            "constants",
            format!("{} elements, {} bytes", words::grouped(model.elements), words::grouped(model.constant_bytes)),
        ),
        ("zeros", format!("{} of weights", words::percent(model.sparsity))),
    ];
    facts.extend(model.inputs.iter().map(|input| ("input", input.clone())));
    facts.extend(model.outputs.iter().map(|output| ("output", output.clone())));
    facts
        .extend(model.metadata.iter().map(|(key, value)| ("metadata", format!("{key} = {}", style::shortened(value)))));
    facts
}
