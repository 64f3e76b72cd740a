//! How far the outputs moved, and the gates they were held to.

use super::{NAME_WIDTH, Report, code, escaped, table};
use crate::report::words;
use crate::shrink::Status;

pub(super) fn render(report: &Report) -> String {
    let validation = &report.run.validation;
    let mut text = String::from("<h2>Drift of the outputs</h2>\n");
    let Some(drift) = &validation.drift else {
        let reason = match validation.status {
            Status::Identical => "The result is the input, byte for byte: there is nothing to compare.".to_owned(),
            _ => format!("Not compared: {}.", validation.reason.as_deref().unwrap_or("no reason is known")),
        };
        return text + &format!("<p>{}</p>\n", escaped(&reason));
    };
    let mut rows = Vec::new();
    for (index, output) in drift.outputs.iter().enumerate() {
        let noise = drift.noise.as_ref().and_then(|noise| noise.get(index));
        rows.push(vec![
            code(&words::shortened(&output.name, NAME_WIDTH)),
            words::drift(output),
            words::figure(noise, words::drift),
            words::figure(output.max_abs, |value| format!("{value:.3e}")),
            words::figure(output.rel_l2, |value| format!("{value:.3e}")),
            words::figure(output.cosine, |value| format!("{value:.6}")),
            words::figure(output.top1, words::percent),
            words::figure(output.top5, words::percent),
        ]);
    }
    let header = ["output", "drift (SNR)", "noise floor", "max error", "relative L2", "cosine", "top-1", "top-5"];
    text += &table(&header, 1, &rows);
    let (one, other) = (&drift.backend_reference, &drift.backend_candidate);
    let backend = if one == other { one.clone() } else { format!("{one} and {other}") };
    let data = validation.data.as_deref().unwrap_or("no data");
    text += &format!(
        "<p class=\"muted\">Compared in {} on {}. More decibels are better: 20 dB more is an error a tenth as large. The \
         noise floor is how far the original itself moves when its inputs change in the last bit.</p>\n",
        escaped(&backend),
        escaped(data)
    );
    if let Some(accuracy) = &drift.accuracy {
        let (low, high) = accuracy.interval95;
        text += &format!(
            "<p>Accuracy {:.2} % before, {:.2} % after, on {} labels (95 % interval {:.2} to {:.2} %).</p>\n",
            100.0 * accuracy.before,
            100.0 * accuracy.after,
            accuracy.samples,
            100.0 * low,
            100.0 * high
        );
    }
    text + &gates(report)
}

fn gates(report: &Report) -> String {
    let validation = &report.run.validation;
    let mut rows = Vec::new();
    for gate in &validation.gates {
        let broken: Vec<_> = validation.failures.iter().filter(|failure| failure.gate == *gate).collect();
        if broken.is_empty() {
            rows.push(vec![code(gate), "<span class=\"good-text\">holds</span>".to_owned(), String::new()]);
        }
    }
    for failure in &validation.failures {
        let place = failure.output.as_ref().map(|output| format!("{}: ", code(output))).unwrap_or_default();
        rows.push(vec![
            code(&failure.gate),
            "<span class=\"bad-text\">failed</span>".to_owned(),
            format!("{place}{} found, {} asked for", escaped(&failure.found), escaped(&failure.expected)),
        ]);
    }
    let mut text = if rows.is_empty() { String::new() } else { table(&["gate", "", ""], 3, &rows) };
    if let Some(bisection) = &report.run.bisection {
        let at = bisection.at.as_ref().map(|at| format!(", at {}", escaped(at))).unwrap_or_default();
        text += &format!("<p>A gate breaks first in step {}, {}{at}.</p>\n", bisection.number, code(&bisection.step));
    }
    text
}
