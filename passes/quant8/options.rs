//! What the user asked of the pass.

use std::collections::BTreeSet;

use super::levels::Levels;
use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::pass::{OptKind, OptSpec, Opts};

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "mode",
        kind: OptKind::Choice(&["auto", "static", "weights"]),
        default: Some("auto"),
        help: "static: integer arithmetic, needs calibration data; weights: int8 weights, float arithmetic; auto: static \
               where it can, else weights",
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
        key: "repair",
        kind: OptKind::Choice(&["auto", "none", "equalize", "bias"]),
        default: Some("auto"),
        help: "auto and target: what makes integers more exact, where calibration data shows that it does: scales for the \
               channels of activations, put into the weights around them (equalize), the mean error of each channel put \
               into the bias (bias), both (auto), or none",
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
    pub(super) bias: bool,
}

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) form: Form,
    pub(super) min_elements: u64,
    /// So many channels of an activation at most are computed in float beside the integers.
    pub(super) outliers: usize,
    /// What may be done for the sake of accuracy, where it is measured.
    pub(super) repairs: Repairs,
    /// The least signal-to-noise ratio to reach, where the user or the mode asks for one.
    pub(super) target: Option<f64>,
    /// Whether a clock may decide what stays float.
    pub(super) is_timed: bool,
    /// How far each tensor of the main graph may be quantized.
    pub(super) levels: Levels,
    exclude: BTreeSet<String>,
}

impl Settings {
    pub(super) fn new(opts: &Opts) -> Self {
        Self {
            mode: match opts.choice("mode") {
                "static" => Mode::Static,
                "weights" => Mode::Weights,
                _ => Mode::Auto,
            },
            form: match opts.choice("form") {
                "dq" => Form::Dq,
                _ => Form::Cast,
            },
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            outliers: opts.uint("outliers").and_then(|most| usize::try_from(most).ok()).unwrap_or(0),
            repairs: Repairs {
                equalize: matches!(opts.choice("repair"), "auto" | "equalize"),
                bias: matches!(opts.choice("repair"), "auto" | "bias"),
            },
            target: opts.float("target"),
            is_timed: opts.flag("timing"),
            levels: Levels::default(),
            exclude: opts.names("exclude").into_iter().collect(),
        }
    }

    /// The same with other levels.
    pub(super) fn with_levels(&self, levels: Levels) -> Self {
        Self { levels, ..self.clone() }
    }

    /// Whether the user named the operator.
    pub(super) fn excludes_node(&self, graph: &Graph, node: NodeId) -> bool {
        !self.exclude.is_empty() && self.exclude.contains(&graph.node_label(node))
    }

    /// Whether the user named the value.
    pub(super) fn excludes_value(&self, graph: &Graph, value: ValueId) -> bool {
        !self.exclude.is_empty() && self.exclude.contains(graph.value(value).name())
    }

    /// Makes sure that every name to exclude is one of the model's.
    ///
    /// # Errors
    /// Names the first that is not, and the closest one that is.
    pub(super) fn check_names(&self, model: &Model) -> Result<()> {
        if self.exclude.is_empty() {
            return Ok(());
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        model.visit_graphs(|graph, _| {
            names.extend(graph.nodes().into_iter().map(|node| graph.node_label(node)));
            names.extend(graph.values().into_iter().map(|value| graph.value(value).name().to_owned()));
            Ok(())
        })?;
        let Some(unknown) = self.exclude.iter().find(|name| !names.contains(*name)) else { return Ok(()) };
        let error = Error::usage(format!("`exclude` names `{unknown}`, which the model does not have"))
            .expected("the name of an operator or a tensor");
        Err(match did_you_mean(unknown, names.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help("`onnx-shrink inspect` lists the names of a model"),
        })
    }
}
