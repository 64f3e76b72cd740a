//! The model with the inputs that a pipeline leaves it.

use crate::error::Result;
use crate::ir::Model;
use crate::pass::manager::{self, RunOptions};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Env, Scratch};

/// A copy of the model after the steps of a pipeline that narrow its signature; `None` where there are none.
///
/// # Errors
/// Passes on what those steps return.
pub fn narrowed(model: &Model, pipeline: &Pipeline) -> Result<Option<Model>> {
    let Some(steps) = pipeline.narrowing() else { return Ok(None) };
    let scratch = Scratch::in_memory();
    let env = Env::plain(&scratch);
    let mut copy = model.clone();
    manager::run(steps.plan()?, &mut copy, &env, &RunOptions::default())?;
    Ok(Some(copy))
}
