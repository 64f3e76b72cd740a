//! Whether a tensor can be kept in 16 bits, and with which power of two before it: tensors in, numbers out.

use super::HalfType;
use crate::ir::Tensor;
use crate::passes::common::balance::{self, Rounded};
use crate::passes::common::layout::Layout;

/// Why a tensor cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Misfit {
    /// It holds a finite number of this magnitude, beyond the range of the type.
    TooLarge(f64),
    /// Its values are so far apart that no power of two brings all that matter into the range of full precision.
    TooLossy {
        /// The signal-to-noise ratio that would be left.
        snr_db: f64,
    },
}

impl Misfit {
    /// The end of a sentence that begins with the tensor.
    pub(super) fn reason(self, half: HalfType) -> String {
        match self {
            Self::TooLarge(value) => {
                format!("holds {value:.2e}, and the largest {} is {}", half.dtype(), plain(half.largest()))
            }
            Self::TooLossy { snr_db } => format!(
                "would keep {snr_db:.1} dB in {}, where rounding of ordinary values keeps {:.1} at least",
                half.dtype(),
                least_snr_db(half)
            ),
        }
    }
}

fn plain(value: f64) -> String {
    if value < 1e6 { value.to_string() } else { format!("{value:.2e}") }
}

/// What rounding leaves of values of the normal range, however they are made.
fn least_snr_db(half: HalfType) -> f64 {
    -20.0 * (half.unit() / 2.0).log10()
}

/// The power of two that a tensor of floats is kept times, so that it loses no more than rounding of ordinary values takes:
/// 0 but for tensors of very small values.
///
/// Small values are what may be lost: below its normal range a type has fewer and fewer digits. A power of two, which is
/// multiplied exactly, brings them up. Numbers too large for the type are never clamped.
pub(super) fn fit(tensor: &Tensor, half: HalfType) -> Result<i32, Misfit> {
    let mut largest = 0f64;
    tensor.for_each_f64(|value| {
        if value.is_finite() {
            largest = largest.max(value.abs());
        }
    });
    if largest > half.largest() {
        return Err(Misfit::TooLarge(largest));
    }
    let plain = snr_db(tensor, half, 0);
    if plain >= least_snr_db(half) {
        return Ok(0);
    }
    let exponent = room_above(largest, half);
    if exponent > 0 && snr_db(tensor, half, exponent) >= least_snr_db(half) {
        return Ok(exponent);
    }
    Err(Misfit::TooLossy { snr_db: plain })
}

/// The power of two that brings the largest value just below the largest of the type.
fn room_above(largest: f64, half: HalfType) -> i32 {
    // The scale that undoes it must be a normal number of the tensor's own type.
    ((half.largest() / largest).log2().floor() as i32).min(100)
}

/// The signal-to-noise ratio of values that are only rounded.
pub(super) fn plain_snr_db(tensor: &Tensor, half: HalfType) -> f64 {
    snr_db(tensor, half, 0)
}

/// The signal-to-noise ratio of values kept times a power of two.
fn snr_db(tensor: &Tensor, half: HalfType, exponent: i32) -> f64 {
    let (up, down) = (2f64.powi(exponent), 2f64.powi(-exponent));
    let (mut signal, mut error) = (0f64, 0f64);
    tensor.for_each_f64(|value| {
        if value.is_finite() {
            let lost = half.round(value * up) * down - value;
            signal += value * value;
            error += lost * lost;
        }
    });
    if error == 0.0 { f64::INFINITY } else { 10.0 * (signal / error).log10() }
}

/// The values times two to the power of `exponent`: each rounded to nearest even, and then, where there are channels, some
/// to the other side, so that the errors of a channel cancel.
///
/// # Errors
/// Fails where the tensor is none of floats.
pub(super) fn narrowed(
    tensor: &Tensor,
    half: HalfType,
    exponent: i32,
    channels: Option<Layout>,
) -> crate::error::Result<Tensor> {
    let up = 2f64.powi(exponent);
    let mut bits: Vec<u16> = Vec::with_capacity(tensor.len());
    tensor.for_each_f64(|value| bits.push(half.bits(value * up)));
    if let Some(layout) = channels {
        let rounded = |index: usize| {
            let Some((value, &bits)) = tensor.get_f64(index).zip(bits.get(index)) else {
                return Rounded { error: 0.0, step: 0.0 };
            };
            let error = half.value(bits) - value * up;
            let other = half.value(neighbour(bits, error < 0.0));
            Rounded { error, step: if error == 0.0 { 0.0 } else { other - half.value(bits) } }
        };
        for index in balance::flips(layout, bits.len(), rounded) {
            if let (Some(value), Some(bits)) = (tensor.get_f64(index), bits.get_mut(index)) {
                *bits = neighbour(*bits, half.value(*bits) < value * up);
            }
        }
    }
    let data: Vec<u8> = bits.into_iter().flat_map(u16::to_le_bytes).collect();
    Tensor::new(half.dtype(), tensor.shape(), data)
}

