//! Choosing a backend, by name or by what can run the model.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Backend, LoadOptions, ModelBytes, NamedTensors, Session};
use crate::error::{Error, ErrorKind, Result, did_you_mean};
use crate::ir::Tensor;

/// Which backend runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendChoice {
    /// tract, and ONNX Runtime for what tract cannot run.
    #[default]
    Auto,
    /// The built-in backend only.
    Tract,
    /// ONNX Runtime only.
    OnnxRuntime,
}

impl BackendChoice {
    /// Every choice, in the order help lists them.
    pub const ALL: &'static [Self] = &[Self::Auto, Self::Tract, Self::OnnxRuntime];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = || Self::ALL.iter().map(|choice| choice.name());
        Self::ALL.iter().copied().find(|choice| choice.name() == name).ok_or_else(|| {
            let error = Error::usage(format!("unknown backend `{name}`"))
                .expected(format!("one of {}", names().collect::<Vec<_>>().join(", ")));
            match did_you_mean(name, names()) {
                Some(close) => error.help(format!("did you mean `{close}`?")),
                None => error,
            }
        })
    }
}

/// Loads a model into the chosen backend.
///
/// # Errors
/// The errors of [`Backend::load`]; with [`BackendChoice::Auto`], [`ErrorKind::CannotValidate`] where no backend here can
/// run the model, with the reason of each.
pub fn load(choice: BackendChoice, model: &ModelBytes, options: &LoadOptions) -> Result<Box<dyn Session>> {
    match choice {
        BackendChoice::Tract => tract()?.load(model, options),
        BackendChoice::OnnxRuntime => onnxruntime()?.load(model, options),
        BackendChoice::Auto => load_auto(model, options),
    }
}

fn load_auto(model: &ModelBytes, options: &LoadOptions) -> Result<Box<dyn Session>> {
    match tract().and_then(|tract| tract.load(model, options)) {
        Ok(first) => Ok(Box::new(AutoSession {
            first,
            model: model.clone(),
            options: options.clone(),
            second: OnceLock::new(),
            loading: Mutex::new(()),
        })),
        Err(refusal) => second_choice(model, options, refusal),
    }
}

/// ONNX Runtime, after tract declined with `refusal`.
fn second_choice(model: &ModelBytes, options: &LoadOptions, refusal: Error) -> Result<Box<dyn Session>> {
    if refusal.kind() != ErrorKind::Unsupported {
        return Err(refusal);
    }
    match onnxruntime().and_then(|runtime| runtime.load(model, options)) {
        Ok(session) => Ok(session),
        Err(second) if second.kind() == ErrorKind::Unsupported => Err(no_backend(&refusal, &second)),
        Err(second) => Err(second),
    }
}

/// tract, with ONNX Runtime in reserve: what tract can run may depend on the shapes and values of the inputs.
///
/// Each run decides for itself, so that a result depends on its inputs and not on what ran before.
#[derive(Debug)]
struct AutoSession {
    first: Box<dyn Session>,
    model: ModelBytes,
    options: LoadOptions,
    second: OnceLock<Box<dyn Session>>,
    // Held while the second session is loaded, so that it is loaded once.
    loading: Mutex<()>,
}

impl Session for AutoSession {
    fn backend(&self) -> &'static str {
        self.second.get().unwrap_or(&self.first).backend()
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        match self.first.run(inputs) {
            Err(refusal) if refusal.kind() == ErrorKind::Unsupported => self.second(refusal)?.run(inputs),
            result => result,
        }
    }
}

impl AutoSession {
    fn second(&self, refusal: Error) -> Result<&dyn Session> {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match self.second.get() {
            Some(session) => session,
            None => {
                let session = second_choice(&self.model, &self.options, refusal)?;
                self.second.get_or_init(|| session)
            }
        };
        Ok(session.as_ref())
    }
}

fn no_backend(tract: &Error, onnxruntime: &Error) -> Error {
    // One line for each backend; the help below replaces theirs.
    let reason = |error: &Error| {
        let text = error.to_string();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("help:"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
    };
    Error::new(ErrorKind::CannotValidate, "no backend here can run this model")
        .at(tract.site().clone())
        .found(format!("tract: {}; onnxruntime: {}", reason(tract), reason(onnxruntime)))
        .help(
            "install ONNX Runtime (`pip install onnxruntime` in the active Python environment) or let ORT_DYLIB_PATH \
             name its shared library",
        )
}

#[cfg(feature = "tract")]
fn tract() -> Result<&'static dyn Backend> {
    Ok(&super::tract::Tract)
}

#[cfg(not(feature = "tract"))]
fn tract() -> Result<&'static dyn Backend> {
    Err(Error::unsupported("this build has no tract").help("build with `--features tract`"))
}

#[cfg(feature = "onnxruntime")]
fn onnxruntime() -> Result<&'static dyn Backend> {
    Ok(&super::onnxruntime::OnnxRuntime)
}

#[cfg(not(feature = "onnxruntime"))]
fn onnxruntime() -> Result<&'static dyn Backend> {
    Err(Error::unsupported("this build has no ONNX Runtime").help("build with `--features onnxruntime`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_typos_are_corrected() {
        for choice in BackendChoice::ALL {
            assert_eq!(choice.to_string().parse::<BackendChoice>().unwrap(), *choice);
        }
        let error = "tracr".parse::<BackendChoice>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("did you mean `tract`?"), "{error}");
    }
}
