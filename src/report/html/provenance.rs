//! What it takes to make the result again, and, here alone, times.

use super::{Report, code, escaped, table};
use crate::report::words;

pub(super) fn render(report: &Report) -> String {
    let run = &report.run;
    let mut text = String::from("<h2>How to make it again</h2>\n");
    if !report.command.is_empty() {
        text += &format!("<pre>{}</pre>\n", escaped(&report.command));
    }
    let mut rows = vec![vec!["made by".to_owned(), escaped(run.tool)], vec!["seed".to_owned(), run.seed.to_string()]];
    if let Some(drift) = &run.validation.drift {
        rows.push(vec!["compared in".to_owned(), escaped(&drift.backend_candidate)]);
    }
    let path = |path: &Option<String>| path.as_deref().map_or_else(|| "not written".to_owned(), code);
    rows.push(vec!["original".to_owned(), path(&run.input.path)]);
    rows.push(vec!["result".to_owned(), path(&run.output.path)]);
    if let Some(detail) = &report.detail {
        rows.push(vec!["SHA-256 of the original".to_owned(), code(&detail.input_file.sha256)]);
        rows.push(vec!["SHA-256 of the result".to_owned(), code(&detail.output_file.sha256)]);
    }
    text += &table(&["", ""], 2, &rows);
    if let Some(scan) = &run.scan {
        text += "<h2>What the file still tells</h2>\n";
        text += &format!("<p>{}.</p>\n", escaped(&words::sentence(&words::scanned(scan))));
        if !scan.traces.is_empty() {
            let items: String =
                scan.traces.iter().map(|trace| format!("<li>{}</li>\n", escaped(&trace.to_string()))).collect();
            text += &format!("<ul>\n{items}</ul>\n");
        }
    }
    let mut rows: Vec<Vec<String>> =
        run.steps.iter().map(|step| vec![code(&step.step), format!("{:.2} s", step.seconds)]).collect();
    rows.push(vec!["all, with comparing and writing".to_owned(), format!("{:.2} s", run.seconds)]);
    let times = table(&["step", "time"], 1, &rows);
    text + &format!("<details id=\"times\"><summary>Times</summary>\n{times}</details>\n")
}
