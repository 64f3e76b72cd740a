//! Bars and histograms as SVG. They are drawn in the colours of the light page, which the style sheet replaces.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::super::weights::Histogram;
use super::super::words;
use super::{NAME_WIDTH, escaped};
use crate::error::{Error, ErrorKind, Result};

pub(super) const BEFORE: RGBColor = RGBColor(0x9a, 0xa7, 0xb8);
pub(super) const AFTER: RGBColor = RGBColor(0x25, 0x63, 0xc9);
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const MUTED: RGBColor = RGBColor(0x5d, 0x66, 0x70);
const LINE: RGBColor = RGBColor(0xd9, 0xdd, 0xe2);

const WIDTH: i32 = 900;
/// Where bars begin, behind the names, and the most they take; the rest is for figures.
const BARS_FROM: i32 = 310;
const BARS_WIDTH: i32 = 470;
const BAR_HEIGHT: i32 = 15;
const ROW_GAP: i32 = 12;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One name with a bar for each series: how long it is, and the figure behind it.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) bars: [(f64, String); 2],
}

/// Horizontal bars, two for each row; `what` tells those who cannot see them.
pub(super) fn bars(rows: &[Row], what: &str) -> Result<String> {
    let longest = rows.iter().flat_map(|row| row.bars.iter().map(|(value, _)| *value)).fold(0.0, f64::max);
    let scale = if longest > 0.0 { f64::from(BARS_WIDTH) / longest } else { 0.0 };
    let row_height = 2 * BAR_HEIGHT + ROW_GAP;
    let height = row_height * i32::try_from(rows.len()).unwrap_or(i32::MAX / row_height);
    draw((WIDTH, height.max(1)), what, |area| {
        let mut top = ROW_GAP / 2;
        for row in rows {
            text(
                area,
                &words::shortened(&row.name, NAME_WIDTH),
                (BARS_FROM - 10, top + BAR_HEIGHT),
                HPos::Right,
                &INK,
            )?;
            for ((value, figure), colour) in row.bars.iter().zip([BEFORE, AFTER]) {
                let length = if value.is_finite() { (value * scale).round() as i32 } else { 0 };
                // A bar of something is never nothing.
                let end = BARS_FROM + if *value > 0.0 { length.max(1) } else { 0 };
                if end > BARS_FROM {
                    area.draw(&Rectangle::new([(BARS_FROM, top), (end, top + BAR_HEIGHT - 1)], colour.filled()))
                        .map_err(failed)?;
                }
                text(area, figure, (end + 6, top + BAR_HEIGHT / 2), HPos::Left, &MUTED)?;
                top += BAR_HEIGHT;
            }
            top += ROW_GAP;
        }
        Ok(())
    })
}

/// The values before as bars, those after as a line over them.
pub(super) fn histogram(histogram: &Histogram) -> Result<String> {
    const SIZE: (i32, i32) = (420, 170);
    const FLOOR: i32 = 145;
    const CEILING: i32 = 8;
    let what = format!("Values of {} before and after", histogram.name);
    let highest = histogram.before.iter().chain(&histogram.after).copied().max().unwrap_or(0).max(1);
    // Square roots: the few large values matter as much as the many small ones.
    let height = |count: u64| ((count as f64 / highest as f64).sqrt() * f64::from(FLOOR - CEILING)).round() as i32;
    let bins = histogram.before.len().max(1) as f64;
    let x = |bin: usize| 4 + (bin as f64 / bins * f64::from(SIZE.0 - 8)).round() as i32;
    draw(SIZE, &what, |area| {
        for (bin, &count) in histogram.before.iter().enumerate().filter(|(_, count)| **count > 0) {
            let corners = [(x(bin), FLOOR - height(count).max(1)), (x(bin + 1), FLOOR)];
            area.draw(&Rectangle::new(corners, BEFORE.filled())).map_err(failed)?;
        }
        area.draw(&PathElement::new(vec![(4, FLOOR), (SIZE.0 - 4, FLOOR)], LINE.stroke_width(1))).map_err(failed)?;
        let steps = histogram.after.iter().enumerate().flat_map(|(bin, &count)| {
            let top = FLOOR - height(count);
            [(x(bin), top), (x(bin + 1), top)]
        });
        area.draw(&PathElement::new(steps.collect::<Vec<_>>(), AFTER.stroke_width(2))).map_err(failed)?;
        let number = |value: f64| format!("{value:.3}");
        text(area, &number(histogram.low), (4, FLOOR + 13), HPos::Left, &MUTED)?;
        text(area, &number(histogram.high), (SIZE.0 - 4, FLOOR + 13), HPos::Right, &MUTED)
    })
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos, colour: &RGBColor) -> Result<()> {
    let style = TextStyle::from(("sans-serif", 15).into_font()).color(colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

/// Draws on an area of that size and returns the SVG element.
fn draw((width, height): (i32, i32), what: &str, contents: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let size = (width.unsigned_abs(), height.unsigned_abs());
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        contents(&area)?;
        area.present().map_err(failed)?;
    }
    // Inside a page the element needs no name space, and takes the width it is given.
    let inside = svg.split_once('>').map_or("", |(_, inside)| inside);
    Ok(format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">{inside}", escaped(what)))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("cannot draw a chart of the report: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_charts_are_text() {
        let row = Row { name: "<script>\u{1}".into(), bars: [(2.0, "2".into()), (0.0, "<b>".into())] };
        let svg = bars(&[row], "\"><script>").unwrap();
        assert!(svg.starts_with("<svg viewBox") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(!svg.contains("<script") && !svg.contains("<b>") && svg.contains("&lt;script&gt;"), "{svg}");
    }
}
