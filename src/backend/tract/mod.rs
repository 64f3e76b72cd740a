//! tract, the built-in backend, behind a gate.
//!
//! tract runs without any installation, but computes some operators wrongly without a word. [`gate`] lists what it is
//! known to compute rightly; everything else is refused before tract sees the model.

mod convert;
mod distrust;
pub mod gate;
mod guard;
mod lower;
mod prepare;
mod session;

use prost::Message;

use self::session::TractSession;
use super::interface::Interface;
use super::{Backend, LoadOptions, ModelBytes, Session};
use crate::error::{Error, Result};
use crate::onnx::proto::ModelProto;

/// The name of this backend.
pub(super) const NAME: &str = "tract";

/// The tract backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tract;

impl Backend for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &ModelBytes, options: &LoadOptions) -> Result<Box<dyn Session>> {
        let proto = ModelProto::decode(model.bytes().clone())
            .map_err(|error| Error::invalid_model("the file is no ONNX model").with_source(error))?;
        // What is checked and run is the lowered model; inputs, outputs and taps are those of the file.
        let interface = Interface::of(&proto, options)?;
        let lowered = lower::lower(&proto, model)?;
        let (proto, model) = lowered.as_ref().map_or((&proto, model), |(proto, model)| (proto, model));
        gate::check(proto)?;
        Ok(Box::new(TractSession::load(model, interface)?))
    }
}
