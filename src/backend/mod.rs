//! Runtimes that execute a model.
use std::fmt::Debug;

use crate::error::Result;
use crate::ir::Tensor;

/// Named tensors in order: what a session takes and gives.
pub type NamedTensors = Vec<(String, Tensor)>;

/// Which backend runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// tract, and ONNX Runtime where tract declines.
    #[default]
    Auto,
    /// tract.
    Tract,
    /// ONNX Runtime.
    OnnxRuntime,
}

/// A loaded model. Runs may go on in several threads at once.
pub trait Session: Debug + Send + Sync {
    /// The name of the backend that executes the model.
    fn backend(&self) -> &'static str;

    /// Executes the model: inputs by name in any order; graph outputs in graph order, then taps.
    ///
    /// # Errors
    /// Where inputs are wrong or execution fails.
    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors>;
}
