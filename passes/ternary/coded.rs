//! Weights of which each is zero, or a scale, or its negative.

use super::threshold::{Rule, Split};
use crate::error::Result;
use crate::ir::{Graph, Tensor};
use crate::pass::Scratch;
use crate::passes::common::lookup::Lookup;
use crate::passes::common::rows::Rowed;

/// Rows of levels, and the scale of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Levels {
    /// -1, 0 and 1.
    pub(super) levels: Vec<i8>,
    pub(super) scales: Vec<f32>,
    /// What the outputs of the rows are short of in the mean, where a bias is to make up for it.
    pub(super) shifts: Option<Vec<f64>>,
}

impl Levels {
    /// Each weight by its own magnitude.
    pub(super) fn nearest(rows: &[f32], depth: usize, rule: Rule, is_shared: bool) -> Self {
        let all = is_shared.then(|| Split::of(rows, rule));
        let splits: Vec<Split> =
            rows.chunks(depth.max(1)).map(|row| all.unwrap_or_else(|| Split::of(row, rule))).collect();
        let of_row = |(row, split): (&[f32], &Split)| row.iter().map(|&w| split.level(w)).collect::<Vec<i8>>();
        Self {
            levels: rows.chunks(depth.max(1)).zip(&splits).flat_map(of_row).collect(),
            scales: splits.iter().map(|split| split.scale as f32).collect(),
            shifts: None,
        }
    }

    /// The weights that the levels stand for, in rows.
    pub(super) fn restore(&self) -> Vec<f32> {
        let depth = self.levels.len() / self.scales.len().max(1);
        let rows = self.levels.chunks(depth.max(1)).zip(&self.scales);
        rows.flat_map(|(row, &scale)| row.iter().map(move |&level| f32::from(level) * scale)).collect()
    }
}

/// Levels as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    pub(super) lookup: Lookup,
    /// The share of zeros.
    pub(super) sparsity: f64,
    shifts: Option<Vec<f64>>,
    /// Sums of squares of the weights, and of what is lost of them.
    pub(super) signal: f64,
    pub(super) error: f64,
}

impl Coded {
    /// Packs levels of rows; with a scale in all the table holds the weights, else levels, which are multiplied by scales.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(
        candidate: &Rowed,
        rows: &[f32],
        levels: &Levels,
        is_shared: bool,
        scratch: &Scratch,
    ) -> Result<Self> {
        let weights = &candidate.weights;
        let codes: Vec<u8> = levels.levels.iter().map(|&level| (level + 1) as u8).collect();
        let codes = candidate.out_of_rows(&codes);
        let lookup = match levels.scales.first() {
            Some(&scale) if is_shared || levels.scales.len() == 1 => {
                Lookup::new(weights, &[-scale, 0.0, scale], &codes, scratch)?
            }
            _ => {
                let scales = Tensor::from_floats(weights.tensor.dtype(), candidate.scale_shape(), &levels.scales)?;
                Lookup::new(weights, &[-1.0, 0.0, 1.0], &codes, scratch)?.scaled(scales)
            }
        };
        let (mut signal, mut error) = (0.0, 0.0);
        for (&number, restored) in rows.iter().zip(levels.restore()) {
            signal += f64::from(number).powi(2);
            error += (f64::from(number) - f64::from(restored)).powi(2);
        }
        let zeros = levels.levels.iter().filter(|&&level| level == 0).count();
        let sparsity = zeros as f64 / levels.levels.len().max(1) as f64;
        Ok(Self { lookup, sparsity, shifts: levels.shifts.clone(), signal, error })
    }

    /// Whether a bias makes up for what the weights are short of.
    pub(super) fn is_fitted(&self) -> bool {
        self.shifts.is_some()
    }

    /// Replaces the constant in a copy of the graph, and shifts the bias behind it.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn put(&self, original: &Graph, copy: &mut Graph, candidate: &Rowed) -> Result<()> {
        if let (Some(bias), Some(shifts)) = (candidate.bias, &self.shifts) {
            bias.shift(original, copy, shifts)?;
        }
        self.lookup.put(copy, &candidate.weights)
    }
}
