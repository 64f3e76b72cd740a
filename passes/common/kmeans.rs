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
pub(in crate::passes) enum Start {
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
pub(in crate::passes) struct Codebook {
    pub(in crate::passes) values: Vec<f32>,
    pub(in crate::passes) codes: Vec<u8>,
    /// Sums of squares of the numbers, and of what is lost of them.
    pub(in crate::passes) signal: f64,
    pub(in crate::passes) error: f64,
}

/// At most `count` values (2 to 256) for finite numbers.
pub(in crate::passes) fn codebook(numbers: &[f32], count: usize, start: Start, seed: u64) -> Codebook {
    let mut sorted: Vec<f32> = numbers.iter().copied().filter(|&number| number != 0.0).collect();
    sorted.par_sort_unstable_by(f32::total_cmp);
    let has_zeros = sorted.len() < numbers.len();
    let settled = |runs: &Runs, count: usize| runs.settle(runs.begin(start, &sorted, count, seed));
    assign(numbers, values(&sorted, has_zeros, count, settled, |_| 1.0))
}

/// At most `count` values (2 to 256) for finite numbers, errors of which count for so much each; ascending. The search begins
/// where the error is least were all to count the same, and ends near there: what counts for little on some samples may count
/// on others.
pub(in crate::passes) fn weighted_values(numbers: &[f32], counts: &[f32], count: usize) -> Vec<f32> {
    let pairs = numbers.iter().copied().zip(counts.iter().copied());
    let mut pairs: Vec<(f32, f32)> = pairs.filter(|&(number, _)| number != 0.0).collect();
    pairs.par_sort_by(|a, b| a.0.total_cmp(&b.0));
    let has_zeros = pairs.len() < numbers.len();
    let sorted: Vec<f32> = pairs.iter().map(|pair| pair.0).collect();
    let weight = |place: usize| f64::from(pairs.get(place).map_or(0.0, |pair: &(f32, f32)| pair.1));
    let settled = |runs: &Runs, count: usize| runs.settle(optimal::means(&sorted, count));
    values(&sorted, has_zeros, count, settled, weight)
}

/// Values for sorted numbers that are not zero, and zero where there were any.
fn values(
    sorted: &[f32],
    has_zeros: bool,
    count: usize,
    settled: impl FnOnce(&Runs, usize) -> Vec<f32>,
    weight: impl Fn(usize) -> f64,
) -> Vec<f32> {
    let count = count.clamp(2, 256) - usize::from(has_zeros);
    let mut distinct = sorted.to_vec();
    distinct.dedup();
    let mut values = match distinct.len() <= count {
        true => distinct,
        false => settled(&Runs::of(sorted, weight), count),
    };
    if has_zeros {
        values.push(0.0);
        values.sort_by(f32::total_cmp);
    }
    values.dedup();
    values
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
    /// `weight` says what a number in that place counts for.
    fn of(sorted: &[f32], weight: impl Fn(usize) -> f64) -> Self {
        let (mut means, mut counts, mut sums) = (Vec::new(), vec![0.0], vec![0.0]);
        let (mut count, mut sum, mut place) = (0.0, 0.0, 0);
        for group in sorted.chunks(sorted.len().div_ceil(MAX_GROUPS).max(1)) {
            let (mut total, mut weights) = (0.0, 0.0);
            for &number in group {
                let weight = weight(place).max(f64::MIN_POSITIVE);
                total += f64::from(number) * weight;
                weights += weight;
                place += 1;
            }
            means.push(total / weights);
            count += weights;
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
    fn values_move_to_where_errors_count() {
        let numbers: Vec<f32> = (1..=1000).map(|i| i as f32 / 1000.0).collect();
        let counts: Vec<f32> = numbers.iter().map(|&number| if number > 0.9 { 1000.0 } else { 1.0 }).collect();
        let (even, weighted) = (weighted_values(&numbers, &[1.0; 1000], 8), weighted_values(&numbers, &counts, 8));
        assert_eq!(even, codebook(&numbers, 8, Start::Optimal, 0).values);
        let lost = |values: &[f32]| -> f32 {
            let nearest =
                |number: f32| values.iter().map(|value| (value - number).powi(2)).fold(f32::INFINITY, f32::min);
            numbers.iter().zip(&counts).map(|(&number, count)| nearest(number) * count).sum()
        };
        assert!(lost(&weighted) < 0.9 * lost(&even), "{even:?} {weighted:?}");
        assert!((weighted[7] - 0.95).abs() < 0.005, "{weighted:?}");
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
