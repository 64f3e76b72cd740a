//! How long a run of the candidate takes, in times of the reference's: in ONNX Runtime, on one thread, in turns.
//!
//! A slow machine cannot fail a model: the gate fails where the whole 95 % interval of the median lies above the limit.
//! How far the reference is from itself, measured in the same way, tells how much of a difference is noise.

use std::time::Duration;

use serde::Serialize;

use super::outcome::{GateResult, Outcome, Rule};
use crate::backend::{BackendChoice, Laps, LoadOptions, ModelBytes, NamedTensors, load, race};
use crate::error::Result;
use crate::pass::Progress;

/// Each of the two races ends after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Times of two models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Time of the candidate over time of the reference: the median of runs that follow each other.
    pub ratio: f64,
    /// Where the true median lies with 95 % confidence.
    pub interval95: (f64, f64),
    /// The same interval for the reference against itself: what the machine alone does.
    pub noise95: (f64, f64),
    /// How many pairs of runs the ratio is from.
    pub laps: usize,
}

impl Latency {
    /// What to know where the machine is too busy to tell.
    pub(super) fn warning(&self, limit: f64) -> Option<String> {
        let (low, high) = self.interval95;
        (low <= limit && limit < high).then(|| {
            format!(
                "the ratio of times, {:.3} ({low:.3} .. {high:.3}), cannot be told from the limit of {limit}: a quieter \
                 machine would",
                self.ratio
            )
        })
    }
}

/// Holds the candidate to a ratio of times; skipped, with the reason, where ONNX Runtime cannot run both.
pub(super) fn gate(
    reference: &ModelBytes,
    candidate: &ModelBytes,
    inputs: Option<&NamedTensors>,
    limit: f64,
    progress: &dyn Progress,
) -> (GateResult, Option<Latency>) {
    progress.start("timing", 1);
    let measured = inputs.map(|inputs| measure(reference, candidate, inputs)).transpose();
    progress.finish();
    let (outcome, found, latency) = match measured {
        Ok(Some(latency)) => {
            let (low, high) = latency.interval95;
            let (quiet_low, quiet_high) = latency.noise95;
            let found = format!(
                "{:.3} (95 % interval {low:.3} .. {high:.3}; the reference against itself {quiet_low:.3} .. {quiet_high:.3})",
                latency.ratio
            );
            (if low <= limit { Outcome::Passed } else { Outcome::Failed }, found, Some(latency))
        }
        Ok(None) => (Outcome::Skipped, "skipped: there are no inputs to run the models on".to_owned(), None),
        Err(error) => (Outcome::Skipped, format!("skipped: not measured in ONNX Runtime: {}", error.what()), None),
    };
    let result = GateResult {
        rule: Rule::Latency,
        gate: format!("max-latency-ratio={limit}"),
        outcome,
        output: None,
        expected: format!("at most {limit} times the time of the reference"),
        found,
    };
    (result, latency)
}

fn measure(reference: &ModelBytes, candidate: &ModelBytes, inputs: &NamedTensors) -> Result<Latency> {
    let options = LoadOptions { taps: Vec::new(), threads: 1, ..LoadOptions::default() };
    let open = |model| load(BackendChoice::OnnxRuntime, model, &options);
    let (before, again, after) = (open(reference)?, open(reference)?, open(candidate)?);
    let timed: Laps = race(&*before, &*after, inputs, PATIENCE)?;
    let noise = race(&*before, &*again, inputs, PATIENCE)?;
    Ok(Latency {
        ratio: timed.median(),
        interval95: timed.interval95(),
        noise95: noise.interval95(),
        laps: timed.count(),
    })
}
