//! What the user asked of the pass.

use super::levels::Levels;
use super::observe::Observer;
use super::platform::Platform;
use super::select::Selection;
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::goal::Goal;

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "mode",
        kind: OptKind::Choice(&["auto", "static", "dynamic", "weights"]),
        default: Some("auto"),
        help: "static: integer arithmetic, needs calibration data; dynamic: MatMul and Gemm in integers, with ranges of \
               activations measured on every run; weights: int8 weights, float arithmetic; auto: static where it can, else \
               weights",
    },
    OptSpec {
        key: "form",
        kind: OptKind::Choice(&["auto", "dq", "cast"]),
        default: Some("auto"),
        help: "what restores the weights of float operators: cast: Cast and Mul, folded at load; dq: DequantizeLinear in \
               front of MatMul and Gemm, where runtimes may have a kernel for it; auto: cast, which is never slower than \
               float",
    },
    OBSERVER,
    PERCENTILE,
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               stays float, or keeps 16 bits; auto: 20 unless a target, top1 or acc-drop is told; weights: 30, and what costs \
               most gets 16 bits; 0: do not measure",
    },
    OptSpec {
        key: "top1",
        kind: OptKind::Ratio,
        default: None,
        help: "how often the best score has to be that of the float model, over the calibration data: 0.995",
    },
    OptSpec {
        key: "acc-drop",
        kind: OptKind::Float,
        default: None,
        help: "the most points of accuracy to lose, over calibration data with labels: 0.2",
    },
    OptSpec {
        key: "for",
        kind: OptKind::Choice(Platform::NAMES),
        default: Some("ort-x64"),
        help: "the runtime that the model is made for, which decides types and biases: ort-x64 (run here), ort-x64-avx2 (no \
               8-bit dot products: 7-bit weights), ort-arm64 (signed activations), tensorrt (symmetric), openvino, generic \
               (by their documentation)",
    },
    OptSpec {
        key: "outliers",
        kind: OptKind::UInt,
        default: Some("16"),
        help: "channels of the input of MatMul and Gemm that may be computed in float beside the integers, where a few are \
               much larger than the rest; 0: none",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Choice(&["auto", "none", "equalize", "gptq", "bias"]),
        default: Some("auto"),
        help: "auto and target: what makes integers more exact, where calibration data shows that it does: scales for the \
               channels of activations, put into the weights around them (equalize), rounding of weights that makes up for \
               the errors of others (gptq), the mean error of each channel put into the bias (bias), all (auto), or none",
    },
    OptSpec {
        key: "timing",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "auto and target: time the result in ONNX Runtime, and leave in float what integers do not speed up there; \
               false: decide by rule, for equal bytes on every machine",
    },
    ONLY,
    EXCLUDE,
    MIN_ELEMENTS,
];

pub(super) const OBSERVER: OptSpec = OptSpec {
    key: "observer",
    kind: OptKind::Choice(&["auto", "minmax", "moving", "percentile", "entropy", "mse"]),
    default: Some("auto"),
    help: "how the range of an activation follows from calibration data: auto: all of it, or as by mse or percentile where \
           the drift is measured and less that way; minmax: all of it; moving: the extremes of a \
           sample, on average; percentile: all but a few; entropy: the least divergence (KL) of distributions; mse: the \
           least squared error",
};

pub(super) const PERCENTILE: OptSpec = OptSpec {
    key: "percentile",
    kind: OptKind::Float,
    default: Some("99.99"),
    help: "observer=percentile: so many percent of the numbers are in the range, half of the rest beyond each end",
};

pub(super) const ONLY: OptSpec = OptSpec {
    key: "only",
    kind: OptKind::Names,
    default: None,
    help: "an operator, a kind of operator or a weight to quantize, and nothing else; `*` stands for any characters",
};

pub(super) const EXCLUDE: OptSpec = OptSpec {
    key: "exclude",
    kind: OptKind::Names,
    default: None,
    help: "an operator, a kind of operator or a weight to leave in float; `*` stands for any characters",
};

pub(super) const MIN_ELEMENTS: OptSpec = OptSpec {
    key: "min-elements",
    kind: OptKind::UInt,
    default: Some("1024"),
    help: "weights of fewer elements stay float where the arithmetic does",
};

