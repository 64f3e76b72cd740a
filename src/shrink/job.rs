//! The steps of one run, in order: transform, encode, judge.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::drift::{Comparing, Reference};
use super::judge::{Data, Judged, judge_against, verify_step};
use super::provenance::{drift_told, forget_drift, tell_drift};
use super::report::{ModelReport, Status, Validation};
use super::{Provenance, ShrinkOptions};
use crate::backend::{BackendChoice, ModelBytes};
use crate::census::{census, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::input::Input;
use crate::ir::Model;
use crate::onnx::{self, EncodeOptions, Encoded};
use crate::output::Staging;
use crate::pass::manager::{self, Run, RunOptions};
use crate::pass::pipeline::{Pipeline, Plan};
use crate::pass::{Effect, Env, Progress, Scratch, StatisticsFiles};
use crate::privacy::{self, Scan};
use crate::report::{self, Detail};

/// What a pass that may cost bytes may cost: this part of the input ...
const ALLOWANCE_SHARE: u64 = 100;

/// ... and this much more, for small models.
const ALLOWANCE_BYTES: u64 = 4096;

/// What stays the same from the first step to the last.
pub(super) struct Job<'a> {
    options: &'a ShrinkOptions,
    how: Comparing<'a>,
    path: PathBuf,
    /// The file the run started from.
    file: ModelBytes,
    side_files: BTreeMap<PathBuf, u64>,
    /// The same, to compare results with.
    original: Arc<Reference>,
}

impl<'a> Job<'a> {
    /// Takes an input apart: the file stays as it is, the model is about to change.
    pub(super) fn take(input: Input, options: &'a ShrinkOptions, progress: &'a dyn Progress) -> (Self, Model) {
        let how = Comparing { backend: options.backend, seed: options.seed, progress };
        let Input { path, file, model, side_files } = input;
        let original = Arc::new(Reference::new(file.clone()));
        (Self { options, how, path, file, side_files, original }, model)
    }

    /// The same job with an original that others are compared with, too.
    pub(super) fn against(self, original: Arc<Reference>) -> Self {
        Self { original, ..self }
    }

    fn side_bytes(&self) -> u64 {
        self.side_files.values().sum()
    }

    fn input_bytes(&self) -> u64 {
        self.file.bytes().len() as u64 + self.side_bytes()
    }

    /// The report of the input, while the model is still what was read.
    pub(super) fn input_report(&self, model: &Model) -> ModelReport {
        let sizes = (self.file.bytes().len() as u64, self.side_bytes());
        ModelReport::new(Some(self.path.display().to_string()), sizes, census(model), zeros(model))
    }

    fn env<'e>(&'e self, data: &'e Data, scratch: &'e Scratch, statistics: Option<&'e Path>) -> Env<'e> {
        Env {
            seed: self.options.seed,
            calibration: data.calibration(),
            backend: self.options.backend,
            scratch,
            progress: self.how.progress,
            statistics: StatisticsFiles { read: &self.options.stats_in, write: statistics },
        }
    }

    /// Runs the passes; `folder` has room for temporary weights.
    pub(super) fn transform(&self, plan: Plan, model: &mut Model, data: &Data, folder: &Path) -> Result<Run> {
        let options = self.options;
        let scratch = Scratch::in_folder(folder);
        let env = self.env(data, &scratch, options.stats.as_deref());
        let verify = |model: &Model, pass: &str, effect| {
            verify_step(&self.file, model, pass, effect, &options.gates, data, &self.how)
        };
        let run_options = RunOptions {
            dump_each: options.dump_each.as_deref(),
            stop_after: options.stop_after,
            verify: if options.verify_each { Some(&verify) } else { None },
        };
        manager::run(plan, model, &env, &run_options)
    }

