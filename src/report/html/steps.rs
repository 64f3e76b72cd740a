//! What each pass did, what it left alone and why.

use super::{Report, code, escaped, table};
use crate::pass::RemarkKind;
use crate::pass::report::{RemarkReport, StepReport};
use crate::report::words;

/// Longer lists are folded, and longer ones than the second are cut.
const MOST_OPEN: usize = 5;
const MOST_LISTED: usize = 200;

pub(super) fn render(report: &Report) -> String {
    let steps = &report.run.steps;
    let mut text = String::from("<h2>What each pass did</h2>\n");
    if steps.is_empty() {
        return text + "<p>No pass ran.</p>\n";
    }
    let (busy, idle): (Vec<&StepReport>, Vec<&StepReport>) = steps.iter().partition(|step| step.is_worth_telling());
    let count = |step: &StepReport, kind| step.remarks.iter().filter(|remark| remark.kind == kind).count().to_string();
    let rows: Vec<Vec<String>> = busy
        .iter()
        .map(|step| {
            vec![
                code(&step.step),
                if step.changed { step.effect.to_string() } else { "nothing done".to_owned() },
                words::difference(step.before.nodes, step.after.nodes),
                words::difference(step.before.constant_bytes, step.after.constant_bytes),
                count(step, RemarkKind::Applied),
                count(step, RemarkKind::Skipped),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text += &table(&["pass", "effect", "operators", "bytes of constants", "done", "left alone"], 2, &rows);
    }
    let mut names: Vec<&str> = idle.iter().filter(|step| step.round == 1).map(|step| step.step.as_str()).collect();
    names.dedup();
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().map(code).collect();
        text += &format!("<p class=\"muted\">Nothing to do for {}.</p>\n", names.join(", "));
    }
    for step in busy.iter().filter(|step| !step.remarks.is_empty()) {
        text += &format!("<h3>{}</h3>\n", code(&step.step));
        for (kind, title) in
            [(RemarkKind::Note, ""), (RemarkKind::Applied, "Done"), (RemarkKind::Skipped, "Left alone")]
        {
            let remarks: Vec<&RemarkReport> = step.remarks.iter().filter(|remark| remark.kind == kind).collect();
            text += &list(title, &remarks);
        }
    }
    text
}

fn list(title: &str, remarks: &[&RemarkReport]) -> String {
    if remarks.is_empty() {
        return String::new();
    }
    let mut items = String::from("<ul>\n");
    for remark in remarks.iter().take(MOST_LISTED) {
        let at = remark.at.as_ref().map(|at| format!("{}: ", code(at))).unwrap_or_default();
        items += &format!("<li>{at}{}</li>\n", escaped(&remark.text));
    }
    if remarks.len() > MOST_LISTED {
        items += &format!("<li>and {} more; --json prints all of them</li>\n", remarks.len() - MOST_LISTED);
    }
    items += "</ul>\n";
    match (title, remarks.len() > MOST_OPEN) {
        ("", _) => items,
        (title, true) => format!("<details><summary>{title}: {}</summary>\n{items}</details>\n", remarks.len()),
        (title, false) => format!("<p class=\"muted\">{title}:</p>\n{items}"),
    }
}
