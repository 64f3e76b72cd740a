//! Whether a candidate is faster than the float model, measured in ONNX Runtime.

use std::time::Duration;

use crate::backend::{self, BackendChoice, Laps, NamedTensors, Session};
use crate::calib::load_model;
use crate::error::Result;
use crate::ir::Model;

/// A comparison ends after this time, once the fewest runs are done.
const PATIENCE: Duration = Duration::from_millis(800);

/// The float model, ready to run on one sample.
pub(super) struct Stopwatch {
    reference: Box<dyn Session>,
    inputs: NamedTensors,
}

impl Stopwatch {
    /// Loads the float model into ONNX Runtime.
    ///
    /// # Errors
    /// `Unsupported` where ONNX Runtime is not installed or does not take the model.
    pub(super) fn new(model: &Model, inputs: NamedTensors) -> Result<Self> {
        Ok(Self { reference: load_model(model, Vec::new(), BackendChoice::OnnxRuntime)?, inputs })
    }

    /// How many times faster a candidate runs than the float model, on one thread: the median over pairs of runs that
    /// follow each other, so that what else the machine does hits both.
    ///
    /// # Errors
    /// Fails where ONNX Runtime does not take the candidate.
    pub(super) fn speedup(&self, candidate: &Model) -> Result<f64> {
        self.race(candidate, |_| false)
    }

    /// The same, measured only until it is plain that it is not above `limit`.
    ///
    /// # Errors
    /// Fails where ONNX Runtime does not take the candidate.
    pub(super) fn speedup_above(&self, candidate: &Model, limit: f64) -> Result<f64> {
        self.race(candidate, |laps| laps.interval95().1 <= limit)
    }

    fn race(&self, candidate: &Model, is_decided: impl Fn(&Laps) -> bool) -> Result<f64> {
        let candidate = load_model(candidate, Vec::new(), BackendChoice::OnnxRuntime)?;
        // Seconds of the float model over those of the candidate.
        Ok(backend::race_until(&*candidate, &*self.reference, &self.inputs, PATIENCE, is_decided)?.median())
    }
}
