//! What the user asked of the pass.

use super::threshold::Rule;
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::weights::{EXCLUDE, MIN_ELEMENTS};

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "scale",
        kind: OptKind::Choice(&["channel", "tensor"]),
        default: Some("channel"),
        help: "whether each output channel has a scale of its own, or the whole tensor one",
    },
    OptSpec {
        key: "threshold",
        kind: OptKind::Choice(&["exact", "twn"]),
        default: Some("exact"),
        help: "below which magnitude weights become zero: exact: where the error is least; twn: 0.7 of the mean magnitude",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether, with calibration data, weights are rounded so that each error is made up for by those left, layer \
               after layer, and biases with them; used where outputs come out closer on samples that are kept back",
    },
    OptSpec {
        key: "all",
        kind: OptKind::Bool,
        default: Some("false"),
        help: "whether the first and the last layers are coded as well, which bear it least",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: Some("10"),
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               stays float; 0: everything is coded",
    },
    EXCLUDE,
    MIN_ELEMENTS,
];

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whether all channels of a tensor have one scale.
    pub(super) is_shared: bool,
    pub(super) rule: Rule,
    pub(super) repairs: bool,
    pub(super) codes_ends: bool,
    /// The least signal-to-noise ratio to reach; `None` for whatever comes of it.
    pub(super) target: Option<f64>,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    pub(super) fn new(opts: &Opts) -> Self {
        Self {
            is_shared: opts.choice("scale") == "tensor",
            rule: if opts.choice("threshold") == "twn" { Rule::Twn } else { Rule::Exact },
            repairs: opts.flag("repair"),
            codes_ends: opts.flag("all"),
            target: opts.float("target").filter(|&target| target > 0.0),
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            exclude: Exclude::new(opts.names("exclude")),
        }
    }
}
