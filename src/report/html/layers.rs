//! Where drift is born, and how the weights of those layers are spread.

use super::charts::{Row, bars, histogram};
use super::{NAME_WIDTH, Report, code, escaped, legend};
use crate::error::Result;
use crate::layers::LayersReport;
use crate::report::detail::MOST_LAYERS;
use crate::report::words;

pub(super) fn render(report: &Report) -> Result<String> {
    let Some(detail) = &report.detail else { return Ok(String::new()) };
    let mut text = String::from("<h2>Drift by layer</h2>\n");
    match (&detail.layers, &detail.layers_reason) {
        (Some(layers), _) => text += &chart(layers)?,
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or("it was not asked for");
            text += &format!("<p>Not measured: {}.</p>\n", escaped(reason));
        }
    }
    if !detail.histograms.is_empty() {
        text += "<h2>Weights before and after</h2>\n<p class=\"muted\">Those of the layers that add most drift, or the \
                 largest where that is not known. How many values lie in each of 48 equal intervals, as square roots; \
                 zeros are left out.</p>\n";
        text += &legend("before", "after");
        text += "<div class=\"grid\">\n";
        for spread in &detail.histograms {
            text += &format!(
                "<figure><figcaption>{}<br><span class=\"muted\">zeros {} before, {} after</span></figcaption>{}</figure>\n",
                code(&words::shortened(&spread.name, NAME_WIDTH)),
                words::percent(spread.zeros_before),
                words::percent(spread.zeros_after),
                histogram(spread)?
            );
        }
        text += "</div>\n";
    }
    Ok(text)
}

fn chart(layers: &LayersReport) -> Result<String> {
    let drifting: Vec<_> = layers.layers.iter().filter(|layer| layer.snr_db.is_some()).collect();
    if drifting.is_empty() {
        return Ok("<p>No layer drifts.</p>\n".to_owned());
    }
    // What only passes on what came in is no place to look at, unless there is nothing else.
    let adding = drifting.iter().filter(|layer| layer.born_db.is_some()).count();
    let shown = if adding > 0 { adding.min(MOST_LAYERS) } else { MOST_LAYERS };
    // Lengths are relative errors, so that a longer bar is worse.
    let bar = |db: Option<f64>| (db.map_or(0.0, |db| 10_f64.powf(-db / 20.0).min(10.0)), words::decibels(db));
    let rows: Vec<Row> = drifting
        .iter()
        .take(shown)
        .map(|layer| {
            let name = match layer.node.contains(&layer.op) {
                true => layer.node.clone(),
                false => format!("{} {}", layer.op, layer.node),
            };
            Row { name, bars: [bar(layer.passed_on_db), bar(layer.born_db)] }
        })
        .collect();
    let folded = drifting.len().saturating_sub(rows.len());
    let more = match folded {
        0 => String::new(),
        folded if adding <= rows.len() => format!("; {folded} more only pass on what came in"),
        folded => format!("; {folded} more add less, or nothing"),
    };
    Ok(format!(
        "<p class=\"muted\">The {} layers that add most, of {} compared on {}{more}. Each layer of the original runs on \
         what the result hands it, so that what only passes on the drift of others does not look guilty. Bars are errors \
         relative to the signal: longer is worse.</p>\n{}<figure class=\"scroll wide\">{}</figure>\n",
        rows.len(),
        layers.values,
        crate::pass::counted(layers.samples, "sample"),
        legend("came in with the inputs", "added by the layer"),
        bars(&rows, "Drift by layer: what came in and what was added")?
    ))
}
