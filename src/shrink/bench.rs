//! One model on which many pipelines are tried: read once, run on the data once, and steps that pipelines begin with in
//! common are taken once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::drift::{Comparing, Reference};
use super::job::Job;
use super::judge::Data;
use super::report::{ModelReport, Validation};
use super::{ShrinkOptions, narrowed};
use crate::backend::NamedTensors;
use crate::census::{census, zeros};
use crate::data::Samples;
use crate::digest;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::ir::Model;
use crate::output::Staging;
use crate::pass::manager::Run;
use crate::pass::pipeline::Pipeline;
use crate::pass::{NoProgress, Progress};
use crate::validate::DriftReport;

/// So many models that pipelines began with are kept.
const MOST_BEGINNINGS: usize = 6;

/// A model, the data it runs on, and what both give.
#[derive(Debug)]
pub(crate) struct Bench {
    input: Input,
    /// Everything but the pipeline, which holds the steps that narrow the inputs of all.
    options: ShrinkOptions,
    data: Data,
    original: Arc<Reference>,
    before: ModelReport,
    beginnings: Mutex<Vec<Beginning>>,
}

/// The model after the steps that pipelines begin with.
#[derive(Debug, Clone)]
struct Beginning {
    pipeline: String,
    model: Model,
    run: Run,
    /// Whether its steps have read calibration data.
    has_read: bool,
}

/// What a pipeline made of the model. Its file lies in a temporary place, from where it can be moved to the destination.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Sizes and contents of the result.
    pub(crate) result: ModelReport,
    /// What was done.
    pub(crate) run: Run,
    /// How the result compares with the original.
    pub(crate) validation: Validation,
    /// Why it is no good, whatever the gates are.
    pub(crate) refusal: Option<Error>,
    /// The SHA-256 of the result and then of its side file.
    pub(crate) sha256: String,
    /// How long it took to make and to compare.
    pub(crate) seconds: f64,
    staging: Staging,
}

impl Attempt {
    /// The file of the result, where it lies until it is moved; `None` where it was refused before it was written.
    pub(crate) fn file(&self) -> Option<&Path> {
        Some(self.staging.model()).filter(|path| path.exists())
    }

    /// The files of the result: the model, and its side file where it has one; none where it was refused before.
    pub(crate) fn files(&self) -> Vec<&Path> {
        [self.staging.model(), self.staging.side()].into_iter().filter(|path| path.exists()).collect()
    }

    /// Moves the result to its destination.
    ///
    /// # Errors
    /// Fails where the file cannot be renamed.
    pub(crate) fn keep(self) -> Result<()> {
        self.staging.commit()
    }
}

impl Bench {
    /// Reads the model and opens the data. The pipeline of the options narrows the inputs for all that are tried.
    ///
    /// # Errors
    /// Fails where the model, the data or the options are no good.
    pub(crate) fn open(path: &Path, options: ShrinkOptions) -> Result<Self> {
        let input = Input::open(path)?;
        let narrowed = narrowed(&input.model, &options.pipeline)?;
        let data = Data::open(narrowed.as_ref().unwrap_or(&input.model), &input.file, &options)?;
        let original = Arc::new(Reference::remembering(input.file.clone()));
        let before = {
            let (job, model) = Job::take(input.clone(), &options, &NoProgress);
            job.input_report(&model)
        };
        Ok(Self { input, options, data, original, before, beginnings: Mutex::default() })
    }

    /// The model that was read.
    pub(crate) fn original(&self) -> &ModelReport {
        &self.before
    }

    /// The bytes that were read.
    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// Everything but the pipelines.
    pub(crate) fn options(&self) -> &ShrinkOptions {
        &self.options
    }

    /// The data that results are compared on.
    ///
    /// # Errors
    /// Says why there is none.
    pub(crate) fn evaluation(&self) -> Result<&dyn Samples> {
        let samples = self.data.evaluation.as_ref();
        samples.map(|samples| &**samples).map_err(|e| Error::new(e.kind(), e.what()).help("give inputs with --inputs"))
    }

    /// The data that passes learn from.
    pub(crate) fn calibration(&self) -> Option<&dyn Samples> {
        self.data.calibration()
    }

    /// The first sample, to time models on.
    ///
    /// # Errors
    /// As [`Self::evaluation`].
    pub(crate) fn first_sample(&self) -> Result<NamedTensors> {
        self.evaluation()?.get(0)
    }

