//! How the error of a generator changes with each of its weights.
//!
//! Blocks matter for the error only by how many have each latent and by their mean.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::decoder::{BIAS, Decoder, FIRST, HIDDEN, MIX_FIRST, MIX_SECOND, OUT, PARTS, SECOND, SHIFT};
use super::table::BYTE;

/// First bytes whose sums are added up by one task. A constant, so that sums do not depend on the number of threads.
const TASK: usize = 16;

/// How many blocks have each latent, and their mean.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    shares: Vec<f32>,
    means: Vec<f32>,
    /// What no generator can do away with as long as latents stay as they are, of each number.
    scatter: f64,
}

impl Wanted {
    /// Sums up blocks that lie one behind the other, each with its latent.
    pub(super) fn new(blocks: &[f32], latents: &[u16], block: usize) -> Self {
        let (mut counts, mut sums) = (vec![0u32; BYTE * BYTE], vec![0.0f64; BYTE * BYTE * block]);
        let mut energy = 0.0;
        for (x, &latent) in blocks.chunks_exact(block).zip(latents) {
            let latent = usize::from(latent);
            counts[latent] += 1;
            for (sum, &x) in sums[latent * block..][..block].iter_mut().zip(x) {
                *sum += f64::from(x);
                energy += f64::from(x).powi(2);
            }
        }
        for (sums, &count) in sums.chunks_exact_mut(block).zip(&counts) {
            for sum in sums {
                energy -= *sum * *sum / f64::from(count.max(1));
                *sum /= f64::from(count.max(1));
            }
        }
        let numbers = (latents.len() * block).max(1) as f64;
        Self {
            shares: counts.iter().map(|&count| (f64::from(count) / numbers) as f32).collect(),
            means: sums.into_iter().map(|mean| mean as f32).collect(),
            scatter: energy.max(0.0) / numbers,
        }
    }
}

/// What one task adds up.
struct Sums {
    error: f64,
    /// Of the hidden numbers of its first bytes, and of all second ones.
    first: Vec<f32>,
    second: Vec<f32>,
    out: Vec<f32>,
    shift: Vec<f32>,
}

/// The mean squared error of a number, and its derivative by each weight of the generator.
pub(super) fn gradient(decoder: &Decoder, wanted: &Wanted) -> (f64, [Vec<f32>; PARTS]) {
    let (block, width) = (decoder.block, decoder.width);
    let (first, second) = decoder.halves();
    let tasks: Vec<Sums> = (first.par_chunks_exact(TASK * HIDDEN))
        .zip(wanted.shares.par_chunks_exact(TASK * BYTE).zip(wanted.means.par_chunks_exact(TASK * BYTE * block)))
        .map(|(first, (shares, means))| Sums::new(decoder, (first, &second), (shares, means)))
        .collect();
    let mut error = wanted.scatter;
    let mut of_first = Vec::with_capacity(BYTE * HIDDEN);
    let (mut of_second, mut out, mut shift) = (vec![0.0; BYTE * HIDDEN], vec![0.0; HIDDEN * block], vec![0.0; block]);
    for task in tasks {
        error += task.error;
        of_first.extend(task.first);
        add(&mut of_second, &task.second);
        add(&mut out, &task.out);
        add(&mut shift, &task.shift);
    }
    let mut bias = vec![0.0; HIDDEN];
    of_first.chunks_exact(HIDDEN).for_each(|row| add(&mut bias, row));
    let mut parts: [Vec<f32>; PARTS] = Default::default();
    for (embedding, mix, of_hidden) in [(FIRST, MIX_FIRST, &of_first), (SECOND, MIX_SECOND, &of_second)] {
        let of_hidden = MatRef::from_row_major_slice(of_hidden, BYTE, HIDDEN);
        let (rows, weights) = (
            MatRef::from_row_major_slice(&decoder.parts[embedding], BYTE, width),
            MatRef::from_row_major_slice(&decoder.parts[mix], width, HIDDEN),
        );
        parts[embedding] = product(of_hidden, weights.transpose());
        parts[mix] = product(rows.transpose(), of_hidden);
    }
    parts[BIAS] = bias;
    parts[OUT] = out;
    parts[SHIFT] = shift;
    (error, parts)
}

