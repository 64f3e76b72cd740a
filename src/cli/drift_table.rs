//! Drift as a table.

use onnx_shrink::report::words;
use onnx_shrink::validate::{DriftReport, Failure, OutputDrift};

use super::style;

/// One line for each output, and the accuracy where there are labels.
pub(super) fn render(drift: &DriftReport) -> String {
    let mut table = style::table(&["output", "drift", "noise floor", "max abs", "cosine", "top-1"], 1);
    for (index, output) in drift.outputs.iter().enumerate() {
        let noise = drift.noise.as_ref().and_then(|noise| noise.get(index));
        table.add_row([
            style::shortened(&output.name),
            words::drift(output),
            words::figure(noise, words::drift),
            words::figure(output.max_abs, |value| format!("{value:.3e}")),
            words::figure(output.cosine, |value| format!("{value:.6}")),
            words::figure(output.top1, words::percent),
        ]);
    }
    let mut text = style::lines(&table);
    if let Some(accuracy) = &drift.accuracy {
        let (low, high) = accuracy.interval95;
        text += &format!(
            "accuracy {:.2} % -> {:.2} % on {} labels (95 % interval {:.2} .. {:.2} %)\n",
            100.0 * accuracy.before,
            100.0 * accuracy.after,
            accuracy.samples,
            100.0 * low,
            100.0 * high
        );
    }
    text
}

/// How far the drift of other data like this may be from what was measured; nothing where the samples do not tell.
pub(super) fn intervals(drift: &DriftReport) -> String {
    let line = |output: &OutputDrift| {
        let (low, high) = output.snr_interval95_db?;
        let top1 = output
            .top1_interval95
            .map(|(low, high)| format!(", top-1 {} .. {}", words::percent(low), words::percent(high)));
        let (name, top1) = (style::shortened(&output.name), top1.unwrap_or_default());
        Some(format!("95 % interval of {name}: {low:.1} .. {high:.1} dB{top1}\n"))
    };
    drift.outputs.iter().filter_map(line).collect()
}

/// Which runtime ran the models on how many samples.
pub(super) fn setting(drift: &DriftReport, data: &str) -> String {
    let (before, after) = (&drift.backend_reference, &drift.backend_candidate);
    let backend = if before == after { before.clone() } else { format!("{before} and {after}") };
    format!("compared in {backend} on {data}\n")
}

/// The gates that do not hold.
pub(super) fn failures(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(|failure| {
            let place = failure.output.as_ref().map(|output| format!(" `{output}`:")).unwrap_or_default();
            format!("failed:{place} {}, found {} (gate {})\n", failure.expected, failure.found, failure.gate)
        })
        .collect()
}
