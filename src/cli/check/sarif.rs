//! SARIF 2.1.0 (OASIS), which code scanning reads: one result for each gate that does not hold.

use onnx_shrink::check::{CheckReport, GateResult, Outcome, Rule};
use serde_json::{Value, json};

/// The report as one run.
pub(super) fn render(report: &CheckReport) -> Value {
    let rules: Vec<Value> = Rule::ALL.iter().map(|rule| rule_of(*rule)).collect();
    let open = report.gates.iter().filter(|gate| matches!(gate.outcome, Outcome::Failed | Outcome::Unknown));
    let results: Vec<Value> = open.map(|gate| result(gate, report)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn rule_of(rule: Rule) -> Value {
    json!({ "id": rule.id(), "shortDescription": { "text": rule.summary() } })
}

fn result(gate: &GateResult, report: &CheckReport) -> Value {
    json!({
        "ruleId": gate.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == gate.rule),
        "level": "error",
        "message": { "text": format!("{}: {}", gate.title(), gate.message()) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&report.candidate) },
            // A binary file has no lines; viewers want a region all the same.
            "region": { "startLine": 1 },
        }}],
    })
}

/// A path as a URI reference (RFC 3986): what is neither unreserved nor a slash is written as percent and two digits.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.replace('\\', "/").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    if uri.starts_with('/') { format!("file://{uri}") } else { uri }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri() {
        assert_eq!(uri("models/a b#1.onnx"), "models/a%20b%231.onnx");
        assert_eq!(uri("/tmp/m.onnx"), "file:///tmp/m.onnx");
    }
}
