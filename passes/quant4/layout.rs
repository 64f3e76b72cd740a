//! How the weights of a tensor fall into rows, and rows into blocks.

use std::ops::Range;

/// Shorter blocks than this cost more for their scales than 4 bits save.
const SHORTEST_BLOCK: usize = 8;

/// Weight `k` of row `(o, i)` is element `(o * depth + k) * inner + i` of the tensor. A block is a run of weights of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) outer: usize,
    pub(super) depth: usize,
    pub(super) inner: usize,
    /// Weights of a block; divides the depth.
    pub(super) block: usize,
}

impl Layout {
    /// Rows that run across the axes `kept`, whose entries are channels, with blocks of about `wanted` weights.
    pub(super) fn new(shape: &[u64], kept: &Range<usize>, wanted: usize) -> Self {
        let product = |axes: Range<usize>| shape.get(axes).unwrap_or_default().iter().product::<u64>() as usize;
        let rank = shape.len();
        let (outer, depth, inner) = if !kept.is_empty() && kept.end == rank && kept.start > 0 {
            // Channels on the last axes: what is added up runs along the axis in front of them.
            (product(0..kept.start - 1), product(kept.start - 1..kept.start), product(kept.clone()))
        } else if kept.start == 0 && !kept.is_empty() {
            (product(kept.clone()), product(kept.end..rank), 1)
        } else {
            (product(0..1.min(rank)), product(1.min(rank)..rank), 1)
        };
        Self { outer, depth, inner, block: block_len(depth, wanted) }
    }

    pub(super) fn rows(self) -> usize {
        self.outer * self.inner
    }

    /// Blocks of a row.
    pub(super) fn blocks(self) -> usize {
        self.depth / self.block.max(1)
    }

    /// Blocks of the tensor.
    pub(super) fn all_blocks(self) -> usize {
        self.rows() * self.blocks()
    }

    /// The same rows, with one block each.
    pub(super) fn undivided(self) -> Self {
        Self { block: self.depth, ..self }
    }

    /// Values in the order of the tensor's elements, put into rows.
    pub(super) fn to_rows<T: Copy + Default>(self, elements: &[T]) -> Vec<T> {
        transposed(elements, self.outer, self.depth, self.inner)
    }

    /// Values in rows, put into the order of the tensor's elements.
    pub(super) fn out_of_rows<T: Copy + Default>(self, rows: &[T]) -> Vec<T> {
        transposed(rows, self.outer, self.inner, self.depth)
    }

    /// One value a block in rows, put into the order `[outer, blocks, inner]`, which is that of the tensor.
    pub(super) fn blocks_from_rows<T: Copy + Default>(self, rows: &[T]) -> Vec<T> {
        transposed(rows, self.outer, self.inner, self.blocks())
    }

    /// The other way.
    pub(super) fn blocks_to_rows<T: Copy + Default>(self, blocks: &[T]) -> Vec<T> {
        transposed(blocks, self.outer, self.blocks(), self.inner)
    }
}

/// `[count, height, width]` as `[count, width, height]`.
fn transposed<T: Copy + Default>(values: &[T], count: usize, height: usize, width: usize) -> Vec<T> {
    if height == 1 || width == 1 {
        return values.to_vec();
    }
    let mut result = vec![T::default(); values.len()];
    for plane in 0..count {
        let base = plane * height * width;
        // Tiles, so that neither side runs through memory in steps of a row only.
        for top in (0..height).step_by(32) {
            for x in 0..width {
                for y in top..height.min(top + 32) {
                    result[base + x * height + y] = values[base + y * width + x];
                }
            }
        }
    }
    result
}

/// A divisor of the depth as near to the wanted length as there is; the whole depth where blocks would be too short or
/// there would be only one.
fn block_len(depth: usize, wanted: usize) -> usize {
    if depth <= wanted + wanted / 2 || wanted == 0 {
        return depth;
    }
    let distance = |len: usize| (len as f64 / wanted as f64).ln().abs();
    let least = SHORTEST_BLOCK.min(wanted);
    let divisors = (least..=2 * wanted).filter(|len| depth.is_multiple_of(*len));
    divisors.min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_run_along_what_is_added_up() {
        let of = |shape: &[u64], kept: Range<usize>| {
            let layout = Layout::new(shape, &kept, 32);
            (layout.outer, layout.depth, layout.inner, layout.block)
        };
        // MatMul, a stack of them, Gemm with a transposed matrix, Conv, a table, LSTM, ConvTranspose.
        assert_eq!(of(&[384, 1536], 1..2), (1, 384, 1536, 32));
        assert_eq!(of(&[2, 384, 1536], 2..3), (2, 384, 1536, 32));
        assert_eq!(of(&[1536, 384], 0..1), (1536, 384, 1, 32));
        assert_eq!(of(&[64, 16, 3, 3], 0..1), (64, 144, 1, 36));
        assert_eq!(of(&[1, 512, 128], 0..2), (512, 128, 1, 32));
        assert_eq!(of(&[64, 32, 2, 2], 1..2), (64, 128, 1, 32));
        assert_eq!(of(&[64], 0..0), (64, 1, 1, 1));
    }

    #[test]
    fn blocks_divide_rows() {
        assert_eq!(block_len(9, 32), 9);
        assert_eq!(block_len(48, 32), 48);
        assert_eq!(block_len(144, 32), 36);
        assert_eq!(block_len(500, 32), 25);
        // Divisors of 26 and 2 * 97: too long or too short.
        assert_eq!(block_len(194, 32), 194);
        assert_eq!(block_len(256, 16), 16);
    }

    #[test]
    fn rows_and_elements_turn_into_each_other() {
        let layout = Layout { outer: 2, depth: 4, inner: 3, block: 2 };
        let elements: Vec<u32> = (0..24).collect();
        let rows = layout.to_rows(&elements);
        assert_eq!(rows[..8], [0, 3, 6, 9, 1, 4, 7, 10]);
        assert_eq!(layout.out_of_rows(&rows), elements);
        let blocks: Vec<u32> = (0..12).collect();
        assert_eq!(layout.blocks_from_rows(&blocks)[..6], [0, 2, 4, 1, 3, 5]);
        assert_eq!(layout.blocks_to_rows(&layout.blocks_from_rows(&blocks)), blocks);
        assert_eq!((layout.rows(), layout.blocks(), layout.all_blocks()), (6, 2, 12));
    }
}
