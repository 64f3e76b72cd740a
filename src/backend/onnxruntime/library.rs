//! Loading the shared library, once in the life of the process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;

use super::locate;
use crate::error::{Error, Result};

/// The one environment of ONNX Runtime. It stays to the end of the process: a second one cannot be made.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The environment, made on the first call; a failed call may be repeated.
///
/// # Errors
/// `Unsupported` where no usable library is installed.
pub(super) fn environment() -> Result<Environment> {
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let path = locate::library().ok_or_else(|| {
        with_help(Error::unsupported("ONNX Runtime is not installed").found(format!(
            "{} is not set, and the active Python environment has no package `onnxruntime`",
            locate::VARIABLE
        )))
    })?;
    let made = load(&path)?;
    Ok(environment.insert(made).clone())
}

fn load(path: &Path) -> Result<Environment> {
    let unusable = |reason: String| {
        with_help(Error::unsupported(format!("cannot load ONNX Runtime from `{}`", path.display())).found(reason))
    };
    // `ort` asserts what it expects of a library; one that merely looks like ONNX Runtime must not end the process.
    let loaded = std::panic::catch_unwind(|| {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let builder = builder.with_name("onnx-shrink").with_telemetry(false);
        // Errors come back as values; what else the runtime would print goes nowhere.
        builder.with_logger(Arc::new(|_, _, _, _, _| {})).build().map_err(|error| error.to_string())
    });
    loaded.unwrap_or_else(|_| Err("the library does not answer as ONNX Runtime does".to_owned())).map_err(unusable)
}

fn with_help(error: Error) -> Error {
    error.expected(format!("ONNX Runtime 1.{} or newer", ort::MINOR_VERSION)).help(format!(
        "`pip install onnxruntime` in the active Python environment, or let {} name its shared library",
        locate::VARIABLE
    ))
}
