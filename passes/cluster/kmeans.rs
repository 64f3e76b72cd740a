//! A codebook for numbers: k-means on a line (Lloyd, *Least Squares Quantization in PCM*, 1982), as Deep Compression shares
//! weights (Han, Mao, Dally 2016, section 3).
//!
//! Zeros keep a value of their own, so that pruned weights stay pruned. On a line a cluster is a run of sorted numbers, so a
//! round needs sums of runs only; of many numbers, neighbours in order are taken together first.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::optimal;

/// Groups of neighbours that stand for all numbers.
const MAX_GROUPS: usize = 1 << 16;

/// Rounds after which clusters hardly move.
const MAX_ROUNDS: usize = 200;

/// Where clusters begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Where the error is least; what is left for k-means to do is to look at all numbers and not at groups of them.
    Optimal,
    /// Evenly over the range: large weights, which matter most, keep values of their own.
    Linear,
    /// With as many numbers each.
    Density,
    /// Each far from those before it (Arthur, Vassilvitskii 2007), by chance.
    Spread,
}

/// Values in ascending order, and for each number which of them stands for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Codebook {
    pub(super) values: Vec<f32>,
    pub(super) codes: Vec<u8>,
    /// Sums of squares of the numbers, and of what is lost of them.
    pub(super) signal: f64,
    pub(super) error: f64,
}

/// At most `count` values (2 to 256) for finite numbers.
pub(super) fn codebook(numbers: &[f32], count: usize, start: Start, seed: u64) -> Codebook {
    let mut sorted: Vec<f32> = numbers.iter().copied().filter(|&number| number != 0.0).collect();
    sorted.par_sort_unstable_by(f32::total_cmp);
    let has_zeros = sorted.len() < numbers.len();
    let count = count.clamp(2, 256) - usize::from(has_zeros);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let mut values = match distinct.len() <= count {
        true => distinct,
        false => {
            let runs = Runs::of(&sorted);
            runs.settle(runs.begin(start, &sorted, count, seed))
        }
    };
    if has_zeros {
        values.push(0.0);
        values.sort_by(f32::total_cmp);
    }
    values.dedup();
    assign(numbers, values)
}

/// The nearest value for each number; zeros take no other than zero where there is one, since none is nearer.
fn assign(numbers: &[f32], values: Vec<f32>) -> Codebook {
    let borders: Vec<f32> = values.windows(2).map(|pair| (pair[0] / 2.0) + (pair[1] / 2.0)).collect();
    let code = |&number: &f32| borders.partition_point(|&border| border < number) as u8;
    let codes: Vec<u8> = numbers.par_iter().map(code).collect();
    let (mut signal, mut error) = (0.0, 0.0);
    for (&number, &code) in numbers.iter().zip(&codes) {
        let lost = f64::from(number) - f64::from(values.get(usize::from(code)).copied().unwrap_or_default());
        signal += f64::from(number).powi(2);
        error += lost.powi(2);
    }
    Codebook { values, codes, signal, error }
}

/// Sorted numbers in groups of neighbours, with sums from the first on.
struct Runs {
    means: Vec<f64>,
    counts: Vec<f64>,
    sums: Vec<f64>,
}

impl Runs {
    fn of(sorted: &[f32]) -> Self {
        let (mut means, mut counts, mut sums) = (Vec::new(), vec![0.0], vec![0.0]);
        let (mut count, mut sum) = (0.0, 0.0);
        for group in sorted.chunks(sorted.len().div_ceil(MAX_GROUPS).max(1)) {
            let total: f64 = group.iter().copied().map(f64::from).sum();
            means.push(total / group.len() as f64);
            count += group.len() as f64;
            sum += total;
            counts.push(count);
            sums.push(sum);
        }
        Self { means, counts, sums }
    }

    fn begin(&self, start: Start, sorted: &[f32], count: usize, seed: u64) -> Vec<f64> {
        let last = self.means.len() - 1;
        match start {
            Start::Optimal => optimal::means(sorted, count),
            Start::Linear => {
                let (low, high) = (self.means[0], self.means[last]);
                (0..count).map(|i| low + (high - low) * (i as f64 + 0.5) / count as f64).collect()
            }
            Start::Density => (0..count).map(|i| self.means[(2 * i + 1) * last / (2 * count)]).collect(),
            Start::Spread => self.spread(count, &mut ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    /// Each next one is drawn with a chance in proportion to its squared distance from the nearest before it.
    fn spread(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let size = |group: usize| self.counts[group + 1] - self.counts[group];
        let mut found = vec![self.means[rng.random_range(0..self.means.len())]];
        let mut distances = vec![f64::INFINITY; self.means.len()];
        while found.len() < count {
            let newest = found[found.len() - 1];
            let mut total = 0.0;
            for (group, distance) in distances.iter_mut().enumerate() {
                *distance = distance.min((self.means[group] - newest).powi(2));
                total += *distance * size(group);
            }
            let mut left = rng.random_range(0.0..1.0) * total;
            let drawn = distances.iter().enumerate().position(|(group, distance)| {
                left -= distance * size(group);
                left < 0.0
            });
            found.push(self.means[drawn.unwrap_or(self.means.len() - 1)]);
        }
        found.sort_by(f64::total_cmp);
        found
    }

    /// Moves every value to the mean of what is nearest to it until nothing moves.
    fn settle(&self, mut values: Vec<f64>) -> Vec<f32> {
        for _ in 0..MAX_ROUNDS {
            let mut ends: Vec<usize> = values
                .windows(2)
                .map(|pair| self.means.partition_point(|&mean| mean <= (pair[0] + pair[1]) / 2.0))
                .collect();
            ends.push(self.means.len());
            let mut begin = 0;
            let mut has_moved = false;
            for (value, &end) in values.iter_mut().zip(&ends) {
                // A value that is nearest to nothing stays until something comes its way.
                if end > begin {
                    let mean = (self.sums[end] - self.sums[begin]) / (self.counts[end] - self.counts[begin]);
                    has_moved |= mean != *value;
                    *value = mean;
                    begin = end;
                }
            }
            if !has_moved {
                break;
            }
        }
        let mut values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        values.sort_by(f32::total_cmp);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_kept_as_they_are() {
        let numbers = [0.5, -1.0, 0.0, 0.5, 2.0];
        let found = codebook(&numbers, 4, Start::Optimal, 0);
        assert_eq!((found.values, found.error), (vec![-1.0, 0.0, 0.5, 2.0], 0.0));
        assert_eq!(found.codes, [2, 0, 1, 2, 3]);
    }

    #[test]
    fn clusters_are_found_and_zeros_stay_zero() {
        let numbers = [0.0, 0.9, 1.1, -2.1, -1.9, 0.0, 5.0];
        for start in [Start::Optimal, Start::Linear, Start::Density, Start::Spread] {
            let found = codebook(&numbers, 4, start, 3);
            let values: Vec<f32> = found.codes.iter().map(|&code| found.values[usize::from(code)]).collect();
            assert_eq!(values, [0.0, 1.0, 1.0, -2.0, -2.0, 0.0, 5.0], "{start:?}");
        }
    }
}
