//! What the user asks for.

use super::score::Criterion;
use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::goal::Goal;

/// Runtimes with vectors of a width that is known.
const WIDTHS_OF: &[&str] = &["ort-x64", "ort-x64-avx2", "ort-arm64", "tensorrt", "openvino"];

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "ratio",
        kind: OptKind::Ratio,
        default: Some("0.25"),
        help: "share of the channels of each group that goes",
    },
    OptSpec {
        key: "flops",
        kind: OptKind::Ratio,
        default: None,
        help: "instead of a share: the part of the multiplications that is to be left",
    },
    OptSpec {
        key: "params",
        kind: OptKind::Ratio,
        default: None,
        help: "instead of a share: the part of the weights that is to be left",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "instead of a share: as much as leaves this signal-to-noise ratio in dB of every output on calibration data, \
               before a last Softmax or Sigmoid",
    },
    OptSpec {
        key: "top1",
        kind: OptKind::Ratio,
        default: None,
        help: "instead of a share, or with a target: how often the best score has to be that of the original, over \
               calibration data: 0.995",
    },
    OptSpec {
        key: "acc-drop",
        kind: OptKind::Float,
        default: None,
        help: "instead of a share, or with a target: the most points of accuracy to lose, over calibration data with labels: \
               0.2",
    },
    OptSpec {
        key: "scope",
        kind: OptKind::Choice(&["local", "isomorphic", "global"]),
        default: Some("local"),
        help: "whether the share is one of each group, of all groups made of the same sort of layers, or of all channels \
               together",
    },
    OptSpec {
        key: "criterion",
        kind: OptKind::Choice(&["auto", "l1", "l2", "bn", "fpgm", "lamp", "random", "energy", "error"]),
        default: Some("auto"),
        help: "what says how much a channel matters. On calibration data: energy, what it adds to the layers that read it, and \
               error, what is lost of that once the others make up for it; auto: error where there are data, else l1",
    },
    OptSpec {
        key: "round-to",
        kind: OptKind::UInt,
        default: Some("1"),
        help: "what the number of channels left is a multiple of, where there are enough",
    },
    OptSpec {
        key: "for",
        kind: OptKind::Choice(WIDTHS_OF),
        default: None,
        help: "the runtime that the model is made for: rounds to the width of its vectors of floats, unless round-to is told",
    },
    OptSpec {
        key: "min-channels",
        kind: OptKind::UInt,
        default: Some("1"),
        help: "how many channels of a group stay at least",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether what reads the channels makes up for those lost, from calibration data where there is some",
    },
    OptSpec {
        key: "exclude",
        kind: OptKind::Names,
        default: None,
        help: "operator or tensor to leave alone; `*` stands for any characters",
    },
];

/// How many channels are computed side by side: floats in a vector of AVX-512, AVX2 or NEON, which the blocked layouts of
/// ONNX Runtime and oneDNN are made of; halves in a row of a tensor core.
fn width_of(runtime: &str) -> usize {
    match runtime {
        "ort-arm64" => 4,
        "ort-x64-avx2" | "tensorrt" => 8,
        "ort-x64" | "openvino" => 16,
        _ => 1,
    }
}

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Amount {
    /// This share of the channels.
    Ratio(f64),
    /// So much that this part of the multiplications is left.
    Flops(f64),
    /// So much that this part of the weights is left.
    Params(f64),
    /// As much as reaches this.
    Goal(Goal),
}

/// Which groups share an amount, so that one loses more and another less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Together {
    /// Each has its own.
    None,
    /// Those of the same kind.
    Kinds,
    /// All.
    All,
}

/// What the user asks for.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) amount: Amount,
    pub(super) together: Together,
    pub(super) criterion: Criterion,
    pub(super) round_to: usize,
    pub(super) min_channels: usize,
    pub(super) exclude: Exclude,
    pub(super) repairs: bool,
    /// The options as the record of the result names them.
    pub(super) text: String,
}

impl Options {
    /// Reads the options of a step.
    ///
    /// # Errors
    /// Fails on two amounts at once.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let goal =
            Goal { snr_db: opts.float("target"), top1: opts.float("top1"), accuracy_drop: opts.float("acc-drop") };
        let has_goal = goal != Goal::default();
        let is_given = |key: &str| if key == "target" { has_goal } else { opts.is_given(key) };
        let given: Vec<&str> = ["ratio", "flops", "params", "target"].into_iter().filter(|key| is_given(key)).collect();
        if let [first, second, ..] = given.as_slice() {
            let second = match second {
                &"target" => goal.name(),
                other => other,
            };
            return Err(Error::usage(format!("`channels` takes either `{first}` or `{second}`"))
                .help("run the pass once for each, and look at what is left"));
        }
        let amount = match (opts.float("flops"), opts.float("params")) {
            _ if has_goal => Amount::Goal(goal),
            (Some(part), _) => Amount::Flops(part),
            (_, Some(part)) => Amount::Params(part),
            _ => Amount::Ratio(opts.float("ratio").unwrap_or_default()),
        };
        let positive = |key: &str| match opts.uint(key).unwrap_or(1) {
            0 => Err(Error::usage(format!("option `{key}` of `channels` is at least 1")).found("0")),
            number => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        };
        let together = match opts.text("scope") {
            Some("isomorphic") => Together::Kinds,
            Some("global") => Together::All,
            _ => Together::None,
        };
        let amount_text = match amount {
            Amount::Ratio(share) => format!("ratio={share}"),
            Amount::Flops(part) => format!("flops={part}"),
            Amount::Params(part) => format!("params={part}"),
            Amount::Goal(goal) => goal.text(),
        };
        let mut text = amount_text;
        let width = match opts.text("for") {
            Some(runtime) if !opts.is_given("round-to") => width_of(runtime),
            _ => positive("round-to")?,
        };
        for key in ["scope", "criterion"] {
            text += &format!(":{key}={}", opts.text(key).unwrap_or_default());
        }
        text += &format!(":round-to={width}:min-channels={}", opts.text("min-channels").unwrap_or_default());
        opts.names("exclude").iter().for_each(|name| text += &format!(":exclude={name}"));
        Ok(Self {
            amount,
            together,
            criterion: Criterion::new(opts.choice("criterion")),
            round_to: width,
            min_channels: positive("min-channels")?,
            exclude: Exclude::new(opts.names("exclude")),
            repairs: opts.flag("repair"),
            text,
        })
    }
}
