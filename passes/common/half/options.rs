//! What the user asks of a pass that makes floats of 16 bits.

use super::{HalfType, convert, weights};
use crate::error::{Error, Result};
use crate::ir::{DType, Model};
use crate::pass::{Changed, Cx, OptKind, OptSpec, Opts, Pass};
use crate::passes::common::exclude::Exclude;

/// The type that operators compute in, `half` being the other one than `f32`.
pub(in crate::passes) const fn compute(choices: &'static [&'static str]) -> OptSpec {
    OptSpec {
        key: "compute",
        kind: OptKind::Choice(choices),
        default: Some("f32"),
        help: "f32: weights of 16 bits behind Cast, which runtimes compute when they load the model, and the arithmetic of \
               before; the other: arithmetic in 16 bits, with what needs more left in float, for runtimes with kernels for it",
    }
}

/// What becomes of inputs and outputs.
pub(in crate::passes) const IO: OptSpec = OptSpec {
    key: "io",
    kind: OptKind::Choice(&["keep", "convert"]),
    default: Some("keep"),
    help: "with 16-bit arithmetic: keep: inputs and outputs stay what they are; convert: float ones have 16 bits as well, which \
           callers have to know",
};

pub(in crate::passes) const MIN_ELEMENTS: OptSpec = OptSpec {
    key: "min-elements",
    kind: OptKind::UInt,
    default: Some("512"),
    help: "weights of fewer elements stay as they are where the arithmetic does",
};

pub(in crate::passes) const EXCLUDE: OptSpec = OptSpec {
    key: "exclude",
    kind: OptKind::Names,
    default: None,
    help: "an operator or a tensor to leave as it is; `*` stands for any characters",
};

/// A pass that makes floats of 16 bits.
#[derive(Debug)]
pub(in crate::passes) struct Half {
    pub(super) half: HalfType,
    /// Whether the arithmetic is to change, and not only what is stored.
    pub(super) computes: bool,
    /// Whether callers are to give and get 16 bits.
    pub(super) converts_callers: bool,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Half {
    /// The pass for a type, with these options.
    ///
    /// # Errors
    /// Fails where inputs and outputs are to change while the arithmetic does not.
    pub(in crate::passes) fn new(half: HalfType, opts: &Opts) -> Result<Self> {
        let (computes, converts_callers) = (opts.choice("compute") != "f32", opts.choice("io") == "convert");
        if converts_callers && !computes {
            return Err(Error::usage("`io=convert` goes with arithmetic in 16 bits")
                .found("compute=f32, the default")
                .help(format!("add compute={}", half.suffix())));
        }
        Ok(Self {
            half,
            computes,
            converts_callers,
            min_elements: opts.uint("min-elements").unwrap_or(0),
            exclude: Exclude::new(opts.names("exclude")),
        })
    }
}

impl Pass for Half {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.exclude.check(model)?;
        let mut changed = Changed::No;
        if self.computes {
            changed |= convert::convert(model, self.half, &self.exclude, self.converts_callers, cx)?;
        }
        changed |= weights::store(model, self, cx)?;
        Ok(changed)
    }

    fn retypes_floats_to(&self) -> Option<DType> {
        self.converts_callers.then(|| self.half.dtype())
    }
}
