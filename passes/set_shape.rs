//! Gives an input the shape it is meant to be used with.
//!
//! ```text
//! g (float[N,3,H,W] x) => (float[N,8,H,W] y)     =>     g (float[1,3,224,224] x) => (float[1,8,224,224] y)
//! ```
//!
//! A dimension that has a name is the same wherever that name stands, in other inputs too. Shapes of outputs and
//! intermediate values follow from the inputs'. `?` leaves a dimension as it is; a name gives an open one that name.
//! No operator changes: `simplify` afterwards folds what became constant.
//!
//! Refused are
//! 1. an input that the model does not have, or that is no tensor;
//! 2. another number of dimensions than the input has;
//! 3. another extent for a dimension that is fixed, and a name for it;
//! 4. two extents for one name;
//! 5. extents with which the operators of the model do not go together, or that contradict a fixed extent declared for
//!    another value.

use super::common::narrow::{self, Narrowing};
use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Dim, Model, Shape, ValueId, names_nothing};
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope, counted};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "set-shape",
    summary: "gives an input the shape it is meant to be used with, and all that follows from it; changes the signature",
    effect: Effect::Exact,
    scope: Scope::Signature,
    min_opset: None,
    // Numbers may take more bytes than the names they replace.
    may_grow: true,
    options: &[
        OptSpec {
            key: "input",
            kind: OptKind::Text,
            default: None,
            help: "the name of the input; not needed where there is only one",
        },
        OptSpec {
            key: "to",
            kind: OptKind::Text,
            default: None,
            help: "the shape, as in 1x3x224x224; `?` leaves a dimension as it is, a name gives an open one that name",
        },
    ],
    build,
};

#[derive(Debug)]
struct SetShape {
    input: Option<String>,
    to: Option<String>,
    wanted: Vec<Option<Dim>>,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    let (input, to) = (opts.text("input").map(str::to_owned), opts.text("to").map(str::to_owned));
    let wanted = to.as_deref().map_or(Ok(Vec::new()), parse)?;
    Ok(Box::new(SetShape { input, to, wanted }))
}

/// The extents of a shape; `None` for those that stay.
fn parse(text: &str) -> Result<Vec<Option<Dim>>> {
    let separator = if text.contains(',') { ',' } else { 'x' };
    text.split(separator)
        .map(|part| match part.trim() {
            "?" => Ok(None),
            part => narrow::parse_dim(part).map(Some).map_err(|e| {
                e.found(format!("`{text}`"))
                    .or_help("write it as in 1x3x224x224, or with commas where a name has an `x` in it")
            }),
        })
        .collect()
}

impl Pass for SetShape {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let Some(to) = &self.to else {
            return Err(Error::usage("`set-shape` needs a shape").help("for instance set-shape=x:to=1x3x224x224"));
        };
        let input = find_input(model, self.input.as_deref())?;
        let narrowing = self.narrowing(model, input, to)?;
        let name = model.graph.value(input).name().to_owned();
        narrow::run(model, &narrowing, cx, &format!("input `{name}` cannot have the shape {to}"))
    }
}

fn find_input(model: &Model, name: Option<&str>) -> Result<ValueId> {
    let graph = &model.graph;
    let inputs: Vec<ValueId> =
        graph.inputs().iter().copied().filter(|&input| graph.value(input).initializer().is_none()).collect();
    let names = || inputs.iter().map(|&input| graph.value(input).name());
    let shown: Vec<String> = inputs.iter().map(|&input| graph.value(input).describe()).collect();
    let Some(name) = name else {
        return match inputs.as_slice() {
            [only] => Ok(*only),
            _ => Err(Error::usage("a shape is given, but not for which input")
                .expected(format!("one of {}", shown.join(", ")))
                .help("put the name of the input in front, as in NAME:1x3x224x224")),
        };
    };
    inputs.iter().copied().find(|&input| graph.value(input).name() == name).ok_or_else(|| {
        let error =
            Error::usage(format!("the model has no input `{name}`")).expected(format!("one of {}", shown.join(", ")));
        match did_you_mean(name, names()) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        }
    })
}

impl SetShape {
    fn narrowing(&self, model: &Model, input: ValueId, to: &str) -> Result<Narrowing> {
        let held = model.graph.value(input);
        let declared = held.ty().shape().cloned().unwrap_or_else(|| Shape(vec![Dim::Unknown; self.wanted.len()]));
        let wrong = |what: String| Error::usage(what).expected(held.describe()).found(format!("`{to}`"));
        if held.dtype().is_none() {
            return Err(wrong(format!("input `{}` is no tensor and has no shape", held.name())));
        }
        if declared.rank() != self.wanted.len() {
            let count = counted(self.wanted.len(), "dimension");
            let has = counted(declared.rank(), "dimension");
            return Err(wrong(format!("input `{}` has {has}, and the shape {count}", held.name()))
                .help("give as many extents as the input has; `?` leaves one as it is"));
        }
        let mut narrowing = Narrowing::default();
        if held.ty().shape().is_none() {
            narrowing.ranks.insert(input, declared.rank());
        }
        for (axis, (dim, wanted)) in declared.0.iter().zip(&self.wanted).enumerate() {
            let Some(wanted) = wanted else { continue };
            match (dim, wanted) {
                (Dim::Fixed(extent), Dim::Fixed(number)) if extent == number => {}
                (Dim::Fixed(extent), wanted) => {
                    return Err(wrong(format!(
                        "axis {axis} of input `{}` is {extent}, and cannot become {wanted}",
                        held.name()
                    ))
                    .help("the model, or a step before this one, has fixed that dimension; `?` leaves it as it is"));
                }
                (Dim::Sym(name), wanted) if !names_nothing(name) => {
                    let before = narrowing.names.insert(name.to_string(), wanted.clone());
                    if let Some(before) = before.filter(|before| before != wanted) {
                        return Err(wrong(format!("dimension `{name}` cannot be {before} and {wanted} at once")));
                    }
                }
                _ => drop(narrowing.axes.insert((input, axis), wanted.clone())),
            }
        }
        Ok(narrowing)
    }
}
