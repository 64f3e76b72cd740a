//! Many pipelines on one model: what each makes of it, and which are worth having.
//!
//! ```text
//! pipelines --> Lab: shrink::bench runs each, cache remembers, speed times in ONNX Runtime --> Measurement
//!           --> front: those that no other beats in size, drift and time
//! ```
//! [`sweep`] runs a given list.

mod cache;
mod front;
mod lab;
mod measurement;
mod speed;
mod sweep;

pub use measurement::{Measurement, Obstacle};
pub use speed::Speed;
pub use sweep::{Row, SWEEP_VERSION, SweepOptions, SweepReport, Verdict, sweep};

use std::time::Duration;

use crate::pass::Progress;

/// Who wants to know how far many pipelines have come.
pub trait Watcher: Progress {
    /// A pipeline is about to run: the `number`th of `total`, with so much time left for all as far as can be told.
    fn trying(&self, pipeline: &str, number: usize, total: usize, left: Option<Duration>);
    /// Something that the user should know at once.
    fn says(&self, text: &str);
}
