//! The model with the inputs that a pipeline leaves it.

use crate::backend::BackendChoice;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::manager::{self, RunOptions};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Env, NoProgress, Scratch, StatisticsFiles};

/// A copy of the model after the steps of a pipeline that narrow its signature; `None` where there are none.
///
/// # Errors
/// Passes on what those steps return.
pub fn narrowed(model: &Model, pipeline: &Pipeline) -> Result<Option<Model>> {
    let Some(steps) = pipeline.narrowing() else { return Ok(None) };
    let env = Env {
        seed: 0,
        calibration: None,
        backend: BackendChoice::Auto,
        scratch: &Scratch::in_memory(),
        progress: &NoProgress,
        statistics: StatisticsFiles::default(),
    };
    let mut copy = model.clone();
    manager::run(steps.plan()?, &mut copy, &env, &RunOptions::default())?;
    Ok(Some(copy))
}
