//! What the user asked of the pass.

use super::trunk::Unit;
use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::goal::Goal;

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec { key: "drop", kind: OptKind::UInt, default: None, help: "how many go; 1 unless told otherwise" },
    OptSpec {
        key: "ratio",
        kind: OptKind::Ratio,
        default: None,
        help: "instead of a number: which share of them goes",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "the least signal-to-noise ratio in dB of any output on the calibration data, before a last Softmax or \
               Sigmoid; alone, as many go as it allows",
    },
    OptSpec {
        key: "top1",
        kind: OptKind::Ratio,
        default: None,
        help: "how often the best score has to be that of the original on the calibration data, at least: 0.995; alone, as \
               many go as it allows",
    },
    OptSpec {
        key: "acc-drop",
        kind: OptKind::Float,
        default: None,
        help: "the most points of accuracy that may be lost on calibration data with labels: 0.2; alone, as many go as it \
               allows",
    },
    OptSpec {
        key: "unit",
        kind: OptKind::Choice(&["layer", "block"]),
        default: Some("layer"),
        help: "layer: as many residual blocks as repeat together, such as attention and feed-forward block; block: each",
    },
    OptSpec {
        key: "by",
        kind: OptKind::Choice(&["drift", "influence"]),
        default: Some("drift"),
        help: "drift: what costs least when the model runs without it; influence: what turns its input least",
    },
    OptSpec {
        key: "scale",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether a factor a channel may take the place of what goes",
    },
    OptSpec {
        key: "identities",
        kind: OptKind::Bool,
        default: Some("false"),
        help: "whether what hands on its input unchanged on the calibration data goes as well",
    },
    OptSpec {
        key: "remove",
        kind: OptKind::Names,
        default: None,
        help: "the operator at the end of a block or layer, or one that keeps the type of its input, to remove",
    },
    OptSpec {
        key: "output",
        kind: OptKind::Names,
        default: None,
        help: "early exit: a value or operator behind which all layers go",
    },
];

/// By what those that go are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Drift,
    Influence,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) unit: Unit,
    pub(super) order: Order,
    /// What the result has to reach, where something is asked for.
    pub(super) goal: Option<Goal>,
    pub(super) scales: bool,
    pub(super) removes_identities: bool,
    pub(super) remove: Vec<String>,
    pub(super) output: Option<String>,
    drop: Option<usize>,
    ratio: Option<f64>,
}

impl Settings {
    /// # Errors
    /// Fails on options that contradict each other.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let (drop, ratio) = (opts.uint("drop"), opts.float("ratio"));
        if drop.is_some() && ratio.is_some() {
            return Err(Error::usage("`layers` takes a number or a share of layers to remove")
                .expected("drop=K or ratio=R")
                .found("both"));
        }
        let goal =
            Goal { snr_db: opts.float("target"), top1: opts.float("top1"), accuracy_drop: opts.float("acc-drop") };
        let mut outputs = opts.names("output");
        if outputs.len() > 1 {
            return Err(Error::usage("option `output` of `layers` is given twice"));
        }
        Ok(Self {
            unit: if opts.choice("unit") == "block" { Unit::Block } else { Unit::Layer },
            order: if opts.choice("by") == "influence" { Order::Influence } else { Order::Drift },
            goal: (goal != Goal::default()).then_some(goal),
            scales: opts.flag("scale"),
            removes_identities: opts.flag("identities"),
            remove: opts.names("remove"),
            output: outputs.pop(),
            drop: drop.map(|drop| usize::try_from(drop).unwrap_or(usize::MAX)),
            ratio,
        })
    }

    /// How many of so many are removed at most, besides those that are named.
    pub(super) fn limit(&self, all: usize) -> usize {
        let is_named = !self.remove.is_empty() || self.output.is_some() || self.removes_identities;
        match (self.drop, self.ratio, self.goal) {
            (Some(drop), ..) => drop.min(all),
            (None, Some(ratio), _) => (ratio * all as f64).round() as usize,
            (None, None, Some(_)) => all,
            (None, None, None) => usize::from(!is_named && all > 0),
        }
    }
}
