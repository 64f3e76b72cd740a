//! Whether a file is what its own pipeline makes of the original.
//!
//! ```text
//! small.onnx --metadata: how it was made--> shrink(original) --> the same bytes?
//! ```
//! The file tells pipeline, seed and options, and of the original and the calibration data the SHA-256 ([`Provenance`]), so
//! what is missing or another is known before anything is run.

mod difference;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::check::{Fingerprint, fingerprint};
use crate::data::{SampleDigests, digest, recorded_digests, sample_digests};
use crate::error::{Error, ErrorKind, Result};
use crate::input::Input;
use crate::pass::Progress;
use crate::pass::pipeline::Pipeline;
use crate::shrink::{PIPELINE_KEY, Provenance, ShrinkOptions, data_for, narrowed, shrink};

/// What a file was made with beyond what it tells.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The calibration data.
    pub inputs: Option<String>,
    /// Files of statistics that it was calibrated on.
    pub stats_in: Vec<PathBuf>,
    /// The seed of everything random, where it is not to be taken from the file.
    pub seed: Option<u64>,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// What the file tells of how it was made.
    pub provenance: Provenance,
    /// The original.
    pub original: Fingerprint,
    /// The file.
    pub file: Fingerprint,
    /// What the pipeline makes of the original.
    pub replayed: Fingerprint,
}

/// Makes the file again from the original and compares both.
///
/// # Errors
/// [`ErrorKind::Drift`] where the original, the data or the bytes are others; [`ErrorKind::Usage`] where the file tells no
/// pipeline, or data or the seed it was made with are not what is given; and as [`shrink`].
pub fn verify(file: &Path, original: &Path, options: &VerifyOptions, progress: &dyn Progress) -> Result<Verified> {
    let input = Input::open(file)?;
    let Some(provenance) = Provenance::of(&input.model) else {
        return Err(Error::usage("the file does not tell how it was made")
            .in_file(file)
            .expected(format!("an entry `{PIPELINE_KEY}` in its metadata"))
            .help("files that no pass changed, or that were stripped after, have none"));
    };
    let pipeline: Pipeline = provenance.pipeline.parse()?;
    let source = Input::open(original)?;
    let before = fingerprint(&source)?;
    check_original(&provenance, original, &before)?;
    let seed = seed(&provenance, options)?;
    let uses_data = check_data(&provenance, &source, &pipeline, options, seed)?;

    let folder = tempfile::tempdir().map_err(|e| Error::io("make a folder in", &std::env::temp_dir(), e))?;
    // The side file has the name of the output in it, which the model tells.
    let mut again = folder.path().join(file.file_name().unwrap_or_default());
    if again.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnxz")) {
        again.set_extension("onnx");
    }
    let replay = ShrinkOptions {
        output: Some(again.clone()),
        inputs: options.inputs.clone().filter(|_| uses_data),
        stats_in: if uses_data { options.stats_in.clone() } else { Vec::new() },
        seed,
        backend: provenance.backend.as_deref().unwrap_or("auto").parse()?,
        external_from_bytes: provenance.external_from_bytes,
        validate: false,
        identifies_original: provenance.input_sha256.is_some(),
        drift_told: provenance.drift.clone(),
        force: true,
        ..ShrinkOptions::new(pipeline)
    };
    shrink(original, &replay, progress)?;
    let replayed = Input::open(&again)?;
    let verified =
        Verified { original: before, file: fingerprint(&input)?, replayed: fingerprint(&replayed)?, provenance };
    if verified.file == verified.replayed {
        return Ok(verified);
    }
    let (found, expected) = (&verified.file, &verified.replayed);
    let difference = difference::first(&replayed.model, &input.model)?;
    Err(is_another(&verified.provenance)
        .expected(format!("{} bytes, SHA-256 {}", expected.total_bytes(), expected.sha256))
        .found(format!("{} bytes, SHA-256 {}; {difference}", found.total_bytes(), found.sha256))
        .help(suspects(&verified.provenance)))
}

fn is_another(provenance: &Provenance) -> Error {
    Error::new(ErrorKind::Drift, format!("the file is not what `{}` makes of the original", provenance.pipeline))
}

fn check_original(provenance: &Provenance, path: &Path, found: &Fingerprint) -> Result<()> {
    match &provenance.input_sha256 {
        Some(expected) if *expected != found.sha256 => Err(is_another(provenance)
            .expected(format!("an original with SHA-256 {expected}"))
            .found(format!("`{}`, SHA-256 {}", path.display(), found.sha256))
            .help("give the model that it was made from with --original")),
        _ => Ok(()),
    }
}

fn seed(provenance: &Provenance, options: &VerifyOptions) -> Result<u64> {
    match (provenance.seed, options.seed) {
        (Some(told), Some(given)) if told != given => Err(Error::usage("the file was made with another seed")
            .expected(format!("--seed {told}, or none: the file tells it"))
            .found(format!("--seed {given}"))),
        (told, given) => Ok(told.or(given).unwrap_or(0)),
    }
}

/// Whether the file was calibrated on data, which is that given then. A file that does not tell is believed to have been, if
/// some is given.
fn check_data(
    provenance: &Provenance,
    source: &Input,
    pipeline: &Pipeline,
    options: &VerifyOptions,
    seed: u64,
) -> Result<bool> {
    let is_given = options.inputs.is_some() || !options.stats_in.is_empty();
    let Some(expected) = &provenance.data_sha256 else { return Ok(is_given && provenance.version.is_none()) };
    if !is_given {
        return Err(Error::usage("the file was calibrated on data, which is missing here")
            .expected(format!("data with SHA-256 {expected}"))
            .found("no data")
            .help("give it with --inputs, as it was given then, or its statistics with --stats-in"));
    }
    let mut found: SampleDigests = recorded_digests(&options.stats_in)?;
    if let Some(spec) = &options.inputs {
        let narrowed = narrowed(&source.model, pipeline)?;
        let samples = data_for(narrowed.as_ref().unwrap_or(&source.model), Some(spec), seed)?;
        // What is made up may settle on other inputs once the model runs: then only the bytes can tell.
        if crate::data::is_synthetic(spec) {
            return Ok(true);
        }
        found.extend(sample_digests(&*samples)?);
    }
    let found = digest(&found);
    match found == *expected {
        true => Ok(true),
        false => Err(Error::new(ErrorKind::Drift, "the file was calibrated on other data")
            .expected(format!("data with SHA-256 {expected}"))
            .found(format!("SHA-256 {found}"))
            .help("give the same samples, prepared in the same way, as it was made with")),
    }
}

/// What may be another where the file tells no difference.
fn suspects(provenance: &Provenance) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let mut suspects = Vec::new();
    match &provenance.version {
        None => suspects.push("the file tells neither version, seed nor data: give those it was made with".to_owned()),
        Some(version) if version != ours => {
            suspects.push(format!("it was made by version {version}, and this is {ours}"));
        }
        Some(_) => suspects.push("version, original, seed and data are those it tells".to_owned()),
    }
    let is_timed = provenance.pipeline.contains("quant8") && !provenance.pipeline.contains("timing=false");
    if is_timed && provenance.data_sha256.is_some() {
        suspects.push("`quant8` lets a clock decide what stays float, unless timing=false is told".to_owned());
    }
    suspects.push("side files, another runtime, or a change made after may make a difference".to_owned());
    suspects.join("; ")
}
