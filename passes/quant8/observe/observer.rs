//! From the statistics of an activation to the range that is quantized.

use super::histogram::{Bin, Histogram};
use super::statistics::Statistics;
use crate::passes::quant8::range::Range;

/// Parts of a range that are tried as its end.
const STEPS: usize = 64;

/// The shortest part of a range that is tried.
const LEAST_STEP: usize = 4;

/// With fewer bins than this in a range, each would have a level of its own, and nothing would tell levels apart.
const FEWEST_BINS: f64 = 256.0;

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::passes::quant8) enum Observer {
    /// From the smallest number to the largest.
    MinMax,
    /// From the smallest number of a sample to the largest, on average over samples.
    Moving,
    /// So many percent of the numbers; half of the rest is cut off at each end.
    Percentile(f64),
    /// The range whose 8-bit distribution tells most about that of the numbers (Kullback and Leibler).
    Entropy,
    /// The range with the least squared error.
    Mse,
}

impl Observer {
    /// Whether it needs to know more than extremes.
    pub(in crate::passes::quant8) fn needs_histogram(self) -> bool {
        !matches!(self, Self::MinMax | Self::Moving)
    }

    /// The range to quantize; that of all numbers where there is no histogram to tell a better one.
    pub(in crate::passes::quant8) fn range(self, statistics: &Statistics) -> Range {
        let whole = statistics.range();
        let Some(histogram) = statistics.histogram().filter(|_| whole.is_usable()) else {
            return if self == Self::Moving { statistics.mean_range() } else { whole };
        };
        match self {
            Self::MinMax => whole,
            Self::Moving => statistics.mean_range(),
            Self::Percentile(percent) => percentile(histogram, whole, percent),
            Self::Entropy => least_divergence(histogram, whole),
            Self::Mse => least_error(histogram, whole),
        }
    }
}

fn percentile(histogram: &Histogram, whole: Range, percent: f64) -> Range {
    let mut bins = histogram.bins();
    let zeros = Bin { low: 0.0, high: 0.0, count: histogram.zeros() };
    let place = bins.iter().position(|bin| bin.low >= 0.0).unwrap_or(bins.len());
    bins.insert(place, zeros);
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let cut = total as f64 * (1.0 - percent / 100.0) / 2.0;
    let (low, high) = (first_beyond(bins.iter(), cut).low, first_beyond(bins.iter().rev(), cut).high);
    Range { min: (low as f32).max(whole.min), max: (high as f32).min(whole.max) }
}

/// The first bin that is not cut off as a whole.
fn first_beyond<'b>(mut bins: impl Iterator<Item = &'b Bin>, cut: f64) -> Bin {
    let mut seen = 0;
    let beyond = bins.find(|bin| {
        seen += bin.count;
        seen as f64 > cut
    });
    beyond.copied().unwrap_or(Bin { low: 0.0, high: 0.0, count: 0 })
}

/// The range of the least cost: one end after the other is moved inwards as far as that pays, twice.
fn cheapest(whole: Range, cost: impl Fn(Range) -> f64) -> Range {
    let (mut best, mut least) = (whole, cost(whole));
    for _ in 0..2 {
        for is_upper in [true, false] {
            for step in LEAST_STEP..STEPS {
                let part = step as f32 / STEPS as f32;
                let range = match is_upper {
                    true => Range { max: whole.max * part, ..best },
                    false => Range { min: whole.min * part, ..best },
                };
                let cost = cost(range);
                if cost < least {
                    (least, best) = (cost, range);
                }
            }
        }
    }
    best
}

fn least_error(histogram: &Histogram, whole: Range) -> Range {
    let bins = histogram.bins();
    cheapest(whole, |range| squared_error(&bins, range))
}

fn least_divergence(histogram: &Histogram, whole: Range) -> Range {
    let bins = histogram.bins();
    let width = bins.first().map_or(0.0, |bin| bin.high - bin.low);
    let is_fine = |range: Range| f64::from(range.max) - f64::from(range.min) < FEWEST_BINS * width;
    cheapest(whole, |range| if range != whole && is_fine(range) { f64::INFINITY } else { divergence(&bins, range) })
}

/// The squared error of the numbers, each taken for the middle of its bin.
fn squared_error(bins: &[Bin], range: Range) -> f64 {
    let parameters = range.parameters();
    let (scale, zero_point) = (f64::from(parameters.scale), f64::from(parameters.zero_point));
    let error = |bin: &Bin| {
        let middle = f64::midpoint(bin.low, bin.high);
        let level = (middle / scale + zero_point).round_ties_even().clamp(0.0, 255.0);
        let lost = (level - zero_point) * scale - middle;
        bin.count as f64 * lost * lost
    };
    bins.iter().map(error).sum()
}

