//! The clusters of numbers on a line with the least error, by dynamic programming (Wang, Song: *Ckmeans.1d.dp*, 2011): the
//! best division of the first `n` numbers into `k` runs ends with a run that begins no earlier than that of the first
//! `n - 1`, so halving finds all ends of one `k` in `n log n` steps.

/// Groups of neighbours that stand for all numbers; few, since each number of clusters looks at all of them.
const MAX_GROUPS: usize = 2048;

/// Sums over sorted numbers from the first on, at the borders of groups.
struct Sums {
    counts: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn of(sorted: &[f32]) -> Self {
        let (mut counts, mut sums, mut squares) = (vec![0.0], vec![0.0], vec![0.0]);
        let (mut count, mut sum, mut square) = (0.0, 0.0, 0.0);
        for group in sorted.chunks(sorted.len().div_ceil(MAX_GROUPS).max(1)) {
            count += group.len() as f64;
            sum += group.iter().copied().map(f64::from).sum::<f64>();
            square += group.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>();
            counts.push(count);
            sums.push(sum);
            squares.push(square);
        }
        Self { counts, sums, squares }
    }

    fn groups(&self) -> usize {
        self.counts.len() - 1
    }

    fn mean(&self, begin: usize, end: usize) -> f64 {
        (self.sums[end] - self.sums[begin]) / (self.counts[end] - self.counts[begin])
    }

    /// The sum of squared distances from their mean; groups `begin..end`, at least one.
    fn error(&self, begin: usize, end: usize) -> f64 {
        let sum = self.sums[end] - self.sums[begin];
        let error = self.squares[end] - self.squares[begin] - sum * sum / (self.counts[end] - self.counts[begin]);
        error.max(0.0)
    }
}

/// The means of at most `count` clusters of sorted numbers, in ascending order.
pub(super) fn means(sorted: &[f32], count: usize) -> Vec<f64> {
    let sums = Sums::of(sorted);
    let groups = sums.groups();
    let count = count.min(groups);
    if count == 0 {
        return Vec::new();
    }
    // The least error of the first groups, and for each number of clusters where the last of them begins.
    let mut errors: Vec<f64> = (0..=groups).map(|end| if end == 0 { 0.0 } else { sums.error(0, end) }).collect();
    let mut begins: Vec<Vec<usize>> = vec![vec![0; groups + 1]];
    for clusters in 2..=count {
        let mut row = Row { sums: &sums, before: errors, errors: vec![0.0; groups + 1], begins: vec![0; groups + 1] };
        row.fill(clusters, groups, clusters - 1, groups - 1);
        errors = row.errors;
        begins.push(row.begins);
    }
    let mut end = groups;
    let mut found: Vec<f64> = Vec::with_capacity(count);
    for row in begins.iter().rev() {
        found.push(sums.mean(row[end], end));
        end = row[end];
    }
    found.reverse();
    found
}

/// One more cluster than before.
struct Row<'a> {
    sums: &'a Sums,
    /// The least errors with one cluster less.
    before: Vec<f64>,
    errors: Vec<f64>,
    begins: Vec<usize>,
}

impl Row<'_> {
    /// Finds where the last cluster begins for all `ends` from `low` to `high`, which is between `first` and `last`.
    fn fill(&mut self, low: usize, high: usize, first: usize, last: usize) {
        if low > high {
            return;
        }
        let end = low + (high - low) / 2;
        let mut best = (f64::INFINITY, first);
        for begin in first..=last.min(end - 1) {
            let error = self.before[begin] + self.sums.error(begin, end);
            if error < best.0 {
                best = (error, begin);
            }
        }
        (self.errors[end], self.begins[end]) = best;
        self.fill(low, end - 1, first, best.1);
        self.fill(end + 1, high, best.1, last);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The least error over all ways to cut sorted numbers into runs.
    fn least_error(sorted: &[f32], runs: usize) -> f64 {
        if sorted.is_empty() || runs == 0 {
            return if sorted.is_empty() { 0.0 } else { f64::INFINITY };
        }
        let cut = |at: usize| {
            let mean = sorted[..at].iter().copied().map(f64::from).sum::<f64>() / at as f64;
            let own: f64 = sorted[..at].iter().map(|&number| (f64::from(number) - mean).powi(2)).sum();
            own + least_error(&sorted[at..], runs - 1)
        };
        (1..=sorted.len()).map(cut).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_division_has_less_error() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for clusters in [1, 2, 3, 5, 9] {
            let mut numbers: Vec<f32> = (0..9).map(|_| rng.random_range(-1.0..1.0)).collect();
            numbers.sort_by(f32::total_cmp);
            let means = means(&numbers, clusters);
            let nearest = |&number: &f32| {
                means.iter().map(|mean| (f64::from(number) - mean).powi(2)).fold(f64::INFINITY, f64::min)
            };
            let (found, least) = (numbers.iter().map(nearest).sum::<f64>(), least_error(&numbers, clusters));
            assert!((found - least).abs() < 1e-9, "{clusters} clusters: {found} against {least}");
        }
    }
}
