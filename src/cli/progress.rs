//! Progress bars: on standard error, and only where that is a terminal.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use onnx_shrink::pass::Progress;
use onnx_shrink::search::Watcher;

use super::style;

/// Work that is done sooner needs no bar.
const REDRAW: Duration = Duration::from_millis(100);

/// One bar at a time.
#[derive(Debug)]
pub(super) struct Bars {
    quiet: bool,
    shown: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// How far many pipelines have come, in front of what one of them does.
    all: Mutex<String>,
}

impl Bars {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, shown: !quiet && io::stderr().is_terminal(), bar: Mutex::default(), all: Mutex::default() }
    }

    fn with(&self, change: impl FnOnce(&mut Option<ProgressBar>)) {
        if self.shown {
            change(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Progress for Bars {
    fn start(&self, what: &str, total: u64) {
        self.with(|current| {
            if let Some(before) = current.take() {
                before.finish_and_clear();
            }
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let bar = ProgressBar::new(total).with_prefix(all).with_message(what.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{prefix}{msg:20} {bar:40} {pos}/{len} {eta}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(REDRAW);
            *current = Some(bar);
        });
    }

    fn advance(&self, steps: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.inc(steps);
            }
        });
    }

    fn finish(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}

impl Watcher for Bars {
    fn trying(&self, pipeline: &str, place: &str, left: Option<Duration>) {
        let left = left.map(|left| format!(", {} left", style::duration(left))).unwrap_or_default();
        let pipeline = style::shortened(pipeline);
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = format!("[{place}{left}] {pipeline}: ");
    }

    fn says(&self, text: &str) {
        self.finish();
        if !self.quiet {
            style::progress(text);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}
