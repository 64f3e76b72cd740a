//! The inputs that calibration and validation run a model on.
use std::fmt::Debug;

use crate::backend::NamedTensors;
use crate::error::Result;

/// A fixed, ordered set of inputs for one model.
///
/// Samples are made or read when they are asked for; asking twice gives the same bits, from any thread.
pub trait Samples: Debug + Send + Sync {
    /// The number of samples; never zero.
    fn len(&self) -> usize;

    /// Always `false`: no source without samples can be opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs of one sample, in the order of the model's signature.
    ///
    /// # Errors
    /// Fails where `index` is out of range or a file can no longer be read.
    fn get(&self, index: usize) -> Result<NamedTensors>;

    /// The right classes of one sample, one for each row of a batch; `None` where the data has no labels.
    fn label(&self, index: usize) -> Option<Vec<i64>>;

    /// What the samples are, in words for a report: "8 samples of `digits.npz`".
    fn describe(&self) -> String;
}
