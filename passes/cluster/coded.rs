//! Weights of which each is one of a few values.

use super::kmeans::Codebook;
use crate::error::Result;
use crate::pass::Scratch;
use crate::passes::common::lookup::Lookup;
use crate::passes::common::weights::Weights;

/// Codes of weights as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    pub(super) lookup: Lookup,
    pub(super) values: usize,
    pub(super) signal: f64,
    pub(super) error: f64,
}

impl Coded {
    /// Packs a codebook for weights.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(weights: &Weights, book: &Codebook, scratch: &Scratch) -> Result<Self> {
        Ok(Self {
            lookup: Lookup::new(weights, &book.values, &book.codes, scratch)?,
            values: book.values.len(),
            signal: book.signal,
            error: book.error,
        })
    }
}
