//! A histogram of numbers whose range is not known beforehand.
//!
//! Bins are a power of two wide. Where a number does not fit, neighbours are merged until it does: as the bin of a number
//! in the coarser histogram follows from its bin in the finer one, the counts do not depend on the order of numbers, nor
//! on how they were divided among histograms that were merged later.

use serde::{Deserialize, Serialize};

/// Bins for magnitudes on each side of 0, of which at least half are in use.
const SIDE: usize = 1 << SIDE_BITS;
const SIDE_BITS: i32 = 11;

/// The narrowest bin: the inverse of its width is a 32-bit float still.
const LEAST_EXPONENT: i32 = -126;

/// The width of bins that hold the largest float.
const GREATEST_EXPONENT: i32 = 128 - SIDE_BITS;

/// Fewer numbers than this are counted one by one: setting up tables would cost more.
const WORTH_TABLES: usize = 1 << 14;

/// Numbers are counted in several tables in turn, since equal ones often follow each other.
const TABLES: usize = 2;

/// So many numbers at most are counted before tables of 32 bits are emptied.
const TABLE_RUN: usize = 1 << 30;

/// Counts of numbers by value. Zeros are apart: every quantization keeps them as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::passes::quant8) struct Histogram {
    zeros: u64,
    /// The width of a bin is two to this power; of no meaning before the first number other than 0.
    exponent: i32,
    /// Numbers below 0 by magnitude, as far as there are any; bin `m` holds magnitudes from `m` widths on.
    negative: Vec<u64>,
    /// Numbers above 0.
    positive: Vec<u64>,
}

impl Histogram {
    /// Counts numbers, of which the largest finite magnitude is given; others are passed over.
    pub(in crate::passes::quant8) fn add(&mut self, values: &[[u8; 4]], largest: f32) {
        if largest > 0.0 {
            self.widen(exponent_for(largest));
        }
        let scale = inverse_width(self.exponent);
        if values.len() < WORTH_TABLES {
            for &raw in values {
                let value = f32::from_le_bytes(raw);
                if value == 0.0 {
                    self.zeros += 1;
                } else if value.is_finite() {
                    let side = if value < 0.0 { &mut self.negative } else { &mut self.positive };
                    let bin = (value.abs() * scale) as usize;
                    if side.len() <= bin {
                        side.resize(bin + 1, 0);
                    }
                    side[bin] += 1;
                }
            }
            return;
        }
        for run in values.chunks(TABLE_RUN) {
            self.add_by_tables(run, scale);
        }
    }

    fn add_by_tables(&mut self, values: &[[u8; 4]], scale: f32) {
        const ZERO: usize = 2 * SIDE;
        const OTHER: usize = 2 * SIDE + 1;
        let mut tables = vec![[0u32; TABLES]; 2 * SIDE + 2];
        for pair in values.chunks(TABLES) {
            for (table, &raw) in pair.iter().enumerate() {
                let value = f32::from_le_bytes(raw);
                let magnitude = value.abs();
                let bin = ((magnitude * scale) as u32 as usize).min(SIDE - 1);
                let bin = if value < 0.0 { bin + SIDE } else { bin };
                let bin = if magnitude == 0.0 { ZERO } else { bin };
                let bin = if magnitude <= f32::MAX { bin } else { OTHER };
                tables[bin][table] += 1;
            }
        }
        let count = |counts: &[u32; TABLES]| counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        self.zeros += count(&tables[ZERO]);
        add_counts(&mut self.positive, tables[..SIDE].iter().map(count));
        add_counts(&mut self.negative, tables[SIDE..2 * SIDE].iter().map(count));
    }

    /// Counts what another histogram counted.
    pub(in crate::passes::quant8) fn merge(&mut self, mut other: Self) {
        if other.has_bins() {
            self.widen(other.exponent);
            other.widen(self.exponent);
        }
        self.zeros += other.zeros;
        add_counts(&mut self.negative, other.negative.into_iter());
        add_counts(&mut self.positive, other.positive.into_iter());
    }

    /// Makes bins at least two to that power wide.
    fn widen(&mut self, exponent: i32) {
        if !self.has_bins() {
            self.exponent = exponent;
        }
        if exponent <= self.exponent {
            return;
        }
        let shift = (exponent - self.exponent).min(SIDE_BITS) as u32;
        self.exponent = exponent;
        for side in [&mut self.negative, &mut self.positive] {
            let fine = std::mem::take(side);
            for (bin, count) in fine.into_iter().enumerate() {
                let bin = bin >> shift;
                if side.len() <= bin {
                    side.resize(bin + 1, 0);
                }
                side[bin] += count;
            }
        }
    }

