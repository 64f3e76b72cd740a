//! What the user asked of the pass.

use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::kmeans::Start;
use crate::passes::common::weights::{EXCLUDE, MIN_ELEMENTS};

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "values",
        kind: OptKind::UInt,
        default: Some("16"),
        help: "different values that the weights of a tensor may have, 2 to 256; a byte holds 8 codes of 2 values, 5 of 3, \
               2 of up to 16",
    },
    OptSpec {
        key: "start",
        kind: OptKind::Choice(&["optimal", "linear", "density", "spread"]),
        default: Some("optimal"),
        help: "where k-means begins: optimal: where the error is least, by dynamic programming; linear: evenly over the \
               range; density: with as many weights each; spread: by chance, far from each other (k-means++)",
    },
    OptSpec {
        key: "form",
        kind: OptKind::Choice(&["smallest", "bytes"]),
        default: Some("smallest"),
        help: "smallest: several codes in a byte, or a mask of what is not zero and codes for that; bytes: a byte for each \
               weight, which is larger, but the smallest once packed by `onnx-shrink pack`",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: Some("15"),
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               gets 256 values or stays float; 0: everything gets what `values` says",
    },
    EXCLUDE,
    MIN_ELEMENTS,
];

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) values: usize,
    pub(super) start: Start,
    /// Whether each weight gets a byte.
    pub(super) is_in_bytes: bool,
    /// The least signal-to-noise ratio to reach; `None` for whatever comes of it.
    pub(super) target: Option<f64>,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    /// # Errors
    /// Fails on a number of values that no byte holds, or that is no choice.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let values = opts.uint("values").unwrap_or(16);
        if !(2..=256).contains(&values) {
            return Err(Error::usage("a codebook of `cluster` holds 2 to 256 values").found(values.to_string()));
        }
        Ok(Self {
            values: values as usize,
            start: match opts.choice("start") {
                "linear" => Start::Linear,
                "density" => Start::Density,
                "spread" => Start::Spread,
                _ => Start::Optimal,
            },
            is_in_bytes: opts.choice("form") == "bytes",
            target: opts.float("target").filter(|&target| target > 0.0),
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            exclude: Exclude::new(opts.names("exclude")),
        })
    }
}
