//! Progress bars: on standard error, and only where that is a terminal.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use onnx_shrink::pass::Progress;

/// Work that is done sooner needs no bar.
const REDRAW: Duration = Duration::from_millis(100);

/// One bar at a time.
#[derive(Debug)]
pub(super) struct Bars {
    shown: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && io::stderr().is_terminal(), bar: Mutex::new(None) }
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
            let bar = ProgressBar::new(total).with_message(what.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{msg:20} {bar:40} {pos}/{len} {eta}") {
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

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}
