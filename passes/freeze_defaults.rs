//! Makes constants of initializers that are listed among the inputs, as if a caller might replace them.
//!
//! ```text
//! // ir_version: 3
//! g (float[2] x, float[2] w) => (y) <float[2] w = {1, 2}>     =>     g (float[2] x) => (y) <float[2] w = {1, 2}>
//! ```
//!
//! Below version 4 of the file format every initializer had to be listed, so the list says nothing about what a caller
//! wants to replace, and ONNX Runtime lets nobody do so. Every pass that needs constants finds none in such a file; this
//! one comes first. The file gets version 4.
//!
//! In newer files an input with a default is there on purpose, unless each of many initializers is one: PyTorch went on
//! listing all of them up to version 1.3. What is there on purpose stays, unless `all=true` says that nobody replaces it.

use crate::error::{Result, Site};
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope, counted};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "freeze-defaults",
    summary: "makes constants of initializers that old files list as inputs",
    effect: Effect::Exact,
    scope: Scope::MainGraph,
    min_opset: None,
    may_grow: false,
    options: &[OptSpec {
        key: "all",
        kind: OptKind::Bool,
        default: Some("false"),
        help: "whether to do so in files of IR version 4 and up too where only some initializers are inputs, which are then \
               meant to be replaced",
    }],
    build,
};

/// The first version of the file format in which initializers need not be inputs.
const FREE_INITIALIZERS: i64 = 4;

/// So many initializers are not all listed on purpose.
const TOO_MANY_ON_PURPOSE: usize = 8;

#[derive(Debug)]
struct FreezeDefaults {
    all: bool,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FreezeDefaults { all: opts.flag("all") }))
}

impl Pass for FreezeDefaults {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let is_old = model.ir_version() < FREE_INITIALIZERS;
        let initializers = model.graph.initializers();
        let count = initializers.len();
        let listed: Vec<_> = initializers.into_iter().filter(|&value| model.graph.value(value).is_input()).collect();
        let is_habit = listed.len() == count && count >= TOO_MANY_ON_PURPOSE;
        if !is_old && !is_habit && !self.all {
            for value in listed {
                cx.skipped(model.graph.value_site(value), "an input with a default; `all=true` makes it a constant");
            }
            return Ok(Changed::No);
        }
        if listed.is_empty() {
            return Ok(Changed::No);
        }
        for &value in &listed {
            model.graph.freeze_default(value)?;
        }
        if is_old {
            model.set_ir_version(FREE_INITIALIZERS);
        }
        let count = listed.len();
        let text = format!("made constants of {}", counted(count, "initializer"));
        cx.measured(Site::default(), text, &[("initializers", count as f64)]);
        Ok(Changed::Yes)
    }
}
