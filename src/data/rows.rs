//! Samples from things that come one by one, such as images, for models that may want several at once.

use std::fmt::Debug;

use bytes::BytesMut;

use super::{Samples, check_index, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::{Dim, Shape, Tensor};

/// Things each of which makes one row of a batch.
pub(super) trait Rows: Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// The inputs that one of them makes, with a batch of one.
    fn row(&self, index: usize) -> Result<NamedTensors>;

    /// Its class.
    fn label(&self, index: usize) -> Option<i64>;

    /// Where they lie and how they are prepared: what stands behind "8 samples of ".
    fn describe(&self) -> String;
}

/// Samples of `batch` rows each.
#[derive(Debug)]
pub(super) struct Batches<R> {
    rows: R,
    batch: usize,
    samples: usize,
}

impl<R: Rows> Batches<R> {
    /// Puts rows together; `limit` says how many of them to use.
    ///
    /// # Errors
    /// Fails where there are too few for one batch.
    pub(super) fn new(rows: R, batch: usize, limit: Option<usize>) -> Result<Self> {
        let used = limit.map_or(rows.len(), |limit| limit.min(rows.len()));
        let samples = used / batch.max(1);
        if samples == 0 {
            return Err(Error::invalid_data("there is too little data for one sample")
                .expected(format!("{batch}, for the batch that the model takes"))
                .found(used.to_string()));
        }
        Ok(Self { rows, batch, samples })
    }
}

/// The rows that a model takes at once: what its leading dimension is fixed to, else 1.
pub(super) fn batch_of(shape: &Shape, has_batch: bool) -> usize {
    let fixed = shape.0.first().and_then(Dim::fixed).filter(|_| has_batch);
    fixed.and_then(|extent| usize::try_from(extent).ok()).unwrap_or(1).max(1)
}

impl<R: Rows> Samples for Batches<R> {
    fn len(&self) -> usize {
        self.samples
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.samples)?;
        let start = index * self.batch;
        let mut first = self.rows.row(start)?;
        if self.batch == 1 {
            return Ok(first);
        }
        let others = (start + 1..start + self.batch).map(|row| self.rows.row(row)).collect::<Result<Vec<_>>>()?;
        for (position, (name, tensor)) in first.iter_mut().enumerate() {
            let parts: Vec<&Tensor> = others.iter().filter_map(|row| Some(&row.get(position)?.1)).collect();
            *tensor = stacked(name, tensor, &parts)?;
        }
        Ok(first)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        let start = index.checked_mul(self.batch).filter(|_| index < self.samples)?;
        (start..start + self.batch).map(|row| self.rows.label(row)).collect()
    }

    fn describe(&self) -> String {
        let mut text = format!("{} of {}", plural(self.samples, "sample"), self.rows.describe());
        let used = self.samples * self.batch;
        if self.batch > 1 {
            text += &format!(", {} in each", self.batch);
        }
        if used < self.rows.len() {
            text += &format!(", {} of {} used", used, self.rows.len());
        }
        text
    }
}

/// Rows of equal shape as one batch.
fn stacked(name: &str, first: &Tensor, others: &[&Tensor]) -> Result<Tensor> {
    let mut data = BytesMut::from(first.data().as_ref());
    for other in others {
        if other.shape() != first.shape() {
            return Err(Error::invalid_data(format!("the rows of a batch for input `{name}` differ in shape"))
                .expected(first.type_text())
                .found(other.type_text()));
        }
        data.extend_from_slice(other.data());
    }
    let mut shape = first.shape().to_vec();
    if let Some(rows) = shape.first_mut() {
        *rows = 1 + others.len() as u64;
    }
    Tensor::new(first.dtype(), shape, data.freeze())
}
