//! Elements as numbers: integers and bools in one type that none of them overflows, and 32-bit floats.

use crate::ir::{DType, Tensor};

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    /// Integers of any width; bools are 0 and 1.
    Int(Vec<i128>),
    /// 32-bit floats.
    F32(Vec<f32>),
}

impl Numbers {
    /// The elements; `None` for types without a form here.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        match tensor.dtype() {
            DType::F32 => tensor.to_f32().map(Self::F32),
            DType::U64 => {
                let chunks = tensor.data().as_chunks::<8>().0;
                Some(Self::Int(chunks.iter().map(|&bytes| i128::from(u64::from_le_bytes(bytes))).collect()))
            }
            DType::Bool => Some(Self::Int(tensor.data().iter().map(|&byte| i128::from(byte != 0)).collect())),
            _ => Some(Self::Int(tensor.to_i64()?.into_iter().map(i128::from).collect())),
        }
    }

    /// A tensor of that type; `None` where it cannot hold one of the numbers, or they are of the other kind.
    pub(super) fn into_tensor(self, dtype: DType, shape: Vec<u64>) -> Option<Tensor> {
        let data = match self {
            Self::F32(values) if dtype == DType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Int(values) => match dtype {
                DType::Bool => values.iter().map(|&v| u8::from(v != 0)).collect(),
                DType::U8 => pack(&values, u8::to_le_bytes)?,
                DType::I8 => pack(&values, i8::to_le_bytes)?,
                DType::U16 => pack(&values, u16::to_le_bytes)?,
                DType::I16 => pack(&values, i16::to_le_bytes)?,
                DType::U32 => pack(&values, u32::to_le_bytes)?,
                DType::I32 => pack(&values, i32::to_le_bytes)?,
                DType::U64 => pack(&values, u64::to_le_bytes)?,
                DType::I64 => pack(&values, i64::to_le_bytes)?,
                _ => return None,
            },
            Self::F32(_) => return None,
        };
        Tensor::new(dtype, shape, data).ok()
    }
}

fn pack<T: TryFrom<i128>, const N: usize>(values: &[i128], bytes: fn(T) -> [u8; N]) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(values.len() * N);
    for &value in values {
        packed.extend_from_slice(&bytes(T::try_from(value).ok()?));
    }
    Some(packed)
}
