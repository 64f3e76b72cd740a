//! What the user asked of the pass.

use crate::error::{Error, Result};
use crate::ir::Model;
use crate::onnx::{EncodeOptions, encode};
use crate::pass::{Changed, OptKind, OptSpec, Opts};
use crate::passes::common::exclude::Exclude;
use crate::passes::common::weights::{EXCLUDE, MIN_ELEMENTS};
use crate::units;

pub(super) const OPTIONS: &[OptSpec] = &[
    OptSpec {
        key: "target",
        kind: OptKind::Float,
        default: None,
        help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid, in as few bytes as can \
               be; 30 where no size or ratio is told",
    },
    OptSpec {
        key: "size",
        kind: OptKind::Text,
        default: None,
        help: "the most bytes of the model, with as little drift as can be: 500KB, 2MB",
    },
    OptSpec {
        key: "ratio",
        kind: OptKind::Float,
        default: None,
        help: "the same as a part of the model that the pass is given: 20 for a twentieth",
    },
    EXCLUDE,
    MIN_ELEMENTS,
];

/// The target where the user names none.
const USUAL_TARGET_DB: f64 = 30.0;

/// What the result has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// A signal-to-noise ratio in decibels of every output.
    Drift(f64),
    /// So many bytes of the model file at most.
    Bytes(f64),
    /// So many times fewer bytes than the model that the pass is given.
    Ratio(f64),
}

impl Goal {
    /// The most bytes that a model may have; `None` where that is left open.
    ///
    /// # Errors
    /// Fails where the model cannot be written.
    pub(super) fn most_bytes(self, model: &Model) -> Result<Option<f64>> {
        Ok(match self {
            Self::Drift(_) => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Ratio(ratio) => Some(file_bytes(model)? as f64 / ratio),
        })
    }

    /// Nothing to do, where nothing has to be done.
    ///
    /// # Errors
    /// Fails where the model is larger than asked.
    pub(super) fn unreachable_without_weights(self, model: &Model) -> Result<Changed> {
        let (bytes, most) = (file_bytes(model)?, self.most_bytes(model)?);
        match most.filter(|&most| bytes as f64 > most) {
            Some(most) => Err(too_large(most, bytes)),
            None => Ok(Changed::No),
        }
    }
}

/// Bytes of what a file tells of how it was made.
const PROVENANCE_BYTES: u64 = 640;

/// Bytes of a model in a file.
///
/// # Errors
/// Fails where it cannot be written.
pub(super) fn file_bytes(model: &Model) -> Result<u64> {
    let encoded = encode(model, &EncodeOptions::default())?;
    Ok(encoded.len() + encoded.side_len() + PROVENANCE_BYTES)
}

/// No form is small enough.
pub(super) fn too_large(most: f64, least: u64) -> Error {
    Error::usage("`compress` cannot make the model that small")
        .expected(format!("at most {most:.0} bytes"))
        .found(format!("{least} bytes with every tensor in its smallest form"))
        .help("ask for less, lower `min-elements`, or take channels or layers out first: -p channels=0.5,compress=...")
}

/// The options of one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) goal: Goal,
    pub(super) min_elements: u64,
    pub(super) exclude: Exclude,
}

impl Settings {
    /// # Errors
    /// Fails on several goals, and on one that is none.
    pub(super) fn new(opts: &Opts) -> Result<Self> {
        let size = opts.text("size").filter(|text| !text.is_empty());
        let bytes = size.map(|text| {
            units::bytes(text).filter(|&bytes| bytes >= 1.0).ok_or_else(|| {
                Error::usage(format!("`size={text}` of `compress` is no size"))
                    .expected("a number of bytes, or one with kB, KB, MB, GB, KiB, MiB or GiB: 500KB")
            })
        });
        let ratio = opts.float("ratio").map(|ratio| match ratio >= 1.0 {
            true => Ok(ratio),
            false => Err(Error::usage("`ratio` of `compress` says how many times smaller").found(ratio.to_string())),
        });
        let goals = [
            opts.float("target").map(Goal::Drift),
            bytes.transpose()?.map(Goal::Bytes),
            ratio.transpose()?.map(Goal::Ratio),
        ];
        let mut given = goals.into_iter().flatten();
        let goal = given.next().unwrap_or(Goal::Drift(USUAL_TARGET_DB));
        if given.next().is_some() {
            return Err(Error::usage("`compress` has one goal").expected("one of target, size and ratio"));
        }
        Ok(Self {
            goal,
            min_elements: opts.uint("min-elements").unwrap_or(1024),
            exclude: Exclude::new(opts.names("exclude")),
        })
    }
}
