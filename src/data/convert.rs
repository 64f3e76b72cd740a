//! Element conversions that cannot spoil a measurement.

use crate::error::{Error, Result};
use crate::ir::{DType, Tensor};

/// `array` with the element type of the input, and a remark where that rounded its values; `None` where the types do
/// not go together.
pub(super) fn convert(array: &Tensor, to: DType) -> Option<(Tensor, Option<String>)> {
    let from = array.dtype();
    if from == to {
        return Some((array.clone(), None));
    }
    if is_wide_integer(from) && is_wide_integer(to) {
        return Some((integers(array, to)?, None));
    }
    let widened = match (from, to) {
        (DType::F16 | DType::BF16, DType::F32 | DType::F64) | (DType::F32, DType::F64) => array.to_f32()?,
        (DType::F64, DType::F32) => {
            let values = array.to_f32()?;
            let doubles = array.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            if doubles.zip(&values).any(|(double, single)| double.is_finite() != single.is_finite()) {
                return None;
            }
            let rounded = Tensor::from_floats(to, array.shape(), &values).ok()?;
            return Some((rounded, Some(format!("{from} rounded to {to}"))));
        }
        _ => return None,
    };
    Some((Tensor::from_floats(to, array.shape(), &widened).ok()?, None))
}

/// The values of labels, whatever integer type they are stored in.
///
/// # Errors
/// Fails where the array does not hold integers.
pub(super) fn to_classes(array: &Tensor) -> Result<Vec<i64>> {
    array.to_i64().filter(|_| array.dtype().is_integer()).ok_or_else(|| {
        Error::invalid_data("array `label` does not hold classes")
            .expected("integers")
            .found(array.type_text())
            .help("store the index of the right class: label.astype(\"int64\")")
    })
}

fn is_wide_integer(dtype: DType) -> bool {
    dtype.is_integer() && dtype.bits() >= 8
}

/// Integers in another width; `None` where one of them does not fit.
fn integers(array: &Tensor, to: DType) -> Option<Tensor> {
    fn narrow<T: TryFrom<i64>, const N: usize>(values: &[i64], bytes: impl Fn(T) -> [u8; N]) -> Option<Vec<u8>> {
        let narrowed = values.iter().map(|&value| T::try_from(value).ok().map(&bytes));
        narrowed.collect::<Option<Vec<[u8; N]>>>().map(|bytes| bytes.concat())
    }
    let values = array.to_i64()?;
    let data = match to {
        DType::I8 => narrow(&values, i8::to_le_bytes),
        DType::U8 => narrow(&values, u8::to_le_bytes),
        DType::I16 => narrow(&values, i16::to_le_bytes),
        DType::U16 => narrow(&values, u16::to_le_bytes),
        DType::I32 => narrow(&values, i32::to_le_bytes),
        DType::U32 => narrow(&values, u32::to_le_bytes),
        DType::I64 => narrow(&values, i64::to_le_bytes),
        DType::U64 => narrow(&values, u64::to_le_bytes),
        _ => None,
    }?;
    Tensor::new(to, array.shape(), data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_only_what_loses_nothing() {
        let small = Tensor::from_i64(vec![2], &[-1, 7]).unwrap();
        assert!(convert(&small, DType::I32).unwrap().0.same_as(&Tensor::from_i32(vec![2], &[-1, 7]).unwrap()));
        assert!(convert(&small, DType::U8).is_none());
        assert!(convert(&Tensor::from_i64(vec![1], &[1 << 40]).unwrap(), DType::I32).is_none());
        assert!(convert(&small, DType::F32).is_none());
        assert!(convert(&Tensor::from_f32(vec![1], &[0.5]).unwrap(), DType::F16).is_none());
    }

    #[test]
    fn says_where_it_rounds() {
        let double = Tensor::from_floats(DType::F64, vec![1], &[0.1]).unwrap();
        let (single, remark) = convert(&double, DType::F32).unwrap();
        assert_eq!(single.to_f32(), Some(vec![0.1]));
        assert_eq!(remark.as_deref(), Some("double rounded to float"));
        let huge = Tensor::new(DType::F64, vec![1], 1e300_f64.to_le_bytes().to_vec()).unwrap();
        assert!(convert(&huge, DType::F32).is_none());
    }
}
