//! The comparison for a person at a terminal.

use onnx_shrink::check::{CheckReport, GateResult, Outcome, Rule};
use onnx_shrink::layers::LayersReport;
use onnx_shrink::pass::counted;
use onnx_shrink::report::words;
use onnx_shrink::shrink::Status;

use super::style;
use crate::cli::drift_table;

/// The drift of every output and of so many layers, then the gates beyond it, then the verdict.
pub(super) fn render(report: &CheckReport, most_layers: usize) -> String {
    let validation = &report.validation;
    let mut text = String::new();
    if let Some(drift) = &validation.drift {
        text += &drift_table::render(drift);
        text += &drift_table::intervals(drift);
        text += &drift_table::setting(drift, validation.data.as_deref().unwrap_or("no data"));
    }
    if let Some(layers) = &report.layers {
        text += &layers_table(layers, most_layers);
    }
    text += &format!(
        "{} -> {} bytes, {:.2} x smaller\n",
        words::grouped(report.reference_file.total_bytes()),
        words::grouped(report.candidate_file.total_bytes()),
        report.ratio
    );
    text += &drift_table::failures(&validation.failures);
    for gate in report.gates.iter().filter(|gate| gate.rule != Rule::Drift) {
        text += &line(gate);
    }
    text += &match validation.status {
        Status::Passed => format!("within the gate: {}\n", validation.gates.join(", ")),
        Status::Identical => "identical, byte for byte\n".to_owned(),
        _ => String::new(),
    };
    if report.baseline_updated {
        text += "the candidate is the baseline now\n";
    }
    text
}

/// The layers that add most.
fn layers_table(report: &LayersReport, most: usize) -> String {
    let mut table = style::table(&["layer", "operator", "value", "added", "passed on", "drift", ""], 3);
    for layer in report.layers.iter().filter(|layer| layer.snr_db.is_some()).take(most) {
        table.add_row([
            style::shortened(&layer.node),
            layer.op.clone(),
            style::shortened(&layer.value),
            words::decibels(layer.born_db),
            words::decibels(layer.passed_on_db),
            words::decibels(layer.snr_db),
            if layer.is_born { "born here" } else { "passed on" }.to_owned(),
        ]);
    }
    let found = format!(
        "compared {} layers on {}: {} values by name, {} by what lies around them\n",
        report.values,
        counted(report.samples, "sample"),
        report.by_name,
        report.by_alignment
    );
    if table.is_empty() { format!("no drift in any layer\n{found}") } else { style::lines(&table) + &found }
}

fn line(gate: &GateResult) -> String {
    match gate.outcome {
        Outcome::Failed => format!("failed: {}: {}\n", gate.title(), gate.message()),
        Outcome::Skipped => format!("{}: {}\n", gate.title(), gate.found),
        _ => format!("holds: {}: {}\n", gate.title(), gate.found),
    }
}
