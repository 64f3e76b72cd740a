//! The drift gate on its own: two model files, the same inputs, a verdict.

use std::path::Path;

use serde::Serialize;

use crate::backend::BackendChoice;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::ir::{Model, Shape};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Effect, Progress};
use crate::shrink::{Comparing, REPORT_VERSION, Status, Validation, data_for, judge_drift, narrowed};
use crate::validate::Gate;

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
}

/// What came of it, in the form that `--json` prints; versioned like the report of a shrink.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The version of the JSON form.
    pub version: u32,
    /// The model that is right.
    pub reference: String,
    /// The model that was held against it.
    pub candidate: String,
    /// How the two compare.
    pub validation: Validation,
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
/// Fails where a file is no model, or data or gates do not fit the reference.
pub fn check(reference: &Path, candidate: &Path, options: &CheckOptions, progress: &dyn Progress) -> Result<Checked> {
    let (before, after) = (Input::open(reference)?, Input::open(candidate)?);
    let how = Comparing { backend: options.backend, seed: options.seed, progress };
    let common = common_model(&before.model, &after.model, &options.narrowing)?;
    let samples = data_for(&common, options.inputs.as_deref(), options.seed);
    let side_files = before.side_files.len() + after.side_files.len();
    let (validation, refusal) = if side_files == 0 && before.file.bytes() == after.file.bytes() {
        if options.inputs.is_some() {
            samples?;
        }
        (Validation::without(Status::Identical, ""), None)
    } else {
        judge_drift(&before.file, &after.file, Some(Effect::Lossy), &options.gates, samples, &how)?
    };
    let report = CheckReport {
        version: REPORT_VERSION,
        reference: reference.display().to_string(),
        candidate: candidate.display().to_string(),
        validation,
    };
    Ok(Checked { report, refusal })
}

/// The reference with the shapes of inputs that both models take.
fn common_model(reference: &Model, candidate: &Model, narrowing: &Pipeline) -> Result<Model> {
    let mut common = narrowed(reference, narrowing)?.unwrap_or_else(|| reference.clone());
    let theirs = candidate.signature();
    for input in common.graph.inputs().to_vec() {
        let held = common.graph.value(input);
        let other = theirs.inputs.iter().find(|other| other.name == held.name()).and_then(|other| other.ty.shape());
        let (Some(shape), Some(other)) = (held.ty().shape(), other) else { continue };
        if shape.rank() != other.rank() || held.initializer().is_some() {
            continue;
        }
        let narrower = shape.0.iter().zip(&other.0).map(|(dim, other)| match (dim.fixed(), other.fixed()) {
            (None, Some(_)) => other.clone(),
            _ => dim.clone(),
        });
        let narrower = Shape(narrower.collect());
        common.graph.declare_shape(input, &narrower)?;
    }
    Ok(common)
}
