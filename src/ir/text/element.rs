//! Elements of tensors: literals to bits and back.
//!
//! As in ONNX, narrow floats are bit patterns where they are written as whole numbers. Beyond it, float16 and bfloat16
//! are values where they have a decimal point or an exponent, and a hexadecimal literal is the bit pattern of any float.

use std::fmt::{self, Write};

use half::{bf16, f16};

use crate::ir::DType;

/// Whether elements of the type are written as bit patterns: floats that Rust and `half` have no arithmetic for.
pub(super) fn is_pattern(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F8E8M0 | F4E2M1 | F6E2M3 | F6E3M2)
}

/// The type of one literal and how many of them make an element: complex numbers are pairs.
pub(super) fn literal_type(dtype: DType) -> (DType, u64) {
    match dtype {
        DType::Complex64 => (DType::F32, 2),
        DType::Complex128 => (DType::F64, 2),
        other => (other, 1),
    }
}

/// The bits of a literal of a type that [`literal_type`] gives; `None` where it does not fit the type.
pub(super) fn bits(dtype: DType, literal: &str) -> Option<u128> {
    let hex = literal.strip_prefix("0x").map(|digits| u128::from_str_radix(digits, 16));
    match dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => match hex {
            Some(pattern) => pattern.ok().filter(|bits| bits >> dtype.bits() == 0),
            None => float_bits(dtype, literal),
        },
        _ => {
            let value: i128 = match hex {
                Some(pattern) => pattern.ok()?.try_into().ok()?,
                None => literal.parse().ok()?,
            };
            let (low, high) = range(dtype)?;
            (low..=high).contains(&value).then(|| value as u128 & mask(dtype))
        }
    }
}

/// The bits of a float in decimal notation, or of a narrow float given by its pattern.
fn float_bits(dtype: DType, literal: &str) -> Option<u128> {
    let is_whole = literal.bytes().all(|b| b.is_ascii_digit());
    let is_nan = literal.trim_start_matches('-').eq_ignore_ascii_case("nan");
    let sign = u128::from(is_nan && literal.starts_with('-')) << (dtype.bits() - 1);
    match dtype {
        DType::F16 | DType::BF16 if is_whole => literal.parse::<u16>().ok().map(u128::from),
        DType::F16 if is_nan => Some(u128::from(f16::NAN.to_bits()) | sign),
        DType::F16 => literal.parse().ok().map(|v| u128::from(f16::from_f64(v).to_bits())),
        DType::BF16 if is_nan => Some(u128::from(bf16::NAN.to_bits()) | sign),
        DType::BF16 => literal.parse().ok().map(|v| u128::from(bf16::from_f64(v).to_bits())),
        DType::F32 if is_nan => Some(u128::from(f32::NAN.to_bits()) | sign),
        DType::F32 => literal.parse::<f32>().ok().map(|v| u128::from(v.to_bits())),
        _ if is_nan => Some(u128::from(f64::NAN.to_bits()) | sign),
        _ => literal.parse::<f64>().ok().map(|v| u128::from(v.to_bits())),
    }
}

fn mask(dtype: DType) -> u128 {
    u128::MAX.checked_shr(128 - dtype.bits() as u32).unwrap_or_default()
}

/// The whole numbers a type holds.
fn range(dtype: DType) -> Option<(i128, i128)> {
    use DType::*;
    let bits = dtype.bits();
    match dtype {
        I2 | I4 | I8 | I16 | I32 | I64 => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
        U2 | U4 | U8 | U16 | U32 | U64 => Some((0, (1i128 << bits) - 1)),
        Bool => Some((0, 1)),
        other if is_pattern(other) => Some((0, (1i128 << bits) - 1)),
        _ => None,
    }
}

/// Elements in ONNX's raw form: little-endian, those of less than a byte packed from the lowest bit up.
pub(super) fn pack(dtype: DType, patterns: impl Iterator<Item = u128>) -> Vec<u8> {
    let bits = dtype.bits() as usize;
    let mut out = Vec::new();
    for (index, pattern) in patterns.enumerate() {
        let (byte, shift) = (index * bits / 8, index * bits % 8);
        out.resize(((index + 1) * bits).div_ceil(8), 0);
        // An element of less than a byte begins inside of one; the others begin a byte, so nothing is shifted out.
        let placed = ((pattern & mask(dtype)) << shift).to_le_bytes();
        out[byte..].iter_mut().zip(placed).for_each(|(to, from)| *to |= from);
    }
    out
}

