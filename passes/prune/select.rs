//! Which weights go: exact selection of the smallest scores, without sorting and without a copy of the weights.
//!
//! A score is a 64-bit number; zero weights score 0, so they are always the first to count as pruned and a second run
//! finds nothing to do.

use std::ops::ControlFlow;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::ir::Tensor;
use crate::pass::Scratch;

/// Up to so many scores are collected and selected from; more are counted in histograms.
const COLLECT_MAX: usize = 1 << 16;

/// How weights are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Score {
    /// By magnitude.
    Magnitude,
    /// At random, from one stream of numbers for each tensor.
    Random {
        /// The seed of the run.
        seed: u64,
        /// The number of the stream.
        stream: u64,
    },
}

/// A tensor with the way its weights are scored.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) tensor: Tensor,
    pub(super) score: Score,
}

/// Where to cut: weights that score below `score` go, and the first `ties` of those that score exactly that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) score: u64,
    pub(super) ties: u64,
}

impl Score {
    /// The stream of random numbers that belongs to a name (FNV-1a).
    pub(super) fn random(seed: u64, name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self::Random { seed, stream: name.bytes().fold(0xcbf2_9ce4_8422_2325, step) }
    }
}

impl Scored {
    pub(super) fn for_each(&self, mut visit: impl FnMut(u64)) {
        match self.score {
            // The bits of floats without a sign are in the order of the floats; NaN comes last.
            Score::Magnitude => self.tensor.for_each_f64(|weight| visit(weight.abs().to_bits())),
            Score::Random { seed, stream } => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(stream);
                self.tensor.for_each_f64(|weight| {
                    let score = random.next_u64() | 1;
                    visit(if weight == 0.0 { 0 } else { score });
                });
            }
        }
    }

    /// The number of weights with exactly that score.
    pub(super) fn count(&self, score: u64) -> u64 {
        let mut count = 0;
        self.for_each(|found| count += u64::from(found == score));
        count
    }

    /// The tensor without what the cut takes; `None` where that is zero already.
    ///
    /// # Errors
    /// Fails where the tensor is no float tensor, or there is no room for the new one.
    pub(super) fn prune(&self, cut: Cut, scratch: &Scratch) -> Result<Option<Tensor>> {
        let size = (self.tensor.dtype().bits() / 8) as usize;
        let mut data: Option<Vec<u8>> = None;
        let (mut index, mut ties_left) = (0, cut.ties);
        self.for_each(|score| {
            let is_tie = score == cut.score && ties_left > 0;
            ties_left -= u64::from(is_tie);
            if (score < cut.score || is_tie) && score > 0 {
                let data = data.get_or_insert_with(|| self.tensor.data().to_vec());
                data[index * size..(index + 1) * size].fill(0);
            }
            index += 1;
        });
        data.map(|data| Tensor::new(self.tensor.dtype(), self.tensor.shape(), scratch.park(data)?)).transpose()
    }
}

impl Cut {
    /// The cut that takes all weights with a magnitude of at most `threshold`.
    pub(super) fn at_magnitude(threshold: f64) -> Self {
        Self { score: threshold.abs().to_bits(), ties: u64::MAX }
    }

    /// The cut that takes exactly the `count` smallest scores of all tensors together.
    pub(super) fn smallest(weights: &[Scored], count: u64) -> Self {
        let total: usize = weights.iter().map(|weight| weight.tensor.len()).sum();
        if count == 0 {
            return Self { score: 0, ties: 0 };
        }
        if count >= total as u64 {
            return Self { score: u64::MAX, ties: u64::MAX };
        }
        if total <= COLLECT_MAX { collect(weights, total, count) } else { count_by_digits(weights, count) }
    }

    /// The part of the ties for each tensor: the first tensors take all of theirs.
    pub(super) fn share_ties(self, weights: &[Scored]) -> Vec<Self> {
        let present: Vec<u64> = weights.par_iter().map(|weight| weight.count(self.score)).collect();
        let mut left = self.ties;
        let mut take = |present: u64| {
            let ties = present.min(left);
            left -= ties;
            Self { ties, ..self }
        };
        present.into_iter().map(&mut take).collect()
    }
}

fn collect(weights: &[Scored], total: usize, count: u64) -> Cut {
    let mut scores = Vec::with_capacity(total);
    weights.iter().for_each(|weight| weight.for_each(|score| scores.push(score)));
    let (below, &mut score, _) = scores.select_nth_unstable(count as usize - 1);
    let smaller = below.iter().filter(|&&other| other < score).count() as u64;
    Cut { score, ties: count - smaller }
}

