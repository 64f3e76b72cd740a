//! Runtimes that execute a model, to validate a result or to calibrate a quantization.
//!
//! A backend gets the bytes of a file, never the intermediate representation: what is validated is what ships.
//!
//! | backend | feature | what it is |
//! |---|---|---|
//! | tract | `tract` | built in; a gate in front of it refuses what it would compute wrongly |
//! | ONNX Runtime | `onnxruntime` | a shared library, loaded when asked for; the authority for what tract refuses |

use std::fmt::Debug;

use crate::error::Result;
use crate::ir::Tensor;

mod choice;
#[cfg(any(feature = "tract", feature = "onnxruntime"))]
mod interface;
mod model_bytes;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
mod race;
mod remember;
#[cfg(feature = "tract")]
pub mod tract;

pub use choice::{BackendChoice, load};
pub use model_bytes::ModelBytes;
pub(crate) use race::race_until;
pub use race::{Laps, race};
pub use remember::Remembering;

/// Named tensors in order: what a session takes and gives.
pub type NamedTensors = Vec<(String, Tensor)>;

/// What a session is to do beyond running the model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Intermediate values of the main graph, by name; a run returns them after the outputs.
    pub taps: Vec<String>,
    /// Threads of one run, 0 for the backend's own default. Callers run samples in parallel, so 1 is usual; tract has no
    /// threads of its own and always uses the caller's.
    pub threads: usize,
    /// Runs the operators as they stand where the backend would put others in their place: slower, and how to tell what a
    /// graph says from what a runtime makes of it. tract rewrites nothing but by what operators mean.
    pub as_written: bool,
}

/// A runtime that can execute ONNX models.
pub trait Backend: Debug + Send + Sync {
    /// The name as `--backend` takes it.
    fn name(&self) -> &'static str;

    /// Prepares a model for execution.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the backend cannot run the model or is not
    /// installed, with the node and the reason; `InvalidModel` where the bytes are no model.
    fn load(&self, model: &ModelBytes, options: &LoadOptions) -> Result<Box<dyn Session>>;
}

/// A loaded model. Runs may go on in several threads at once.
pub trait Session: Debug + Send + Sync {
    /// The name of the backend that executes the model; of the last resort, where there was need of one.
    fn backend(&self) -> &'static str;

    /// Executes the model: inputs by name in any order; graph outputs in graph order, then taps.
    ///
    /// # Errors
    /// `InvalidData` where inputs are missing, unknown or of the wrong type, `Unsupported` where the backend turns out
    /// not to be able to run the model on these inputs, `Backend` where the authority, ONNX Runtime, fails to.
    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors>;
}
