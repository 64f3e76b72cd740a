//! Whether a file is what its own pipeline makes of the original.
//!
//! ```text
//! small.onnx --metadata: onnx_shrink.pipeline--> shrink(original) --> the same bytes?
//! ```
//! The pipeline stands in the file; the calibration data and the seed do not, and must be given where they were.

use std::path::Path;

use serde::Serialize;

use crate::check::{Fingerprint, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::input::Input;
use crate::pass::Progress;
use crate::pass::pipeline::Pipeline;
use crate::shrink::{PIPELINE_KEY, ShrinkOptions, shrink};

/// What a file was made with beyond its pipeline.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The calibration data.
    pub inputs: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The pipeline that stands in the file.
    pub pipeline: String,
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
/// [`ErrorKind::Drift`] where the bytes differ; [`ErrorKind::Usage`] where the file tells no pipeline; and as [`shrink`].
pub fn verify(file: &Path, original: &Path, options: &VerifyOptions, progress: &dyn Progress) -> Result<Verified> {
    let input = Input::open(file)?;
    let stored = input.model.metadata().find(|(key, _)| *key == PIPELINE_KEY).map(|(_, pipeline)| pipeline.to_owned());
    let Some(pipeline) = stored else {
        return Err(Error::usage("the file does not tell how it was made")
            .in_file(file)
            .expected(format!("an entry `{PIPELINE_KEY}` in its metadata"))
            .help("files that no pass changed, or that were stripped after, have none"));
    };
    let parsed: Pipeline = pipeline.parse()?;
    let folder = tempfile::tempdir().map_err(|e| Error::io("make a folder in", &std::env::temp_dir(), e))?;
    // The side file has the name of the output in it, which the model tells.
    let again = folder.path().join(file.file_name().unwrap_or_default()).with_extension("onnx");
    let replay = ShrinkOptions {
        output: Some(again.clone()),
        inputs: options.inputs.clone(),
        seed: options.seed,
        validate: false,
        force: true,
        ..ShrinkOptions::new(parsed)
    };
    shrink(original, &replay, progress)?;
    let replayed = Input::open(&again)?;
    let verified = Verified {
        original: fingerprint(&Input::open(original)?)?,
        file: fingerprint(&input)?,
        replayed: fingerprint(&replayed)?,
        pipeline,
    };
    if verified.file == verified.replayed {
        return Ok(verified);
    }
    let (found, expected) = (&verified.file, &verified.replayed);
    Err(Error::new(ErrorKind::Drift, format!("the file is not what `{}` makes of the original", verified.pipeline))
        .expected(format!("{} bytes, SHA-256 {}", expected.total_bytes(), expected.sha256))
        .found(format!("{} bytes, SHA-256 {}", found.total_bytes(), found.sha256))
        .help("give the calibration data with --inputs and the --seed it was made with, and use the same version"))
}
