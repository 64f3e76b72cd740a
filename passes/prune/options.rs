//! What the user asks for.

use std::path::PathBuf;

use super::pattern::Pattern;
use super::targets::{Choice, Target};
use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::glob::Glob;
use crate::passes::common::goal::Goal;

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "sparsity",
        kind: OptKind::Ratio,
        default: Some("0.5"),
        help: "share of the weights that is zero afterwards",
    },
    OptSpec {
        key: "threshold",
        kind: OptKind::Float,
        default: None,
        help: "instead of a share: zero every weight of at most this magnitude",
    },
    OptSpec {
        key: "scope",
        kind: OptKind::Choice(&["layer", "global"]),
        default: Some("global"),
        help: "whether the share is one of each tensor or of all weights together: the smallest, or with calibration data \
               those that cost the outputs of their layers least",
    },
    OptSpec {
        key: "method",
        kind: OptKind::Choice(&["auto", "l1", "random", "wanda", "sparsegpt", "obs"]),
        default: Some("auto"),
        help: "what goes: the smallest magnitude; at random from the seed; by magnitude and input; column after column or \
               one by one, each made up for by those left; auto: with calibration data obs, sparsegpt where that would take \
               too long, else l1",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "instead of a share: the most that leaves this signal-to-noise ratio in dB in every output, before a last \
               Softmax or Sigmoid, on calibration data that is kept back",
    },
    OptSpec {
        key: "top1",
        kind: OptKind::Ratio,
        default: None,
        help: "instead of a share: the most at which the best score is that of the original so often: 0.995",
    },
    OptSpec {
        key: "acc-drop",
        kind: OptKind::Float,
        default: None,
        help: "instead of a share: the most that loses so many points of accuracy, on calibration data with labels: 0.2",
    },
    OptSpec {
        key: "steps",
        kind: OptKind::UInt,
        default: Some("1"),
        help: "in so many steps, each pruned further and fitted again",
    },
    OptSpec {
        key: "schedule",
        kind: OptKind::Choice(&["polynomial", "constant"]),
        default: Some("polynomial"),
        help: "the share of each step: polynomial: much at first, less and less later; constant: all of it in each",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Choice(&["auto", "true", "false"]),
        default: Some("auto"),
        help: "whether the weights left are fitted, layer after layer, to what the layers gave before, and biases with them; \
               auto: where there is calibration data",
    },
    OptSpec {
        key: "pattern",
        kind: OptKind::Text,
        default: None,
        help: "N:M, instead of a share: of M weights in a row along the input axis N stay",
    },
    OptSpec {
        key: "block",
        kind: OptKind::Text,
        default: None,
        help: "RxC: tiles of R outputs by C inputs go as a whole; a share of each tensor",
    },
    OptSpec {
        key: "dim",
        kind: OptKind::UInt,
        default: None,
        help: "whole slices along this axis of each tensor go, by their norm; a share of each tensor",
    },
    OptSpec { key: "norm", kind: OptKind::Float, default: Some("2"), help: "the norm of slices" },
    OptSpec {
        key: "ends",
        kind: OptKind::Choice(&["prune", "dense"]),
        default: Some("prune"),
        help: "whether layers with no other before or behind them are pruned too",
    },
    OptSpec {
        key: "mask",
        kind: OptKind::Path,
        default: None,
        help: "instead of a share: an .npz file with an array of 0 and 1 for each tensor to prune, by its name",
    },
    OptSpec {
        key: "ratio",
        kind: OptKind::Shares,
        default: None,
        help: "NAME@SHARE: another share for a tensor or an operator; `*` stands for any characters",
    },
    OptSpec {
        key: "exclude",
        kind: OptKind::Names,
        default: None,
        help: "operator or tensor to leave alone; `*` stands for any characters",
    },
    OptSpec {
        key: "embeddings",
        kind: OptKind::Bool,
        default: Some("false"),
        help: "whether tables that Gather reads are pruned too",
    },
    OptSpec {
        key: "gzip",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether to report the size of the weights after gzip, which takes longer than pruning",
    },
];