    fn has_bins(&self) -> bool {
        !(self.negative.is_empty() && self.positive.is_empty())
    }

    /// The number of zeros.
    pub(in crate::passes::quant8) fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The bins that hold something, ascending: the lower and the upper end, and the count. Zeros are in none.
    pub(in crate::passes::quant8) fn bins(&self) -> Vec<Bin> {
        let width = 1.0 / f64::from(inverse_width(self.exponent));
        let filled = |side: &[u64]| -> Vec<(f64, u64)> {
            side.iter().enumerate().filter(|(_, count)| **count > 0).map(|(m, &count)| (m as f64, count)).collect()
        };
        let negative = filled(&self.negative).into_iter().rev();
        let negative = negative.map(|(m, count)| Bin { low: -(m + 1.0) * width, high: -m * width, count });
        let positive = filled(&self.positive).into_iter();
        let positive = positive.map(|(m, count)| Bin { low: m * width, high: (m + 1.0) * width, count });
        negative.chain(positive).collect()
    }

    /// Whether it is one that this code could have made.
    pub(in crate::passes::quant8) fn is_sound(&self) -> bool {
        let fits = |side: &[u64]| side.len() <= SIDE && side.last().is_none_or(|&count| count > 0);
        fits(&self.negative) && fits(&self.positive) && (LEAST_EXPONENT..=GREATEST_EXPONENT).contains(&self.exponent)
    }
}

/// Numbers between two ends, on one side of 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::passes::quant8) struct Bin {
    pub(in crate::passes::quant8) low: f64,
    pub(in crate::passes::quant8) high: f64,
    pub(in crate::passes::quant8) count: u64,
}

/// The width of bins, as a power of two, with which a magnitude comes to lie in the upper half.
fn exponent_for(magnitude: f32) -> i32 {
    let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
    (exponent + 1 - SIDE_BITS).max(LEAST_EXPONENT)
}

/// Two to the power of minus the exponent: bits, since a power of two has to be exact on every machine.
fn inverse_width(exponent: i32) -> f32 {
    f32::from_bits(((127 - exponent) as u32) << 23)
}

fn add_counts(side: &mut Vec<u64>, counts: impl Iterator<Item = u64>) {
    for (bin, count) in counts.enumerate().filter(|(_, count)| *count > 0) {
        if side.len() <= bin {
            side.resize(bin + 1, 0);
        }
        side[bin] += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        add(&mut histogram, values);
        histogram
    }

    fn add(histogram: &mut Histogram, values: &[f32]) {
        let largest = values.iter().filter(|v| v.is_finite()).fold(0f32, |largest, v| largest.max(v.abs()));
        let raw: Vec<[u8; 4]> = values.iter().map(|v| v.to_le_bytes()).collect();
        histogram.add(&raw, largest);
    }

    #[test]
    fn numbers_are_counted_on_their_side_of_zero() {
        let histogram = counted(&[0.0, -0.0, 1.0, 1.0, -0.25, f32::NAN, f32::INFINITY]);
        assert_eq!(histogram.zeros(), 2);
        let width = 1.0 / 1024.0;
        let bins = [Bin { low: -0.25 - width, high: -0.25, count: 1 }, Bin { low: 1.0, high: 1.0 + width, count: 2 }];
        assert_eq!(histogram.bins(), bins);
    }

    #[test]
    fn the_order_and_the_division_of_numbers_do_not_matter() {
        let mut values: Vec<f32> = (0..40_000u32).map(|i| ((i * 2_654_435_761) as f32 / 1e9 - 2.0).powi(5)).collect();
        values.extend([1e-30, -1e-38, f32::MIN_POSITIVE / 2.0, -1e30, 0.0, f32::MAX, f32::NEG_INFINITY]);
        let all = counted(&values);
        let total = |histogram: &Histogram| histogram.zeros + histogram.bins().iter().map(|bin| bin.count).sum::<u64>();
        assert_eq!(total(&all), values.len() as u64 - 1);
        assert!(all.is_sound());
        for size in [1, 7, 100, 20_000] {
            let (mut forward, mut backward) = (Histogram::default(), Histogram::default());
            for part in values.chunks(size) {
                add(&mut forward, part);
            }
            for part in values.rchunks(size) {
                backward.merge(counted(part));
            }
            assert!(forward == all && backward == all, "parts of {size}");
        }
    }
}