    /// Runs one step again, without writing anything beside the model.
    pub(super) fn replay(&self, step: &str, model: &mut Model, data: &Data, folder: &Path) -> Result<Run> {
        let scratch = Scratch::in_folder(folder);
        let env = self.env(data, &scratch, None);
        let plan = step.parse::<Pipeline>()?.plan()?;
        manager::run(plan, model, &env, &RunOptions::default())
    }

    /// Compares the model after a step with the original, under the gates of a run with that effect.
    pub(super) fn verify(&self, model: &Model, step: &str, effect: Effect, data: &Data) -> Result<()> {
        verify_step(&self.file, model, step, effect, &self.options.gates, data, &self.how)
    }

    /// Lays the result out, with how it was made in its metadata if it changed; not at the price of a larger file, though:
    /// then with the pipeline alone, or without.
    pub(super) fn encode(&self, model: &mut Model, run: &Run, data: &Data, side_name: &str) -> Result<Encoded> {
        let external_from_bytes = self.options.external_from_bytes;
        let layout = EncodeOptions { external_from_bytes, side_file_name: side_name.to_owned() };
        if !run.changed().is_yes() {
            return onnx::encode(model, &layout);
        }
        let before: Vec<(String, String)> =
            model.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let whole = self.provenance(data)?;
        for provenance in [&whole, &whole.shortened()] {
            provenance.put(model);
            let encoded = onnx::encode(model, &layout)?;
            if encoded.len() + encoded.side_len() <= self.input_bytes() {
                return Ok(encoded);
            }
        }
        model.retain_metadata(|_| false);
        before.iter().for_each(|(key, value)| model.set_metadata(key, value));
        onnx::encode(model, &layout)
    }

    /// Adds the drift that was measured to what the result tells, in the files that were written, too. What was compared but for
    /// this entry is what ships. Not at the price of a larger file than the original.
    ///
    /// # Errors
    /// Fails where the files cannot be written again.
    pub(super) fn tell_drift(
        &self,
        model: &mut Model,
        encoded: Encoded,
        validation: &Validation,
        staging: &Staging,
        side_name: &str,
    ) -> Result<Encoded> {
        let measured = validation.drift.as_ref().map(drift_told).or_else(|| self.options.drift_told.clone());
        let Some(told) = measured else { return Ok(encoded) };
        if !tell_drift(model, &told) {
            return Ok(encoded);
        }
        let external_from_bytes = self.options.external_from_bytes;
        let layout = EncodeOptions { external_from_bytes, side_file_name: side_name.to_owned() };
        let telling = onnx::encode(model, &layout)?;
        let grows = telling.len() + telling.side_len() > self.input_bytes();
        if grows && encoded.len() + encoded.side_len() <= self.input_bytes() {
            forget_drift(model);
            return Ok(encoded);
        }
        if staging.model().exists() {
            staging.write_again(&telling)?;
        }
        Ok(telling)
    }

