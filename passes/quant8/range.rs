//! The arithmetic of quantized activations: from a range of values to the scale and zero point that stand for it.
//!
//! Activations are asymmetric (`x = (q - zero_point) * scale`, q from 0 to 255, or to 65535), with one scale a tensor.

/// How far the highest level of an activation is from the lowest: 2^bits - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps(u16);

impl Steps {
    /// Of 8 bits.
    pub(super) const EIGHT: Self = Self(u8::MAX as u16);
    /// Of 16 bits.
    pub(super) const SIXTEEN: Self = Self(u16::MAX);
}

/// The range of values that were seen, and the parameters that map it to levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) min: f32,
    pub(super) max: f32,
}

impl Range {
    /// The range of nothing: what every other range widens.
    pub(super) const EMPTY: Self = Self { min: f32::INFINITY, max: f32::NEG_INFINITY };

    /// The smallest range that holds both.
    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Whether it is the range of nothing.
    pub(super) fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// The range of the finite numbers among 32-bit floats. Zero has no sign in it, so that the order of numbers does not
    /// matter.
    pub(super) fn of_bytes(values: &[[u8; 4]]) -> Self {
        // So many at a time, apart, so that the compiler can use vector instructions.
        const LANES: usize = 16;
        let (mut minima, mut maxima) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            for ((min, max), &raw) in minima.iter_mut().zip(&mut maxima).zip(block) {
                widen(min, max, raw);
            }
        }
        for ((min, max), &raw) in minima.iter_mut().zip(&mut maxima).zip(rest) {
            widen(min, max, raw);
        }
        let lanes = minima.into_iter().zip(maxima).map(|(min, max)| Self { min, max });
        lanes.fold(Self::EMPTY, Self::union)
    }

    /// The part of the range that lies within another; nothing but what is nearest to it where none does.
    pub(super) fn within(self, other: Self) -> Self {
        Self { min: self.min.clamp(other.min, other.max), max: self.max.clamp(other.min, other.max) }
    }

    /// Whether anything finite was seen, and not so far apart that no scale can hold it.
    pub(super) fn is_usable(self) -> bool {
        self.min <= self.max && ((f64::from(self.max) - f64::from(self.min)) / 255.0) < f64::from(f32::MAX)
    }

    /// The same for signed levels from -127 to 127 around zero, which is the level 128 from the lowest.
    pub(super) fn symmetric(self) -> ActivationParameters {
        let largest = self.max.max(-self.min).max(0.0);
        let scale = largest / 127.0;
        let is_usable = scale >= f32::MIN_POSITIVE && scale.is_finite();
        ActivationParameters { scale: if is_usable { scale } else { 1.0 }, zero_point: 128 }
    }

    /// Scale and zero point that map the range, widened to hold 0, to 0..=255. A range of nothing but zeros gets scale 1.
    pub(super) fn parameters(self) -> ActivationParameters {
        self.parameters_in(Steps::EIGHT)
    }

    /// The same with another highest level.
    pub(super) fn parameters_in(self, Steps(steps): Steps) -> ActivationParameters {
        let (min, max) = (f64::from(self.min.min(0.0)), f64::from(self.max.max(0.0)));
        let steps = f64::from(steps);
        let scale = ((max - min) / steps) as f32;
        if scale < f32::MIN_POSITIVE || !scale.is_finite() {
            return ActivationParameters { scale: 1.0, zero_point: 0 };
        }
        let zero_point = (-min / f64::from(scale)).round_ties_even().clamp(0.0, steps) as u16;
        ActivationParameters { scale, zero_point }
    }
}

fn widen(min: &mut f32, max: &mut f32, raw: [u8; 4]) {
    let value = f32::from_le_bytes(raw) + 0.0;
    let is_finite = value.abs() <= f32::MAX;
    let (low, high) = (if is_finite { value } else { *min }, if is_finite { value } else { *max });
    *min = if low < *min { low } else { *min };
    *max = if high > *max { high } else { *max };
}

/// How an activation is quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ActivationParameters {
    pub(super) scale: f32,
    /// The level of 0, counted from the lowest.
    pub(super) zero_point: u16,
}

impl ActivationParameters {
    /// The same with a scale rounded down so far that all steps stay within a bound they only exceed by rounding: runtimes
    /// merge a Clip into a quantization whose range lies inside that of the Clip.
    pub(super) fn bounded(self, bound: f32, Steps(steps): Steps) -> Self {
        let mut scale = self.scale;
        let steps = f32::from(steps);
        while self.zero_point == 0 && scale * steps > bound && scale > bound / (steps + 1.0) {
            scale = scale.next_down();
        }
        Self { scale, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_ranges_hold_zero_and_survive_degenerate_input() {
        let parameters = |min, max| Range { min, max }.parameters();
        assert_eq!(parameters(0.0, 255.0), ActivationParameters { scale: 1.0, zero_point: 0 });
        assert_eq!(parameters(-127.5, 127.5), ActivationParameters { scale: 1.0, zero_point: 128 });
        assert_eq!(parameters(-255.0, -3.0), ActivationParameters { scale: 1.0, zero_point: 255 });
        assert_eq!(parameters(51.0, 51.0), ActivationParameters { scale: 0.2, zero_point: 0 });
        assert_eq!(parameters(0.0, 0.0), ActivationParameters { scale: 1.0, zero_point: 0 });
        assert_eq!(Range::EMPTY.parameters(), ActivationParameters { scale: 1.0, zero_point: 0 });
        let of = |values: &[f32]| Range::of_bytes(&values.iter().map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        assert_eq!(of(&[f32::NAN, 2.0, f32::INFINITY, -1.0]), Range { min: -1.0, max: 2.0 });
        assert_eq!(of(&[]), Range::EMPTY);
        let mut many = [-0.0; 40];
        assert!(of(&many).min.is_sign_positive());
        (many[3], many[38]) = (7.0, -7.0);
        assert_eq!(of(&many), Range { min: -7.0, max: 7.0 });
        let widest = Range { min: -f32::MAX, max: f32::MAX }.parameters();
        assert!(widest.scale.is_finite());
    }

    #[test]
    fn sixteen_bits_have_finer_steps() {
        let parameters = |min, max| Range { min, max }.parameters_in(Steps::SIXTEEN);
        assert_eq!(parameters(0.0, 65535.0), ActivationParameters { scale: 1.0, zero_point: 0 });
        assert_eq!(parameters(-65535.0, -3.0), ActivationParameters { scale: 1.0, zero_point: 65535 });
        assert_eq!(parameters(-100.0, 65435.0), ActivationParameters { scale: 1.0, zero_point: 100 });
    }

    #[test]
    fn a_scale_is_rounded_down_to_stay_within_a_bound() {
        // 6 / 255 rounds up to a float of which 255 steps are more than 6 on some bounds, and not on others.
        for bound in [6.0f32, 1.0, 0.125, 20.0, 2.7] {
            for steps in [Steps::EIGHT, Steps::SIXTEEN] {
                let scale = Range { min: 0.0, max: bound }.parameters_in(steps).bounded(bound, steps).scale;
                let count = f32::from(steps.0);
                assert!(scale * count <= bound && scale > bound / (count + 0.1), "{bound}: {scale}");
            }
        }
    }

    #[test]
    fn ranges_of_nothing_or_of_everything_are_of_no_use() {
        assert!(!Range::EMPTY.is_usable());
        assert!(Range { min: 0.0, max: 0.0 }.is_usable());
        assert!(Range { min: -f32::MAX, max: f32::MAX }.is_usable());
    }
}
