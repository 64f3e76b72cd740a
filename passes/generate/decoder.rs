//! The generator: two embeddings of latent bytes and two layers that make a block of weights of them.
//!
//! ```text
//! hidden = Relu(first[a] x mix_first + second[b] x mix_second + bias)    block = hidden x out + shift
//! ```

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::residual::Residual;
use super::table::{BYTE, Table};

/// Numbers of an embedding at least.
const EMBEDDING: usize = 8;

/// Numbers between the layers.
pub(super) const HIDDEN: usize = 64;

/// The weights of the generator, matrices row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoder {
    pub(super) block: usize,
    /// Numbers of an embedding.
    pub(super) width: usize,
    pub(super) parts: [Vec<f32>; PARTS],
}

/// Parts of a decoder, by their places in it.
pub(super) const PARTS: usize = 7;
/// `[256, width]`
pub(super) const FIRST: usize = 0;
pub(super) const SECOND: usize = 1;
/// `[width, HIDDEN]`
pub(super) const MIX_FIRST: usize = 2;
pub(super) const MIX_SECOND: usize = 3;
/// `[HIDDEN]`
pub(super) const BIAS: usize = 4;
/// `[HIDDEN, block]`
pub(super) const OUT: usize = 5;
/// `[block]`
pub(super) const SHIFT: usize = 6;

impl Decoder {
    /// One that gives the sums of two codebooks: `x = Relu(x) - Relu(-x)`. What hidden numbers are left begin by chance, and
    /// count for nothing until training makes something of them.
    pub(super) fn new(residual: &Residual, seed: u64) -> Self {
        let block = residual.block;
        let width = block.max(EMBEDDING);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let padded = |book: &[f32]| -> Vec<f32> {
            let entry =
                |entry: &[f32]| (0..width).map(|place| entry.get(place).copied().unwrap_or(0.0)).collect::<Vec<f32>>();
            book.chunks(block).flat_map(entry).collect()
        };
        let (mut first, mut second) = (padded(&residual.first), padded(&residual.second));
        let mut some = |scale: f32| (random.random_range(-1.0..1.0f32)) * scale;
        for entry in first.chunks_mut(width).chain(second.chunks_mut(width)) {
            entry.iter_mut().skip(block).for_each(|number| *number = some(1.0));
        }
        let mut mix = || -> Vec<f32> {
            let place = |place: usize| (0..HIDDEN).map(move |unit| (place, unit));
            let entry = |(place, unit): (usize, usize)| match unit {
                _ if unit >= 2 * block => some(1.0),
                _ if unit / 2 != place => 0.0,
                _ => [1.0, -1.0][unit % 2],
            };
            (0..width).flat_map(place).map(entry).collect()
        };
        let (mix_first, mix_second) = (mix(), mix());
        let bias = (0..HIDDEN).map(|unit| if unit < 2 * block { 0.0 } else { some(1.0) }).collect();
        let out = (0..HIDDEN * block).map(|at| match (at / block, at % block) {
            (unit, place) if unit / 2 == place && unit < 2 * block => [1.0, -1.0][unit % 2],
            _ => 0.0,
        });
        Self { block, width, parts: [first, second, mix_first, mix_second, bias, out.collect(), vec![0.0; block]] }
    }

    /// The shape in which a part is stored, so that parts broadcast to what all latents give.
    pub(super) fn shape(&self, part: usize) -> Vec<u64> {
        let (byte, width, hidden, block) = (BYTE as u64, self.width as u64, HIDDEN as u64, self.block as u64);
        match part {
            FIRST => vec![byte, 1, width],
            SECOND => vec![byte, width],
            MIX_FIRST | MIX_SECOND => vec![width, hidden],
            BIAS => vec![hidden],
            OUT => vec![hidden, block],
            _ => vec![block],
        }
    }

    /// What each byte adds to the hidden numbers, `[256, HIDDEN]`; the bias goes with the first.
    pub(super) fn halves(&self) -> (Vec<f32>, Vec<f32>) {
        let mut first = product(&self.parts[FIRST], &self.parts[MIX_FIRST], self.width);
        for row in first.chunks_exact_mut(HIDDEN) {
            row.iter_mut().zip(&self.parts[BIAS]).for_each(|(number, bias)| *number += bias);
        }
        (first, product(&self.parts[SECOND], &self.parts[MIX_SECOND], self.width))
    }

    /// The blocks of all latents.
    pub(super) fn table(&self) -> Table {
        let (first, second) = self.halves();
        let mut blocks = vec![0.0f32; BYTE * BYTE * self.block];
        blocks.par_chunks_exact_mut(BYTE * self.block).zip(first.par_chunks_exact(HIDDEN)).for_each(
            |(blocks, first)| {
                for (block, second) in blocks.chunks_exact_mut(self.block).zip(second.chunks_exact(HIDDEN)) {
                    let mut sums = [0.0f32; super::table::MAX_BLOCK];
                    let sums = &mut sums[..self.block];
                    for ((a, b), out) in first.iter().zip(second).zip(self.parts[OUT].chunks_exact(self.block)) {
                        let hidden = (a + b).max(0.0);
                        sums.iter_mut().zip(out).for_each(|(sum, out)| *sum += hidden * out);
                    }
                    for ((number, sum), shift) in block.iter_mut().zip(sums.iter()).zip(&self.parts[SHIFT]) {
                        *number = *sum + shift;
                    }
                }
            },
        );
        Table::new(blocks, self.block)
    }

    /// The same, with each number as 16 bits hold it.
    pub(super) fn in_half(mut self) -> Self {
        let halve = |number: &mut f32| *number = half::f16::from_f32(*number).to_f32();
        self.parts.iter_mut().flatten().for_each(halve);
        self
    }
}

/// Rows of embeddings times a matrix.
fn product(rows: &[f32], mix: &[f32], width: usize) -> Vec<f32> {
    let mut products = Vec::with_capacity(BYTE * HIDDEN);
    for row in rows.chunks_exact(width) {
        let mut sums = [0.0f32; HIDDEN];
        for (&x, mix) in row.iter().zip(mix.chunks_exact(HIDDEN)) {
            sums.iter_mut().zip(mix).for_each(|(sum, mix)| *sum += x * mix);
        }
        products.extend(sums);
    }
    products
}
