//! A given list of pipelines, each run on the same model and data, in a table.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Watcher;
use super::front::front;
use super::lab::Lab;
use super::measurement::Measurement;
use crate::error::{Error, Result};
use crate::pass::Progress;
use crate::pass::pipeline::Pipeline;
use crate::shrink::{Attempt, ModelReport, ShrinkOptions, TOOL};
use crate::validate::Gate;

/// The version of the JSON form.
pub const SWEEP_VERSION: u32 = 1;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The pipelines, in the order of the table.
    pub pipelines: Vec<Pipeline>,
    /// Data, gates, backend and seed; the pipeline in it narrows the inputs for all, and stands in front of each.
    pub base: ShrinkOptions,
    /// A folder for the models that hold to the gates.
    pub keep: Option<PathBuf>,
    /// A folder for measurements, so that no pipeline is measured twice.
    pub cache: Option<PathBuf>,
    /// Whether results are timed, where there is ONNX Runtime.
    pub timing: bool,
}

/// What came of one pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The result holds to all gates.
    Passed,
    /// It does not, or is a worse file.
    Refused,
    /// There is no result.
    Failed,
}

/// One pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What came of it.
    pub verdict: Verdict,
    /// Why it was refused or failed.
    pub reason: Option<String>,
    /// Bytes of the original over those of the result.
    pub ratio: Option<f64>,
    /// The least signal-to-noise ratio of any output in decibels; `null` where all values are equal or nothing was compared.
    pub snr_db: Option<f64>,
    /// The least agreement of the best score, 0 to 1, where there are scores.
    pub top1: Option<f64>,
    /// Accuracy on labelled data, 0 to 1.
    pub accuracy: Option<f64>,
    /// Whether no other result that passed is at least as small, as close to the original and as fast.
    pub on_front: bool,
    /// Where the result was written.
    pub file: Option<String>,
    /// Whether it was known from an earlier run.
    pub from_cache: bool,
    /// All that was measured.
    #[serde(flatten)]
    pub measured: Measurement,
}

/// What came of all. Fields may be added, but none changes its meaning or goes while [`SWEEP_VERSION`] stays.
#[derive(Debug, Clone, Serialize)]
pub struct SweepReport {
    /// [`SWEEP_VERSION`].
    pub version: u32,
    /// Name and version of the tool.
    pub tool: &'static str,
    /// The model.
    pub input: ModelReport,
    /// The seed of everything random.
    pub seed: u64,
    /// The data that results were compared on.
    pub data: String,
    /// The gates beyond the default one.
    pub gates: Vec<String>,
    /// Accuracy of the original on labelled data, 0 to 1.
    pub accuracy: Option<f64>,
    /// Why nothing was timed, where that is so.
    pub untimed: Option<String>,
    /// One for each pipeline, in the order they were given.
    pub rows: Vec<Row>,
    /// What to know about the cache.
    pub warnings: Vec<String>,
    /// How long everything took.
    pub seconds: f64,
}

/// Runs all pipelines. That one fails does not stop the others.
///
/// # Errors
/// Fails where there is no pipeline, the model, the data or the options are no good, or files cannot be written.
pub fn sweep(path: &Path, options: &SweepOptions, watcher: &dyn Watcher) -> Result<SweepReport> {
    let start = Instant::now();
    if options.pipelines.is_empty() {
        return Err(Error::usage("there is no pipeline to run")
            .expected("-p PIPELINE, once for each, or a file with one a line")
            .help("for instance: onnx-shrink sweep model.onnx -p fp16 -p quant8=weights"));
    }
    // What is misspelt should not come to light after an hour.
    options.pipelines.iter().try_for_each(|pipeline| pipeline.plan().map(drop))?;
    let progress: &dyn Progress = watcher;
    let lab = Lab::open(path, options.base.clone(), options.cache.as_deref(), progress)?;
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, e))?;
    }
    let mut rows: Vec<Row> = Vec::new();
    for (index, pipeline) in options.pipelines.iter().enumerate() {
        let left = time_left(start.elapsed(), index, options.pipelines.len());
        watcher.trying(&pipeline.to_string(), &format!("{} of {}", index + 1, options.pipelines.len()), left);
        rows.push(row(&lab, pipeline, index, options, progress)?);
    }
    let passed: Vec<&Row> = rows.iter().filter(|row| row.verdict == Verdict::Passed).collect();
    let measured: Vec<&Measurement> = passed.iter().map(|row| &row.measured).collect();
    let mut on_front = front(&measured).into_iter();
    for row in rows.iter_mut().filter(|row| row.verdict == Verdict::Passed) {
        row.on_front = on_front.next().unwrap_or(false);
    }
    let untimed = if options.timing { lab.untimed().map(str::to_owned) } else { Some("not asked for".to_owned()) };
    Ok(SweepReport {
        version: SWEEP_VERSION,
        tool: TOOL,
        input: lab.bench().original().clone(),
        seed: options.base.seed,
        data: lab.bench().evaluation()?.describe(),
        gates: options.base.gates.iter().map(Gate::to_string).collect(),
        accuracy: lab.accuracy(),
        untimed,
        rows,
        warnings: lab.take_warnings(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// How long the pipelines that are left will take, if they take as long as those before.
fn time_left(spent: Duration, done: usize, all: usize) -> Option<Duration> {
    let each = spent.checked_div(u32::try_from(done).ok()?)?;
    Some(each * u32::try_from(all - done).ok()?)
}

fn row(lab: &Lab, pipeline: &Pipeline, index: usize, options: &SweepOptions, progress: &dyn Progress) -> Result<Row> {
    let path = options.keep.as_ref().map(|folder| folder.join(file_name(index, pipeline)));
    let is_timed = options.timing && lab.untimed().is_none();
    let gates = &options.base.gates;
    let is_complete = |known: &Measurement| known.speed.is_some() || !is_timed || known.bytes.is_none();
    // A model that is to be kept has to be made, whatever is known of it.
    let known = lab.known(pipeline).filter(|known| is_complete(known) && path.is_none());
    let from_cache = known.is_some();
    let (measured, attempt): (Measurement, Option<Attempt>) = match known {
        Some(known) => (known, None),
        None => lab.measure(pipeline, path.as_deref(), |_| is_timed, |_| false, progress)?,
    };
    let reason = measured.refusal(gates)?;
    let verdict = match (&reason, &measured.obstacle) {
        (None, _) => Verdict::Passed,
        (Some(_), Some(obstacle)) if obstacle.is_failure => Verdict::Failed,
        (Some(_), _) => Verdict::Refused,
    };
    let mut file = None;
    if let (Some(path), Some(attempt), Verdict::Passed) = (path, attempt, verdict) {
        attempt.keep()?;
        file = Some(path.display().to_string());
    }
    Ok(Row {
        verdict,
        reason,
        ratio: measured.bytes.map(|bytes| lab.bench().original().total_bytes() as f64 / bytes.max(1) as f64),
        snr_db: measured.snr_db().filter(|snr| snr.is_finite()),
        top1: measured.top1(),
        accuracy: measured.accuracy().or_else(|| lab.accuracy_if_equal(&measured)),
        on_front: false,
        file,
        from_cache,
        measured,
    })
}

/// The name of a kept model: its place in the list, and what was done.
fn file_name(index: usize, pipeline: &Pipeline) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "=.-".contains(c) { c } else { '_' };
    let text: String = pipeline.to_string().chars().map(plain).take(60).collect();
    format!("{:02}-{text}.onnx", index + 1)
}
