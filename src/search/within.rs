//! The best result within a budget, found in a given time, with the best so far on disk throughout.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Watcher;
use super::budget::Budget;
use super::gallery::{Gallery, Picture};
use super::halt::Halting;
use super::hunt::{Found, Hunt, Stop};
use super::lab::Lab;
use super::measurement::Measurement;
use super::objective::Objective;
use crate::backend::BackendChoice;
use crate::error::{Error, ErrorKind, Result};
use crate::output::is_same_place;
use crate::pass::Progress;
use crate::pass::pipeline::{Pipeline, Step};
use crate::shrink::{ModelReport, ShrinkOptions, TOOL};
use crate::validate::Gate;

/// The version of the JSON form.
pub const BUDGET_VERSION: u32 = 1;

/// What to look for, and how.
#[derive(Debug, Clone)]
pub struct BudgetOptions {
    /// What has to hold.
    pub budget: Budget,
    /// Output, data, further gates, backend, seed, and whether to write what misses the budget; the pipeline in it narrows
    /// the inputs for all.
    pub base: ShrinkOptions,
    /// The steps that stand in front of every pipeline.
    pub front: Vec<Step>,
    /// A folder for measurements, so that a search can go on where one before it ended; beside the output unless told.
    pub cache: Option<PathBuf>,
    /// How long to look.
    pub max_time: Duration,
    /// A folder for results that no other beats.
    pub pareto: Option<PathBuf>,
}

/// What came of it. Fields may be added, but none changes its meaning or goes while [`BUDGET_VERSION`] stays.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetReport {
    /// [`BUDGET_VERSION`].
    pub version: u32,
    /// Name and version of the tool.
    pub tool: &'static str,
    /// The budget.
    pub budget: String,
    /// Gates beyond it.
    pub gates: Vec<String>,
    /// The model.
    pub input: ModelReport,
    /// The seed of everything random.
    pub seed: u64,
    /// The backend that ran models, as `--backend` takes it.
    pub backend: String,
    /// The data that results were compared on.
    pub data: String,
    /// Why nothing was timed, where that is so.
    pub untimed: Option<String>,
    /// Whether a result holds to the budget.
    pub met: bool,
    /// The best result that does; otherwise the one that comes nearest, `null` where there is none at all.
    pub best: Option<Measurement>,
    /// Bytes of the original over those of the best.
    pub ratio: Option<f64>,
    /// By which part the best misses the bound it misses most; 0 where the budget is met.
    pub missed_by: f64,
    /// Accuracy of the original on labelled data, 0 to 1.
    pub accuracy: Option<f64>,
    /// Where the best was written.
    pub output: Option<String>,
    /// How many pipelines were tried.
    pub tried: usize,
    /// How many of them were known from a run before.
    pub from_cache: usize,
    /// Whether time was up before everything was tried.
    pub time_was_up: bool,
    /// Results that no other beats, the smallest first, where they were asked for.
    pub front: Vec<Picture>,
    /// What to know about the cache.
    pub warnings: Vec<String>,
    /// How long everything took.
    pub seconds: f64,
}

/// A report, and why nothing was written, or something that misses the budget.
#[derive(Debug)]
pub struct Budgeted {
    /// What was found.
    pub report: BudgetReport,
    /// Of kind [`Drift`](ErrorKind::Drift) where the budget cannot be met.
    pub refusal: Option<Error>,
}

/// Searches for the best result within a budget. The output is replaced whenever something better is found, and is whole at
/// all times.
///
/// # Errors
/// Fails where the model, the data or the options are no good, or files cannot be read or written. That nothing holds to the
/// budget is a refusal.
pub fn within_budget(path: &Path, options: &BudgetOptions, watcher: Arc<dyn Watcher>) -> Result<Budgeted> {
    let start = Instant::now();
    let output = options.base.output.clone().ok_or_else(|| Error::usage("a search needs an output to write to"))?;
    if is_same_place(path, &output) {
        return Err(Error::usage("a search cannot replace the model it compares with").help("name another output"));
    }
    let gates: Vec<Gate> = options.budget.gates().into_iter().chain(options.base.gates.iter().cloned()).collect();
    let cache = options.cache.clone().unwrap_or_else(|| beside(&output));
    let base = ShrinkOptions { gates, ..options.base.clone() };
    let progress: &dyn Progress = &*watcher;
    let lab = Arc::new(open(path, base, &cache, progress)?);
    if let (true, Some(reason)) = (options.budget.bounds_latency(), lab.untimed()) {
        return Err(Error::new(ErrorKind::Unsupported, "the budget bounds time, which is measured in ONNX Runtime")
            .found(reason)
            .help("`pip install onnxruntime`, let ORT_DYLIB_PATH name its library, or leave `latency` out"));
    }
    let original_bytes = lab.bench().original().total_bytes();
    let objective =
        Objective::new(options.budget.clone(), &options.base.gates, original_bytes, lab.untimed().is_none());
    let gallery = options.pareto.as_ref().map(|folder| Gallery::open(folder, &output, original_bytes)).transpose()?;
    let found: Arc<Mutex<Found>> = Arc::default();
    let hunt = Arc::new(Hunt {
        lab,
        objective,
        output,
        front: options.front.clone(),
        gallery,
        found,
        progress: Halting::new(watcher),
        start,
        deadline: start + options.max_time,
    });
    let time_was_up = run(&hunt, options.base.force)?;
    finish(&hunt, options, time_was_up)
}

