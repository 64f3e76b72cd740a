//! The lock file of the model that was accepted last: small JSON, made to be committed, the same for the same models.
//!
//! Against it, a candidate may lose a little compression and a little drift, since training and calibration are never the
//! same twice; what is more than that has to be accepted by whoever reviews the new lock file.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CheckOptions;
use super::outcome::{GateResult, Outcome, Rule};
use super::size::Fingerprint;
use crate::error::{Error, Result};
use crate::output::Staging;
use crate::shrink::Validation;

/// The version of the file's form.
const BASELINE_VERSION: u32 = 1;

/// What the compression ratio may lose where nothing else is said, as a share of the baseline's.
const DEFAULT_RATIO_LOSS: f64 = 0.01;

/// What the drift of an output may lose where nothing else is said.
const DEFAULT_DRIFT_LOSS_DB: f64 = 1.0;

/// The model that was accepted last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The version of the file's form.
    pub version: u32,
    /// The SHA-256 of the reference.
    pub reference_sha256: String,
    /// The SHA-256 of the candidate.
    pub candidate_sha256: String,
    /// Bytes of the reference, side files included.
    pub reference_bytes: u64,
    /// Bytes of the candidate, side files included.
    pub candidate_bytes: u64,
    /// Bytes of the reference over bytes of the candidate.
    pub ratio: f64,
    /// The data the drift was measured on; `null` where the files were the same.
    pub data: Option<String>,
    /// The drift of each output.
    pub outputs: Vec<BaselineOutput>,
    /// The accuracy of the candidate, where the data had labels.
    pub accuracy: Option<f64>,
}

/// The drift of one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineOutput {
    /// The name of the output.
    pub name: String,
    /// The signal-to-noise ratio in decibels; `null` where all values were equal.
    pub snr_db: Option<f64>,
    /// The share of rows whose largest score stayed in place; `null` where there are no scores.
    pub top1: Option<f64>,
}

impl Baseline {
    /// What would be accepted.
    pub(super) fn of(reference: &Fingerprint, candidate: &Fingerprint, ratio: f64, validation: &Validation) -> Self {
        let drift = validation.drift.as_ref();
        let outputs = drift.map_or(&[][..], |drift| &drift.outputs).iter().map(|output| BaselineOutput {
            name: output.name.clone(),
            snr_db: output.snr_db.map(rounded),
            top1: output.top1.map(rounded),
        });
        Self {
            version: BASELINE_VERSION,
            reference_sha256: reference.sha256.clone(),
            candidate_sha256: candidate.sha256.clone(),
            reference_bytes: reference.total_bytes(),
            candidate_bytes: candidate.total_bytes(),
            ratio: rounded(ratio),
            data: validation.data.clone(),
            outputs: outputs.collect(),
            accuracy: drift.and_then(|drift| drift.accuracy.as_ref()).map(|accuracy| rounded(accuracy.after)),
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::io("write the baseline to", path, std::io::Error::other(e)))?;
        text.push(b'\n');
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let staging = Staging::open(path, &format!("{name}.data"))?;
        staging.write_with(|out| out.write_all(&text).map_err(|e| Error::io("write the baseline to", path, e)))?;
        staging.commit()
    }

    /// What makes the two hard to compare.
    pub(super) fn warnings(&self, now: &Self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.reference_sha256 != now.reference_sha256 {
            warnings.push("the reference is not the one of the baseline".to_owned());
        }
        if let (Some(then), Some(now)) = (&self.data, &now.data)
            && then != now
        {
            warnings.push(format!("the baseline was measured on other data: {then}, now {now}"));
        }
        warnings
    }

    /// Holds what is measured now against what was accepted.
    pub(super) fn gates(&self, now: &Self, options: &CheckOptions) -> Vec<GateResult> {
        let share = options.max_ratio_loss.unwrap_or(DEFAULT_RATIO_LOSS);
        let least = self.ratio * (1.0 - share);
        let outcome = |holds: bool| if holds { Outcome::Passed } else { Outcome::Failed };
        let mut gates = vec![GateResult {
            rule: Rule::BaselineRatio,
            gate: format!("max-ratio-loss={share}"),
            outcome: outcome(now.ratio >= least),
            output: None,
            expected: format!("a ratio of at least {least:.4}, the baseline having {:.4}", self.ratio),
            found: format!("{:.4}", now.ratio),
        }];
        let loss_db = options.max_drift_loss_db.unwrap_or(DEFAULT_DRIFT_LOSS_DB);
        for locked in &self.outputs {
            // An output that is gone has failed the comparison; one that is equal has nothing to lose.
            let Some(output) = now.outputs.iter().find(|output| output.name == locked.name) else { continue };
            let Some(found) = output.snr_db else { continue };
            let least = locked.snr_db.map(|snr| snr - loss_db);
            gates.push(GateResult {
                rule: Rule::BaselineDrift,
                gate: format!("max-drift-loss={loss_db}"),
                outcome: outcome(least.is_some_and(|least| found >= least)),
                output: Some(locked.name.clone()),
                expected: match (least, locked.snr_db) {
                    (Some(least), Some(snr)) => format!("at least {least:.2} dB, the baseline having {snr:.2} dB"),
                    _ => "equal values, as the baseline has".to_owned(),
                },
                found: format!("{found:.2} dB"),
            });
        }
        gates
    }
}

/// Reads the lock file where the candidate is to be held against it.
///
/// # Errors
/// Fails where options that need a baseline have none, the file is missing or is no lock file.
pub(super) fn read_for(options: &CheckOptions) -> Result<Option<Baseline>> {
    let Some(path) = &options.baseline else {
        let needs = match () {
            () if options.update_baseline => "--update-baseline",
            () if options.max_ratio_loss.is_some() => "--max-ratio-loss",
            () if options.max_drift_loss_db.is_some() => "--max-drift-loss",
            () => return Ok(None),
        };
        return Err(Error::usage(format!("`{needs}` is about a baseline, and none is named"))
            .help("name its file: --baseline onnx-shrink.lock.json"));
    };
    if options.update_baseline {
        return Ok(None);
    }
    let text = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!("there is no baseline `{}`", path.display()))
            .help("accept this candidate as the first one with --update-baseline"),
        _ => Error::io("read the baseline", path, e),
    })?;
    let invalid = |found: String| {
        Error::usage(format!("`{}` is no baseline of this version", path.display()))
            .expected(format!("a file that --update-baseline wrote, version {BASELINE_VERSION}"))
            .found(found)
    };
    let baseline: Baseline = serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
    if baseline.version != BASELINE_VERSION {
        return Err(invalid(format!("version {}", baseline.version)));
    }
    Ok(Some(baseline))
}

/// Six digits behind the point: what the last bits of a sum are does not belong in a file that people review.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
