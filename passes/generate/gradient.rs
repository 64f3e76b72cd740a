//! How the error of a generator changes with each of its weights.
//!
//! Blocks matter for the error only by how many have each latent and by their mean. Sums are written out here, and not left
//! to a library that adds up as the processor likes it, so that any machine trains the same generator.

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
    /// `[block, HIDDEN]`
    out: Vec<f32>,
    shift: Vec<f32>,
}

/// The mean squared error of a number, and its derivative by each weight of the generator.
pub(super) fn gradient(decoder: &Decoder, wanted: &Wanted) -> (f64, [Vec<f32>; PARTS]) {
    let block = decoder.block;
    let (first, second) = decoder.halves();
    let out: Vec<f32> =
        (0..block).flat_map(|place| decoder.parts[OUT].iter().skip(place).step_by(block)).copied().collect();
    let tasks: Vec<Sums> = (first.par_chunks_exact(TASK * HIDDEN))
        .zip(wanted.shares.par_chunks_exact(TASK * BYTE).zip(wanted.means.par_chunks_exact(TASK * BYTE * block)))
        .map(|(first, (shares, means))| Sums::new((&out, &decoder.parts[SHIFT]), (first, &second), (shares, means)))
        .collect();
    let mut error = wanted.scatter;
    let mut of_first = Vec::with_capacity(BYTE * HIDDEN);
    let (mut of_second, mut of_out, mut shift) =
        (vec![0.0; BYTE * HIDDEN], vec![0.0; HIDDEN * block], vec![0.0; block]);
    for task in tasks {
        error += task.error;
        of_first.extend(task.first);
        add(&mut of_second, &task.second, 1.0);
        add(&mut of_out, &task.out, 1.0);
        add(&mut shift, &task.shift, 1.0);
    }
    let mut parts: [Vec<f32>; PARTS] = Default::default();
    parts[BIAS] = vec![0.0; HIDDEN];
    of_first.chunks_exact(HIDDEN).for_each(|row| add(&mut parts[BIAS], row, 1.0));
    for (embedding, mix, of_hidden) in [(FIRST, MIX_FIRST, &of_first), (SECOND, MIX_SECOND, &of_second)] {
        let weights = decoder.parts[mix].chunks_exact(HIDDEN);
        parts[mix] = vec![0.0; decoder.width * HIDDEN];
        for (numbers, of_hidden) in
            decoder.parts[embedding].chunks_exact(decoder.width).zip(of_hidden.chunks_exact(HIDDEN))
        {
            parts[embedding].extend(weights.clone().map(|weights| dot(weights, of_hidden)));
            for (number, of_mix) in numbers.iter().zip(parts[mix].chunks_exact_mut(HIDDEN)) {
                add(of_mix, of_hidden, *number);
            }
        }
    }
    parts[OUT] = (0..HIDDEN).flat_map(|unit| of_out.iter().skip(unit).step_by(HIDDEN)).copied().collect();
    parts[SHIFT] = shift;
    (error, parts)
}

impl Sums {
    fn new(
        (out, shift): (&[f32], &[f32]),
        (first, second): (&[f32], &[f32]),
        (shares, means): (&[f32], &[f32]),
    ) -> Self {
        let block = shift.len();
        let mut sums = Self {
            error: 0.0,
            first: vec![0.0; first.len()],
            second: vec![0.0; BYTE * HIDDEN],
            out: vec![0.0; HIDDEN * block],
            shift: vec![0.0; block],
        };
        for (latent, (&share, mean)) in shares.iter().zip(means.chunks_exact(block)).enumerate() {
            // A latent that no block has counts for nothing.
            if share == 0.0 {
                continue;
            }
            let (of_first, of_second) = (latent / BYTE * HIDDEN, latent % BYTE * HIDDEN);
            let (mut hidden, mut through) = ([0.0f32; HIDDEN], [0.0f32; HIDDEN]);
            for ((hidden, a), b) in hidden.iter_mut().zip(&first[of_first..]).zip(&second[of_second..]) {
                *hidden = (a + b).max(0.0);
            }
            for (place, (weights, of_out)) in
                out.chunks_exact(HIDDEN).zip(sums.out.chunks_exact_mut(HIDDEN)).enumerate()
            {
                let off = dot(&hidden, weights) + shift[place] - mean[place];
                sums.error += f64::from(share * off * off);
                let slope = 2.0 * share * off;
                sums.shift[place] += slope;
                add(of_out, &hidden, slope);
                add(&mut through, weights, slope);
            }
            through.iter_mut().zip(&hidden).for_each(|(through, &hidden)| {
                *through = if hidden > 0.0 { *through } else { 0.0 };
            });
            add(&mut sums.first[of_first..][..HIDDEN], &through, 1.0);
            add(&mut sums.second[of_second..][..HIDDEN], &through, 1.0);
        }
        sums
    }
}

/// Adds so many times.
fn add(sums: &mut [f32], more: &[f32], times: f32) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += times * more);
}

/// The sum of products in an order that does not depend on the machine, side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum()
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