/// How activations and weights are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Auto,
    Static,
    Dynamic,
    Weights,
}

/// What restores weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Cast,
    Dq,
    /// Zero points are all 0, but some kernels are only chosen where they are spelled out.
    DqWithZeroPoints,
}

/// Which repairs may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repairs {
    pub(super) equalize: bool,
    pub(super) rounding: bool,
    /// Another way to choose ranges than what the user was given by default.
    pub(super) ranges: bool,
    pub(super) bias: bool,
}

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The pass that these are options of.
    pub(super) pass: &'static str,
    pub(super) mode: Mode,
    pub(super) form: Form,
    pub(super) min_elements: u64,
    /// What the model is made for.
    pub(super) platform: Platform,
    /// How ranges of activations are chosen.
    pub(super) observer: Observer,
    /// So many channels of an activation at most are computed in float beside the integers.
    pub(super) outliers: usize,
    /// What to reach, where the user asks for something.
    pub(super) goal: Option<Goal>,
    /// What may be done for the sake of accuracy, where it is measured.
    pub(super) repairs: Repairs,
    /// Whether a clock may decide what stays float.
    pub(super) is_timed: bool,
    /// How far each tensor of the main graph may be quantized.
    pub(super) levels: Levels,
    pub(super) selection: Selection,
}

impl Settings {
    pub(super) fn new(opts: &Opts) -> Self {
        Self {
            pass: super::INFO.name,
            mode: match opts.choice("mode") {
                "static" => Mode::Static,
                "dynamic" => Mode::Dynamic,
                "weights" => Mode::Weights,
                _ => Mode::Auto,
            },
            form: match opts.choice("form") {
                "dq" => Form::Dq,
                _ => Form::Cast,
            },
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            platform: Platform::named(opts.choice("for")),
            observer: observer(opts),
            outliers: opts.uint("outliers").and_then(|most| usize::try_from(most).ok()).unwrap_or(0),
            goal: Some(Goal {
                snr_db: opts.float("target"),
                top1: opts.float("top1"),
                accuracy_drop: opts.float("acc-drop"),
            })
            .filter(|goal| *goal != Goal::default()),
            repairs: Repairs {
                equalize: matches!(opts.choice("repair"), "auto" | "equalize"),
                ranges: opts.choice("repair") == "auto" && opts.choice("observer") == "auto",
                rounding: matches!(opts.choice("repair"), "auto" | "gptq"),
                bias: matches!(opts.choice("repair"), "auto" | "bias"),
            },
            is_timed: opts.flag("timing"),
            levels: Levels::default(),
            selection: Selection::new(opts.names("only"), opts.names("exclude")),
        }
    }

    /// The options of a pass for activations of 16 bits: ranges are as wide as what was seen unless the user says otherwise,
    /// since so fine a step has room for outliers.
    pub(super) fn with_sixteen_bits(pass: &'static str, opts: &Opts) -> Self {
        let target = opts.float("target").filter(|&target| target > 0.0);
        Self {
            pass,
            mode: Mode::Static,
            form: Form::Cast,
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            platform: Platform::with_sixteen_bits(),
            observer: observer(opts),
            outliers: 0,
            goal: target.map(|snr_db| Goal { snr_db: Some(snr_db), ..Goal::default() }),
            repairs: Repairs { equalize: false, ranges: false, rounding: true, bias: true },
            is_timed: true,
            levels: Levels::default(),
            selection: Selection::new(opts.names("only"), opts.names("exclude")),
        }
    }

    /// The same with other levels.
    pub(super) fn with_levels(&self, levels: Levels) -> Self {
        Self { levels, ..self.clone() }
    }
}

fn observer(opts: &Opts) -> Observer {
    match opts.choice("observer") {
        "moving" => Observer::Moving,
        "percentile" => Observer::Percentile(opts.float("percentile").unwrap_or(100.0).clamp(50.0, 100.0)),
        "entropy" => Observer::Entropy,
        "mse" => Observer::Mse,
        _ => Observer::MinMax,
    }
}
