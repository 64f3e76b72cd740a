//! Float tensors of any width, seen as 64-bit floats: every `float16`, `bfloat16`, `float` and `double` is one exactly.

use super::dtype::DType;
use super::tensor::Tensor;
use crate::error::{Error, Result};

trait Format {
    fn read(data: &[u8]) -> impl ExactSizeIterator<Item = f64>;
    /// Rounds to nearest even.
    fn write(values: impl ExactSizeIterator<Item = f64>) -> Vec<u8>;
}

macro_rules! formats {
    ($($name:ident: $bytes:literal, $read:expr, $write:expr;)*) => {
        $(struct $name;
        impl Format for $name {
            fn read(data: &[u8]) -> impl ExactSizeIterator<Item = f64> {
                data.as_chunks::<$bytes>().0.iter().map(|&chunk| $read(chunk))
            }
            fn write(values: impl ExactSizeIterator<Item = f64>) -> Vec<u8> {
                let mut bytes = vec![0; values.len() * $bytes];
                for (chunk, value) in bytes.as_chunks_mut::<$bytes>().0.iter_mut().zip(values) {
                    *chunk = $write(value);
                }
                bytes
            }
        })*
    };
}

formats! {
    F32: 4, |b| f64::from(f32::from_le_bytes(b)), |v| (v as f32).to_le_bytes();
    F64: 8, f64::from_le_bytes, |v: f64| v.to_le_bytes();
    F16: 2, |b| half::f16::from_le_bytes(b).to_f64(), |v| half::f16::from_f64(v).to_le_bytes();
    BF16: 2, |b| half::bf16::from_le_bytes(b).to_f64(), |v| half::bf16::from_f64(v).to_le_bytes();
}

/// Evaluates an expression with `$format` standing for the format of a float type, or the other for all other types.
macro_rules! with_format {
    ($dtype:expr, $format:ident => $body:expr, else $other:expr) => {
        match $dtype {
            DType::F32 => {
                type $format = F32;
                $body
            }
            DType::F64 => {
                type $format = F64;
                $body
            }
            DType::F16 => {
                type $format = F16;
                $body
            }
            DType::BF16 => {
                type $format = BF16;
                $body
            }
            _ => $other,
        }
    };
}

impl Tensor {
    /// Float values in one of the float types, rounded to nearest even.
    ///
    /// # Errors
    /// Fails where `dtype` is no float type or the number of values does not fit the shape.
    pub fn from_f64(dtype: DType, shape: impl Into<Vec<u64>>, values: &[f64]) -> Result<Self> {
        let data = with_format!(dtype, F => F::write(values.iter().copied()), else return Err(no_float(dtype)));
        Self::new(dtype, shape, data)
    }

    /// The values of a float tensor; `None` for other types.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        with_format!(self.dtype(), F => Some(F::read(self.data()).collect()), else None)
    }

    /// Shows every value of a float tensor, in order; nothing for other types.
    pub fn for_each_f64(&self, visit: impl FnMut(f64)) {
        with_format!(self.dtype(), F => F::read(self.data()).for_each(visit), else ());
    }

    /// One value of a float tensor, by its place in row-major order; `None` for other types and places beyond the end.
    pub fn get_f64(&self, index: usize) -> Option<f64> {
        let size = usize::try_from(self.dtype().bits() / 8).ok()?;
        let bytes = self.data().get(index.checked_mul(size)?..)?.get(..size)?;
        with_format!(self.dtype(), F => F::read(bytes).next(), else None)
    }

    /// The tensor whose values are those that `map` gives for index and value, rounded to the type.
    ///
    /// # Errors
    /// Fails where the tensor is no float tensor.
    pub fn map_f64(&self, mut map: impl FnMut(usize, f64) -> f64) -> Result<Self> {
        let data = with_format!(
            self.dtype(),
            F => F::write(F::read(self.data()).enumerate().map(|(index, value)| map(index, value))),
            else return Err(no_float(self.dtype()))
        );
        Self::new(self.dtype(), self.shape(), data)
    }

    /// Whether every value of a float tensor is finite; true for other types.
    pub fn is_finite(&self) -> bool {
        with_format!(self.dtype(), F => F::read(self.data()).all(f64::is_finite), else true)
    }
}

fn no_float(dtype: DType) -> Error {
    Error::unsupported(format!("`{dtype}` is no float type to compute in"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_once_to_the_type() {
        // 1 + 2^-11 lies between two float16; ties go to even.
        let tensor =
            Tensor::from_f64(DType::F16, vec![2], &[1.0 + 2f64.powi(-11), 1.0 + 3.0 * 2f64.powi(-11)]).unwrap();
        assert_eq!(tensor.to_f64().unwrap(), [1.0, 1.0 + 2f64.powi(-9)]);
    }

    #[test]
    fn maps_every_float_type() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let tensor = Tensor::from_f64(dtype, vec![3], &[1.0, -2.0, 0.5]).unwrap();
            let mapped = tensor.map_f64(|index, value| value * index as f64).unwrap();
            assert_eq!(mapped.to_f64().unwrap(), [0.0, -2.0, 1.0]);
            assert_eq!(mapped.dtype(), dtype);
            assert_eq!([0, 1, 2, 3].map(|index| mapped.get_f64(index)), [Some(0.0), Some(-2.0), Some(1.0), None]);
        }
        assert!(Tensor::from_i64(vec![1], &[1]).unwrap().map_f64(|_, v| v).is_err());
    }

    #[test]
    fn sees_what_does_not_fit() {
        assert!(!Tensor::from_f64(DType::F16, vec![1], &[7e4]).unwrap().is_finite());
        assert!(Tensor::from_f64(DType::BF16, vec![1], &[7e4]).unwrap().is_finite());
    }
}
