//! What the user asked of the pass.

use super::form::Geometry;
use crate::error::{Error, Result};
use crate::pass::{OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::weights::{EXCLUDE, MIN_ELEMENTS};

/// Options that say how much is left, of which one may be given.
const AMOUNTS: [&str; 3] = ["rank", "energy", "target"];

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "rank",
        kind: OptKind::Text,
        default: None,
        help: "the rank of every layer: a whole number, or, with a point, the share of its weights that are left; no target",
    },
    OptSpec {
        key: "energy",
        kind: OptKind::Ratio,
        default: None,
        help: "the least share of the squares of its outputs, or, without data, of its weights, that every layer keeps; no \
               target",
    },
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: Some("15"),
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: layers get the ranks \
               with which that is reached in the fewest bytes, or stay whole",
    },
    OptSpec {
        key: "repair",
        kind: OptKind::Bool,
        default: Some("true"),
        help: "whether, with calibration data, factors are those that miss the outputs least instead of the weights, layer \
               after layer, and biases with them; used where outputs come out closer on samples that are kept back",
    },
    EXCLUDE,
    MIN_ELEMENTS,
];

/// How much is left of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Amount {
    Rank(usize),
    /// Of its weights.
    Share(f64),
    /// Of the squares of its outputs.
    Energy(f64),
    /// What it takes for a signal-to-noise ratio in dB.
    Target(f64),
}

impl Amount {
    /// Why nothing takes the place of a layer.
    pub(super) fn why_nothing(self, geometry: &Geometry) -> String {
        let (outputs, depth) = (geometry.outputs, geometry.depth());
        let most = (outputs * depth - 1) / (outputs + depth);
        match self {
            Self::Rank(rank) => {
                format!("rank {rank} saves nothing: of {outputs} x {depth} weights, {most} at most does")
            }
            Self::Energy(energy) => {
                format!(
                    "{:.4} % of its squares take more than rank {most}, from which on nothing is saved",
                    100.0 * energy
                )
            }
            Self::Share(_) | Self::Target(_) => "with so few weights, the file would not get smaller".to_owned(),
        }
    }
}

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) amount: Amount,
    pub(super) repairs: bool,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    /// # Errors
    /// Fails where several options say how much is left, or one makes no sense.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let given: Vec<&str> = AMOUNTS.into_iter().filter(|key| opts.is_given(key)).collect();
        if given.len() > 1 {
            return Err(Error::usage("several options of `lowrank` say how much is left of a layer")
                .expected("one of rank, energy and target")
                .found(given.join(", ")));
        }
        let amount = match (opts.text("rank"), opts.float("energy")) {
            (Some(rank), _) => rank_of(rank)?,
            (None, Some(energy)) => Amount::Energy(energy),
            (None, None) => Amount::Target(opts.float("target").unwrap_or(15.0)),
        };
        Ok(Self {
            amount,
            repairs: opts.flag("repair"),
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            exclude: Exclude::new(opts.names("exclude")),
        })
    }
}

/// A rank, or a share of weights.
fn rank_of(text: &str) -> Result<Amount> {
    let rank = text.parse::<usize>().ok().filter(|&rank| rank > 0).map(Amount::Rank);
    let share = text.parse::<f64>().ok().filter(|&share| share > 0.0 && share < 1.0).map(Amount::Share);
    rank.or(share).ok_or_else(|| {
        Error::usage(format!("option `rank` of `lowrank` does not take `{text}`"))
            .expected("a whole number from 1 up, or the share of weights that are left, between 0 and 1")
            .help("for example lowrank=64, or lowrank=0.5")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_tells_a_share_from_a_rank() {
        assert_eq!(rank_of("64").unwrap(), Amount::Rank(64));
        assert_eq!(rank_of("0.5").unwrap(), Amount::Share(0.5));
        for wrong in ["0", "1.0", "-3", "half", "1.5", "NaN"] {
            assert!(rank_of(wrong).is_err(), "{wrong}");
        }
    }
}