impl Sums {
    fn new(decoder: &Decoder, (first, second): (&[f32], &[f32]), (shares, means): (&[f32], &[f32])) -> Self {
        let block = decoder.block;
        let out = MatRef::from_row_major_slice(&decoder.parts[OUT], HIDDEN, block);
        let (mut hidden, mut of_hidden) = (vec![0.0f32; BYTE * HIDDEN], vec![0.0f32; BYTE * HIDDEN]);
        let mut blocks = vec![0.0f32; BYTE * block];
        let mut sums = Self {
            error: 0.0,
            first: vec![0.0; first.len()],
            second: vec![0.0; BYTE * HIDDEN],
            out: vec![0.0; HIDDEN * block],
            shift: vec![0.0; block],
        };
        let each = first.chunks_exact(HIDDEN).zip(shares.chunks_exact(BYTE).zip(means.chunks_exact(BYTE * block)));
        for ((first, (shares, means)), of_first) in each.zip(sums.first.chunks_exact_mut(HIDDEN)) {
            // Latents that no block has count for nothing.
            let present: Vec<usize> = (0..BYTE).filter(|&byte| shares[byte] > 0.0).collect();
            let count = present.len();
            for (hidden, &byte) in hidden.chunks_exact_mut(HIDDEN).zip(&present) {
                let second = &second[byte * HIDDEN..][..HIDDEN];
                hidden.iter_mut().zip(first.iter().zip(second)).for_each(|(hidden, (a, b))| *hidden = (a + b).max(0.0));
            }
            let rows = MatRef::from_row_major_slice(&hidden[..count * HIDDEN], count, HIDDEN);
            let made = MatMut::from_row_major_slice_mut(&mut blocks[..count * block], count, block);
            matmul(made, Accum::Replace, rows, out, 1.0, Par::Seq);
            // From here on `blocks` holds the derivative by each number of each block.
            let mut error = 0.0f32;
            for (made, &byte) in blocks.chunks_exact_mut(block).zip(&present) {
                let (mean, share) = (&means[byte * block..][..block], shares[byte]);
                for (((made, mean), shift), of_shift) in
                    made.iter_mut().zip(mean).zip(&decoder.parts[SHIFT]).zip(&mut sums.shift)
                {
                    let off = *made + shift - mean;
                    error += share * off * off;
                    *made = 2.0 * share * off;
                    *of_shift += *made;
                }
            }
            sums.error += f64::from(error);
            let of_blocks = MatRef::from_row_major_slice(&blocks[..count * block], count, block);
            let of_out = MatMut::from_row_major_slice_mut(&mut sums.out, HIDDEN, block);
            matmul(of_out, Accum::Add, rows.transpose(), of_blocks, 1.0, Par::Seq);
            let through = MatMut::from_row_major_slice_mut(&mut of_hidden[..count * HIDDEN], count, HIDDEN);
            matmul(through, Accum::Replace, of_blocks, out.transpose(), 1.0, Par::Seq);
            let rows = hidden.chunks_exact(HIDDEN).zip(of_hidden.chunks_exact(HIDDEN));
            for ((hidden, through), &byte) in rows.zip(&present) {
                let of_second = &mut sums.second[byte * HIDDEN..][..HIDDEN];
                let each = hidden.iter().zip(through).zip(of_first.iter_mut().zip(of_second));
                for ((&hidden, &through), (of_first, of_second)) in each {
                    let passed = if hidden > 0.0 { through } else { 0.0 };
                    *of_first += passed;
                    *of_second += passed;
                }
            }
        }
        sums
    }
}

fn add(sums: &mut [f32], more: &[f32]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Vec<f32> {
    let (rows, columns) = (a.nrows(), b.ncols());
    let mut result = vec![0.0; rows * columns];
    matmul(MatMut::from_row_major_slice_mut(&mut result, rows, columns), Accum::Replace, a, b, 1.0, Par::Seq);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::generate::residual::Residual;
    use crate::passes::generate::table::tests::noise;

    #[test]
    fn derivatives_are_those_of_finite_differences() {
        let (block, blocks) = (3, noise(3 * 5000));
        let mut decoder = Decoder::new(&Residual::new(&blocks, block, 2), 3);
        // Numbers that count for nothing at first have to count.
        decoder.parts[OUT].iter_mut().zip(noise(HIDDEN * block)).for_each(|(out, noise)| *out += 0.1 * noise);
        let wanted = Wanted::new(&blocks, &decoder.table().latents(&blocks, 4), block);
        let (_, parts) = gradient(&decoder, &wanted);
        for (part, derivatives) in parts.iter().enumerate() {
            let largest = derivatives.iter().fold(0.0f32, |most, d| most.max(d.abs()));
            assert!(largest > 0.0, "part {part}");
            for place in (0..derivatives.len()).step_by(derivatives.len().div_ceil(11)) {
                let at = |step: f32| {
                    let mut moved = decoder.clone();
                    moved.parts[part][place] += step;
                    gradient(&moved, &wanted).0
                };
                let step = 2e-3;
                let found = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let expected = f64::from(derivatives[place]);
                assert!((found - expected).abs() < 0.02 * f64::from(largest), "part {part}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn the_error_is_that_of_the_blocks() {
        let (block, blocks) = (2, noise(2 * 3000));
        let decoder = Decoder::new(&Residual::new(&blocks, block, 2), 3);
        let table = decoder.table();
        let latents = table.latents(&blocks, 8);
        let lost = |(x, &latent): (&[f32], &u16)| {
            x.iter().zip(table.of(latent)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let expected = blocks.chunks(block).zip(&latents).map(lost).sum::<f64>() / blocks.len() as f64;
        let found = gradient(&decoder, &Wanted::new(&blocks, &latents, block)).0;
        assert!((found - expected).abs() < 1e-4 * expected.max(1e-3), "{found} for {expected}");
    }
}
