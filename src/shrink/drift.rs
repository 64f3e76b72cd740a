//! Comparing two model files through a backend: load both, run both, say whose fault it is where that fails.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::backend::{BackendChoice, LoadOptions, ModelBytes, Remembering, Session, load};
use crate::data::{self, DataOptions, Hints, Samples, open};
use crate::error::{Error, ErrorKind, Result};
use crate::input::sha256;
use crate::ir::Model;
use crate::pass::{Effect, Progress};
use crate::validate::{CompareOptions, DriftReport, Gate, Tolerance, compare};

/// The samples that stand in where the user gave no data.
const DEFAULT_SAMPLES: &str = "synthetic:4";

/// One thread for each run: samples run in parallel.
const THREADS_OF_A_RUN: usize = 1;

/// How to compare two models.
#[derive(Clone, Copy)]
pub struct Comparing<'a> {
    /// The backend for both.
    pub backend: BackendChoice,
    /// The seed of synthetic data and of the noise floor.
    pub seed: u64,
    /// Who wants to know how far the work has come.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Comparing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparing").field("backend", &self.backend).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Opens the data to run a model on; without any, makes some up that fits the model.
///
/// # Errors
/// As [`open`]; [`ErrorKind::CannotValidate`] where no data was named and none can be made up.
pub fn data_for(model: &Model, spec: Option<&str>, seed: u64) -> Result<Box<dyn Samples>> {
    let is_made_up = spec.is_none_or(data::is_synthetic);
    let hints = if is_made_up { Hints::from_model(model) } else { Hints::default() };
    let options = DataOptions { signature: &model.signature(), seed, hints: &hints, limit: None };
    match spec {
        Some(spec) => open(spec, &options),
        None => open(DEFAULT_SAMPLES, &options).map_err(|e| {
            e.reframed(ErrorKind::CannotValidate, "no inputs can be made up to compare the models on")
                .help("give real inputs with --inputs")
        }),
    }
}

/// Runs both models on all samples.
///
/// # Errors
/// [`ErrorKind::CannotValidate`] where no backend here can run the models, [`ErrorKind::WorseFile`] where only the
/// candidate fails.
pub fn measure(
    reference: &ModelBytes,
    candidate: &ModelBytes,
    samples: &dyn Samples,
    how: &Comparing<'_>,
) -> Result<DriftReport> {
    Reference::new(reference.clone()).measure(candidate, samples, how)
}

/// The original of one or of many comparisons, loaded once.
#[derive(Debug)]
pub(crate) struct Reference {
    model: ModelBytes,
    /// Whether what it returns is kept for the next comparison.
    remembers: bool,
    session: OnceLock<Box<dyn Session>>,
    /// In ONNX Runtime.
    second: OnceLock<Box<dyn Session>>,
    sha256: OnceLock<String>,
}

impl Reference {
    /// For one comparison.
    pub(crate) fn new(model: ModelBytes) -> Self {
        Self { model, remembers: false, session: OnceLock::new(), second: OnceLock::new(), sha256: OnceLock::new() }
    }

    /// For many comparisons on the same samples.
    pub(crate) fn remembering(model: ModelBytes) -> Self {
        Self { remembers: true, ..Self::new(model) }
    }

