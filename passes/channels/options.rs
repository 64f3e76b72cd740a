//! What the user asks for.

use super::score::Criterion;
use crate::error::{Error, Result};
use crate::pass::Opts;

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Amount {
    /// This share of the channels.
    Ratio(f64),
    /// So much that this part of the multiplications is left.
    Flops(f64),
    /// So much that this part of the weights is left.
    Params(f64),
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
    pub(super) exclude: Vec<String>,
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
        let given: Vec<&str> = ["ratio", "flops", "params"].into_iter().filter(|key| opts.is_given(key)).collect();
        if let [first, second, ..] = given.as_slice() {
            return Err(Error::usage(format!("`channels` takes either `{first}` or `{second}`"))
                .help("run the pass once for each, and look at what is left"));
        }
        let amount = match (opts.float("flops"), opts.float("params")) {
            (Some(part), _) => Amount::Flops(part),
            (_, Some(part)) => Amount::Params(part),
            _ => Amount::Ratio(opts.float("ratio").unwrap_or_default()),
        };
        let positive = |key: &str| match opts.uint(key).unwrap_or(1) {
            0 => Err(Error::usage(format!("option `{key}` of `channels` is at least 1")).found("0")),
            number => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        };
        let together = match opts.text("scope").as_deref() {
            Some("isomorphic") => Together::Kinds,
            Some("global") => Together::All,
            _ => Together::None,
        };
        let amount_text = match amount {
            Amount::Ratio(share) => format!("ratio={share}"),
            Amount::Flops(part) => format!("flops={part}"),
            Amount::Params(part) => format!("params={part}"),
        };
        let mut text = amount_text;
        for key in ["scope", "criterion", "round-to", "min-channels"] {
            text += &format!(":{key}={}", opts.text(key).unwrap_or_default());
        }
        opts.names("exclude").iter().for_each(|name| text += &format!(":exclude={name}"));
        Ok(Self {
            amount,
            together,
            criterion: Criterion::new(opts.choice("criterion")),
            round_to: positive("round-to")?,
            min_channels: positive("min-channels")?,
            exclude: opts.names("exclude"),
            repairs: opts.flag("repair"),
            text,
        })
    }
}
