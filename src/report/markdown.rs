//! The report as Markdown: tables that code hosts render.

use super::{Report, words};
use crate::pass::RemarkKind;

/// So many remarks of a kind are listed for each pass.
const MOST_REMARKS: usize = 10;

pub(super) fn render(report: &Report) -> String {
    let run = &report.run;
    let mut text = format!("# {}\n\n**{}**\n\n", plain(&report.model), plain(&report.verdict.sentence));
    text += &format!("Pipeline: {}\n\n", code(&run.pipeline));
    text += "| | before | after |\n|---|--:|--:|\n";
    let mut row = |name: &str, before: String, after: String| text += &format!("| {name} | {before} | {after} |\n");
    row("bytes", words::grouped(run.input.total_bytes()), words::grouped(run.output.total_bytes()));
    row("operators", words::grouped(run.input.census.nodes), words::grouped(run.output.census.nodes));
    row("zero weights", words::percent(run.input.sparsity), words::percent(run.output.sparsity));
    if let Some(detail) = &report.detail {
        row("SHA-256", code(&detail.input_file.sha256), code(&detail.output_file.sha256));
    }
    text += &drift(report);
    text += &layers(report);
    text += &steps(report);
    if !run.warnings.is_empty() {
        text += "\n## Warnings\n\n";
        run.warnings.iter().for_each(|warning| text += &format!("- {}\n", plain(warning)));
    }
    if let Some(scan) = &run.scan {
        text += &format!("\n## What the file still tells\n\n{}\n", plain(&words::scanned(scan)));
        scan.traces.iter().for_each(|trace| text += &format!("\n- {}", plain(&trace.to_string())));
        text += if scan.traces.is_empty() { "" } else { "\n" };
    }
    text += "\n## How it was made\n\n";
    if !report.command.is_empty() {
        text += &format!("{}\n\n", code(&report.command));
    }
    let seconds: Vec<String> =
        run.steps.iter().map(|step| format!("{} {:.2} s", code(&step.step), step.seconds)).collect();
    text += &format!("{}, seed {}.\n\n", run.tool, run.seed);
    text + &format!("Times: {:.2} s in all; {}\n", run.seconds, seconds.join(", "))
}

fn drift(report: &Report) -> String {
    let validation = &report.run.validation;
    let mut text = String::from("\n## Drift\n\n");
    match &validation.drift {
        None => text += &format!("Not compared: {}\n", plain(validation.reason.as_deref().unwrap_or("identical"))),
        Some(drift) => {
            text += "| output | drift | noise floor | max abs | cosine | top-1 |\n|---|--:|--:|--:|--:|--:|\n";
            for (index, output) in drift.outputs.iter().enumerate() {
                let noise = drift.noise.as_ref().and_then(|noise| noise.get(index));
                text += &format!(
                    "| {} | {} | {} | {} | {} | {} |\n",
                    code(&output.name),
                    words::drift(output),
                    words::figure(noise, words::drift),
                    words::figure(output.max_abs, |value| format!("{value:.3e}")),
                    words::figure(output.cosine, |value| format!("{value:.6}")),
                    words::figure(output.top1, words::percent),
                );
            }
            if let Some(accuracy) = &drift.accuracy {
                let (before, after) = (words::percent(accuracy.before), words::percent(accuracy.after));
                text += &format!("\nAccuracy {before} -> {after} on {} labels.\n", accuracy.samples);
            }
        }
    }
    for failure in &validation.failures {
        let place = failure.output.as_ref().map(|output| format!(" {}:", code(output))).unwrap_or_default();
        text += &format!("\n- failed:{place} {}, found {}", plain(&failure.expected), plain(&failure.found));
    }
    if !validation.gates.is_empty() {
        text += &format!("\nGates: {}\n", plain(&validation.gates.join(", ")));
    }
    text
}

fn layers(report: &Report) -> String {
    let Some(layers) = report.detail.as_ref().and_then(|detail| detail.layers.as_ref()) else { return String::new() };
    let mut text = String::from("\n## Drift by layer\n\n| layer | operator | added | passed on | drift |\n");
    text += "|---|---|--:|--:|--:|\n";
    for layer in layers.layers.iter().filter(|layer| layer.snr_db.is_some()).take(super::detail::MOST_LAYERS) {
        let figures = [layer.born_db, layer.passed_on_db, layer.snr_db].map(words::decibels);
        text += &format!("| {} | {} | {} |\n", code(&layer.node), code(&layer.op), figures.join(" | "));
    }
    text
}

fn steps(report: &Report) -> String {
    let mut text = String::from("\n## What each pass did\n");
    for step in report.run.steps.iter().filter(|step| step.is_worth_telling()) {
        let what = if step.changed { step.effect.to_string() } else { "nothing done".to_owned() };
        text += &format!("\n- {} ({what})", code(&step.step));
        for kind in [RemarkKind::Note, RemarkKind::Applied, RemarkKind::Skipped] {
            let remarks: Vec<_> = step.remarks.iter().filter(|remark| remark.kind == kind).collect();
            for remark in remarks.iter().take(MOST_REMARKS) {
                let at = remark.at.as_ref().map(|at| format!("{}: ", plain(at))).unwrap_or_default();
                text += &format!("\n  - {}{at}{}", words::remark_kind(kind), plain(&remark.text));
            }
            if remarks.len() > MOST_REMARKS {
                text += &format!("\n  - and {} more of these", remarks.len() - MOST_REMARKS);
            }
        }
    }
    text + "\n"
}

/// Text that is nothing but text in Markdown: names come from files that anyone may have written.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => shown += "&lt;",
            '>' => shown += "&gt;",
            '&' => shown += "&amp;",
            '\\' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => shown.extend(['\\', c]),
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

/// Text in a code span that it cannot leave, and that does not end the cell of a table.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        assert_eq!(plain("<script>a|b_c"), "&lt;script&gt;a\\|b\\_c");
        assert_eq!(code("conv1"), "`conv1`");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`a"), "`` `a ``");
    }
}