    /// The SHA-256 of the file and of its side files, in hexadecimal digits.
    ///
    /// # Errors
    /// Fails where a side file cannot be read.
    pub(super) fn sha256<'a>(&self, side_files: impl IntoIterator<Item = &'a PathBuf>) -> Result<String> {
        if let Some(known) = self.sha256.get() {
            return Ok(known.clone());
        }
        let found = sha256(&self.model, side_files)?;
        Ok(self.sha256.get_or_init(|| found).clone())
    }

    /// Runs the candidate, and the original unless it is known what that returns, on all samples.
    ///
    /// # Errors
    /// As [`measure`].
    pub(crate) fn measure(
        &self,
        candidate: &ModelBytes,
        samples: &dyn Samples,
        how: &Comparing<'_>,
    ) -> Result<DriftReport> {
        let report = self.measure_in(how.backend, candidate, samples, how)?;
        if how.backend == BackendChoice::Auto && report.backend_reference != report.backend_candidate {
            // Two runtimes differ by more than many a pass: compare like with like.
            return self.measure_in(BackendChoice::OnnxRuntime, candidate, samples, how);
        }
        Ok(report)
    }

    fn session(&self, backend: BackendChoice, options: &LoadOptions) -> Result<&dyn Session> {
        let place = if backend == BackendChoice::OnnxRuntime { &self.second } else { &self.session };
        if let Some(session) = place.get() {
            return Ok(&**session);
        }
        let session = load(backend, &self.model, options)?;
        let session = if self.remembers { Box::new(Remembering::new(session)) } else { session };
        Ok(&**place.get_or_init(|| session))
    }

    fn measure_in(
        &self,
        backend: BackendChoice,
        candidate: &ModelBytes,
        samples: &dyn Samples,
        how: &Comparing<'_>,
    ) -> Result<DriftReport> {
        let options = LoadOptions { taps: Vec::new(), threads: THREADS_OF_A_RUN, ..LoadOptions::default() };
        how.progress.start("comparing", samples.len() as u64);
        let before = self.session(backend, &options).map_err(|e| cannot_run("the model", e))?;
        samples.settle(&|inputs| before.run(inputs).map(drop)).map_err(|e| cannot_run("the model", e))?;
        // ONNX Runtime takes what it can load: where that is the original alone, the result is to blame.
        let loads_alone = |error: &Error| {
            error.kind().is_no_run()
                && backend != BackendChoice::Tract
                && load(BackendChoice::OnnxRuntime, &self.model, &options).is_ok()
                && load(BackendChoice::OnnxRuntime, candidate, &options).is_err()
        };
        let after = load(backend, candidate, &options).map_err(|e| match loads_alone(&e) {
            true => does_not_load(e),
            false => does_not_run(e, "load"),
        })?;
        let progress = |_, _| how.progress.advance(1);
        let compare_options = CompareOptions { noise: true, seed: how.seed, progress: Some(&progress) };
        let report = compare(before, &*after, samples, &compare_options).map_err(|e| match loads_alone(&e) {
            // tract took both and left the runs to ONNX Runtime.
            true => does_not_load(e),
            false => whose_fault(e, before, samples),
        });
        how.progress.finish();
        report
    }
}

/// An error while both ran, seen in the light of whether the original runs.
fn whose_fault(error: Error, reference: &dyn Session, samples: &dyn Samples) -> Error {
    if !matches!(error.kind(), ErrorKind::Backend | ErrorKind::Unsupported | ErrorKind::CannotValidate) {
        return error;
    }
    match samples.get(0).and_then(|inputs| reference.run(&inputs)) {
        Ok(_) => does_not_run(error, "run"),
        Err(_) => cannot_run("the model", error),
    }
}

fn cannot_run(what: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unsupported => error
            .reframed(ErrorKind::CannotValidate, format!("no backend here can run {what}"))
            .or_help("install ONNX Runtime (`pip install onnxruntime`), or let ORT_DYLIB_PATH name its library"),
        ErrorKind::Backend => error
            .reframed(ErrorKind::CannotValidate, format!("{what} does not run on these inputs"))
            .or_help("give inputs it was made for with --inputs"),
        _ => error,
    }
}

fn does_not_load(error: Error) -> Error {
    error
        .reframed(ErrorKind::WorseFile, "the result does not load, the original does")
        .help("leave out the step that made it so: --dump-each writes the model after each one")
}

/// The candidate fails where the original does not.
fn does_not_run(error: Error, what: &str) -> Error {
    match error.kind() {
        ErrorKind::Unsupported => cannot_run("the result", error),
        ErrorKind::Backend | ErrorKind::InvalidModel => {
            error.reframed(ErrorKind::WorseFile, format!("the result does not {what}, the original does"))
        }
        _ => error,
    }
}

/// The gates of a result: those of the user, and the default for what was done. A bound on `snr` for all outputs takes
/// the place of the default.
pub fn gates_for(effect: Option<Effect>, user: &[Gate]) -> Vec<Gate> {
    let tolerance = match effect {
        None | Some(Effect::Exact) => Tolerance::Exact,
        Some(Effect::Rounding) => Tolerance::Rounding,
        Some(Effect::Lossy) => Tolerance::Lossy,
    };
    let replaced = user.iter().any(|gate| gate.to_string().starts_with("snr="));
    (!replaced).then(|| Gate::tolerance(tolerance)).into_iter().chain(user.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(effect: Effect, user: &[&str]) -> Vec<String> {
        let user: Vec<Gate> = user.iter().map(|gate| gate.parse().unwrap()).collect();
        gates_for(Some(effect), &user).iter().map(Gate::to_string).collect()
    }

    #[test]
    fn the_default_gate_yields_to_a_bound_on_decibels_only() {
        assert_eq!(gates(Effect::Exact, &[]), ["equal bits"]);
        assert_eq!(gates(Effect::Rounding, &["top1=0.9"]), ["snr=60", "top1=0.9"]);
        assert_eq!(gates(Effect::Lossy, &["snr=5"]), ["snr=5"]);
        assert_eq!(gates(Effect::Lossy, &["y:snr=5"]), ["snr=10", "y:snr=5"]);
    }
}