/// How much the distribution of the numbers, those outside of the range moved to its ends, differs from one that is even
/// over all bins of a level.
fn divergence(bins: &[Bin], range: Range) -> f64 {
    let parameters = range.parameters();
    let (scale, zero_point) = (f64::from(parameters.scale), f64::from(parameters.zero_point));
    let middle = |bin: &Bin| f64::midpoint(bin.low, bin.high);
    let is_inside = |bin: &Bin| middle(bin) >= f64::from(range.min) && middle(bin) <= f64::from(range.max);
    let (Some(first), Some(last)) = (bins.iter().position(is_inside), bins.iter().rposition(is_inside)) else {
        return f64::INFINITY;
    };
    let count = |bins: &[Bin]| bins.iter().map(|bin| bin.count as f64).sum::<f64>();
    let (below, above) = (count(&bins[..first]), count(&bins[last + 1..]));
    let inside = &bins[first..=last];
    // Total and number of bins of each level.
    let mut levels = [(0.0, 0.0); 256];
    let level = |bin: &Bin| (middle(bin) / scale + zero_point).round_ties_even().clamp(0.0, 255.0) as usize;
    for bin in inside {
        let (total, number) = &mut levels[level(bin)];
        *total += bin.count as f64;
        *number += 1.0;
    }
    let (all, kept) = (count(bins), count(inside));
    let term = |(index, bin): (usize, &Bin)| {
        let moved = if index == 0 { below } else { 0.0 } + if index + 1 == inside.len() { above } else { 0.0 };
        let (total, number) = levels[level(bin)];
        let (actual, even) = ((bin.count as f64 + moved) / all, total / number / kept);
        actual * (actual / even).ln()
    };
    inside.iter().enumerate().map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tensor;

    fn statistics(values: &[f32]) -> Statistics {
        let mut statistics = Statistics::new(true);
        statistics.add(&Tensor::from_f32([values.len() as u64], values).unwrap());
        statistics
    }

    /// So many numbers from -1 to 1, near 0 most of them, and one that lies far off.
    fn with_outlier(count: i32, outlier: f32) -> Statistics {
        let half = count / 2;
        let mut values: Vec<f32> = (-half..half).map(|i| (i as f32 / half as f32).powi(3)).collect();
        values.push(outlier);
        statistics(&values)
    }

    #[test]
    fn extremes_are_all_that_the_simple_ones_look_at() {
        let mut statistics = Statistics::new(false);
        statistics.add(&Tensor::from_f32([2], &[-1.0, 3.0]).unwrap());
        statistics.add(&Tensor::from_f32([2], &[-2.0, 1.0]).unwrap());
        assert_eq!(Observer::MinMax.range(&statistics), Range { min: -2.0, max: 3.0 });
        assert_eq!(Observer::Moving.range(&statistics), Range { min: -1.5, max: 2.0 });
    }

    #[test]
    fn a_percentile_cuts_off_both_ends() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32 - 500.0).collect();
        let range = Observer::Percentile(98.0).range(&statistics(&values));
        assert!((range.min + 490.0).abs() <= 1.0 && (range.max - 490.0).abs() <= 1.0, "{range:?}");
        assert_eq!(Observer::Percentile(100.0).range(&statistics(&values)), Range { min: -500.0, max: 499.0 });
        let zeros = Observer::Percentile(99.0).range(&statistics(&[0.0; 1000]));
        assert_eq!(zeros, Range { min: 0.0, max: 0.0 });
    }

    #[test]
    fn a_lone_outlier_is_given_up_where_that_pays() {
        for observer in [Observer::Entropy, Observer::Percentile(99.9)] {
            let range = observer.range(&with_outlier(10_000, 10.0));
            assert!(range.max < 5.0 && range.min >= -1.0 && range.min < -0.3, "{observer:?}: {range:?}");
        }
        // Squared, one number far off weighs as much as what smaller steps gain for very many.
        let range = Observer::Mse.range(&with_outlier(1_000_000, 3.0));
        assert!(range.max < 1.5 && range.min < -0.9, "{range:?}");
        let range = Observer::Mse.range(&with_outlier(10_000, 10.0));
        assert!(range.max > 9.0, "{range:?}");
    }

    #[test]
    fn the_least_error_is_no_more_than_that_of_the_whole_range() {
        let statistics = with_outlier(10_000, 4.0);
        let bins = statistics.histogram().unwrap().bins();
        let error = |observer: Observer| squared_error(&bins, observer.range(&statistics));
        assert!(error(Observer::Mse) < error(Observer::MinMax));
    }

    #[test]
    fn even_numbers_keep_their_whole_range() {
        let values: Vec<f32> = (0..100_000).map(|i| i as f32 / 1000.0).collect();
        let range = Observer::Mse.range(&statistics(&values));
        assert!(range.max > 97.0 && range.min == 0.0, "{range:?}");
    }
}
