//! How messages look.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use onnx_shrink::Error;
use onnx_shrink::report::words;

/// What a column of names has room for.
const NAME_WIDTH: usize = 60;

/// Whether standard error shows colours: on a terminal, unless the user objects (<https://no-color.org>).
pub(super) fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An error, with its place, what was expected, what was found, and help.
pub(super) fn error(error: &Error) {
    message("error", "\x1b[1;31m", &error.to_string());
}

/// Something the user should know.
pub(super) fn warning(text: &str) {
    message("warning", "\x1b[1;33m", text);
}

/// How far a long run has come.
pub(super) fn progress(text: &str) {
    // There is nowhere left to report a failure to.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A time, short: `45 s`, `3 min`, `2 h`.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

fn message(label: &str, colour: &str, text: &str) {
    let mut stderr = io::stderr().lock();
    // There is nowhere left to report a failure to.
    let _ = if colours() {
        writeln!(stderr, "{colour}{label}:\x1b[0m {text}")
    } else {
        writeln!(stderr, "{label}: {text}")
    };
}

/// A table without lines. The first column is text; `numbers` says from which column on the others are figures.
pub(super) fn table(header: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table as lines without blanks at their ends.
pub(super) fn lines(table: &Table) -> String {
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A name that fits into a table.
pub(super) fn shortened(name: &str) -> String {
    words::shortened(name, NAME_WIDTH)
}