/// How much is pruned.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Amount {
    /// A share of each tensor.
    PerLayer(f64),
    /// A share of all weights together.
    Global(f64),
    /// What is at most this large.
    Threshold(f64),
    /// What the file says.
    Mask(PathBuf),
}

impl Amount {
    /// A part of the share; the whole where it is no share.
    pub(super) fn part(&self, part: f64) -> Self {
        match self {
            Self::PerLayer(share) => Self::PerLayer(share * part),
            Self::Global(share) => Self::Global(share * part),
            Self::Threshold(_) | Self::Mask(_) => self.clone(),
        }
    }

    /// The share, where it is one.
    pub(super) fn share(&self) -> Option<f64> {
        match self {
            Self::PerLayer(share) | Self::Global(share) => Some(*share),
            Self::Threshold(_) | Self::Mask(_) => None,
        }
    }
}

/// What says which weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Magnitude,
    Random,
    /// Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", 2023: magnitude times the norm of
    /// the input, row by row.
    Wanda,
    SparseGpt,
    Obs,
}

impl Method {
    /// Whether it is told by what layers read.
    pub(super) fn needs_data(self) -> bool {
        matches!(self, Self::Wanda | Self::SparseGpt | Self::Obs)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "l1",
            Self::Random => "random",
            Self::Wanda => "wanda",
            Self::SparseGpt => "sparsegpt",
            Self::Obs => "obs",
        }
    }
}

/// What the user asks for.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) amount: Amount,
    /// `None` for the best there is.
    pub(super) method: Option<Method>,
    /// `None` for where there is calibration data.
    pub(super) repairs: Option<bool>,
    pub(super) pattern: Pattern,
    /// What the result has to reach, where that says how much goes.
    pub(super) goal: Option<Goal>,
    pub(super) steps: u64,
    /// Whether each step takes all that is to go.
    pub(super) is_constant: bool,
    /// Shares of tensors that have their own.
    pub(super) ratios: Vec<(Glob, f64)>,
    pub(super) keeps_ends: bool,
    pub(super) choice: Choice,
    pub(super) measures_gzip: bool,
}

impl Settings {
    /// Reads the options of a step.
    ///
    /// # Errors
    /// Fails on options that contradict each other.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let pattern = pattern(opts)?;
        let method = match opts.choice("method") {
            "l1" => Some(Method::Magnitude),
            "random" => Some(Method::Random),
            "wanda" => Some(Method::Wanda),
            "sparsegpt" => Some(Method::SparseGpt),
            "obs" => Some(Method::Obs),
            _ => None,
        };
        if matches!(pattern, Pattern::Slices { .. }) && method.is_some_and(Method::needs_data) {
            return Err(Error::usage(
                "whole slices go by their norm, or at random: `prune` takes no other `method` with `dim`",
            )
            .help("leave `method` out; what is left is fitted all the same"));
        }
        Ok(Self {
            amount: amount(opts, pattern)?,
            method,
            repairs: match opts.choice("repair") {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            pattern,
            goal: goal(opts)?,
            steps: match opts.uint("steps").unwrap_or(1) {
                0 => return Err(Error::usage("option `steps` of `prune` is at least 1").found("0")),
                steps => steps,
            },
            is_constant: opts.choice("schedule") == "constant",
            ratios: opts.names("ratio").iter().map(|text| ratio(text)).collect::<Result<Vec<(Glob, f64)>>>()?,
            keeps_ends: opts.choice("ends") == "dense",
            choice: Choice { exclude: Exclude::new(opts.names("exclude")), embeddings: opts.flag("embeddings") },
            measures_gzip: opts.flag("gzip"),
        })
    }

    /// The part of what is to go that goes in each step: cubic, as in Zhu and Gupta, "To prune, or not to prune", 2017.
    pub(super) fn parts(&self) -> Vec<f64> {
        let part =
            |step: u64| if self.is_constant { 1.0 } else { 1.0 - (1.0 - step as f64 / self.steps as f64).powi(3) };
        (1..=self.steps).map(part).collect()
    }

