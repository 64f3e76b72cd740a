//! Whether a result may ship.

use std::path::PathBuf;
use std::sync::Arc;

use super::ShrinkOptions;
use super::drift::{Comparing, Reference, data_for, gates_for, measure};
use super::report::{Status, Validation};
use super::watched::Watched;
use crate::backend::{LoadOptions, ModelBytes, load};
use crate::data::{Samples, digest, is_synthetic, recorded_digests};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::Model;
use crate::onnx::{self, EncodeOptions};
use crate::pass::Effect;
use crate::validate::Gate;

/// The data of a run.
#[derive(Debug)]
pub(super) struct Data {
    calibration: Option<Arc<Watched>>,
    /// The data to compare on; where none can be made up, why, which matters only once it is needed.
    pub(super) evaluation: Result<Arc<dyn Samples>>,
}

impl Data {
    /// Opens what the user named, so that a mistake there shows before the work begins.
    ///
    /// # Errors
    /// As [`data_for`].
    pub(super) fn open(model: &Model, file: &ModelBytes, options: &ShrinkOptions) -> Result<Self> {
        let named = |spec: &Option<String>| -> Result<Option<Arc<dyn Samples>>> {
            spec.as_deref().map(|spec| Ok(data_for(model, Some(spec), options.seed)?.into())).transpose()
        };
        let calibration = named(&options.inputs)?;
        if options.inputs.as_deref().is_some_and(is_synthetic)
            && let Some(samples) = &calibration
            && let Ok(session) = load(options.backend, file, &LoadOptions::default())
        {
            // Passes run the model on these. Where none suit it, whoever runs it says so.
            let _ = samples.settle(&|inputs| session.run(inputs).map(drop));
        }
        let evaluation = match named(&options.eval_inputs)?.or(calibration.clone()) {
            Some(samples) => Ok(samples),
            // To find inputs that suit the model takes time, too.
            None if !options.validate && !options.verify_each => {
                Err(Error::new(ErrorKind::CannotValidate, "a comparison was not asked for"))
            }
            None => data_for(model, None, options.seed).map(Arc::from),
        };
        let calibration = calibration.map(|samples| Arc::new(Watched::new(samples)));
        Ok(Self { calibration, evaluation })
    }

    /// The SHA-256 of the samples that passes have read so far, or had statistics of; `None` where there are none.
    ///
    /// # Errors
    /// Fails where a sample or a file can no longer be read.
    pub(super) fn digest_of_what_was_read(&self, statistics: &[PathBuf]) -> Result<Option<String>> {
        let mut digests = recorded_digests(statistics)?;
        if let Some(watched) = self.calibration.as_ref().filter(|watched| watched.was_read()) {
            digests.extend(watched.digests()?.iter().cloned());
        }
        Ok((!digests.is_empty()).then(|| digest(&digests)))
    }

    /// Whether a pass has read a sample so far.
    pub(super) fn was_read(&self) -> bool {
        self.calibration.as_ref().is_some_and(|watched| watched.was_read())
    }

    /// The same data for another run, of which steps that were taken before have read some or not.
    pub(super) fn afresh(&self, was_read: bool) -> Self {
        let evaluation = self.evaluation.as_ref();
        Self {
            calibration: self.calibration.as_ref().map(|watched| Arc::new(watched.again(was_read))),
            evaluation: evaluation.cloned().map_err(|error| Error::new(error.kind(), error.what())),
        }
    }

    /// The same data once more; `None` where there is none to compare on.
    pub(super) fn again(&self) -> Option<Self> {
        let evaluation = Ok(self.evaluation.as_ref().ok()?.clone());
        Some(Self { calibration: self.calibration.clone(), evaluation })
    }

    /// The data that passes may learn from.
    pub(super) fn calibration(&self) -> Option<&dyn Samples> {
        self.calibration.as_deref().map(|watched| watched as &dyn Samples)
    }
}

/// A comparison, and why the result is refused, if it is.
pub type Judged = (Validation, Option<Error>);

/// Compares two models and holds the drift to the gates: those of the user, and the default for what was done.
///
/// # Errors
/// Fails where data or gates do not fit the model. That the result is no good, or cannot be judged, is a refusal.
pub fn judge_drift(
    original: &ModelBytes,
    result: &ModelBytes,
    effect: Option<Effect>,
    gates: &[Gate],
    samples: Result<impl AsRef<dyn Samples>>,
    how: &Comparing<'_>,
) -> Result<Judged> {
    judge_against(&Reference::new(original.clone()), result, effect, gates, samples, how)
}

/// The same with an original that is compared with more than this.
///
/// # Errors
/// As [`judge_drift`].
pub(super) fn judge_against(
    original: &Reference,
    result: &ModelBytes,
    effect: Option<Effect>,
    gates: &[Gate],
    samples: Result<impl AsRef<dyn Samples>>,
    how: &Comparing<'_>,
) -> Result<Judged> {
    let gates = gates_for(effect, gates);
    let compared = samples.and_then(|samples| {
        let samples = samples.as_ref();
        Ok((samples.describe(), original.measure(result, samples, how)?))
    });
    let (described, drift) = match compared {
        Ok(compared) => compared,
        Err(error) => return refused(error),
    };
    let verdict = drift.judge(&gates)?;
    let validation = Validation {
        status: if verdict.passed() { Status::Passed } else { Status::Failed },
        reason: None,
        data: Some(described),
        gates: gates.iter().map(ToString::to_string).collect(),
        failures: verdict.failures.clone(),
        drift: Some(drift),
    };
    Ok((validation, verdict.into_result().err()))
}

fn refused(error: Error) -> Result<Judged> {
    let status = match error.kind() {
        ErrorKind::CannotValidate => Status::Impossible,
        ErrorKind::WorseFile => Status::Failed,
        _ => return Err(error),
    };
    Ok((Validation::without(status, error.what()), Some(error)))
}

/// Compares the model after one pass with the original.
///
/// # Errors
/// [`ErrorKind::BrokenPass`] where passes that trade no accuracy changed the results, [`ErrorKind::Drift`] where others
/// changed them beyond the gate.
pub(super) fn verify_step(
    original: &ModelBytes,
    model: &Model,
    pass: &str,
    effect: Effect,
    gates: &[Gate],
    data: &Data,
    how: &Comparing<'_>,
) -> Result<()> {
    let samples =
        data.evaluation.as_ref().map_err(|e| Error::new(e.kind(), e.what()).help("give inputs with --inputs"))?;
    // Without a side file: the bytes stay in memory.
    let bytes = onnx::encode(model, &EncodeOptions::default())?.to_bytes();
    let drift = measure(original, &ModelBytes::new(bytes, None), &**samples, how)?;
    let verdict = drift.judge(&gates_for(Some(effect), gates))?;
    let Some(failure) = verdict.failures.into_iter().next() else { return Ok(()) };
    let place = failure.output.map(|output| format!(" in output `{output}`")).unwrap_or_default();
    let (kind, what) = match effect {
        Effect::Lossy => (ErrorKind::Drift, "the result drifted too far"),
        Effect::Exact | Effect::Rounding => (ErrorKind::BrokenPass, "the result is no longer what it was"),
    };
    Err(Error::new(kind, format!("after pass `{pass}`, {what}{place}"))
        .expected(format!("{} (gate {})", failure.expected, failure.gate))
        .found(failure.found))
}
