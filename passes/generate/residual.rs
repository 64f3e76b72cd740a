//! Where training begins: residual vector quantization (Juang and Gray, *Multiple stage vector quantization for speech
//! coding*, 1982), k-means on blocks and again on what that leaves of them.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

#[cfg(test)]
use super::table::Table;
use super::table::{BYTE, Plane};

/// Blocks that k-means looks at, at most.
const MAX_BLOCKS: usize = 1 << 16;

/// Rounds after which clusters hardly move.
const ROUNDS: usize = 12;

/// Two codebooks of 256 blocks each.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    pub(super) block: usize,
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

impl Residual {
    /// Codebooks for blocks that lie one behind the other.
    pub(super) fn new(blocks: &[f32], block: usize, seed: u64) -> Self {
        let count = blocks.len() / block.max(1);
        let taken = count.min(MAX_BLOCKS);
        let some = (0..taken).flat_map(|index| &blocks[index * count / taken * block..][..block]);
        let mut some: Vec<f32> = some.copied().collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let first = k_means(&some, block, &mut random);
        let plane = Plane::new(&first, block);
        some.par_chunks_exact_mut(block).for_each(|x| {
            let center = usize::from(plane.nearest(x).0) * block;
            x.iter_mut().zip(&first[center..]).for_each(|(x, center)| *x -= center);
        });
        let second = k_means(&some, block, &mut random);
        Self { block, first, second }
    }

    /// The sums of all pairs.
    #[cfg(test)]
    pub(super) fn table(&self) -> Table {
        let pairs = self.first.chunks(self.block).flat_map(|a| self.second.chunks(self.block).map(move |b| (a, b)));
        let blocks = pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b)).collect();
        Table::new(blocks, self.block)
    }
}

/// 256 centers of blocks (Lloyd 1982); they begin at blocks drawn by chance.
pub(super) fn k_means(blocks: &[f32], block: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let count = blocks.len() / block.max(1);
    let mut centers = Vec::with_capacity(BYTE * block);
    for _ in 0..BYTE {
        let drawn = if count == 0 { 0 } else { random.random_range(0..count) };
        centers.extend((0..block).map(|place| blocks.get(drawn * block + place).copied().unwrap_or_default()));
    }
    for _ in 0..ROUNDS {
        let plane = Plane::new(&centers, block);
        let nearest: Vec<u8> = blocks.par_chunks_exact(block).map(|x| plane.nearest(x).0).collect();
        let (mut sums, mut counts) = (vec![0.0f64; BYTE * block], [0u32; BYTE]);
        for (x, &center) in blocks.chunks_exact(block).zip(&nearest) {
            let center = usize::from(center);
            counts[center] += 1;
            sums[center * block..][..block].iter_mut().zip(x).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        for (center, &count) in counts.iter().enumerate() {
            // What nothing is near to begins anew at some block.
            let drawn = blocks.len() / block;
            let at = if count == 0 && drawn > 0 { random.random_range(0..drawn) * block } else { 0 };
            for place in 0..block {
                centers[center * block + place] = match count {
                    0 => blocks.get(at + place).copied().unwrap_or_default(),
                    _ => (sums[center * block + place] / f64::from(count)) as f32,
                };
            }
        }
    }
    centers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::generate::table::tests::noise;

    #[test]
    fn two_stages_leave_less_than_one() {
        let (block, blocks) = (4, noise(8000));
        let residual = Residual::new(&blocks, block, 1);
        let (first, table) = (Plane::new(&residual.first, block), residual.table());
        let distance = |x: &[f32], other: &[f32]| x.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let center = |x: &[f32]| residual.first.chunks(block).nth(usize::from(first.nearest(x).0)).unwrap();
        let one: f32 = blocks.chunks(block).map(|x| distance(x, center(x))).sum();
        let two: f32 = blocks.chunks(block).map(|x| distance(x, table.of(table.nearest(x, 16)))).sum();
        assert!(two < 0.3 * one, "{one} -> {two}");
    }
}
