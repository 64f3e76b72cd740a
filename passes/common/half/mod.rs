//! Floats of 16 bits: what `fp16` and `bf16` share.

mod convert;
mod fit;
mod options;
mod weights;

use crate::ir::DType;

pub(in crate::passes) use options::{EXCLUDE, Half, IO, MIN_ELEMENTS, compute};
pub(in crate::passes) use weights::store_one;

/// A float type of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passes) enum HalfType {
    /// `float16`: 11 significant bits, up to 65504, and from 2^-14 down with fewer bits.
    F16,
    /// `bfloat16`: 8 significant bits, the range of `float`.
    BF16,
}

impl HalfType {
    /// The element type.
    pub(in crate::passes) fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }

    /// The largest finite number.
    fn largest(self) -> f64 {
        match self {
            Self::F16 => half::f16::MAX.to_f64(),
            Self::BF16 => half::bf16::MAX.to_f64(),
        }
    }

    /// Twice the largest relative error of rounding a number of the normal range: 2^-digits.
    fn unit(self) -> f64 {
        match self {
            Self::F16 => half::f16::EPSILON.to_f64(),
            Self::BF16 => half::bf16::EPSILON.to_f64(),
        }
    }

    /// What names of new values end in.
    fn suffix(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }

    /// The number closest to a value, ties to even, as bits.
    fn bits(self, value: f64) -> u16 {
        match self {
            Self::F16 => half::f16::from_f64(value).to_bits(),
            Self::BF16 => half::bf16::from_f64(value).to_bits(),
        }
    }

    /// The number with those bits.
    fn value(self, bits: u16) -> f64 {
        match self {
            Self::F16 => half::f16::from_bits(bits).to_f64(),
            Self::BF16 => half::bf16::from_bits(bits).to_f64(),
        }
    }

    fn round(self, value: f64) -> f64 {
        self.value(self.bits(value))
    }
}
