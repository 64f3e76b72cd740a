//! Gives a named dimension the extent it is meant to be used with, or another name.
//!
//! ```text
//! g (float[N,S] x, float[N,4] z) => (float[N,S] y)     =>     g (float[1,S] x, float[1,4] z) => (float[1,S] y)
//! ```
//!
//! The dimension is the same wherever its name stands: in every input, in expressions such as `N + 1`, in outputs and
//! intermediate values. No operator changes: `simplify` afterwards folds what became constant.
//!
//! Refused are
//! 1. a name that no dimension of an input has;
//! 2. extents with which the operators of the model do not go together, or that contradict a fixed extent declared for
//!    another value.

use std::collections::BTreeSet;

use super::common::narrow::{self, Narrowing};
use crate::error::{Error, Result, did_you_mean};
use crate::infer::SymExpr;
use crate::ir::{Dim, Model};
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "set-dim",
    summary: "gives a named dimension a fixed extent or another name, wherever it stands; changes the signature",
    effect: Effect::Exact,
    scope: Scope::Signature,
    min_opset: None,
    // Numbers may take more bytes than the names they replace.
    may_grow: true,
    options: &[
        OptSpec {
            key: "name",
            kind: OptKind::Text,
            default: None,
            help: "the name that inputs have for the dimension",
        },
        OptSpec { key: "to", kind: OptKind::Text, default: None, help: "a number, or another name" },
    ],
    build,
};

#[derive(Debug)]
struct SetDim {
    wanted: Option<(String, Dim)>,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    let dim = opts.text("to").map(narrow::parse_dim).transpose()?;
    let wanted = opts.text("name").map(str::to_owned).zip(dim);
    Ok(Box::new(SetDim { wanted }))
}

impl Pass for SetDim {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let Some((name, to)) = &self.wanted else {
            return Err(Error::usage("`set-dim` needs a name and an extent").help("for instance set-dim=N:to=1"));
        };
        let known = names(model);
        if !known.contains(name) {
            return Err(unknown(model, name, &known));
        }
        let mut narrowing = Narrowing::default();
        narrowing.names.insert(name.clone(), to.clone());
        narrow::run(model, &narrowing, cx, &format!("dimension `{name}` cannot be {to}"))
    }
}

/// The names that inputs have for dimensions, also those inside of expressions.
fn names(model: &Model) -> BTreeSet<String> {
    let mut names = narrow::input_names(model);
    for name in names.clone() {
        if let Some(expression) = SymExpr::parse(&name) {
            expression.visit_symbols(&mut |symbol| {
                names.insert(symbol.to_string());
            });
        }
    }
    names
}

fn unknown(model: &Model, name: &str, known: &BTreeSet<String>) -> Error {
    let error = Error::usage(format!("no input has a dimension `{name}`"));
    if known.is_empty() {
        let inputs: Vec<String> = model.signature().inputs.iter().map(ToString::to_string).collect();
        return error
            .found(format!("no dimension with a name in {}", inputs.join(", ")))
            .help("set the shape of an input: --input-shape NAME:1x3x224x224");
    }
    let error = error.expected(format!("one of {}", known.iter().cloned().collect::<Vec<_>>().join(", ")));
    match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error,
    }
}