/// The bits of the literal at an index of raw data; 0 beyond its end.
fn unpack(dtype: DType, data: &[u8], index: usize) -> u128 {
    let bits = dtype.bits() as usize;
    let (byte, shift) = (index * bits / 8, index * bits % 8);
    let end = ((index + 1) * bits).div_ceil(8);
    let bytes = data.get(byte..end).unwrap_or_default();
    let value = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u128::from(byte));
    (value >> shift) & mask(dtype)
}

/// Writes the literal at an index of raw data.
pub(super) fn write(out: &mut impl Write, dtype: DType, data: &[u8], index: usize) -> fmt::Result {
    let pattern = unpack(dtype, data, index);
    let (text, nan) = match dtype {
        DType::F32 => (format!("{:?}", f32::from_bits(pattern as u32)), u128::from(f32::NAN.to_bits())),
        DType::F64 => (format!("{:?}", f64::from_bits(pattern as u64)), u128::from(f64::NAN.to_bits())),
        DType::F16 => (format!("{:?}", f16::from_bits(pattern as u16).to_f32()), u128::from(f16::NAN.to_bits())),
        DType::BF16 => (format!("{:?}", bf16::from_bits(pattern as u16).to_f32()), u128::from(bf16::NAN.to_bits())),
        _ => return write_integer(out, dtype, pattern),
    };
    match text.as_str() {
        "NaN" if pattern == nan => out.write_str("nan"),
        "NaN" => write!(out, "{pattern:#x}"),
        // A float16 without a point would be a pattern.
        text if matches!(dtype, DType::F16 | DType::BF16) => out.write_str(text),
        text => out.write_str(text.strip_suffix(".0").unwrap_or(text)),
    }
}

fn write_integer(out: &mut impl Write, dtype: DType, pattern: u128) -> fmt::Result {
    let is_negative = range(dtype).is_some_and(|(low, _)| low < 0) && pattern >> (dtype.bits() - 1) == 1;
    match is_negative {
        true => write!(out, "{}", pattern as i128 - (1i128 << dtype.bits())),
        false => write!(out, "{pattern}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads literals and writes them again.
    fn again(dtype: DType, literals: &[&str]) -> Vec<String> {
        let data = pack(dtype, literals.iter().map(|l| bits(dtype, l).unwrap()));
        let text = |index| {
            let mut out = String::new();
            write(&mut out, dtype, &data, index).unwrap();
            out
        };
        (0..literals.len()).map(text).collect()
    }

    #[test]
    fn literals_come_back_as_they_were() {
        let floats = ["1", "-0.5", "1e-7", "3.4028235e38", "-0", "nan", "inf", "-inf", "0x7fc00001"];
        assert_eq!(again(DType::F32, &floats), floats);
        assert_eq!(again(DType::F16, &["1.0", "-0.5", "inf"]), ["1.0", "-0.5", "inf"]);
        assert_eq!(again(DType::I4, &["-8", "7", "-1"]), ["-8", "7", "-1"]);
        assert_eq!(again(DType::U2, &["0", "1", "2", "3", "1"]), ["0", "1", "2", "3", "1"]);
        assert_eq!(again(DType::U64, &["18446744073709551615"]), ["18446744073709551615"]);
        assert_eq!(again(DType::F8E5M2, &["255"]), ["255"]);
        assert_eq!(again(DType::F6E2M3, &["63", "1", "2", "33", "7"]), ["63", "1", "2", "33", "7"]);
        assert_eq!(pack(DType::F6E2M3, [0x3f, 1, 2, 33, 7].into_iter()).len(), 4);
    }

    #[test]
    fn whole_numbers_are_patterns_of_narrow_floats() {
        assert_eq!(again(DType::F16, &["15360"]), ["1.0"]);
        assert_eq!(again(DType::F32, &["0x3f800000"]), ["1"]);
    }

    #[test]
    fn literals_out_of_range_are_refused() {
        for (dtype, literal) in [
            (DType::I8, "128"),
            (DType::U8, "-1"),
            (DType::I4, "8"),
            (DType::I32, "1.5"),
            (DType::F16, "65536"),
            (DType::Bool, "2"),
            (DType::F32, "x"),
        ] {
            assert_eq!(bits(dtype, literal), None, "{dtype} {literal}");
        }
    }
}
