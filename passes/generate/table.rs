//! The blocks that all latents stand for, and which of them is nearest to a block of weights.

use rayon::prelude::*;

/// Values of one byte of a latent.
pub(super) const BYTE: usize = 256;

/// Entries that are compared side by side.
const LANES: usize = 16;

/// Weights of a block at most.
pub(super) const MAX_BLOCK: usize = 16;

/// How often bytes of a latent are chosen anew.
const TURNS: usize = 3;

/// 256 blocks, number by number: the first number of all, then the second of all.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    numbers: Vec<f32>,
    /// Half of the square of each.
    squares: Vec<f32>,
}

impl Plane {
    /// Takes blocks of so many numbers that lie one behind the other.
    pub(super) fn new(blocks: &[f32], block: usize) -> Self {
        let number = |place: usize| (0..BYTE).map(move |entry| (place, entry));
        let numbers = (0..block).flat_map(number).map(|(place, entry)| blocks[entry * block + place]).collect();
        let square = |entry: &[f32]| entry.iter().map(|number| number * number).sum::<f32>() / 2.0;
        Self { numbers, squares: blocks.chunks_exact(block).map(square).collect() }
    }

    /// Half of the squared distance of each to `x`, without half of the square of `x`.
    fn scores(&self, x: &[f32]) -> [f32; BYTE] {
        let mut scores = [0.0f32; BYTE];
        scores.copy_from_slice(&self.squares);
        for (numbers, &x) in self.numbers.chunks_exact(BYTE).zip(x) {
            scores.iter_mut().zip(numbers).for_each(|(score, &number)| *score -= x * number);
        }
        scores
    }

    /// The nearest, and its score: the nearer, the less.
    pub(super) fn nearest(&self, x: &[f32]) -> (u8, f32) {
        // The least of each lane, then the lane, then its place in the lane: far fewer steps than one after the other.
        let scores = self.scores(x);
        let mut lanes = [f32::INFINITY; LANES];
        for chunk in scores.chunks_exact(LANES) {
            lanes
                .iter_mut()
                .zip(chunk)
                .for_each(|(least, &score)| *least = if score < *least { score } else { *least });
        }
        let (mut lane, mut least) = (0, f32::INFINITY);
        for (index, &score) in lanes.iter().enumerate() {
            if score < least {
                (lane, least) = (index, score);
            }
        }
        let turn = scores.iter().skip(lane).step_by(LANES).position(|&score| score == least).unwrap_or(0);
        ((turn * LANES + lane) as u8, least)
    }
}

/// A block of numbers for each latent of two bytes; the first byte is the upper one.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) block: usize,
    /// `[256, 256, block]`.
    blocks: Vec<f32>,
    /// The blocks of each first byte, and of each second one.
    by_first: Vec<Plane>,
    by_second: Vec<Plane>,
    /// The mean block of each first byte.
    means: Plane,
}

impl Table {
    /// Takes 65,536 blocks in the order of their latents.
    pub(super) fn new(blocks: Vec<f32>, block: usize) -> Self {
        let groups = || blocks.chunks_exact(BYTE * block);
        let by_first = groups().map(|group| Plane::new(group, block)).collect();
        let of_second = |second: usize| -> Vec<f32> {
            blocks.chunks_exact(block).skip(second).step_by(BYTE).flatten().copied().collect()
        };
        let by_second = (0..BYTE).into_par_iter().map(|second| Plane::new(&of_second(second), block)).collect();
        let mean = |group: &[f32], place: usize| {
            (group.iter().skip(place).step_by(block).map(|&number| f64::from(number)).sum::<f64>() / BYTE as f64) as f32
        };
        let means: Vec<f32> = groups().flat_map(|group| (0..block).map(move |place| mean(group, place))).collect();
        Self { block, means: Plane::new(&means, block), by_first, by_second, blocks }
    }

    /// The block of a latent.
    pub(super) fn of(&self, latent: u16) -> &[f32] {
        self.blocks.get(usize::from(latent) * self.block..).and_then(|rest| rest.get(..self.block)).unwrap_or_default()
    }

    /// A latent whose block is near to `x`: the best among those of the `width` first bytes whose means are nearest; then
    /// either byte is chosen anew with the other as it is, as long as that comes nearer.
    pub(super) fn nearest(&self, x: &[f32], width: usize) -> u16 {
        let mut best = (0u8, 0u8, f32::INFINITY);
        for first in self.promising(x, width) {
            let (second, score) = self.by_first[usize::from(first)].nearest(x);
            if score < best.2 {
                best = (first, second, score);
            }
        }
        for _ in 0..TURNS {
            let (first, score) = self.by_second[usize::from(best.1)].nearest(x);
            // The same sum in the same order: what does not change is not less.
            if score >= best.2 {
                break;
            }
            let (second, score) = self.by_first[usize::from(first)].nearest(x);
            best = (first, second, score);
        }
        u16::from_be_bytes([best.0, best.1])
    }

    /// The first bytes whose mean blocks are nearest, in ascending order.
    fn promising(&self, x: &[f32], width: usize) -> Vec<u8> {
        // Numbers that sort as the scores do, with the byte behind them.
        let mut order = [0u64; BYTE];
        for (first, (key, score)) in order.iter_mut().zip(self.means.scores(x)).enumerate() {
            let bits = score.to_bits();
            let ascending = if score.is_sign_negative() { !bits } else { bits | 1 << 31 };
            *key = u64::from(ascending) << 8 | first as u64;
        }
        let width = width.clamp(1, BYTE);
        if width < BYTE {
            order.select_nth_unstable(width - 1);
        }
        let mut found: Vec<u8> = order[..width].iter().map(|key| (key & 0xff) as u8).collect();
        found.sort_unstable();
        found
    }

    /// The nearest latents of blocks that lie one behind the other.
    pub(super) fn latents(&self, blocks: &[f32], width: usize) -> Vec<u16> {
        blocks.par_chunks_exact(self.block).map(|x| self.nearest(x, width)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers without an order, between -1 and 1.
    pub(in crate::passes::generate) fn noise(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + i * i % 7001 * 31) % 2027) as f32 / 1013.0 - 1.0).collect()
    }

    #[test]
    fn the_nearest_block_is_the_one_that_a_search_through_all_finds() {
        let block = 3;
        let blocks = noise(BYTE * BYTE * block);
        let table = Table::new(blocks.clone(), block);
        for x in noise(60).chunks(block) {
            let distance = |one: &[f32]| one.iter().zip(x).map(|(a, b)| (b - a) * (b - a)).sum::<f32>();
            let best = blocks.chunks(block).map(distance).fold(f32::INFINITY, f32::min);
            let found = distance(table.of(table.nearest(x, BYTE)));
            assert!((found - best).abs() < 1e-5, "{found} for {best}");
        }
    }

    #[test]
    fn of_equal_blocks_it_is_always_the_same() {
        let table = Table::new(vec![0.5; BYTE * BYTE * 2], 2);
        assert_eq!(table.nearest(&[0.0, 1.0], 4), 0);
    }
}
