//! The numbers that a block of weights can have: `(level - zero) * scale`, with few levels.

use half::f16;

/// Shares of the range of a block that are tried as its grid's, where the best is looked for.
const SHRINKS: [f32; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// Scales below this have too few bits left as 16-bit floats.
const SMALLEST_HALF: f32 = 7.63e-6;

/// What levels there are, and how a scale is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) lowest: i32,
    pub(super) highest: i32,
    /// Whether the level that means 0 is chosen for each block; else it is 0.
    pub(super) has_zeros: bool,
    /// Whether scales are 16-bit floats.
    pub(super) has_half_scales: bool,
}

/// The grid of one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steps {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Grid {
    /// Signed levels around 0.
    pub(super) const SYMMETRIC: Self = Self { lowest: -8, highest: 7, has_zeros: false, has_half_scales: false };
    /// Unsigned levels, with a zero for each block.
    pub(super) const ASYMMETRIC: Self = Self { lowest: 0, highest: 15, has_zeros: true, has_half_scales: false };
    /// 8 bits.
    pub(super) const EIGHT: Self = Self { lowest: -127, highest: 127, has_zeros: false, has_half_scales: false };

    /// The same with 16-bit scales.
    pub(super) fn with_half_scales(self) -> Self {
        Self { has_half_scales: true, ..self }
    }

    /// Whether a level fits into half a byte.
    pub(super) fn is_four_bits(self) -> bool {
        self.highest - self.lowest < 16
    }

    /// The grid that spans a block from end to end, or that share of it.
    pub(super) fn span(self, block: &[f32], share: f32) -> Steps {
        let low = block.iter().copied().fold(0.0, f32::min) * share;
        let high = block.iter().copied().fold(0.0, f32::max) * share;
        if self.has_zeros {
            let scale = self.stored((high - low) / (self.highest - self.lowest) as f32);
            return self.steps(scale, -low / scale + self.lowest as f32);
        }
        // The end that has a level more goes to the larger side: scales may be negative.
        let scale = if self.lowest == -self.highest {
            high.max(-low) / self.highest as f32
        } else if high > -low {
            high / self.lowest as f32
        } else {
            low / self.lowest as f32
        };
        Steps { scale: self.stored(scale), zero: 0 }
    }

    /// A scale with the zero nearest to that number.
    pub(super) fn steps(self, scale: f32, zero: f32) -> Steps {
        let zero = if self.has_zeros { zero.round_ties_even() as i32 } else { 0 };
        Steps { scale, zero: zero.clamp(self.lowest, self.highest) }
    }

    /// The scale as it is stored; 1 where it comes to nothing.
    pub(super) fn stored(self, scale: f32) -> f32 {
        let scale = if self.has_half_scales { f16::from_f32(scale).to_f32() } else { scale };
        if scale.abs() < f32::MIN_POSITIVE { 1.0 } else { scale }
    }

    /// The best of some shares of a block's range, where the error of weight `k` counts `importance[k]` times.
    pub(super) fn best_span(self, block: &[f32], importance: &[f32]) -> Steps {
        let mut best = (f32::INFINITY, self.span(block, 1.0));
        for share in SHRINKS {
            let steps = self.span(block, share);
            let error = block.iter().zip(importance).map(|(&weight, &importance)| {
                let lost = weight - steps.restore(self.level(weight, steps));
                importance * lost * lost
            });
            let error = error.sum();
            if error < best.0 {
                best = (error, steps);
            }
        }
        best.1
    }

    /// The level nearest to a weight.
    pub(super) fn level(self, weight: f32, steps: Steps) -> i32 {
        ((weight / steps.scale).round_ties_even() as i32).saturating_add(steps.zero).clamp(self.lowest, self.highest)
    }
}

impl Steps {
    /// The number that a level means.
    pub(super) fn restore(self, level: i32) -> f32 {
        (level - self.zero) as f32 * self.scale
    }
}

/// Whether 16-bit floats can hold the scales of these weights, in blocks of that length.
pub(super) fn fits_half_scales(rows: &[f32], block: usize) -> bool {
    rows.chunks(block.max(1)).all(|block| {
        let largest = block.iter().fold(0.0f32, |max, weight| max.max(weight.abs()));
        largest == 0.0 || (largest / 15.0 >= SMALLEST_HALF && largest < f16::MAX.to_f32())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symmetric_grid_gives_its_odd_level_to_the_larger_side() {
        let steps = Grid::SYMMETRIC.span(&[4.0, -1.0, 0.4], 1.0);
        assert_eq!(steps, Steps { scale: -0.5, zero: 0 });
        let levels = [4.0, -1.0, 0.4].map(|w| Grid::SYMMETRIC.level(w, steps));
        assert_eq!(levels, [-8, 2, -1]);
        assert_eq!(levels.map(|l| steps.restore(l)), [4.0, -1.0, 0.5]);
        assert_eq!(Grid::SYMMETRIC.span(&[1.0, -4.0], 1.0).scale, 0.5);
        assert_eq!(Grid::EIGHT.span(&[-254.0, 10.0], 1.0).scale, 2.0);
    }

    #[test]
    fn an_asymmetric_grid_spans_the_block_and_zero() {
        let steps = Grid::ASYMMETRIC.span(&[-0.5, 7.0], 1.0);
        assert_eq!(steps, Steps { scale: 0.5, zero: 1 });
        assert_eq!([-0.5, 0.0, 7.0, 9.0].map(|w| Grid::ASYMMETRIC.level(w, steps)), [0, 1, 15, 15]);
        // All on one side: 0 stays a level, as padding and sparse weights need it.
        assert_eq!(Grid::ASYMMETRIC.span(&[3.0, 15.0], 1.0), Steps { scale: 1.0, zero: 0 });
        assert_eq!(Grid::ASYMMETRIC.span(&[0.0; 4], 1.0), Steps { scale: 1.0, zero: 0 });
    }

    #[test]
    fn half_scales_are_numbers_of_that_type_and_used_only_where_they_fit() {
        let grid = Grid::ASYMMETRIC.with_half_scales();
        let scale = grid.span(&[0.0, 1.0], 1.0).scale;
        assert_eq!(f16::from_f32(scale).to_f32(), scale);
        assert!(fits_half_scales(&[0.0, 0.0, 0.1, -0.2], 2));
        assert!(!fits_half_scales(&[1e-6, 0.0, 0.1, -0.2], 2));
        assert!(!fits_half_scales(&[1e5, 0.0, 0.1, -0.2], 2));
    }

    #[test]
    fn the_best_span_gives_up_an_outlier_that_does_not_count() {
        let block = [0.9, -0.7, 0.55, -0.31, 2.0];
        let even = Grid::SYMMETRIC.best_span(&block, &[1.0; 5]);
        let uneven = Grid::SYMMETRIC.best_span(&block, &[1.0, 1.0, 1.0, 1.0, 0.0]);
        assert!(uneven.scale.abs() < even.scale.abs(), "{uneven:?} {even:?}");
    }
}
