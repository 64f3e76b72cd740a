//! Weights as latents, two bytes for a block, and a scale for each channel.

use super::table::{BYTE, Table};
use super::train::WIDTH;
use crate::error::Result;
use crate::ir::{DType, Graph, Tensor};
use crate::pass::Scratch;
use crate::passes::common::rows::Rowed;

/// Latents of the blocks of a matrix: those of the first rows in all places, then those of the next rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Codes {
    pub(super) latents: Vec<u16>,
    pub(super) scales: Vec<f32>,
    /// What the outputs of the rows are short of in the mean, where a bias is to make up for it.
    pub(super) shifts: Option<Vec<f64>>,
}

impl Codes {
    /// The nearest block for each of rows of so many weights.
    pub(super) fn nearest(rows: &[f32], depth: usize, table: &Table) -> Self {
        let latents = table.latents(&blocks(rows, &magnitudes(rows, depth), table.block), WIDTH);
        let mut codes = Self { latents, scales: vec![1.0; rows.len() / depth.max(1)], shifts: None };
        let levels = codes.restore(depth, table);
        codes.scales =
            rows.chunks(depth.max(1)).zip(levels.chunks(depth.max(1))).map(|(row, levels)| fit(row, levels)).collect();
        codes
    }

    /// The rows that the codes stand for.
    pub(super) fn restore(&self, depth: usize, table: &Table) -> Vec<f32> {
        let mut rows = vec![0.0; self.scales.len() * depth];
        let of_blocks = rows.chunks_mut((table.block * depth).max(1)).zip(self.latents.chunks(depth.max(1)));
        for ((rows, latents), scales) in of_blocks.zip(self.scales.chunks(table.block)) {
            for (place, &latent) in latents.iter().enumerate() {
                for (row, (&level, &scale)) in table.of(latent).iter().zip(scales).enumerate() {
                    rows[row * depth + place] = level * scale;
                }
            }
        }
        rows
    }
}

/// The root of the mean square of each row.
pub(super) fn magnitudes(rows: &[f32], depth: usize) -> Vec<f32> {
    let square = |row: &[f32]| row.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
    rows.chunks(depth.max(1)).map(|row| (square(row) / row.len() as f64).sqrt() as f32).collect()
}

/// Blocks of neighbouring rows, divided by the scales, in the order of [`Codes::latents`]; zeros where rows are missing.
pub(super) fn blocks(rows: &[f32], scales: &[f32], block: usize) -> Vec<f32> {
    let depth = rows.len() / scales.len().max(1);
    let mut found = vec![0.0; scales.len().div_ceil(block) * block * depth];
    let each = found.chunks_mut((block * depth).max(1)).zip(rows.chunks((block * depth).max(1)));
    for ((found, rows), scales) in each.zip(scales.chunks(block)) {
        for (place, (row, &scale)) in rows.chunks(depth).zip(scales).enumerate() {
            let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            row.iter().enumerate().for_each(|(k, weight)| found[k * block + place] = weight * factor);
        }
    }
    found
}

/// The scale with which levels come closest to a row.
fn fit(row: &[f32], levels: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let below = dot(levels, levels);
    if below > 0.0 { (dot(row, levels) / below) as f32 } else { 0.0 }
}

/// Codes as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    /// `[depth, blocks]`, 16 bits each: the first byte is the upper one.
    pub(super) latents: Tensor,
    /// Of a shape that broadcasts to the weights, of 16 or 32 bits.
    pub(super) scales: Tensor,
    /// The weights that are restored.
    restored: Tensor,
    shifts: Option<Vec<f64>>,
    /// Sums of squares of the weights, and of what is lost of them.
    pub(super) signal: f64,
    pub(super) error: f64,
}

/// Scales that 16 bits hold to three digits, and how many of them make up for what widens them.
const HALF_SCALES: std::ops::RangeInclusive<f32> = 1e-4..=6e4;
const MANY_SCALES: usize = 64;

impl Coded {
    /// Stores codes of rows.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(
        candidate: &Rowed,
        rows: &[f32],
        mut codes: Codes,
        table: &Table,
        scratch: &Scratch,
    ) -> Result<Self> {
        let depth = candidate.depth();
        let are_halves = codes.scales.len() >= MANY_SCALES
            && codes.scales.iter().all(|scale| *scale == 0.0 || HALF_SCALES.contains(&scale.abs()));
        let scales = Tensor::from_floats(
            if are_halves { DType::F16 } else { DType::F32 },
            candidate.scale_shape(),
            &codes.scales,
        )?;
        codes.scales = scales.to_f32().unwrap_or_default();
        let levels = codes.restore(depth, table);
        let (mut signal, mut error) = (0.0, 0.0);
        for (&number, &restored) in rows.iter().zip(&levels) {
            signal += f64::from(number).powi(2);
            error += (f64::from(number) - f64::from(restored)).powi(2);
        }
        let weights = &candidate.weights.tensor;
        let restored = Tensor::from_floats(weights.dtype(), weights.shape(), &candidate.out_of_rows(&levels))?;
        let restored = Tensor::new(restored.dtype(), restored.shape(), scratch.park(restored.data().clone())?)?;
        let columns = codes.latents.len() / depth.max(1);
        let latent = |at: usize| codes.latents[at % columns * depth + at / columns].to_le_bytes();
        let bytes: Vec<u8> = (0..codes.latents.len()).flat_map(latent).collect();
        let latents = Tensor::new(DType::U16, vec![depth as u64, columns as u64], scratch.park(bytes)?)?;
        Ok(Self { latents, scales, restored, shifts: codes.shifts, signal, error })
    }

    /// Whether codes were chosen for what the layer reads.
    pub(super) fn is_fitted(&self) -> bool {
        self.shifts.is_some()
    }

    /// Shifts the bias behind the weights in a copy of the graph.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn shift(&self, original: &Graph, copy: &mut Graph, candidate: &Rowed) -> Result<()> {
        match (candidate.bias, &self.shifts) {
            (Some(bias), Some(shifts)) => bias.shift(original, copy, shifts),
            _ => Ok(()),
        }
    }

    /// Replaces the constant by what will be restored, for a draft: backends need not run the generator then.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn place(&self, original: &Graph, copy: &mut Graph, candidate: &Rowed) -> Result<()> {
        self.shift(original, copy, candidate)?;
        copy.set_constant(candidate.weights.value, self.restored.clone())
    }
}

/// Latents that there are.
const _: () = assert!(BYTE * BYTE == 1 << u16::BITS);