/// Finds the cut digit by digit, in base 65536: each round counts the scores that begin with the digits found so far.
fn count_by_digits(weights: &[Scored], count: u64) -> Cut {
    const DIGIT_BITS: u32 = 16;
    let (mut prefix, mut left) = (0u64, count);
    for shift in [48, 32, 16, 0] {
        let in_prefix = |score: u64| shift == 48 || score >> (shift + DIGIT_BITS) == prefix;
        let histogram = weights
            .par_iter()
            .fold(no_scores, |mut histogram, weight| {
                weight.for_each(|score| {
                    if in_prefix(score) {
                        histogram[(score >> shift & 0xffff) as usize] += 1;
                    }
                });
                histogram
            })
            .reduce(no_scores, |mut sum, part| {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                sum
            });
        let found = histogram.iter().enumerate().try_for_each(|(digit, &here)| {
            if left <= here {
                return ControlFlow::Break(digit as u64);
            }
            left -= here;
            ControlFlow::Continue(())
        });
        // There are more scores than `count`, so some digit is always found.
        prefix = prefix << DIGIT_BITS | found.break_value().unwrap_or(0xffff);
    }
    Cut { score: prefix, ties: left }
}

fn no_scores() -> Vec<u64> {
    vec![0; 1 << 16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;

    fn scored(values: &[f32]) -> Scored {
        let tensor = Tensor::from_f32(vec![values.len() as u64], values).unwrap();
        Scored { tensor, score: Score::Magnitude }
    }

    fn after(weight: &Scored, cut: Cut) -> Vec<f32> {
        let pruned = weight.prune(cut, &Scratch::in_memory()).unwrap();
        pruned.unwrap_or_else(|| weight.tensor.clone()).to_f32().unwrap()
    }

    #[test]
    fn the_smallest_magnitudes_go_first_come_first_for_ties() {
        let weight = scored(&[-3.0, 1.0, -1.0, 0.5, 1.0, 2.0]);
        let cut = Cut::smallest(std::slice::from_ref(&weight), 3);
        assert_eq!(cut, Cut { score: 1f64.to_bits(), ties: 2 });
        assert_eq!(after(&weight, cut), [-3.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn none_and_all_of_them() {
        let weight = scored(&[1.0, -2.0, f32::NAN]);
        let weights = std::slice::from_ref(&weight);
        assert!(weight.prune(Cut::smallest(weights, 0), &Scratch::in_memory()).unwrap().is_none());
        assert_eq!(after(&weight, Cut::smallest(weights, 3)), [0.0; 3]);
        assert_eq!(after(&weight, Cut::smallest(weights, 2))[..2], [0.0; 2]);
    }

    #[test]
    fn zeros_of_either_sign_count_as_pruned_and_stay_as_they_are() {
        let weight = scored(&[-0.0, 5.0, 0.0, 1.0]);
        let pruned = weight.prune(Cut::smallest(std::slice::from_ref(&weight), 2), &Scratch::in_memory()).unwrap();
        assert!(pruned.is_none());
    }

    #[test]
    fn a_threshold_takes_what_equals_it() {
        assert_eq!(after(&scored(&[0.25, -0.25, 0.5, f32::NAN]), Cut::at_magnitude(0.25))[..3], [0.0, 0.0, 0.5]);
        let half = Tensor::from_f64(DType::F16, vec![2], &[0.25, 0.5]).unwrap();
        let half = Scored { tensor: half, score: Score::Magnitude };
        assert_eq!(after(&half, Cut::at_magnitude(0.25)), [0.0, 0.5]);
    }

    #[test]
    fn one_cut_through_several_tensors() {
        let weights = [scored(&[1.0, 4.0, 2.0]), scored(&[2.0, 2.0, 0.0])];
        let cut = Cut::smallest(&weights, 4);
        assert_eq!(cut, Cut { score: 2f64.to_bits(), ties: 2 });
        let shares = cut.share_ties(&weights);
        assert_eq!(after(&weights[0], shares[0]), [0.0, 4.0, 0.0]);
        assert_eq!(after(&weights[1], shares[1]), [0.0, 2.0, 0.0]);
    }

    #[test]
    fn histograms_cut_where_selection_does() {
        let values: Vec<f32> = (0..5000).map(|i| ((i * 7919 % 613) as f32 - 300.0) / 64.0).collect();
        let weights = [scored(&values[..2000]), scored(&values[2000..])];
        let random = weights.clone().map(|w| Scored { score: Score::random(3, "w"), ..w });
        for weights in [&weights, &random] {
            for count in [1, 8, 9, 2500, 4999] {
                assert_eq!(count_by_digits(weights, count), collect(weights, 5000, count), "{count}");
            }
        }
    }

    #[test]
    fn random_cuts_are_exact_seeded_and_settled() {
        let tensor = scored(&[1.0; 1000]).tensor;
        let prune = |seed, name: &str| {
            let weight = Scored { tensor: tensor.clone(), score: Score::random(seed, name) };
            let cut = Cut::smallest(std::slice::from_ref(&weight), 300);
            let pruned = weight.prune(cut, &Scratch::in_memory()).unwrap().unwrap();
            assert_eq!(pruned.to_f32().unwrap().iter().filter(|&&weight| weight == 0.0).count(), 300);
            let again = Scored { tensor: pruned.clone(), score: weight.score };
            let cut = Cut::smallest(std::slice::from_ref(&again), 300);
            assert!(again.prune(cut, &Scratch::in_memory()).unwrap().is_none());
            pruned
        };
        assert!(prune(1, "a").same_as(&prune(1, "a")));
        assert!(!prune(1, "a").same_as(&prune(2, "a")));
        assert!(!prune(1, "a").same_as(&prune(1, "b")));
    }
}
