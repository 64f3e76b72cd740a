//! The report as one HTML page that loads nothing and runs nothing: styles and charts are inside, scripts are none.
//!
//! Everything that comes from a model or a command line goes through [`escaped`]; a content policy in the page is the
//! second lock on that door.

mod charts;
mod drift;
mod layers;
mod provenance;
mod sizes;
mod steps;

use super::Report;
use crate::error::Result;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// What a chart has room for.
const NAME_WIDTH: usize = 44;

pub(super) fn render(report: &Report) -> Result<String> {
    let title = format!("{}: onnx-shrink report", report.model);
    let mut body = format!("<h1>{}</h1>\n", escaped(&report.model));
    let class = if report.verdict.accepted { "good" } else { "bad" };
    body += &format!("<p class=\"verdict {class}\">{}</p>\n", escaped(&report.verdict.sentence));
    for warning in &report.run.warnings {
        body += &format!("<p><span class=\"bad-text\">Note:</span> {}</p>\n", escaped(warning));
    }
    body += &sizes::summary(report);
    body += &drift::render(report);
    body += &layers::render(report)?;
    body += &sizes::charts(report)?;
    body += &steps::render(report);
    body += &provenance::render(report);
    Ok(page(&title, &body))
}

/// Fills the page in one go, so that what is put in is never looked through for places to fill.
fn page(title: &str, body: &str) -> String {
    let mut text = String::with_capacity(PAGE.len() + STYLE.len() + body.len());
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        text += before;
        let Some((name, after)) = after.split_once("}}") else { break };
        match name {
            "title" => text += &escaped(title),
            "style" => text += STYLE.trim_end(),
            "body" => text += body.trim_end(),
            _ => {}
        }
        rest = after;
    }
    text + rest
}

/// Text that is nothing but text in HTML, between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown += "&amp;",
            '<' => shown += "&lt;",
            '>' => shown += "&gt;",
            '"' => shown += "&quot;",
            '\'' => shown += "&#39;",
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// A table; the first `texts` columns are text, the others figures. Cells are HTML.
fn table(header: &[&str], texts: usize, rows: &[Vec<String>]) -> String {
    let class = |index: usize| if index < texts { "" } else { " class=\"n\"" };
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String =
            cells.enumerate().map(|(index, cell)| format!("<{tag}{}>{cell}</{tag}>", class(index))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let mut text = String::from("<div class=\"scroll\"><table>\n");
    text += &row("th", &mut header.iter().copied());
    rows.iter().for_each(|cells| text += &row("td", &mut cells.iter().map(String::as_str)));
    text + "</table></div>\n"
}

/// What the two colours of a chart stand for.
fn legend(before: &str, after: &str) -> String {
    format!(
        "<p class=\"legend\"><span><i class=\"before\"></i>{before}</span><span><i class=\"after\"></i>{after}</span></p>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(escaped("<script>'\"&\u{0}"), "&lt;script&gt;&#39;&quot;&amp;\u{fffd}");
        let page = page("{{body}}", "{{style}}<p>");
        assert!(page.contains("<title>{{body}}</title>") && page.contains("\n{{style}}<p>\n"), "{page}");
    }
}
