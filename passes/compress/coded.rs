//! Shared values as they are stored.

use super::fit::{Rounded, restore};
use crate::error::Result;
use crate::ir::{DType, Graph, Tensor};
use crate::pass::Scratch;
use crate::passes::common::kmeans::Codebook;
use crate::passes::common::lookup::Lookup;
use crate::passes::common::rows::Rowed;
use crate::passes::common::sparse::Sparse;

/// The weights of a tensor, as codes.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    stored: Stored,
    /// The share of weights that are not zero.
    pub(super) kept: f64,
    /// What the outputs of the layer lose, or the weights where nothing is known of those.
    pub(super) error: f64,
    shifts: Option<Vec<f64>>,
    /// Sums of squares of the weights, and of what is lost of them.
    signal: f64,
    lost: f64,
}

#[derive(Debug, Clone)]
enum Stored {
    /// A code for each weight.
    Dense(Lookup),
    /// A bit for each, and a code for each that is not zero.
    Sparse(Sparse),
}

impl Coded {
    /// Packs codes in the form that takes fewest bytes.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(rowed: &Rowed, name: &str, rows: &[f32], rounded: Rounded, scratch: &Scratch) -> Result<Self> {
        let Rounded { codes, values, scales, span, error, shifts } = rounded;
        let restored = restore(&codes, &values, &scales, span);
        let square = |weight: f32| f64::from(weight).powi(2);
        let signal = rows.iter().copied().map(square).sum();
        let lost = rows.iter().zip(&restored).map(|(&a, &b)| square(a - b)).sum();
        let kept = restored.iter().filter(|&&weight| weight != 0.0).count() as f64 / restored.len().max(1) as f64;
        let weights = &rowed.weights;
        let codes = rowed.out_of_rows(&codes);
        let dense = Lookup::new(weights, &values, &codes, scratch)?;
        let stored = if scales.is_empty() {
            let book = Codebook { values, codes, signal: 0.0, error: 0.0 };
            let sparse = Sparse::new(weights, &book, scratch)?;
            let sparse = sparse.filter(|sparse| sparse.stored_bytes(name) < dense.stored_bytes(name));
            sparse.map_or(Stored::Dense(dense), Stored::Sparse)
        } else if let Some(blocks) = rowed.blocks(span).filter(|_| span < rowed.depth()) {
            let scales = Tensor::from_floats(DType::F16, blocks.scales.as_slice(), &blocks.out_of_rows(&scales))?;
            Stored::Dense(dense.scaled_in(blocks.divided, scales)?)
        } else {
            Stored::Dense(dense.scaled(Tensor::from_floats(weights.tensor.dtype(), rowed.scale_shape(), &scales)?))
        };
        Ok(Self { stored, kept, error, shifts, signal, lost })
    }

    /// Bytes in the file, with what restores the weights.
    pub(super) fn stored_bytes(&self, name: &str) -> u64 {
        match &self.stored {
            Stored::Dense(lookup) => lookup.stored_bytes(name),
            Stored::Sparse(sparse) => sparse.stored_bytes(name),
        }
    }

    /// How weights are stored, in words.
    pub(super) fn describe(&self) -> String {
        match &self.stored {
            Stored::Dense(lookup) => lookup.describe(),
            Stored::Sparse(sparse) => sparse.describe(),
        }
    }

    /// What is left of the weights over what is lost of them.
    pub(super) fn snr_db(&self) -> f64 {
        10.0 * (self.signal / self.lost).log10()
    }

    /// Replaces the constant in a copy of the graph, and shifts the bias behind it.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn put(&self, original: &Graph, copy: &mut Graph, rowed: &Rowed) -> Result<()> {
        if let (Some(bias), Some(shifts)) = (rowed.bias, &self.shifts) {
            bias.shift(original, copy, shifts)?;
        }
        match &self.stored {
            Stored::Dense(lookup) => lookup.put(copy, &rowed.weights),
            Stored::Sparse(sparse) => sparse.put(copy, &rowed.weights),
        }
    }
}