/// The next number up or down of a type whose bits are a sign and a magnitude.
fn neighbour(bits: u16, up: bool) -> u16 {
    const SIGN: u16 = 0x8000;
    let is_negative = bits & SIGN != 0;
    match bits & !SIGN {
        0 => 1 | if up { 0 } else { SIGN },
        _ if up == is_negative => bits - 1,
        _ => bits + 1,
    }
}

/// The signal-to-noise ratio of what is kept; infinite where nothing was lost.
pub(super) fn kept_snr_db(tensor: &Tensor, kept: &Tensor, exponent: i32) -> f64 {
    let down = 2f64.powi(-exponent);
    let (mut signal, mut error, mut index) = (0f64, 0f64, 0);
    tensor.for_each_f64(|value| {
        if let Some(kept) = kept.get_f64(index).filter(|_| value.is_finite()) {
            signal += value * value;
            error += (kept * down - value).powi(2);
        }
        index += 1;
    });
    if error == 0.0 { f64::INFINITY } else { 10.0 * (signal / error).log10() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![values.len() as u64], values).unwrap()
    }

    #[test]
    fn what_is_a_half_already_loses_nothing() {
        let tensor = floats(&[0.0, 1.0, -65504.0, 0.5]);
        assert_eq!(fit(&tensor, HalfType::F16), Ok(0));
        let layout = Layout { channels: 1, inner: 4 };
        let kept = narrowed(&tensor, HalfType::F16, 0, Some(layout)).unwrap();
        assert_eq!(kept.to_f64(), tensor.to_f64());
        assert_eq!(kept_snr_db(&tensor, &kept, 0), f64::INFINITY);
        assert_eq!(fit(&floats(&[]), HalfType::F16), Ok(0));
    }

    #[test]
    fn numbers_beyond_the_range_do_not_fit_but_infinity_does() {
        assert_eq!(fit(&floats(&[1.0, -65505.0]), HalfType::F16), Err(Misfit::TooLarge(65505.0)));
        assert!(fit(&floats(&[1.0, -65505.0]), HalfType::BF16).is_ok());
        assert!(fit(&floats(&[1.0, f32::NEG_INFINITY, f32::NAN]), HalfType::F16).is_ok());
        assert!(fit(&floats(&[3.4e38]), HalfType::BF16).is_err(), "rounds to infinity");
    }

    #[test]
    fn small_values_are_brought_up_by_a_power_of_two() {
        // 1e-6 is 16.8 units of the smallest float16.
        // 65504 / 2.3e-6 = 2.85e10, between 2^34 and 2^35.
        let tensor = floats(&[1e-6, -2.3e-6]);
        assert_eq!(fit(&tensor, HalfType::F16), Ok(34));
        let kept = narrowed(&tensor, HalfType::F16, 34, None).unwrap().to_f64().unwrap();
        assert!((kept[0] / 2f64.powi(34) / 1e-6 - 1.0).abs() < 2f64.powi(-11));
    }

    #[test]
    fn a_few_small_values_among_large_ones_do_not_matter() {
        assert_eq!(fit(&floats(&[1.0, 1e-9]), HalfType::F16), Ok(0));
    }

    #[test]
    fn errors_of_a_channel_cancel() {
        // Above 1 the step is 2^-10: all four are 0.45 steps above a float16, and one of them goes up.
        let value = 1.0 + 0.45 / 1024.0;
        let tensor = floats(&[value; 4]);
        let kept = narrowed(&tensor, HalfType::F16, 0, Some(Layout { channels: 1, inner: 4 })).unwrap();
        let kept = kept.to_f64().unwrap();
        assert_eq!(kept, [1.0 + 1.0 / 1024.0, 1.0 + 1.0 / 1024.0, 1.0, 1.0]);
    }

    #[test]
    fn neighbours_are_next_to_each_other_in_order() {
        let ordered = [0xc000, 0xbfff, 0x8001, 0x0001, 0x0002, 0x3c00, 0x3c01];
        for pair in [[0xbfff, 0xc000], [0x0001, 0x0002], [0x3c00, 0x3c01], [0x8002, 0x8001]] {
            let [a, b] = pair;
            let up = half::f16::from_bits(a).to_f64() < half::f16::from_bits(b).to_f64();
            assert_eq!((neighbour(a, up), neighbour(b, !up)), (b, a), "{a:#x} {b:#x}");
        }
        assert_eq!((neighbour(0x8000, true), neighbour(0, false)), (0x0001, 0x8001));
        assert!(ordered.windows(2).all(|w| half::f16::from_bits(w[0]) < half::f16::from_bits(w[1])));
    }

    #[test]
    fn reasons_name_the_number() {
        let large = Misfit::TooLarge(97_903_600.0).reason(HalfType::F16);
        assert_eq!(large, "holds 9.79e7, and the largest float16 is 65504");
        let lossy = Misfit::TooLossy { snr_db: 12.34 }.reason(HalfType::F16);
        assert_eq!(lossy, "would keep 12.3 dB in float16, where rounding of ordinary values keeps 66.2 at least");
    }
}
