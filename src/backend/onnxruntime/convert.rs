//! Tensors in and out of ONNX Runtime.

use half::{bf16, f16};
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use crate::error::{Error, Result};
use crate::ir::{DType, Tensor};

/// A copy of a tensor as ONNX Runtime takes it.
///
/// # Errors
/// `Unsupported` for element types that `ort` cannot carry and strings that are not UTF-8.
pub(super) fn to_ort(tensor: &Tensor) -> Result<DynValue> {
    let shape = tensor.shape().iter().map(|&extent| extent as i64).collect::<Vec<i64>>();
    let data = tensor.data();
    macro_rules! fixed_size {
        ($type:ty) => {
            OrtTensor::from_array((shape, elements(data, <$type>::from_le_bytes))).map(|value| value.into_dyn())
        };
    }
    let converted = match tensor.dtype() {
        DType::Bool => {
            let values = data.iter().map(|&byte| byte != 0).collect::<Vec<bool>>();
            OrtTensor::from_array((shape, values)).map(|value| value.into_dyn())
        }
        DType::U8 => fixed_size!(u8),
        DType::I8 => fixed_size!(i8),
        DType::U16 => fixed_size!(u16),
        DType::I16 => fixed_size!(i16),
        DType::U32 => fixed_size!(u32),
        DType::I32 => fixed_size!(i32),
        DType::U64 => fixed_size!(u64),
        DType::I64 => fixed_size!(i64),
        DType::F16 => fixed_size!(f16),
        DType::BF16 => fixed_size!(bf16),
        DType::F32 => fixed_size!(f32),
        DType::F64 => fixed_size!(f64),
        DType::String => {
            let strings = tensor.strings().unwrap_or_default();
            let strings = (strings.iter().map(|bytes| String::from_utf8(bytes.to_vec())))
                .collect::<Result<Vec<String>, _>>()
                .map_err(|error| Error::unsupported("ONNX Runtime has no strings but UTF-8").with_source(error))?;
            OrtTensor::from_string_array((shape, strings.as_slice())).map(|value| value.into_dyn())
        }
        other => return Err(unsupported(other.name())),
    };
    converted.map_err(|error| Error::backend("ONNX Runtime rejects a tensor").found(error.to_string()))
}

/// A copy of one of ONNX Runtime's values.
///
/// # Errors
/// `Unsupported` for sequences, maps and element types that `ort` cannot carry.
pub(super) fn from_ort(value: &DynValue) -> Result<Tensor> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(unsupported(&value.dtype().to_string()));
    };
    macro_rules! fixed_size {
        ($dtype:ident, $type:ty) => {{
            let (shape, values) = value.try_extract_tensor::<$type>().map_err(unreadable)?;
            let mut data = vec![0; size_of_val(values)];
            for (bytes, value) in data.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = value.to_le_bytes();
            }
            Tensor::new(DType::$dtype, extents(shape), data)
        }};
    }
    match ty {
        TensorElementType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(unreadable)?;
            Tensor::new(DType::Bool, extents(shape), values.iter().map(|&v| u8::from(v)).collect::<Vec<u8>>())
        }
        TensorElementType::Uint8 => fixed_size!(U8, u8),
        TensorElementType::Int8 => fixed_size!(I8, i8),
        TensorElementType::Uint16 => fixed_size!(U16, u16),
        TensorElementType::Int16 => fixed_size!(I16, i16),
        TensorElementType::Uint32 => fixed_size!(U32, u32),
        TensorElementType::Int32 => fixed_size!(I32, i32),
        TensorElementType::Uint64 => fixed_size!(U64, u64),
        TensorElementType::Int64 => fixed_size!(I64, i64),
        TensorElementType::Float16 => fixed_size!(F16, f16),
        TensorElementType::Bfloat16 => fixed_size!(BF16, bf16),
        TensorElementType::Float32 => fixed_size!(F32, f32),
        TensorElementType::Float64 => fixed_size!(F64, f64),
        TensorElementType::String => {
            let (shape, strings) = value.try_extract_strings().map_err(unreadable)?;
            Tensor::from_strings(extents(shape), strings.into_iter().map(bytes::Bytes::from).collect())
        }
        other => Err(unsupported(&other.to_string())),
    }
}

fn unsupported(what: &str) -> Error {
    Error::unsupported(format!("values of type `{what}` cannot be passed to or from ONNX Runtime here"))
        .expected("numbers of 8 bits and more, bool or string")
}

fn unreadable(error: ort::Error) -> Error {
    Error::backend("ONNX Runtime returns an unreadable value").found(error.to_string())
}

fn extents(shape: &[i64]) -> Vec<u64> {
    shape.iter().map(|&extent| extent.max(0) as u64).collect()
}

fn elements<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
}
