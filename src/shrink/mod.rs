//! The main job: read a model, run a pipeline, write the result, and refuse to ship a worse file.

mod destination;
mod drift;
mod judge;
mod report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::backend::{BackendChoice, ModelBytes};
use crate::census::{census, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::input::Input;
use crate::ir::Model;
use crate::onnx::{self, EncodeOptions, Encoded};
use crate::output::Staging;
use crate::pass::manager::{self, Run, RunOptions};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Env, Progress, Scratch};
use crate::validate::Gate;

use destination::Destination;
use judge::{Data, verify_step};

pub use drift::{Comparing, data_for, gates_for, measure};
pub use judge::{Judged, judge_drift};
pub use report::{ModelReport, REPORT_VERSION, Report, Status, Validation};

/// The entry of a model's metadata that holds the pipeline it went through.
pub const PIPELINE_KEY: &str = "onnx_shrink.pipeline";

/// Name and version of the tool, for reports.
const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// What to do, and how.
#[derive(Debug, Clone)]
pub struct ShrinkOptions {
    /// The passes to run.
    pub pipeline: Pipeline,
    /// Where the result goes; `None` for a dry run, which writes nothing.
    pub output: Option<PathBuf>,
    /// Calibration data, and the data to compare on unless `eval_inputs` names other.
    pub inputs: Option<String>,
    /// The data to compare on.
    pub eval_inputs: Option<String>,
    /// Gates beyond the default one.
    pub gates: Vec<Gate>,
    /// Whether to compare the result with the original.
    pub validate: bool,
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
            eval_inputs: None,
            gates: Vec::new(),
            validate: true,
            force: false,
            backend: BackendChoice::Auto,
            seed: 0,
            dump_each: None,
            stop_after: None,
            verify_each: false,
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
    /// [`ErrorKind::Drift`], [`ErrorKind::WorseFile`] or [`ErrorKind::CannotValidate`].
    pub refusal: Option<Error>,
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
    let data = Data::open(&input.model, options)?;
    let staging = Staging::open(&destination.path, &destination.side_name)?;
    let how = Comparing { backend: options.backend, seed: options.seed, progress };

    let Input { file, mut model, side_files, .. } = input;
    let original = Original { bytes: file.bytes().len() as u64, side_bytes: side_files.values().sum(), file };
    let before = original.report(path, &model);
    let nothing_asked = plan.is_empty();
    let run = {
        let scratch = Scratch::in_folder(staging.folder());
        let env = Env {
            seed: options.seed,
            calibration: data.calibration(),
            backend: options.backend,
            scratch: &scratch,
            progress,
        };
        let verify =
            |model: &Model, pass: &str, effect| verify_step(&original, model, pass, effect, options, &data, &how);
        let run_options = RunOptions {
            dump_each: options.dump_each.as_deref(),
            stop_after: options.stop_after,
            verify: if options.verify_each { Some(&verify) } else { None },
        };
        manager::run(plan, &mut model, &env, &run_options)?
    };
    let layout = EncodeOptions {
        external_from_bytes: options.external_from_bytes,
        side_file_name: destination.side_name.clone(),
    };
    let encoded = encode(&mut model, &run, options, &layout, original.total_bytes())?;

    let same_content = nothing_asked || !run.changed().is_yes();
    let too_large = if same_content { None } else { larger(&original, &encoded) };
    let (validation, refusal) = match too_large {
        Some(refusal) if !options.force => (Validation::without(Status::Skipped, refusal.what()), Some(refusal)),
        _ if same_content && is_same(&encoded, original.file.bytes()) => {
            (Validation::without(Status::Identical, ""), None)
        }
        too_large if !options.validate => (Validation::without(Status::Skipped, "not asked for"), too_large),
        too_large => {
            staging.write(&encoded)?;
            let result = ModelBytes::open(staging.model())?;
            let judged = judge_drift(&original.file, &result, run.effect, &options.gates, data.evaluation, &how)?;
            (judged.0, too_large.or(judged.1.map(with_advice)))
        }
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
        warnings.push(format!("weights are in the side file `{}`: ship both files", destination.side_name));
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
        warnings,
        written,
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok(Shrunk { report, refusal })
}

/// The file a run started from.
struct Original {
    file: ModelBytes,
    bytes: u64,
    side_bytes: u64,
}

impl Original {
    fn total_bytes(&self) -> u64 {
        self.bytes + self.side_bytes
    }

    fn report(&self, path: &Path, model: &Model) -> ModelReport {
        let sizes = (self.bytes, self.side_bytes);
        ModelReport::new(Some(path.display().to_string()), sizes, census(model), zeros(model))
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

/// Lays the result out, with the pipeline in its metadata if it changed; not at the price of a larger file, though.
fn encode(
    model: &mut Model,
    run: &Run,
    options: &ShrinkOptions,
    layout: &EncodeOptions,
    limit_bytes: u64,
) -> Result<Encoded> {
    if !run.changed().is_yes() {
        return onnx::encode(model, layout);
    }
    let before = model.metadata().find(|(key, _)| *key == PIPELINE_KEY).map(|(_, value)| value.to_owned());
    model.set_metadata(PIPELINE_KEY, &options.pipeline.to_string());
    let encoded = onnx::encode(model, layout)?;
    if encoded.len() + encoded.side_len() <= limit_bytes {
        return Ok(encoded);
    }
    match before {
        Some(value) => model.set_metadata(PIPELINE_KEY, &value),
        None => {
            model.retain_metadata(|key| key != PIPELINE_KEY);
        }
    }
    onnx::encode(model, layout)
}

/// Why the result is refused, where it takes more room than the original.
fn larger(original: &Original, encoded: &Encoded) -> Option<Error> {
    let size = encoded.len() + encoded.side_len();
    (size > original.total_bytes()).then(|| {
        Error::new(ErrorKind::WorseFile, "the result is larger than the original")
            .expected(format!("at most {} bytes", original.total_bytes()))
            .found(format!("{size} bytes"))
            .help("nothing in this model is worth the pipeline; --force writes the result all the same")
    })
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
