//! The blocks that all latents stand for, and which of them is nearest to a block of weights.

use rayon::prelude::*;

/// Values of one byte of a latent.
pub(super) const BYTE: usize = 256;

/// Weights of a block at most.
pub(super) const MAX_BLOCK: usize = 16;

/// 256 blocks, number by number: the first number of all, then the second of all.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    numbers: Vec<f32>,
}

impl Plane {
    /// Takes blocks of so many numbers that lie one behind the other.
    pub(super) fn new(blocks: &[f32], block: usize) -> Self {
        let number = |place: usize| (0..BYTE).map(move |entry| (place, entry));
        let numbers = (0..block).flat_map(number).map(|(place, entry)| blocks[entry * block + place]).collect();
        Self { numbers }
    }

    /// The squared distance of each to `x`.
    pub(super) fn distances(&self, x: &[f32]) -> [f32; BYTE] {
        let mut distances = [0.0f32; BYTE];
        for (numbers, &x) in self.numbers.chunks_exact(BYTE).zip(x) {
            for (distance, &number) in distances.iter_mut().zip(numbers) {
                let step = x - number;
                *distance += step * step;
            }
        }
        distances
    }

    /// The nearest, the first of several, and its squared distance.
    pub(super) fn nearest(&self, x: &[f32]) -> (u8, f32) {
        least(&self.distances(x))
    }
}

/// The least of distances, the first of several.
fn least(distances: &[f32; BYTE]) -> (u8, f32) {
    // A minimum of lanes and then a search is several times faster than keeping the place along the way.
    let mut lanes = [f32::INFINITY; 16];
    for chunk in distances.chunks_exact(16) {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(least, &distance)| *least = if distance < *least { distance } else { *least });
    }
    let least = lanes.iter().copied().fold(f32::INFINITY, f32::min);
    (distances.iter().position(|&distance| distance == least).unwrap_or(0) as u8, least)
}

/// A block of numbers for each latent of two bytes; the first byte is the upper one.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) block: usize,
    /// `[256, 256, block]`.
    blocks: Vec<f32>,
    /// The blocks of each first byte.
    planes: Vec<Plane>,
    /// The mean block of each first byte.
    means: Plane,
}

impl Table {
    /// Takes 65,536 blocks in the order of their latents.
    pub(super) fn new(blocks: Vec<f32>, block: usize) -> Self {
        let groups = || blocks.chunks_exact(BYTE * block);
        let planes = groups().map(|group| Plane::new(group, block)).collect();
        let mean = |group: &[f32], place: usize| {
            (group.iter().skip(place).step_by(block).map(|&number| f64::from(number)).sum::<f64>() / BYTE as f64) as f32
        };
        let means: Vec<f32> = groups().flat_map(|group| (0..block).map(move |place| mean(group, place))).collect();
        Self { block, means: Plane::new(&means, block), planes, blocks }
    }

    /// The block of a latent.
    pub(super) fn of(&self, latent: u16) -> &[f32] {
        self.blocks.get(usize::from(latent) * self.block..).and_then(|rest| rest.get(..self.block)).unwrap_or_default()
    }

    /// The latent whose block is nearest to `x`, among those of the `width` first bytes whose means are nearest.
    pub(super) fn nearest(&self, x: &[f32], width: usize) -> (u16, f32) {
        let distances = self.means.distances(x);
        // Distances are not negative, so their bits are in their order.
        let mut order = [0u64; BYTE];
        for (first, (key, distance)) in order.iter_mut().zip(distances).enumerate() {
            *key = u64::from(distance.to_bits()) << 8 | first as u64;
        }
        let width = width.clamp(1, BYTE);
        if width < BYTE {
            order.select_nth_unstable(width - 1);
        }
        let mut best = (0u16, f32::INFINITY);
        for key in &order[..width] {
            let first = (key & 0xff) as u16;
            let (second, distance) = self.planes[usize::from(first)].nearest(x);
            let latent = first << 8 | u16::from(second);
            if distance < best.1 || (distance == best.1 && latent < best.0) {
                best = (latent, distance);
            }
        }
        best
    }

    /// The nearest latents of blocks that lie one behind the other.
    pub(super) fn latents(&self, blocks: &[f32], width: usize) -> Vec<u16> {
        blocks.par_chunks_exact(self.block).map(|x| self.nearest(x, width).0).collect()
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
            let (latent, found) = table.nearest(x, BYTE);
            assert_eq!(found, best);
            assert_eq!(distance(table.of(latent)), best);
        }
    }

    #[test]
    fn the_first_of_equal_blocks_is_taken() {
        let table = Table::new(vec![0.5; BYTE * BYTE * 2], 2);
        assert_eq!(table.nearest(&[0.0, 1.0], 4).0, 0);
    }
}
