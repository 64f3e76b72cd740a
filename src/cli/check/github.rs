//! What GitHub Actions shows: annotations, which are lines on standard output, and a step summary in Markdown.

use std::fs::OpenOptions;
use std::io::Write;

use onnx_shrink::check::{CheckReport, Outcome};
use onnx_shrink::report::words;
use onnx_shrink::{Error, Result};

/// The variable that names the file of the summary.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// One annotation for each gate that does not hold or was skipped, and for each warning.
pub(super) fn annotations(report: &CheckReport) -> String {
    let mut text = String::new();
    for gate in &report.gates {
        let level = match gate.outcome {
            Outcome::Failed | Outcome::Unknown => "error",
            Outcome::Skipped => "warning",
            Outcome::Passed => continue,
        };
        text += &annotation(level, &report.candidate, gate.rule.id(), &format!("{}: {}", gate.title(), gate.message()));
    }
    for warning in &report.warnings {
        text += &annotation("warning", &report.candidate, "onnx-shrink", warning);
    }
    text
}

/// The annotation for a comparison that could not begin.
pub(super) fn error(error: &Error) -> String {
    format!("::error title=onnx-shrink::{}\n", data(&error.to_string()))
}

fn annotation(level: &str, file: &str, rule: &str, message: &str) -> String {
    format!("::{level} file={},title=onnx-shrink {}::{}\n", property(file), property(rule), data(message))
}

/// The text of an annotation, as the runner unescapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of an annotation.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Appends the summary to the file that the runner names; outside of a runner there is none.
pub(super) fn append_summary(report: &CheckReport) -> Result<()> {
    let Some(path) = std::env::var_os(SUMMARY).filter(|path| !path.is_empty()) else { return Ok(()) };
    let path = std::path::PathBuf::from(path);
    let open = OpenOptions::new().create(true).append(true).open(&path);
    open.and_then(|mut file| file.write_all(summary(report).as_bytes()))
        .map_err(|e| Error::io("write the step summary to", &path, e))
}

/// The report in Markdown.
fn summary(report: &CheckReport) -> String {
    let mut text = format!("### {}: `{}`\n\n", verdict(report.outcome), report.candidate);
    text += &format!(
        "{} -> {} bytes, {:.2} x smaller than `{}`\n\n",
        words::grouped(report.reference_file.total_bytes()),
        words::grouped(report.candidate_file.total_bytes()),
        report.ratio,
        report.reference
    );
    text += "| gate | outcome | measured |\n|---|---|---|\n";
    for gate in &report.gates {
        text += &format!("| {} | {} | {} |\n", cell(&gate.title()), verdict(gate.outcome), cell(&gate.message()));
    }
    if let Some(drift) = &report.validation.drift {
        text += "\n| output | drift | 95 % interval | top-1 |\n|---|---|---|---|\n";
        for output in &drift.outputs {
            let snr = output.snr_db.map_or_else(|| "equal".to_owned(), |snr| format!("{snr:.1} dB"));
            let interval = output.snr_interval95_db.map(|(low, high)| format!("{low:.1} .. {high:.1} dB"));
            let top1 = output.top1.map(words::percent);
            text += &format!(
                "| {} | {snr} | {} | {} |\n",
                cell(&output.name),
                interval.unwrap_or_else(|| "-".to_owned()),
                top1.unwrap_or_else(|| "-".to_owned())
            );
        }
    }
    report.warnings.iter().for_each(|warning| text += &format!("\n> {warning}\n"));
    text.push('\n');
    text
}

fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
        Outcome::Unknown => "UNKNOWN",
    }
}

/// Text that cannot end its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_start_another_command() {
        assert_eq!(
            annotation("error", "a,b:c", "drift", "50%\n::x"),
            "::error file=a%2Cb%3Ac,title=onnx-shrink drift::50%25%0A::x\n"
        );
    }
}
