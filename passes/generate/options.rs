//! What the user asked of the pass.

use super::table::MAX_BLOCK;
use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::weights::EXCLUDE;

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "ratio",
        kind: OptKind::Float,
        default: Some("8"),
        help: "how many times smaller than 32-bit floats codes are, 4 to 32: two bytes stand for half as many weights",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether, with calibration data, codes are chosen so that each error is made up for by weights that are left, \
               layer after layer, and biases with them; used where outputs come out closer on samples that are kept back",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: Some("10"),
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               stays float; 0: everything is generated",
    },
    EXCLUDE,
    OptSpec {
        key: "min-elements",
        kind: OptKind::UInt,
        default: Some("4096"),
        help: "weights of fewer elements stay float",
    },
];

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Weights that one code of two bytes stands for.
    pub(super) block: usize,
    pub(super) repairs: bool,
    /// The least signal-to-noise ratio to reach; `None` for whatever comes of it.
    pub(super) target: Option<f64>,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    /// # Errors
    /// Fails on a ratio that no block has.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let ratio = opts.float("ratio").unwrap_or(8.0);
        if !(4.0..=32.0).contains(&ratio) {
            return Err(Error::usage("`generate` makes weights 4 to 32 times smaller")
                .found(format!("ratio={ratio}"))
                .help("name a ratio between them: `generate=16`"));
        }
        Ok(Self {
            block: ((ratio / 2.0).round() as usize).clamp(2, MAX_BLOCK),
            repairs: opts.flag("repair"),
            target: opts.float("target").filter(|&target| target > 0.0),
            min_elements: opts.uint("min-elements").unwrap_or(4096),
            exclude: Exclude::new(opts.names("exclude")),
        })
    }
}