/// Opens the lab in the runtime that results are timed in, unless the user names one: it is the faster one, and a search runs
/// many models.
fn open(path: &Path, base: ShrinkOptions, cache: &Path, progress: &dyn Progress) -> Result<Lab> {
    if base.backend == BackendChoice::Auto {
        let in_onnxruntime = ShrinkOptions { backend: BackendChoice::OnnxRuntime, ..base.clone() };
        match Lab::open(path, in_onnxruntime, Some(cache), progress) {
            Err(error) if error.kind().is_no_run() => {}
            opened => return opened,
        }
    }
    Lab::open(path, base, Some(cache), progress)
}

/// Runs the search in a thread of its own, and halts it once time is up. Answers whether time was up. With `forces`, it is
/// waited for where nothing holds to the budget, to write the nearest.
fn run(hunt: &Arc<Hunt>, forces: bool) -> Result<bool> {
    let (done, ended) = channel::<()>();
    let searching = hunt.clone();
    let thread = std::thread::spawn(move || {
        // Dropped at the end, whatever that is.
        let _done = done;
        searching.run().and_then(|()| searching.settle())
    });
    if matches!(ended.recv_timeout(hunt.left()), Err(RecvTimeoutError::Timeout)) {
        let found = hunt.found();
        let is_written = if found.best().is_some() { found.is_settled() } else { !forces };
        // Something is to be on disk, and what is best: else it is being made, or will be.
        if is_written && !found.measured.is_empty() {
            hunt.progress.halt();
        }
    }
    // The thread ends before the process does: a runtime that is still at work would not survive that.
    match thread.join() {
        Ok(Ok(())) => Ok(hunt.found().has_skipped),
        Ok(Err(Stop::TimeIsUp | Stop::TooLong)) => Ok(true),
        Ok(Err(Stop::Failed(error))) => Err(error),
        Err(_) if hunt.progress.is_halted() => Ok(true),
        Err(_) => Err(Error::new(ErrorKind::BrokenPass, "a pass ended the search by a panic")
            .help("this is a defect of onnx-shrink: please report it; the best result so far is on disk")),
    }
}

fn finish(hunt: &Hunt, options: &BudgetOptions, time_was_up: bool) -> Result<Budgeted> {
    let (measured, met, from_cache) = {
        let found = hunt.found();
        (found.measured.clone(), found.best, found.from_cache)
    };
    let all: Vec<&Measurement> = measured.iter().collect();
    let (place, missed_by) = match met {
        Some(place) => (Some(place), 0.0),
        None => hunt.objective.nearest(&all)?.map_or((None, f64::INFINITY), |(place, missed)| (Some(place), missed)),
    };
    let best = place.map(|place| measured[place].clone());
    let mut is_written = met.is_some();
    if let (None, Some(nearest), true) = (met, &best, options.base.force) {
        let pipeline: Pipeline = nearest.pipeline.parse()?;
        let progress: &dyn Progress = &hunt.progress;
        if let (_, Some(attempt)) = hunt.lab.measure(&pipeline, Some(&hunt.output), |_| false, |_| false, progress)? {
            attempt.keep()?;
            is_written = true;
        }
    }
    let refusal = met.is_none().then(|| not_met(hunt, best.as_ref(), time_was_up));
    let original = hunt.lab.bench().original();
    let ratio =
        best.as_ref().and_then(|best| best.bytes).map(|bytes| original.total_bytes() as f64 / bytes.max(1) as f64);
    let report = BudgetReport {
        version: BUDGET_VERSION,
        tool: TOOL,
        budget: options.budget.to_string(),
        gates: options.base.gates.iter().map(Gate::to_string).collect(),
        input: original.clone(),
        seed: options.base.seed,
        backend: hunt.lab.bench().options().backend.to_string(),
        data: hunt.lab.bench().evaluation()?.describe(),
        untimed: hunt.lab.untimed().map(str::to_owned),
        met: met.is_some(),
        best,
        ratio,
        missed_by,
        accuracy: hunt.lab.accuracy(),
        output: is_written.then(|| hunt.output.display().to_string()),
        tried: measured.len(),
        from_cache,
        time_was_up,
        front: hunt.gallery.as_ref().map(|gallery| gallery.close(&all)).transpose()?.unwrap_or_default(),
        warnings: hunt.lab.take_warnings(),
        seconds: hunt.start.elapsed().as_secs_f64(),
    };
    Ok(Budgeted { report, refusal })
}

fn not_met(hunt: &Hunt, nearest: Option<&Measurement>, time_was_up: bool) -> Error {
    let error = Error::new(ErrorKind::Drift, "nothing that was tried holds to the budget")
        .expected(hunt.objective.budget.to_string())
        .found(match nearest {
            Some(nearest) => format!("at the nearest {}, by `{}`", hunt.describe(nearest), nearest.pipeline),
            None => "no result at all".to_owned(),
        });
    match time_was_up {
        true => error.help("look longer with --max-time: what was measured is not measured again; or ask for less"),
        false => error.help("ask for less, or write the nearest with --force"),
    }
}

/// The cache of a search that names none.
fn beside(output: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(".onnx-shrink.cache");
    output.with_file_name(name)
}
