//! The main job: read a model, run a pipeline, write the result, and refuse to ship a worse file.

mod bench;
mod bisect;
mod destination;
mod drift;
mod job;
mod judge;
mod narrow;
mod provenance;
mod report;
mod watched;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::backend::BackendChoice;
use crate::census::{census, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::input::Input;
use crate::output::Staging;
use crate::pass::Progress;
use crate::pass::pipeline::Pipeline;
use crate::privacy::Scan;
use crate::report::Detail;
use crate::validate::Gate;

use destination::Destination;
use job::Job;
use judge::Data;

pub(crate) use bench::{Attempt, Bench};
pub use bisect::Bisection;
pub use drift::{Comparing, data_for, gates_for, measure};
pub use judge::{Judged, judge_drift};
pub use narrow::narrowed;
pub use provenance::{PIPELINE_KEY, Provenance};
pub use report::{ModelReport, REPORT_VERSION, Report, Status, Validation};

/// Name and version of the tool, for reports.
pub(crate) const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// What to do, and how.
#[derive(Debug, Clone)]
pub struct ShrinkOptions {
    /// The passes to run.
    pub pipeline: Pipeline,
    /// Where the result goes; `None` for a dry run, which writes nothing.
    pub output: Option<PathBuf>,
    /// Calibration data, and the data to compare on unless `eval_inputs` names other.
    pub inputs: Option<String>,
    /// Files of what calibration measured elsewhere: merged, they stand for the data it was measured on.
    pub stats_in: Vec<PathBuf>,
    /// Where to write what calibration measured.
    pub stats: Option<PathBuf>,
    /// The data to compare on.
    pub eval_inputs: Option<String>,
    /// Gates beyond the default one.
    pub gates: Vec<Gate>,
    /// Whether to compare the result with the original.
    pub validate: bool,
    /// Whether the file is to tell the SHA-256 of the original. Hashing takes longer than much of what is done to a large model,
    /// so that what is compared with nothing does without.
    pub identifies_original: bool,
    /// What the result is to tell of its drift where that is not measured: what the file told that it is compared with.
    pub drift_told: Option<String>,
    /// Write the result even where it is refused.
    pub force: bool,
    /// The backend that runs models.
    pub backend: BackendChoice,
    /// The seed of everything random.
    pub seed: u64,
    /// Write the model after each pass to this folder.
    pub dump_each: Option<PathBuf>,
    /// Stop after so many passes.
    pub stop_after: Option<usize>,
    /// Execute the model after each pass that changed something.
    pub verify_each: bool,
    /// Find the step and the operator where a gate breaks first, if the result drifted too far.
    pub bisect: bool,
    /// Measure what only a report shows: sizes by part, drift by layer.
    pub detail: bool,
    /// Put initializers of at least this many bytes into a side file.
    pub external_from_bytes: Option<u64>,
}

impl ShrinkOptions {
    /// A dry run of a pipeline, with every other option at its default.
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            pipeline,
            output: None,
            inputs: None,
            stats_in: Vec::new(),
            stats: None,
            eval_inputs: None,
            gates: Vec::new(),
            validate: true,
            identifies_original: true,
            drift_told: None,
            force: false,
            backend: BackendChoice::Auto,
            seed: 0,
            dump_each: None,
            stop_after: None,
            verify_each: false,
            bisect: false,
            detail: false,
            external_from_bytes: None,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Shrunk {
    /// What was done and found.
    pub report: Report,
    /// Why the result is not good enough; it was written only if the options force it. Of kind
    /// [`Drift`](crate::ErrorKind::Drift), [`WorseFile`](crate::ErrorKind::WorseFile) or
    /// [`CannotValidate`](crate::ErrorKind::CannotValidate).
    pub refusal: Option<Error>,
    /// What only a report shows, where the options ask for it.
    pub detail: Option<Detail>,
}

/// Runs a pipeline on a model file, compares the result with the original and writes it.
///
/// The result is written to a temporary place first and compared from there, so what was compared is what ships. The
/// input is never changed, unless it is named as the output.
///
/// # Errors
/// Fails where the input, the data or the options are no good, a pass fails, or the result cannot be written; then
/// nothing was written. A result that is merely not good enough is no error: see [`Shrunk::refusal`].
pub fn shrink(path: &Path, options: &ShrinkOptions, progress: &dyn Progress) -> Result<Shrunk> {
    let start = Instant::now();
    let plan = options.pipeline.plan()?;
    let input = Input::open(path)?;
    let destination = Destination::choose(&input, options.output.as_deref())?;
    // What goes in is what the result takes.
    let narrowed = narrowed(&input.model, &options.pipeline)?;
    let data = Data::open(narrowed.as_ref().unwrap_or(&input.model), &input.file, options)?;
    // Before the work begins: a destination that cannot be written to should not cost an hour of calibration.
    let staging = Staging::open(&destination.path, &destination.side_name)?;

    let (job, mut model) = Job::take(input, options, progress);
    let before = job.input_report(&model);
    let run = job.transform(plan, &mut model, &data, staging.folder())?;
    let encoded = job.encode(&mut model, &run, &data, &destination.side_name)?;
    let again = if options.bisect || options.detail { data.again() } else { None };
    let (validation, refusal) = job.judge(&model, &encoded, &run, data, &staging)?;
    let encoded = job.tell_drift(&mut model, encoded, &validation, &staging, &destination.side_name)?;

    let scan = match options.pipeline.strips_all() {
        true => Some(job.scan(&encoded, &staging)?),
        false => None,
    };
    let refusal = refusal.or_else(|| scan.as_ref().and_then(tells_too_much));
    let bisection = match (&again, &refusal) {
        (Some(data), Some(error))
            if options.bisect && matches!(error.kind(), ErrorKind::Drift | ErrorKind::WorseFile) =>
        {
            bisect::bisect(&job, Input::open(path)?.model, &run, data, staging.folder())?
        }
        _ => None,
    };
    // While the input is what it was, and the result is there even if it is refused.
    let detail = match options.detail {
        true => Some(job.detail(&encoded, again.as_ref(), &staging)?),
        false => None,
    };
    let written = options.output.is_some() && (refusal.is_none() || options.force);
    if written {
        if !staging.model().exists() {
            staging.write(&encoded)?;
        }
        staging.commit()?;
    }
    let shown = options.output.as_ref().map(|path| path.display().to_string());
    let after = ModelReport::new(shown, (encoded.len(), encoded.side_len()), census(&model), zeros(&model));
    let mut warnings = model.warnings.clone();
    if encoded.side_len() > 0 && written {
        warnings.push(job.side_file_notice(&destination.side_name));
    }
    let report = Report {
        version: REPORT_VERSION,
        tool: TOOL,
        pipeline: options.pipeline.to_string(),
        seed: options.seed,
        ratio: before.total_bytes() as f64 / after.total_bytes().max(1) as f64,
        input: before,
        output: after,
        steps: run.steps,
        validation,
        bisection,
        scan,
        warnings,
        written,
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok(Shrunk { report, refusal, detail })
}

/// Why a result is refused that is to tell nothing of its makers, where it does.
fn tells_too_much(scan: &Scan) -> Option<Error> {
    let first = scan.traces.first()?;
    let more = match scan.traces.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(
        Error::new(ErrorKind::WorseFile, "the result still tells what `strip=all` is to remove")
            .expected("no doc string, metadata, path, training information or unused tensor")
            .found(format!("{first}{more}"))
            .help("let strip=all come last; names of inputs and outputs, and what tensors hold, it cannot change"),
    )
}
