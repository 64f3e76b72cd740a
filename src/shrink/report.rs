//! The report of a run: what `--json` prints, and the base of what `--report` writes.
//!
//! The JSON form is versioned: fields may be added, but none changes its meaning or goes while [`REPORT_VERSION`] stays.

use serde::Serialize;

use super::bisect::Bisection;
use crate::census::{Census, Zeros};
use crate::pass::report::StepReport;
use crate::privacy::Scan;
use crate::validate::{DriftReport, Failure};

/// The version of the JSON form.
pub const REPORT_VERSION: u32 = 1;

/// What a run did and found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Name and version of the tool.
    pub tool: &'static str,
    /// The pipeline, as it is stored in the file.
    pub pipeline: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The model that was read.
    pub input: ModelReport,
    /// The model that came out.
    pub output: ModelReport,
    /// Bytes before over bytes after, side files included.
    pub ratio: f64,
    /// The passes that ran, in order.
    pub steps: Vec<StepReport>,
    /// How the result compares with the original.
    pub validation: Validation,
    /// Where a gate breaks first; `null` where that was not asked for, or none does.
    pub bisection: Option<Bisection>,
    /// What a scan of the written bytes found of what `strip=all` removes; `null` where the pipeline does not run it.
    pub scan: Option<Scan>,
    /// What the user should know about the files.
    pub warnings: Vec<String>,
    /// Whether the output was written.
    pub written: bool,
    /// How long everything took.
    pub seconds: f64,
}

/// One of the two models.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// The file; `null` for the output of a dry run.
    pub path: Option<String>,
    /// Bytes of the model file.
    pub bytes: u64,
    /// Bytes of side files.
    pub side_bytes: u64,
    /// Operators and constants.
    #[serde(flatten)]
    pub census: Census,
    /// The share of zeros among the elements of constants of two and more dimensions.
    pub sparsity: f64,
}

impl ModelReport {
    pub(super) fn new(path: Option<String>, (bytes, side_bytes): (u64, u64), census: Census, zeros: Zeros) -> Self {
        Self { path, bytes, side_bytes, census, sparsity: zeros.sparsity() }
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.bytes + self.side_bytes
    }
}

/// What came of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every gate holds.
    Passed,
    /// A gate does not hold.
    Failed,
    /// The output is the input, byte for byte: there is nothing to compare.
    Identical,
    /// Nobody asked for it, or the result was refused before.
    Skipped,
    /// It could not be done.
    Impossible,
}

/// The comparison of output and input.
#[derive(Debug, Clone, Serialize)]
pub struct Validation {
    /// What came of it.
    pub status: Status,
    /// Why, where the status alone does not say it.
    pub reason: Option<String>,
    /// The data both models ran on.
    pub data: Option<String>,
    /// The gates the result was held to.
    pub gates: Vec<String>,
    /// The drift of every output, and the noise floor of the original.
    pub drift: Option<DriftReport>,
    /// The gates that do not hold.
    pub failures: Vec<Failure>,
}

impl Validation {
    /// Without a comparison.
    pub(crate) fn without(status: Status, reason: impl Into<String>) -> Self {
        let reason = Some(reason.into()).filter(|reason| !reason.is_empty());
        Self { status, reason, data: None, gates: Vec::new(), drift: None, failures: Vec::new() }
    }
}
