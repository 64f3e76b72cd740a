//! JUnit XML, which every CI server shows: one test case for each gate.
//!
//! There is no one schema; this keeps to what Jenkins, GitLab and Surefire have in common: `testsuites` > `testsuite`
//! with counts > `testcase` with at most one of `failure`, `error`, `skipped`.

use onnx_shrink::check::{CheckReport, GateResult, Outcome};

/// The report as one test suite.
pub(super) fn render(report: &CheckReport) -> String {
    let count = |outcome| report.gates.iter().filter(|gate| gate.outcome == outcome).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        report.gates.len(),
        count(Outcome::Failed),
        count(Outcome::Unknown)
    );
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text += &format!("<testsuites name=\"onnx-shrink check\" {counts}>\n");
    let name = escape(&report.candidate);
    text += &format!("  <testsuite name=\"{name}\" {counts} skipped=\"{}\">\n", count(Outcome::Skipped));
    for gate in &report.gates {
        text += &case(gate, &name);
    }
    text += "  </testsuite>\n</testsuites>\n";
    text
}

fn case(gate: &GateResult, class: &str) -> String {
    let (title, message) = (escape(&format!("{}: {}", gate.rule.id(), gate.title())), escape(&gate.message()));
    let open = format!("    <testcase name=\"{title}\" classname=\"{class}\"");
    match gate.outcome {
        Outcome::Passed => format!("{open}/>\n"),
        Outcome::Skipped => format!("{open}><skipped message=\"{message}\"/></testcase>\n"),
        outcome => {
            let element = if outcome == Outcome::Failed { "failure" } else { "error" };
            let kind = gate.rule.id();
            format!("{open}><{element} type=\"{kind}\" message=\"{message}\">{message}</{element}></testcase>\n")
        }
    }
}

/// Text for an element or an attribute. Characters that XML 1.0 has no way to write become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&apos;",
            '\n' => escaped += "&#10;",
            '\t' => escaped += "&#9;",
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_cannot_break_out() {
        assert_eq!(escape("a<b>\"'&\u{1}\n"), "a&lt;b&gt;&quot;&apos;&amp;\u{fffd}&#10;");
    }
}
