//! What was measured of one pipeline.

use serde::{Deserialize, Serialize};

use super::speed::Speed;
use crate::error::{Error, ErrorKind, Result};
use crate::pass::Effect;
use crate::shrink::{Attempt, Status, gates_for};
use crate::validate::{DriftReport, Gate};

/// What a pipeline makes of a model, whatever the gates are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The pipeline, as a file remembers it.
    pub pipeline: String,
    /// Bytes of the result with its side file; `null` where there is no result.
    pub bytes: Option<u64>,
    /// Operators of the result.
    pub operators: Option<u64>,
    /// The SHA-256 of the result and then of its side file.
    pub sha256: Option<String>,
    /// The strongest effect of the passes that changed something; `null` where none did.
    pub effect: Option<Effect>,
    /// How far the result is from the original; `null` where it is the original or could not be compared.
    pub drift: Option<DriftReport>,
    /// Why the result is no good whatever the gates are.
    pub obstacle: Option<Obstacle>,
    /// Its time in ONNX Runtime; `null` where it was not timed.
    pub speed: Option<Speed>,
    /// How long it took to make and to compare.
    pub seconds: f64,
}

/// Why a pipeline has no result that could be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// Whether a pass failed; otherwise there is a result, and it is refused.
    pub is_failure: bool,
    /// What is wrong, in a line.
    pub reason: String,
}

impl Measurement {
    /// What an attempt showed.
    pub(super) fn of(pipeline: String, attempt: &Attempt) -> Self {
        let result = &attempt.result;
        // Whether the drift is too much is up to the gates.
        let refusal = attempt.refusal.as_ref().filter(|error| error.kind() != ErrorKind::Drift);
        Self {
            pipeline,
            bytes: Some(result.total_bytes()),
            operators: Some(result.census.nodes),
            sha256: Some(attempt.sha256.clone()),
            effect: attempt.run.effect,
            drift: attempt.validation.drift.clone(),
            obstacle: refusal.map(|error| Obstacle { is_failure: false, reason: in_a_line(error) }),
            speed: (attempt.validation.status == Status::Identical).then(Speed::of_the_original),
            seconds: attempt.seconds,
        }
    }

    /// A pipeline that has no result.
    pub(super) fn failed(pipeline: String, error: &Error, seconds: f64) -> Self {
        Self {
            pipeline,
            bytes: None,
            operators: None,
            sha256: None,
            effect: None,
            drift: None,
            obstacle: Some(Obstacle { is_failure: true, reason: in_a_line(error) }),
            speed: None,
            seconds,
        }
    }

    /// Why the result is refused under these gates and the default one for what was done; `None` where it may ship.
    ///
    /// # Errors
    /// Fails where a gate does not fit the outputs or the data.
    pub fn refusal(&self, gates: &[Gate]) -> Result<Option<String>> {
        if let Some(obstacle) = &self.obstacle {
            return Ok(Some(obstacle.reason.clone()));
        }
        let Some(drift) = &self.drift else { return Ok(None) };
        let verdict = drift.judge(&gates_for(self.effect, gates))?;
        Ok(verdict.failures.first().map(|failure| {
            let place = failure.output.as_ref().map(|output| format!(" in `{output}`")).unwrap_or_default();
            format!("{} (asked for: {}){place}", failure.found, failure.expected)
        }))
    }

    /// Whether there is a result whose outputs have the types and shapes they should, and no new NaN or infinity.
    pub fn is_sound(&self) -> bool {
        let holds = |drift: &DriftReport| drift.judge(&[]).is_ok_and(|verdict| verdict.passed());
        self.bytes.is_some() && self.obstacle.is_none() && self.drift.as_ref().is_none_or(holds)
    }

    /// Whether two results differ in nothing but how they are written down, such as the pipeline they remember: any difference
    /// in time is the clock's.
    pub(super) fn does_the_same(&self, other: &Self) -> bool {
        self.is_sound() && other.is_sound() && self.operators == other.operators && self.drift == other.drift
    }

    /// The least signal-to-noise ratio of any output in decibels; infinite where all values are equal, `None` where there is
    /// no sound result.
    pub fn snr_db(&self) -> Option<f64> {
        if !self.is_sound() {
            return None;
        }
        let Some(drift) = &self.drift else { return Some(f64::INFINITY) };
        let of = |output: &crate::validate::OutputDrift| match output.snr_db {
            Some(snr) => snr,
            None if output.same_values() => f64::INFINITY,
            // Bools and strings have no decibels, but may differ.
            None => -10.0 * (1.0 - output.equal).log10(),
        };
        Some(drift.outputs.iter().map(of).fold(f64::INFINITY, f64::min))
    }

    /// The least agreement of the best score over the outputs that hold scores, 0 to 1.
    pub fn top1(&self) -> Option<f64> {
        self.drift.as_ref()?.outputs.iter().filter_map(|output| output.top1).min_by(f64::total_cmp)
    }

    /// The accuracy of the result, 0 to 1, where the data has labels.
    pub fn accuracy(&self) -> Option<f64> {
        Some(self.drift.as_ref()?.accuracy.as_ref()?.after)
    }
}

/// An error without its help.
fn in_a_line(error: &Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("help:"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("; ")
}
