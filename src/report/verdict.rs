//! The sentence that a stranger reads first.

use serde::Serialize;

use super::words;
use crate::error::Error;
use crate::shrink::{Report, Status};

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether nothing speaks against the result.
    pub accepted: bool,
    /// What came of it, in a sentence or two.
    pub sentence: String,
}

impl Verdict {
    pub(super) fn of(run: &Report, refusal: Option<&Error>) -> Self {
        let size = words::ratio(run.ratio);
        let figures = [Some(size.clone()), least_snr(run), least_top1(run)];
        let figures = figures.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let reason = run.validation.reason.as_deref();
        let sentence = match (refusal, run.validation.status) {
            (Some(error), _) => refused(run, error, &figures),
            (None, Status::Identical) => "Nothing to gain here: the result is the input, byte for byte.".to_owned(),
            (None, Status::Passed) => format!("{figures}: accepted{}.", fate(run)),
            (None, _) => {
                format!("{size}, but not compared with the original ({}){}.", reason.unwrap_or("no reason"), fate(run))
            }
        };
        Self { accepted: refusal.is_none(), sentence }
    }
}

fn refused(run: &Report, error: &Error, figures: &str) -> String {
    let fate = if run.written { "Refused, but written because of --force" } else { "Refused, nothing written" };
    let failures = run.validation.failures.iter().map(|failure| {
        // What is wrong may name the output already.
        let output = failure.output.as_ref().filter(|output| !error.what().contains(output.as_str()));
        let place = output.map(|output| format!(" in output `{output}`")).unwrap_or_default();
        format!("{} found{place}, {} asked for (gate {})", failure.found, failure.expected, failure.gate)
    });
    let failures: Vec<String> = failures.take(3).collect();
    let why = if failures.is_empty() { String::new() } else { format!(": {}", failures.join("; ")) };
    let what = error.what().trim_end_matches('.');
    format!("{fate}: {what}{why}. The result is {figures}.")
}

/// What became of the file, where that is not what one expects.
fn fate(run: &Report) -> &'static str {
    match (&run.output.path, run.written) {
        (None, _) => " (dry run, nothing written)",
        (Some(_), false) => " (not written)",
        (Some(_), true) => "",
    }
}

/// The drift of the worst output.
fn least_snr(run: &Report) -> Option<String> {
    let outputs = &run.validation.drift.as_ref()?.outputs;
    let least = outputs.iter().filter_map(|output| output.snr_db).min_by(f64::total_cmp);
    match least {
        Some(snr) => Some(format!("{snr:.1} dB")),
        None if !outputs.is_empty() && outputs.iter().all(|output| output.same_values()) => {
            Some("equal outputs".to_owned())
        }
        None => None,
    }
}

fn least_top1(run: &Report) -> Option<String> {
    let outputs = &run.validation.drift.as_ref()?.outputs;
    let least = outputs.iter().filter_map(|output| output.top1).min_by(f64::total_cmp)?;
    Some(format!("{} of top answers agree", words::percent(least)))
}
