//! Passes: what they are, how they are described, and how a pipeline of them runs.

mod cx;
mod layered;
pub mod manager;
mod options;
pub mod pipeline;
mod preset;
pub mod report;
mod rewrite;
mod scratch;
mod table;
mod words;

use std::fmt;

use crate::error::Result;
use crate::ir::{DType, Model};

pub use cx::{Cx, Env, NoProgress, Progress, Remark, RemarkKind, StatisticsFiles};
pub use layered::LayerOption;
pub use options::{OptKind, OptSpec, Opts};
pub use rewrite::{Revisit, rewrite_graph};
pub use scratch::Scratch;
pub use table::markdown_table;
pub use words::{counted, enumerate, tally};

/// What a pass may do to the results of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The same bits.
    Exact,
    /// Float arithmetic in another order.
    Rounding,
    /// Accuracy traded for size or speed, on purpose.
    Lossy,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Rounding => "rounding",
            Self::Lossy => "lossy",
        })
    }
}

/// Which part of a model a pass works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The main graph only.
    MainGraph,
    /// The main graph, graphs in attributes, and functions.
    AllGraphs,
    /// The types of the model's inputs, and those of all values that follow from them. No other pass may change the
    /// signature; this one may narrow the shapes of inputs and outputs.
    Signature,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MainGraph => "main graph",
            Self::AllGraphs => "all graphs",
            Self::Signature => "the shapes of inputs and what follows from them",
        })
    }
}

/// Whether a pass changed the model; convergence of a fixed point hangs on the answer being true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub enum Changed {
    /// The model is as it was.
    #[default]
    No,
    /// Something is different.
    Yes,
}

impl Changed {
    /// Whether something is different.
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

impl std::ops::BitOrAssign for Changed {
    fn bitor_assign(&mut self, other: Self) {
        if other.is_yes() {
            *self = Self::Yes;
        }
    }
}

/// One transformation of a model.
pub trait Pass: fmt::Debug + Send {
    /// Changes the model. What was matched and left alone is a [`Cx::skipped`] remark, not an error.
    ///
    /// What it does follows from the model, its options and the context alone: a pass that found nothing to do is not run
    /// again on the same model.
    ///
    /// # Errors
    /// Fails where the user asked for something that cannot be done, or the model is not what it should be.
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed>;

    /// The element type that it may give float inputs and outputs of the model, where the user asks for that.
    fn retypes_floats_to(&self) -> Option<DType> {
        None
    }
}

/// Everything a user reads about a pass: help, lists, errors and the README render from it.
#[derive(Debug, Clone, Copy)]
pub struct PassInfo {
    /// The name in a pipeline, in kebab-case.
    pub name: &'static str,
    /// One line without a full stop: what it does.
    pub summary: &'static str,
    /// What it may do to the results.
    pub effect: Effect,
    /// Which part of a model it works on.
    pub scope: Scope,
    /// The lowest version of the default operator set it can work with, where there is one.
    pub min_opset: Option<i64>,
    /// Whether what it is for may cost bytes, so that a result a little larger than the input is no failure.
    pub may_grow: bool,
    /// Its options; the first may be given without its key.
    pub options: &'static [OptSpec],
    /// Makes the pass from its options, which were checked against `options`.
    pub build: fn(&Opts) -> Result<Box<dyn Pass>>,
}
