//! Keeps operators and values by name through all passes that follow.
//!
//! ```text
//! a = Identity(x)             a = Identity(x)
//! b = Relu(a)            =>   b = Relu(a)          keep=a,eliminate-identity
//! ```
//!
//! A kept value stays, under its name, with the contents that the model has there: it counts as read, and is no constant
//! that could be merged with others or changed. A kept operator is not removed, merged or folded, and so are the values
//! it writes; the operators around it, up to the main graph, stay with it. Nothing is written to the file: what is kept
//! is forgotten at the end of the pipeline.
//!
//! Refused are names that nothing has.

use crate::error::{Error, Result, did_you_mean};
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope, enumerate};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "keep",
    summary: "keeps operators and values by name through all passes that follow",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[OptSpec {
        key: "name",
        kind: OptKind::Names,
        default: None,
        help: "an operator or value that stays as it is; every one of that name does",
    }],
    build,
};

#[derive(Debug)]
struct Keep {
    names: Vec<String>,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(Keep { names: opts.names("name") }))
}

impl Pass for Keep {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        for name in &self.names {
            let (nodes, values) = model.keep(name)?;
            let found = enumerate(&[(nodes, "operator"), (values, "value")]).ok_or_else(|| unknown(model, name))?;
            cx.note(format!("{found} named `{name}` will stay"));
        }
        Ok(Changed::No)
    }
}

fn unknown(model: &Model, name: &str) -> Error {
    let names = model.names_to_keep();
    let error = Error::usage(format!("there is no operator or value `{name}` to keep"));
    match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help("`onnx-shrink print MODEL` shows the names of operators and values"),
    }
}