    /// How the result is made.
    fn provenance(&self, data: &Data) -> Result<Provenance> {
        let options = self.options;
        let backend = (options.backend != BackendChoice::Auto).then(|| options.backend.to_string());
        Ok(Provenance {
            pipeline: options.pipeline.clone().without_folders().to_string(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            input_sha256: if options.identifies_original {
                Some(self.original.sha256(self.side_files.keys())?)
            } else {
                None
            },
            data_sha256: data.digest_of_what_was_read(&options.stats_in)?,
            seed: Some(options.seed),
            backend,
            external_from_bytes: options.external_from_bytes,
            drift: None,
        })
    }

    /// Scans the files that were or would be written for what `strip=all` is to remove.
    ///
    /// # Errors
    /// Fails where they cannot be read.
    pub(super) fn scan(&self, encoded: &Encoded, staging: &Staging) -> Result<Scan> {
        if !staging.model().exists() {
            staging.write(encoded)?;
        }
        let file = ModelBytes::open(staging.model())?;
        privacy::scan(file.bytes(), file.folder())
    }

    /// Decides whether the result may ship, and runs it where that takes running.
    pub(super) fn judge(
        &self,
        model: &Model,
        encoded: &Encoded,
        run: &Run,
        data: Data,
        staging: &Staging,
    ) -> Result<Judged> {
        let without = |status, reason: &str| Validation::without(status, reason);
        if !run.changed().is_yes() && is_same(encoded, self.file.bytes()) {
            return Ok((without(Status::Identical, ""), None));
        }
        // What no pass touched may grow: then weights are merely laid out in another way.
        let too_large = if run.changed().is_yes() { self.larger(model, encoded, run.may_grow) } else { None };
        match too_large {
            Some(refusal) if !self.options.force => Ok((without(Status::Skipped, refusal.what()), Some(refusal))),
            too_large if !self.options.validate => Ok((without(Status::Skipped, "not asked for"), too_large)),
            too_large => {
                staging.write(encoded)?;
                let result = ModelBytes::open(staging.model())?;
                let gates = &self.options.gates;
                let (validation, refusal) =
                    judge_against(&self.original, &result, run.effect, gates, data.evaluation, &self.how)?;
                Ok((validation, too_large.or(refusal.map(with_advice))))
            }
        }
    }

    /// Measures what only a report shows, on the file that was or would be written.
    pub(super) fn detail(&self, encoded: &Encoded, data: Option<&Data>, staging: &Staging) -> Result<Detail> {
        if !staging.model().exists() {
            staging.write(encoded)?;
        }
        let (before, after) = (Input::open(&self.path)?, Input::open(staging.model())?);
        let samples = match data.map(|data| &data.evaluation) {
            Some(Ok(samples)) if self.options.inputs.is_some() || self.options.eval_inputs.is_some() => Ok(&**samples),
            _ => Err("no data was given with --inputs or --eval-inputs"),
        };
        report::collect(&before, &after, samples, &self.how)
    }

    /// Why the result is refused, where it takes more room than the input.
    fn larger(&self, model: &Model, encoded: &Encoded, may_grow: bool) -> Option<Error> {
        let input = self.input_bytes();
        let limit = if may_grow { input + input / ALLOWANCE_SHARE + ALLOWANCE_BYTES } else { input };
        let size = encoded.len() + encoded.side_len();
        // Whoever asks for a side file accepts what aligning weights in it costs.
        let fits_without_side_file = || {
            self.options.external_from_bytes.is_some()
                && onnx::encode(model, &EncodeOptions::default()).is_ok_and(|inside| inside.len() <= limit)
        };
        (size > limit && !fits_without_side_file()).then(|| {
            Error::new(ErrorKind::WorseFile, "the result is larger than the original")
                .expected(format!("at most {limit} bytes"))
                .found(format!("{size} bytes"))
                .help("nothing in this model is worth the pipeline; --force writes the result all the same")
        })
    }

    /// Why there are two files, for whoever did not ask for it.
    pub(super) fn side_file_notice(&self, name: &str) -> String {
        let reason = match (self.options.external_from_bytes, self.side_bytes()) {
            (Some(_), _) => "",
            (None, 0) => " because no protobuf reader takes a file of more than 2 GiB",
            (None, _) => ", as the input's are",
        };
        format!("weights are in the side file `{name}`{reason}: ship both files")
    }
}

/// A refusal with what can be done about it here.
fn with_advice(refusal: Error) -> Error {
    match refusal.kind() {
        ErrorKind::Drift => refusal
            .help("try a milder pipeline, calibrate with --inputs, move the gate with --max-drift, or use --force"),
        ErrorKind::CannotValidate => refusal.or_help("skip the comparison with --no-validate"),
        _ => refusal,
    }
}

/// Whether the result is the original, byte for byte.
fn is_same(encoded: &Encoded, original: &[u8]) -> bool {
    struct Compare<'a>(&'a [u8]);
    impl Write for Compare<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    encoded.side_len() == 0
        && encoded.len() == original.len() as u64
        && encoded.write_model(&mut Compare(original)).is_ok()
}
