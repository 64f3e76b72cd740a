//! Loading models that passes work on.

use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use crate::error::{ErrorKind, Result};
use crate::ir::Model;
use crate::onnx::{EncodeOptions, encode};

/// Loads a model as it would be written, for runs of one thread each; `taps` are values it returns after its outputs.
///
/// # Errors
/// Those of [`backend::load`].
pub(crate) fn load_model(model: &Model, taps: Vec<String>, backend: BackendChoice) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    backend::load(backend, &bytes, &LoadOptions { taps, threads: 1, ..LoadOptions::default() })
}

/// The same, into ONNX Runtime where it is left to us and can run the model: it is the faster one. Answers which backend
/// has it.
///
/// # Errors
/// Those of [`backend::load`].
pub(crate) fn load_fastest(
    model: &Model,
    taps: Vec<String>,
    backend: BackendChoice,
) -> Result<(Box<dyn Session>, BackendChoice)> {
    if backend == BackendChoice::Auto {
        match load_model(model, taps.clone(), BackendChoice::OnnxRuntime) {
            Ok(session) => return Ok((session, BackendChoice::OnnxRuntime)),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
    }
    Ok((load_model(model, taps, backend)?, backend))
}