    /// The share of a target that has its own: the last that names it, or the operator that reads it.
    pub(super) fn ratio_of(&self, target: &Target) -> Option<f64> {
        let operator = target.site.node.as_deref().unwrap_or_default();
        let names = |glob: &Glob| glob.matches(&target.name) || glob.matches(operator);
        self.ratios.iter().rev().find(|(glob, _)| names(glob)).map(|(_, share)| *share)
    }
}

fn goal(opts: &Opts) -> Result<Option<Goal>> {
    let goal = Goal { snr_db: opts.float("target"), top1: opts.float("top1"), accuracy_drop: opts.float("acc-drop") };
    let others = ["sparsity", "threshold", "pattern", "mask", "dim"];
    if goal == Goal::default() {
        return Ok(None);
    }
    match others.into_iter().find(|key| opts.is_given(key)) {
        Some(other) => Err(Error::usage(format!("`prune` takes either what is to be reached or `{other}`"))
            .help("`target`, `top1` and `acc-drop` say how much goes")),
        None => Ok(Some(goal)),
    }
}

/// Reads `NAME@SHARE`.
fn ratio(text: &str) -> Result<(Glob, f64)> {
    let parts = text.rsplit_once('@').and_then(|(name, share)| Some((name, share.parse::<f64>().ok()?)));
    match parts {
        Some((name, share)) if (0.0..=1.0).contains(&share) => Ok((Glob::new(name), share)),
        _ => Err(Error::usage("option `ratio` of `prune` names a tensor or an operator and its share")
            .expected("NAME@SHARE, with a share from 0 to 1: fc*@0.9")
            .found(format!("`{text}`"))),
    }
}

fn amount(opts: &Opts, pattern: Pattern) -> Result<Amount> {
    let clash = |key: &str, others: &[&str], help: &str| match others.iter().find(|other| opts.is_given(other)) {
        Some(other) => Err(Error::usage(format!("`prune` takes either `{key}` or `{other}`")).help(help)),
        None => Ok(()),
    };
    let share = opts.float("sparsity").unwrap_or_default();
    if let Some(threshold) = opts.float("threshold") {
        let help = "a threshold says for each weight on its own whether it goes";
        clash("threshold", &["sparsity", "scope", "method", "pattern", "block", "dim", "mask"], help)?;
        if threshold < 0.0 {
            return Err(Error::usage("option `threshold` of `prune` is a magnitude").found(threshold.to_string()));
        }
        return Ok(Amount::Threshold(threshold));
    }
    if let Some(path) = opts.path("mask") {
        let help = "a mask says for each weight whether it goes";
        clash("mask", &["sparsity", "scope", "method", "pattern", "block", "dim"], help)?;
        return Ok(Amount::Mask(path));
    }
    if opts.is_given("pattern") {
        clash("pattern", &["sparsity", "scope"], "N:M says how many weights of each M stay")?;
    }
    Ok(match opts.choice("scope") {
        "global" if pattern == Pattern::Free => Amount::Global(share),
        _ => Amount::PerLayer(share),
    })
}

fn pattern(opts: &Opts) -> Result<Pattern> {
    let given: Vec<&str> = ["pattern", "block", "dim"].into_iter().filter(|key| opts.is_given(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(
            Error::usage(format!("`prune` takes either `{first}` or `{second}`")).help("zeros have one form at a time")
        );
    }
    if let Some(text) = opts.text("pattern") {
        return Pattern::parse_of(text);
    }
    if let Some(text) = opts.text("block") {
        return Pattern::parse_block(text);
    }
    let Some(axis) = opts.uint("dim") else { return Ok(Pattern::Free) };
    let norm = opts.float("norm").unwrap_or(2.0);
    if norm <= 0.0 {
        return Err(Error::usage("option `norm` of `prune` is above 0").found(norm.to_string()));
    }
    Ok(Pattern::Slices { axis: usize::try_from(axis).unwrap_or(usize::MAX), norm })
}
