//! Many pipelines on one model: what each makes of it, and which are worth having.
//!
//! ```text
//! pipelines --> Lab: shrink::bench runs each, cache remembers, speed times in ONNX Runtime --> Measurement
//!           --> front: those that no other beats in size, drift and time
//! ```
//! [`sweep`] runs a given list, [`within_budget`] looks for the best pipeline by itself.

mod budget;
mod cache;
mod front;
mod gallery;
mod halt;
mod hunt;
mod integers;
mod lab;
mod line;
mod measurement;
mod objective;
mod pace;
mod speed;
mod stages;
mod sweep;
mod within;

pub use budget::Budget;
pub use gallery::Picture;
pub use measurement::{Measurement, Obstacle};
pub use speed::Speed;
pub use sweep::{Row, SWEEP_VERSION, SweepOptions, SweepReport, Verdict, sweep};
pub use within::{BUDGET_VERSION, BudgetOptions, BudgetReport, Budgeted, within_budget};

use std::time::Duration;

use crate::pass::Progress;

/// Who wants to know how far many pipelines have come.
pub trait Watcher: Progress + Send + Sync {
    /// A pipeline is about to run: how far all have come, and how much time is left for all as far as can be told.
    fn trying(&self, pipeline: &str, place: &str, left: Option<Duration>);
    /// Something that the user should know at once.
    fn says(&self, text: &str);
}