    /// The original compared with itself, which tells what can be bounded at all, and runs it on all samples.
    ///
    /// # Errors
    /// Fails where no backend here can run it.
    pub(crate) fn itself(&self, progress: &dyn Progress) -> Result<DriftReport> {
        let how = Comparing { backend: self.options.backend, seed: self.options.seed, progress };
        self.original.measure(&self.input.file, self.evaluation()?, &how)
    }

    /// Runs a pipeline and compares what comes of it; `output` is where the result may be moved, or nowhere.
    ///
    /// # Errors
    /// Fails where a pass or the comparison does. That the result is no good is no error: see [`Attempt::refusal`].
    pub(crate) fn attempt(
        &self,
        pipeline: &Pipeline,
        output: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Attempt> {
        let start = Instant::now();
        pipeline.plan()?;
        if pipeline.narrowing() != self.options.pipeline.narrowing() {
            return Err(Error::usage("a pipeline narrows the inputs that all are compared on")
                .found(format!("`{pipeline}`"))
                .help("narrow them for all with --input-shape and --dim"));
        }
        let options = ShrinkOptions { pipeline: pipeline.clone(), ..self.options.clone() };
        let destination = Destination::choose(&self.input, output)?;
        let staging = Staging::open(&destination.path, &destination.side_name)?;
        let (job, _) = Job::take(self.input.clone(), &options, progress);
        let job = job.against(self.original.clone());
        let Beginning { mut model, run, has_read, .. } = self.transformed(&job, pipeline, staging.folder())?;
        let data = self.data.afresh(has_read);
        let encoded = job.encode(&mut model, &run, &data, &destination.side_name)?;
        let (validation, refusal) = job.judge(&model, &encoded, &run, data, &staging)?;
        let encoded = job.tell_drift(&mut model, encoded, &validation, &staging, &destination.side_name)?;
        let mut hash = Sha256::new();
        // Hashing cannot fail.
        let _ = encoded.write_model(&mut hash).and_then(|()| encoded.write_side(&mut hash));
        let shown = output.map(|path| path.display().to_string());
        let sizes = (encoded.len(), encoded.side_len());
        if !staging.model().exists() && refusal.is_none() {
            // Nothing was changed: the result is the original.
            staging.write(&encoded)?;
        }
        Ok(Attempt {
            result: ModelReport::new(shown, sizes, census(&model), zeros(&model)),
            run,
            validation,
            refusal,
            sha256: digest::hex(hash),
            seconds: start.elapsed().as_secs_f64(),
            staging,
        })
    }

    /// The model that a pipeline leaves, which is not compared with anything.
    ///
    /// # Errors
    /// Fails where a pass does.
    pub(crate) fn model_after(&self, pipeline: &Pipeline, progress: &dyn Progress) -> Result<Model> {
        let options = ShrinkOptions { pipeline: pipeline.clone(), ..self.options.clone() };
        let (job, _) = Job::take(self.input.clone(), &options, progress);
        Ok(self.transformed(&job, pipeline, &std::env::temp_dir())?.model)
    }

    /// The model after all steps of a pipeline. Passes see nothing but the model and what all pipelines have in common, so
    /// that a model some steps have left is the same whatever comes after them.
    fn transformed(&self, job: &Job<'_>, pipeline: &Pipeline, folder: &Path) -> Result<Beginning> {
        let known = (1..=pipeline.len()).rev().find_map(|steps| {
            let text = pipeline.part(0..steps).to_string();
            let mut beginnings = self.beginnings.lock().unwrap_or_else(PoisonError::into_inner);
            let place = beginnings.iter().position(|beginning| beginning.pipeline == text)?;
            // What was used last stays longest.
            let beginning = beginnings.remove(place);
            beginnings.push(beginning.clone());
            Some((steps, beginning))
        });
        let (done, mut beginning) = known.unwrap_or_else(|| {
            let model = self.input.model.clone();
            (0, Beginning { pipeline: String::new(), model, run: Run::default(), has_read: false })
        });
        for step in done..pipeline.len() {
            let plan = pipeline.part(step..step + 1).plan()?;
            let data = self.data.afresh(beginning.has_read);
            let more = job.transform(plan, &mut beginning.model, &data, folder)?;
            beginning.run.append(more);
            beginning.has_read = data.was_read();
            beginning.pipeline = pipeline.part(0..step + 1).to_string();
            let mut beginnings = self.beginnings.lock().unwrap_or_else(PoisonError::into_inner);
            if beginnings.len() == MOST_BEGINNINGS {
                beginnings.remove(0);
            }
            beginnings.push(beginning.clone());
        }
        Ok(beginning)
    }
}
