//! The drift gate on its own: two model files, the same inputs, a verdict.
//!
//! ```text
//! reference, candidate --> drift gates      both run on the same samples
//!                          --max-size       bytes of the candidate with its side files
//!                          --baseline       size and drift of the model that was accepted last
//!                          --max-latency-ratio    both run in turns in ONNX Runtime
//!                      --> GateResult, one for each gate: what every form of output is rendered from
//! ```

mod baseline;
mod common;
mod confidence;
mod latency;
mod outcome;
mod size;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::backend::BackendChoice;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::layers::{LayersReport, layers};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Effect, Progress};
use crate::shrink::{Comparing, Status, Validation, data_for, gates_for, judge_drift};
use crate::validate::Gate;

pub use baseline::{Baseline, BaselineOutput};
pub use latency::Latency;
pub use outcome::{GateResult, Outcome, Rule};
pub use size::{Fingerprint, fingerprint};

use common::common_model;

/// The version of the JSON form.
pub const CHECK_VERSION: u32 = 1;

/// The JSON Schema of what [`CheckReport`] serializes to.
pub const CHECK_SCHEMA: &str = include_str!("check.schema.json");

/// How to compare two models.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// The data to run both on; made up where there is none.
    pub inputs: Option<String>,
    /// Gates beyond the default one.
    pub gates: Vec<Gate>,
    /// The backend for both.
    pub backend: BackendChoice,
    /// The seed of synthetic data and of the noise floor.
    pub seed: u64,
    /// Steps that narrow the inputs of the reference to those that both are to be compared on.
    pub narrowing: Pipeline,
    /// The most bytes the candidate may have, side files included.
    pub max_size_bytes: Option<u64>,
    /// The most that the compression ratio may lose against the baseline's, as a share of it.
    pub max_ratio_loss: Option<f64>,
    /// The most that the drift of an output may lose against the baseline's, in decibels.
    pub max_drift_loss_db: Option<f64>,
    /// The most time the candidate may take, in times of the reference's.
    pub max_latency_ratio: Option<f64>,
    /// The lock file of the model that was accepted last.
    pub baseline: Option<PathBuf>,
    /// Write the lock file where every other gate holds, instead of comparing with it.
    pub update_baseline: bool,
    /// Find out where drift is born.
    pub layers: bool,
}

/// What came of it, in the form that `--json` prints; [`CHECK_SCHEMA`] describes it. Fields may be added, but none changes
/// its meaning or goes while [`CHECK_VERSION`] stays.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// [`CHECK_VERSION`].
    pub version: u32,
    /// The model that is right.
    pub reference: String,
    /// The model that was held against it.
    pub candidate: String,
    /// Whether every gate holds, as far as that is known.
    pub outcome: Outcome,
    /// Sizes and hash of the reference.
    pub reference_file: Fingerprint,
    /// Sizes and hash of the candidate.
    pub candidate_file: Fingerprint,
    /// Bytes of the reference over bytes of the candidate, side files included.
    pub ratio: f64,
    /// How the two compare.
    pub validation: Validation,
    /// How their times compare; `null` where that was not asked for or could not be measured.
    pub latency: Option<Latency>,
    /// Where drift is born; `null` where that was not asked for, or the models were not run.
    pub layers: Option<LayersReport>,
    /// Every gate and what came of it, in the order they were tried.
    pub gates: Vec<GateResult>,
    /// Whether the baseline was written.
    pub baseline_updated: bool,
    /// What to know about how far the figures can be trusted.
    pub warnings: Vec<String>,
}

/// A comparison, and why the candidate is not good enough, if it is not.
#[derive(Debug)]
pub struct Checked {
    /// What was found.
    pub report: CheckReport,
    /// Of kind [`Drift`](crate::ErrorKind::Drift), [`WorseFile`](crate::ErrorKind::WorseFile) or
    /// [`CannotValidate`](crate::ErrorKind::CannotValidate).
    pub refusal: Option<Error>,
}

/// Compares two model files. Files with the same bytes are not run. Where one of them has a dimension fixed that the
/// other leaves open, both run with that extent.
///
/// # Errors
/// Fails where a file is no model, or data, gates or baseline do not fit the reference.
pub fn check(reference: &Path, candidate: &Path, options: &CheckOptions, progress: &dyn Progress) -> Result<Checked> {
    let locked = baseline::read_for(options)?;
    let (before, after) = (Input::open(reference)?, Input::open(candidate)?);
    let (before_print, after_print) = (fingerprint(&before)?, fingerprint(&after)?);
    let how = Comparing { backend: options.backend, seed: options.seed, progress };
    let common = common_model(&before.model, &after.model, &options.narrowing)?;
    let samples = data_for(&common, options.inputs.as_deref(), options.seed).map(Arc::<dyn Samples>::from);
    let for_layers = samples.as_ref().ok().cloned();
    let first_sample = samples.as_ref().ok().map(|samples| samples.get(0)).transpose()?;
    let side_files = before.side_files.len() + after.side_files.len();
    let (validation, drift_refusal) = if side_files == 0 && before.file.bytes() == after.file.bytes() {
        if options.inputs.is_some() {
            samples?;
        }
        (Validation::without(Status::Identical, ""), None)
    } else {
        judge_drift(&before.file, &after.file, Some(Effect::Lossy), &options.gates, samples, &how)?
    };

    let drift_gates = gates_for(Some(Effect::Lossy), &options.gates);
    let ratio = before_print.total_bytes() as f64 / after_print.total_bytes().max(1) as f64;
    let mut gates = outcome::of_drift(&validation, &drift_gates, drift_refusal.as_ref());
    let mut warnings = confidence::warnings(&validation, &drift_gates, options.inputs.as_deref());
    gates.extend(size::gate(&after_print, options.max_size_bytes));
    let latency = match options.max_latency_ratio {
        Some(limit) => {
            let (result, latency) = latency::gate(&before.file, &after.file, first_sample.as_ref(), limit, progress);
            warnings.extend(latency.as_ref().and_then(|latency| latency.warning(limit)));
            gates.push(result);
            latency
        }
        None => None,
    };
    let layers = match for_layers {
        Some(samples) if options.layers && validation.drift.is_some() => {
            Some(layers((&before.model, &before.file), (&after.model, &after.file), &*samples, &how)?)
        }
        _ => None,
    };
    let now = Baseline::of(&before_print, &after_print, ratio, &validation);
    if let Some(locked) = &locked {
        warnings.extend(locked.warnings(&now));
        gates.extend(locked.gates(&now, options));
    }
    let refusal = outcome::refusal(&gates, drift_refusal);
    let baseline_updated = match (&options.baseline, &refusal) {
        (Some(path), None) if options.update_baseline => now.write(path).map(|()| true)?,
        _ => false,
    };
    let report = CheckReport {
        version: CHECK_VERSION,
        reference: reference.display().to_string(),
        candidate: candidate.display().to_string(),
        outcome: outcome::of_all(&gates),
        reference_file: before_print,
        candidate_file: after_print,
        ratio,
        validation,
        latency,
        layers,
        gates,
        baseline_updated,
        warnings,
    };
    Ok(Checked { report, refusal })
}
