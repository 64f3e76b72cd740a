//! Sizes before and after: of everything, by operator, by weight.

use super::charts::{Row, bars};
use super::{Report, code, legend, table};
use crate::error::Result;
use crate::report::{OperatorSize, words};

/// So many kinds of operators are shown, of those that hold this share of all bytes at least.
const MOST_OPERATORS: usize = 15;
const LEAST_SHARE: f64 = 0.001;

pub(super) fn summary(report: &Report) -> String {
    let (before, after) = (&report.run.input, &report.run.output);
    let cells = |name: &str, before: String, after: String, note: String| vec![name.to_owned(), before, after, note];
    let rows = [
        cells(
            "bytes",
            words::grouped(before.total_bytes()),
            words::grouped(after.total_bytes()),
            words::ratio(report.run.ratio),
        ),
        cells(
            "operators",
            words::grouped(before.census.nodes),
            words::grouped(after.census.nodes),
            words::difference(before.census.nodes, after.census.nodes),
        ),
        cells(
            "bytes of constants",
            words::grouped(before.census.constant_bytes),
            words::grouped(after.census.constant_bytes),
            words::difference(before.census.constant_bytes, after.census.constant_bytes),
        ),
        cells("zero weights", words::percent(before.sparsity), words::percent(after.sparsity), String::new()),
    ];
    format!("<p>Pipeline: {}</p>\n", code(&report.run.pipeline)) + &table(&["", "before", "after", ""], 1, &rows)
}

pub(super) fn charts(report: &Report) -> Result<String> {
    let Some(detail) = &report.detail else { return Ok(String::new()) };
    let mut text = String::from("<h2>Where the bytes are</h2>\n") + &legend("before", "after");
    let bytes = |size: &OperatorSize| size.bytes_before.max(size.bytes_after);
    let all: u64 = detail.operators.iter().map(bytes).sum();
    let holding = detail.operators.iter().filter(|size| bytes(size) > 0);
    let (shown, left): (Vec<&OperatorSize>, Vec<&OperatorSize>) =
        holding.partition(|size| bytes(size) as f64 >= LEAST_SHARE * all as f64);
    let operators: Vec<Row> = shown
        .iter()
        .take(MOST_OPERATORS)
        .map(|size| {
            let bar = |bytes: u64, nodes: u64| {
                let figure = if nodes == 0 { "none".to_owned() } else { format!("{} in {nodes}", words::bytes(bytes)) };
                (bytes as f64, figure)
            };
            Row {
                name: size.operator.clone(),
                bars: [bar(size.bytes_before, size.nodes_before), bar(size.bytes_after, size.nodes_after)],
            }
        })
        .collect();
    if !operators.is_empty() {
        text += "<h3>By operator</h3>\n<p class=\"muted\">Bytes of constants, by the kind of operator that reads them \
                 first, and how many of those there are. Operators that restore compressed weights read them in place \
                 of the layers.";
        let left: Vec<&&OperatorSize> = shown.iter().skip(MOST_OPERATORS).chain(&left).collect();
        if !left.is_empty() {
            let names: Vec<String> = left.iter().map(|size| code(&size.operator)).collect();
            let most = words::bytes(left.iter().map(|size| bytes(size)).sum());
            text += &format!(" Not shown, with {most} together at most: {}.", names.join(", "));
        }
        text += "</p>\n";
        text += &format!(
            "<figure class=\"scroll wide\">{}</figure>\n",
            bars(&operators, "Bytes of constants by operator, before and after")?
        );
    }
    let weights: Vec<Row> = detail
        .largest_weights
        .iter()
        .map(|size| {
            let after = match (size.bytes_after, &size.type_after) {
                (Some(bytes), Some(ty)) => (bytes as f64, format!("{} {}", words::bytes(bytes), words::element(ty))),
                _ => (0.0, "not found in the result".to_owned()),
            };
            let before = format!("{} {}", words::bytes(size.bytes_before), words::element(&size.ty));
            Row { name: size.name.clone(), bars: [(size.bytes_before as f64, before), after] }
        })
        .collect();
    if !weights.is_empty() {
        text += "<h3>The largest weights</h3>\n<p class=\"muted\">What each takes, with scales and all else it is \
                 restored from.</p>\n";
        text += &format!(
            "<figure class=\"scroll wide\">{}</figure>\n",
            bars(&weights, "Bytes of the largest weights, before and after")?
        );
    }
    Ok(text)
}
