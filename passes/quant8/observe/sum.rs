//! A sum of 32-bit floats that does not depend on their order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Mantissas by exponent, each added up in integers: exact, and the same in whatever order and parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::passes::quant8) struct ExactSum {
    mantissas: BTreeMap<i32, i64>,
}

impl ExactSum {
    /// Adds a finite number.
    pub(in crate::passes::quant8) fn add(&mut self, value: f32) {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 23 & 0xff) as i32, i64::from(bits & 0x007f_ffff));
        let (exponent, magnitude) = if exponent == 0 { (1, fraction) } else { (exponent, fraction | 1 << 23) };
        if magnitude != 0 {
            // Bounded by 24 bits a number: 2^39 of them fit.
            *self.mantissas.entry(exponent - 150).or_default() += if value < 0.0 { -magnitude } else { magnitude };
        }
    }

    /// Adds what another sum added.
    pub(in crate::passes::quant8) fn merge(&mut self, other: Self) {
        for (exponent, mantissa) in other.mantissas {
            let sum = self.mantissas.entry(exponent).or_default();
            *sum = sum.saturating_add(mantissa);
        }
    }

    /// The sum, as near as a 64-bit float comes.
    pub(in crate::passes::quant8) fn value(&self) -> f64 {
        self.mantissas.iter().map(|(&exponent, &mantissa)| mantissa as f64 * power_of_two(exponent)).sum()
    }
}

/// By its bits, since it has to be exact on every machine.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_in_any_order() {
        let values = [1e30, 1.5, -1e30, f32::MIN_POSITIVE / 8.0, -0.25, 0.0, -0.0, 3.0];
        let mut forward = ExactSum::default();
        values.iter().for_each(|&value| forward.add(value));
        let mut backward = ExactSum::default();
        for &value in values.iter().rev() {
            let mut one = ExactSum::default();
            one.add(value);
            backward.merge(one);
        }
        assert_eq!(forward, backward);
        assert_eq!(forward.value(), 4.25);
    }
}
