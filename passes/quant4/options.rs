//! What the user asked of the pass.

use super::grid::Grid;
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::weights::{EXCLUDE, MIN_ELEMENTS};

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "method",
        kind: OptKind::Choice(&["auto", "rtn", "hqq", "gptq"]),
        default: Some("auto"),
        help: "gptq: round weights so that they make up for each other's error on the calibration data; hqq: fit scales to \
               most weights and let a few be wrong; rtn: round to nearest; auto: gptq with calibration data, else the one \
               of hqq and rtn with the smaller error",
    },
    OptSpec {
        key: "format",
        kind: OptKind::Choice(&["cast", "dq", "matmulnbits"]),
        default: Some("cast"),
        help: "what restores the weights: cast: standard arithmetic that runtimes fold at load, never slower than float; \
               dq: blocked DequantizeLinear in front of MatMul and Gemm, for which runtimes have 4-bit kernels; \
               matmulnbits: those kernels by name, an operator of ONNX Runtime; weights of other operators get cast",
    },
    OptSpec {
        key: "block",
        kind: OptKind::UInt,
        default: Some("32"),
        help: "weights that share a scale; the nearest divisor of what is added up is taken",
    },
    OptSpec {
        key: "symmetric",
        kind: OptKind::Bool,
        default: Some("false"),
        help: "signed levels around 0, without a zero point for each block: an eighth of a bit smaller, about 1 dB worse",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: Some("15"),
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               gets 8 bits or stays float; 0: everything gets 4 bits",
    },
    EXCLUDE,
    MIN_ELEMENTS,
];

/// How levels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Auto,
    RoundToNearest,
    HalfQuadratic,
    Gptq,
}

/// What restores weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Cast,
    Dq,
    MatMulNBits,
}

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) method: Method,
    pub(super) format: Format,
    pub(super) block: usize,
    pub(super) grid: Grid,
    /// The least signal-to-noise ratio to reach; `None` for whatever 4 bits give.
    pub(super) target: Option<f64>,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    pub(super) fn new(opts: &Opts) -> Self {
        Self {
            method: match opts.choice("method") {
                "rtn" => Method::RoundToNearest,
                "hqq" => Method::HalfQuadratic,
                "gptq" => Method::Gptq,
                _ => Method::Auto,
            },
            format: match opts.choice("format") {
                "dq" => Format::Dq,
                "matmulnbits" => Format::MatMulNBits,
                _ => Format::Cast,
            },
            block: opts.uint("block").and_then(|block| usize::try_from(block).ok()).unwrap_or(32),
            grid: if opts.flag("symmetric") { Grid::SYMMETRIC } else { Grid::ASYMMETRIC },
            target: opts.float("target").filter(|&target| target > 0.0),
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            exclude: Exclude::new(opts.names("exclude")),
        }
    }
}
