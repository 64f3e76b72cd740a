//! Trains a generator on blocks of weights: some are drawn and get the latents that are nearest, then come steps down the
//! gradient, and again.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::decoder::{Decoder, PARTS};
use super::gradient::{Wanted, gradient};
use super::residual::Residual;
use super::table::Table;
use crate::pass::Env;

/// How often blocks are drawn and get latents, how many, and steps until the next ones.
const ROUNDS: usize = 100;
const BATCH: usize = 1 << 14;
const STEPS: usize = 5;

/// First bytes that a search looks behind, while training and for what is stored.
const TRAIN_WIDTH: usize = 4;
pub(super) const WIDTH: usize = 8;

/// The length of the first step, and what it is multiplied by after each: the last is a thirtieth of the first.
const RATE: f32 = 1.2e-2;
const DECAY: f32 = 0.993;

/// Adam (Kingma and Ba, 2015), with the paper's constants.
struct Adam {
    means: [Vec<f32>; PARTS],
    squares: [Vec<f32>; PARTS],
    /// What the constants have become by now.
    left: (f32, f32),
}

impl Adam {
    const MEAN: f32 = 0.9;
    const SQUARE: f32 = 0.999;

    fn new(decoder: &Decoder) -> Self {
        let zeros = || decoder.parts.each_ref().map(|part| vec![0.0; part.len()]);
        Self { means: zeros(), squares: zeros(), left: (1.0, 1.0) }
    }

    fn step(&mut self, decoder: &mut Decoder, gradient: &[Vec<f32>; PARTS], rate: f32) {
        self.left = (self.left.0 * Self::MEAN, self.left.1 * Self::SQUARE);
        let rate = rate * (1.0 - self.left.1).sqrt() / (1.0 - self.left.0);
        for (((part, gradient), means), squares) in
            decoder.parts.iter_mut().zip(gradient).zip(&mut self.means).zip(&mut self.squares)
        {
            for (((number, &d), mean), square) in part.iter_mut().zip(gradient).zip(means).zip(squares) {
                *mean = Self::MEAN * *mean + (1.0 - Self::MEAN) * d;
                *square = Self::SQUARE * *square + (1.0 - Self::SQUARE) * d * d;
                *number -= rate * *mean / (square.sqrt() + 1e-8);
            }
        }
    }
}

/// What came of training.
#[derive(Debug)]
pub(super) struct Trained {
    /// As 16 bits hold it.
    pub(super) decoder: Decoder,
    pub(super) table: Table,
}

/// Trains on blocks that lie one behind the other.
pub(super) fn train(blocks: &[f32], block: usize, env: &Env<'_>) -> Trained {
    let mut decoder = Decoder::new(&Residual::new(blocks, block, env.seed), env.seed ^ 1);
    let (mut adam, mut rate) = (Adam::new(&decoder), RATE);
    env.progress.start("training the generator", ROUNDS as u64);
    let mut order: Vec<usize> = (0..blocks.len() / block.max(1)).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(env.seed ^ 2));
    let mut drawn = order.iter().copied().cycle();
    for round in 0..ROUNDS {
        let some = drawn.by_ref().take(BATCH.min(order.len()));
        let some: Vec<f32> = some.flat_map(|index| blocks[index * block..][..block].iter().copied()).collect();
        let wanted = Wanted::new(&some, &decoder.table().latents(&some, TRAIN_WIDTH), block);
        for step in 0..STEPS {
            let (error, slopes) = gradient(&decoder, &wanted);
            if step == 0 {
                tracing::debug!(round, error, "training the generator");
            }
            adam.step(&mut decoder, &slopes, rate);
            rate *= DECAY;
        }
        env.progress.advance(1);
    }
    env.progress.finish();
    let decoder = decoder.in_half();
    Trained { table: decoder.table(), decoder }
}
