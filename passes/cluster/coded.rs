//! Weights of which each is one of a few values, in the form that takes fewest bytes.

use crate::error::Result;
use crate::ir::{Graph, Tensor};
use crate::pass::Scratch;
use crate::passes::common::kmeans::Codebook;
use crate::passes::common::lookup::Lookup;
use crate::passes::common::sparse::Sparse;
use crate::passes::common::weights::Weights;

/// Codes of weights as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    form: Form,
    /// The weights that are restored.
    restored: Tensor,
    pub(super) values: usize,
    /// The share of weights that are not zero.
    pub(super) kept: f64,
    pub(super) signal: f64,
    pub(super) error: f64,
}

#[derive(Debug, Clone)]
enum Form {
    /// A code for each weight.
    Dense(Lookup),
    /// A code for each that is not zero.
    Sparse(Sparse),
}

impl Form {
    fn new(weights: &Weights, book: &Codebook, (name, is_in_bytes): (&str, bool), scratch: &Scratch) -> Result<Self> {
        if is_in_bytes {
            return Ok(Self::Dense(Lookup::in_bytes(weights, &book.values, &book.codes, scratch)?));
        }
        let dense = Lookup::new(weights, &book.values, &book.codes, scratch)?;
        let sparse = Sparse::new(weights, book, scratch)?;
        let sparse = sparse.filter(|sparse| sparse.stored_bytes(name) < dense.stored_bytes(name));
        Ok(sparse.map_or(Self::Dense(dense), Self::Sparse))
    }
}

impl Coded {
    /// Packs a codebook for weights.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(
        weights: &Weights,
        book: &Codebook,
        (name, is_in_bytes): (&str, bool),
        scratch: &Scratch,
    ) -> Result<Self> {
        let form = Form::new(weights, book, (name, is_in_bytes), scratch)?;
        let value = |&code: &u8| book.values.get(usize::from(code)).copied().unwrap_or_default();
        let restored: Vec<f32> = book.codes.iter().map(value).collect();
        let kept = restored.iter().filter(|&&value| value != 0.0).count() as f64 / restored.len().max(1) as f64;
        let restored = Tensor::from_floats(weights.tensor.dtype(), weights.tensor.shape(), &restored)?;
        let restored = Tensor::new(restored.dtype(), restored.shape(), scratch.park(restored.data().clone())?)?;
        Ok(Self { form, restored, values: book.values.len(), kept, signal: book.signal, error: book.error })
    }

    /// Bytes in the file, with what restores the weights.
    pub(super) fn stored_bytes(&self, name: &str) -> u64 {
        match &self.form {
            Form::Dense(lookup) => lookup.stored_bytes(name),
            Form::Sparse(sparse) => sparse.stored_bytes(name),
        }
    }

    /// How weights are stored, in words.
    pub(super) fn describe(&self) -> String {
        match &self.form {
            Form::Dense(lookup) => lookup.describe(),
            Form::Sparse(sparse) => sparse.describe(),
        }
    }

    /// Replaces the constant by what restores it.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn put(&self, graph: &mut Graph, weights: &Weights) -> Result<()> {
        match &self.form {
            Form::Dense(lookup) => lookup.put(graph, weights),
            Form::Sparse(sparse) => sparse.put(graph, weights),
        }
    }

    /// Replaces the constant by what will be restored, for a draft: backends need not look weights up then.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn place(&self, graph: &mut Graph, weights: &Weights) -> Result<()> {
        graph.set_constant(weights.value, self.restored.clone())
    }
}
