//! Models loaded to be compared.

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use onnx_shrink::error::ErrorKind;
use onnx_shrink::ir::Model;
use onnx_shrink::onnx::{self, EncodeOptions};

/// A model in the faster backend: ONNX Runtime, where the machine has it, else tract.
pub fn load(model: &Model) -> Box<dyn Session> {
    let bytes = ModelBytes::new(onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes(), None);
    let load = |backend| backend::load(backend, &bytes, &LoadOptions::default());
    match load(BackendChoice::OnnxRuntime) {
        Err(error) if error.kind() == ErrorKind::Unsupported => load(BackendChoice::Tract).unwrap(),
        loaded => loaded.unwrap(),
    }
}
