//! Where pipelines are tried: what is known already is looked up, the rest is run, compared and timed.

use std::path::Path;
use std::time::Instant;

use super::cache::{Cache, Setting, this_build};
use super::measurement::Measurement;
use super::speed::{Speed, Timer};
use crate::backend::ModelBytes;
use crate::check::fingerprint;
use crate::data::{digest, sample_digests};
use crate::error::{ErrorKind, Result};
use crate::pass::Progress;
use crate::pass::pipeline::Pipeline;
use crate::shrink::{Attempt, Bench, ShrinkOptions, TOOL};
use crate::validate::DriftReport;

/// A model with everything that pipelines are tried with.
#[derive(Debug)]
pub(super) struct Lab {
    bench: Bench,
    /// Or why nothing is timed.
    timer: std::result::Result<Timer, String>,
    cache: Cache,
    itself: DriftReport,
}

impl Lab {
    /// Reads the model, runs it on the data, and opens the cache.
    ///
    /// # Errors
    /// Fails where the model, the data or the options are no good, a gate does not fit them, or no backend here can run the
    /// model.
    pub(super) fn open(
        path: &Path,
        options: ShrinkOptions,
        cache: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let gates = options.gates.clone();
        let bench = Bench::open(path, ShrinkOptions { gates: Vec::new(), ..options })?;
        let itself = bench.itself(progress)?;
        // A gate that nothing can fail or hold is a mistake to be told of before the work begins.
        itself.judge(&gates)?;
        let timer = Timer::new(&bench.input().file, bench.first_sample()?).map_err(|error| error.what().to_owned());
        let options = bench.options();
        let setting = Setting {
            tool: TOOL.to_owned(),
            build: cache.map(|_| this_build()).transpose()?.unwrap_or_default(),
            model: fingerprint(bench.input())?.sha256,
            calibration: bench.calibration().map(sample_digests).transpose()?.map(|digests| digest(&digests)),
            evaluation: digest(&sample_digests(bench.evaluation()?)?),
            seed: options.seed,
            backend: options.backend.to_string(),
            onnxruntime: timer.is_ok(),
            external_from_bytes: options.external_from_bytes,
        };
        let cache = Cache::open(cache, setting)?;
        Ok(Self { bench, timer, cache, itself })
    }

    /// The model and its data.
    pub(super) fn bench(&self) -> &Bench {
        &self.bench
    }

    /// The accuracy of the original, where the data has labels.
    pub(super) fn accuracy(&self) -> Option<f64> {
        self.itself.accuracy.as_ref().map(|accuracy| accuracy.before)
    }

    /// The accuracy of a result that is the original.
    pub(super) fn accuracy_if_equal(&self, measured: &Measurement) -> Option<f64> {
        let is_equal = measured.obstacle.is_none() && measured.drift.is_none();
        self.accuracy().filter(|_| is_equal)
    }

    /// Why nothing is timed, where that is so.
    pub(super) fn untimed(&self) -> Option<&str> {
        self.timer.as_ref().err().map(String::as_str)
    }

    /// What is known of a pipeline.
    pub(super) fn known(&self, pipeline: &Pipeline) -> Option<Measurement> {
        self.cache.get(&pipeline.to_string())
    }

    /// What to know about the cache; told once.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        self.cache.take_warnings()
    }

    /// Runs a pipeline, whatever is known of it, compares the result, and times it where `is_worth_timing` says so, again where
    /// `would_win` says that much hangs on it. The result goes to `output`, where there is one, once it is told to.
    ///
    /// # Errors
    /// Fails where files cannot be read or written. That the pipeline fails is a measurement.
    pub(super) fn measure(
        &self,
        pipeline: &Pipeline,
        output: Option<&Path>,
        is_worth_timing: impl Fn(&Measurement) -> bool,
        would_win: impl Fn(&Measurement) -> bool,
        progress: &dyn Progress,
    ) -> Result<(Measurement, Option<Attempt>)> {
        let start = Instant::now();
        let text = pipeline.to_string();
        let attempt = match self.bench.attempt(pipeline, output, progress) {
            Ok(attempt) => attempt,
            Err(error) => {
                progress.finish();
                let measurement = Measurement::failed(text, &error, start.elapsed().as_secs_f64());
                // The next disk may have room.
                if error.kind() != ErrorKind::Io {
                    self.cache.put(&measurement)?;
                }
                return Ok((measurement, None));
            }
        };
        let mut measurement = Measurement::of(text, &attempt);
        // What is known of equal bytes stays: a clock says something else each time.
        let before = self.known(pipeline).filter(|known| known.sha256 == measurement.sha256);
        measurement.speed = measurement.speed.or(before.and_then(|known| known.speed));
        if let (Ok(timer), Some(file)) = (&self.timer, attempt.file()) {
            let time = || {
                progress.start("timing", 1);
                // Where it does not run in ONNX Runtime, its time there is unknown.
                let speed = ModelBytes::open(file).and_then(|file| timer.time(&file)).ok();
                progress.finish();
                speed
            };
            if measurement.speed.is_none() && is_worth_timing(&measurement) {
                measurement.speed = time();
            }
            if let Some(first) = measurement.speed.filter(|speed| !speed.is_sure())
                && would_win(&measurement)
            {
                let races = [Some(first), time(), time()];
                measurement.speed = Speed::of_races(races.into_iter().flatten().collect());
            }
        }
        self.cache.put(&measurement)?;
        Ok((measurement, Some(attempt)))
    }
}
