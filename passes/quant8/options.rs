//! What the user asked of the pass.

use super::levels::Levels;
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;

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
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of it \
               stays float; auto: 20 unless told",
    },
    OptSpec {
        key: "outliers",
        kind: OptKind::UInt,
        default: Some("8"),
        help: "channels of the input of MatMul and Gemm that may be computed in float beside the integers, where a few are \
               much larger than the rest; 0: none",
    },
    OptSpec {
        key: "timing",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "auto and target: time the result in ONNX Runtime, and leave in float what integers do not speed up there; \
               false: decide by rule, for equal bytes on every machine",
    },
    OptSpec { key: "exclude", kind: OptKind::Names, default: None, help: "an operator or a weight to leave in float" },
    OptSpec {
        key: "min-elements",
        kind: OptKind::UInt,
        default: Some("1024"),
        help: "weights of fewer elements stay float where the arithmetic does",
    },
];

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

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) form: Form,
    pub(super) min_elements: u64,
    /// So many channels of an activation at most are computed in float beside the integers.
    pub(super) outliers: usize,
    /// The least signal-to-noise ratio to reach, where the user or the mode asks for one.
    pub(super) target: Option<f64>,
    /// Whether a clock may decide what stays float.
    pub(super) is_timed: bool,
    /// How far each tensor of the main graph may be quantized.
    pub(super) levels: Levels,
    exclude: Exclude,
}

impl Settings {
    pub(super) fn new(opts: &Opts) -> Self {
        Self {
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
            outliers: opts.uint("outliers").and_then(|most| usize::try_from(most).ok()).unwrap_or(0),
            target: opts.float("target"),
            is_timed: opts.flag("timing"),
            levels: Levels::default(),
            exclude: Exclude::new(opts.names("exclude")),
        }
    }

    /// The same with other levels.
    pub(super) fn with_levels(&self, levels: Levels) -> Self {
        Self { levels, ..self.clone() }
    }

    /// Whether the user named the operator.
    pub(super) fn excludes_node(&self, graph: &Graph, node: NodeId) -> bool {
        self.exclude.has_node(graph, node)
    }

    /// Whether the user named the value.
    pub(super) fn excludes_value(&self, graph: &Graph, value: ValueId) -> bool {
        self.exclude.has_value(graph, value)
    }

    /// Makes sure that every name to exclude is one of the model's.
    ///
    /// # Errors
    /// Names the first that is not, and the closest one that is.
    pub(super) fn check_names(&self, model: &Model) -> Result<()> {
        self.exclude.check(model)
    }
}
