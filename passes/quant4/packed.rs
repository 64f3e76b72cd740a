//! Coded weights as they are stored.

use bytes::Bytes;

use super::code::{Coded, energies};
use super::grid::Grid;
use super::layout::Layout;
use crate::error::Result;
use crate::ir::{DType, Tensor};
use crate::pass::Scratch;

/// The weights of one tensor: levels in the order of its elements, scales and zeros in the order `[outer, blocks, inner]`.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) layout: Layout,
    pub(super) grid: Grid,
    pub(super) levels: Bytes,
    pub(super) scales: Vec<f32>,
    /// Where the grid has zeros.
    pub(super) zeros: Option<Vec<i8>>,
    /// Sums of squares of the weights, and of what was lost of them.
    pub(super) signal: f64,
    pub(super) error: f64,
}

impl Packed {
    /// Packs coded rows.
    ///
    /// # Errors
    /// Fails where the levels cannot be kept: the disk is full.
    pub(super) fn new(rows: &[f32], coded: &Coded, layout: Layout, grid: Grid, scratch: &Scratch) -> Result<Self> {
        let (signal, error) = energies(rows, &coded.restore(layout.block));
        let levels = layout.out_of_rows(&coded.levels);
        let levels =
            if grid.is_four_bits() { pack_nibbles(&levels) } else { levels.iter().map(|&l| l as u8).collect() };
        Ok(Self {
            layout,
            grid,
            levels: scratch.park(levels)?,
            scales: layout.blocks_from_rows(&coded.scales),
            zeros: grid.has_zeros.then(|| layout.blocks_from_rows(&coded.zeros)),
            signal,
            error,
        })
    }

    /// The type of levels, and of zeros where there are any.
    pub(super) fn dtype(&self) -> DType {
        match (self.grid.is_four_bits(), self.grid.has_zeros) {
            (false, _) => DType::I8,
            (true, true) => DType::U4,
            (true, false) => DType::I4,
        }
    }

    /// The levels in rows.
    pub(super) fn level_rows(&self) -> Vec<i8> {
        let count = self.layout.rows() * self.layout.depth;
        let levels: Vec<i8> = match self.dtype() {
            DType::I8 => self.levels.iter().map(|&byte| byte as i8).collect(),
            dtype => unpack_nibbles(&self.levels, count, dtype == DType::I4),
        };
        self.layout.to_rows(&levels)
    }

    /// The weights as a runtime will restore them, with the type and shape they had.
    ///
    /// # Errors
    /// Fails where the tensor is of another size, which is a defect.
    pub(super) fn restored(&self, like: &Tensor) -> Result<Tensor> {
        let layout = self.layout;
        let scales = layout.blocks_to_rows(&self.scales);
        let zeros = self.zeros.as_ref().map_or_else(|| vec![0; scales.len()], |zeros| layout.blocks_to_rows(zeros));
        let coded = Coded { levels: self.level_rows(), scales, zeros };
        let values = layout.out_of_rows(&coded.restore(layout.block));
        Tensor::from_floats(like.dtype(), like.shape(), &values)
    }

    /// Bytes that levels, scales and zeros take.
    pub(super) fn stored_bytes(&self) -> u64 {
        stored_bytes(self.layout, self.grid)
    }
}

/// Bytes that levels, scales and zeros of a tensor take.
pub(super) fn stored_bytes(layout: Layout, grid: Grid) -> u64 {
    let (weights, blocks) = ((layout.rows() * layout.depth) as u64, layout.all_blocks() as u64);
    let levels = if grid.is_four_bits() { weights.div_ceil(2) } else { weights };
    let zeros = if grid.has_zeros { blocks.div_ceil(2) } else { 0 };
    levels + zeros + blocks * if grid.has_half_scales { 2 } else { 4 }
}

/// Two levels in a byte, the first in the low half.
pub(super) fn pack_nibbles(levels: &[i8]) -> Vec<u8> {
    let nibble = |level: i8| level as u8 & 0xf;
    levels.chunks(2).map(|pair| nibble(pair[0]) | pair.get(1).map_or(0, |&high| nibble(high) << 4)).collect()
}

fn unpack_nibbles(bytes: &[u8], count: usize, is_signed: bool) -> Vec<i8> {
    let level = |nibble: u8| if is_signed && nibble > 7 { nibble as i8 - 16 } else { nibble as i8 };
    bytes.iter().flat_map(|&byte| [level(byte & 0xf), level(byte >> 4)]).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::quant4::code::round_to_nearest;

    #[test]
    fn nibbles_survive() {
        for (levels, is_signed) in [([-8, 7, 0, -1, 3], true), ([0, 15, 8, 1, 9], false)] {
            let packed = pack_nibbles(&levels);
            assert_eq!(packed.len(), 3);
            assert_eq!(unpack_nibbles(&packed, 5, is_signed), levels);
        }
        assert_eq!(pack_nibbles(&[1, -1]), [0xf1]);
    }

    #[test]
    fn what_is_restored_is_what_was_coded() {
        let scratch = Scratch::in_memory();
        let values: Vec<f32> = (0..64 * 3).map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-3).collect();
        let tensor = Tensor::from_f32(vec![64, 3], &values).unwrap();
        let layout = Layout::new(tensor.shape(), &(1..2), 16);
        assert_eq!((layout.depth, layout.block, layout.inner), (64, 16, 3));
        let rows = layout.to_rows(&values);
        for grid in [Grid::SYMMETRIC, Grid::ASYMMETRIC, Grid::ASYMMETRIC.with_half_scales(), Grid::EIGHT] {
            let coded = round_to_nearest(&rows, layout.block, grid);
            let packed = Packed::new(&rows, &coded, layout, grid, &scratch).unwrap();
            let restored = packed.restored(&tensor).unwrap().to_f32().unwrap();
            assert_eq!(layout.to_rows(&restored), coded.restore(layout.block));
            let (signal, error) = energies(&values, &restored);
            assert!((packed.signal - signal).abs() < 1e-6 && (packed.error - error).abs() < 1e-6);
            let snr_db = 10.0 * (signal / error).log10();
            assert!(snr_db > if grid == Grid::EIGHT { 40.0 } else { 18.0 }, "{grid:?}: {snr_db}");
        }
        assert_eq!(stored_bytes(layout, Grid::ASYMMETRIC), 96 + 6 + 48);
    }
}
