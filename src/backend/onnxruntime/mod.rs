//! ONNX Runtime, through its shared library.
//!
//! Nothing is loaded before the first model asks for it. The library is the one that `ORT_DYLIB_PATH` names, else that
//! of the `onnxruntime` package in the active Python environment.

mod convert;
mod library;
mod locate;
mod session;

use prost::Message;

use self::session::OrtSession;
use super::interface::Interface;
use super::{Backend, LoadOptions, ModelBytes, Session};
use crate::error::{Error, Result};
use crate::onnx::proto::ModelProto;

/// The name of this backend.
pub(super) const NAME: &str = "onnxruntime";

/// The ONNX Runtime backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnnxRuntime;

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &ModelBytes, options: &LoadOptions) -> Result<Box<dyn Session>> {
        let environment = library::environment()?;
        let proto = ModelProto::decode(model.bytes().clone())
            .map_err(|error| Error::invalid_model("the file is no ONNX model").with_source(error))?;
        let interface = Interface::of(&proto, options)?;
        Ok(Box::new(OrtSession::load(environment, model, options, interface)?))
    }
}
