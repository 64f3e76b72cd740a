//! Tensors in and out of tract.

use tract_onnx::prelude::{DatumType, TDim, Tensor as TractTensor, f16};

use crate::error::{Error, Result};
use crate::ir::{DType, Tensor};

/// tract's type for an element type; `None` where it has none.
pub(super) fn datum_type(dtype: DType) -> Option<DatumType> {
    Some(match dtype {
        DType::Bool => DatumType::Bool,
        DType::U8 => DatumType::U8,
        DType::U16 => DatumType::U16,
        DType::U32 => DatumType::U32,
        DType::U64 => DatumType::U64,
        DType::I8 => DatumType::I8,
        DType::I16 => DatumType::I16,
        DType::I32 => DatumType::I32,
        DType::I64 => DatumType::I64,
        DType::F16 => DatumType::F16,
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::String => DatumType::String,
        _ => return None,
    })
}

/// A copy of a tensor in tract's memory.
///
/// # Errors
/// `Unsupported` for element types tract does not have and for strings that are not UTF-8.
pub(super) fn to_tract(tensor: &Tensor) -> Result<TractTensor> {
    let shape = extents(tensor.shape())?;
    let data = tensor.data();
    macro_rules! fixed_size {
        ($type:ty) => {
            TractTensor::from_shape(&shape, &elements(data, <$type>::from_le_bytes))
        };
    }
    let converted = match tensor.dtype() {
        DType::Bool => TractTensor::from_shape(&shape, &data.iter().map(|&byte| byte != 0).collect::<Vec<bool>>()),
        DType::U8 => TractTensor::from_shape(&shape, data),
        DType::U16 => fixed_size!(u16),
        DType::U32 => fixed_size!(u32),
        DType::U64 => fixed_size!(u64),
        DType::I8 => fixed_size!(i8),
        DType::I16 => fixed_size!(i16),
        DType::I32 => fixed_size!(i32),
        DType::I64 => fixed_size!(i64),
        DType::F16 => fixed_size!(f16),
        DType::F32 => fixed_size!(f32),
        DType::F64 => fixed_size!(f64),
        DType::String => return strings_to_tract(tensor, &shape),
        other => return Err(Error::unsupported(format!("tract has no element type `{other}`"))),
    };
    converted.map_err(|error| Error::backend(format!("tract rejects a tensor: {error}")))
}

fn strings_to_tract(tensor: &Tensor, shape: &[usize]) -> Result<TractTensor> {
    let text = |bytes: &bytes::Bytes| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::unsupported("tract has no strings but UTF-8"))
    };
    let strings = tensor.strings().unwrap_or_default().iter().map(text).collect::<Result<Vec<String>>>()?;
    tract_onnx::prelude::tract_ndarray::ArrayD::from_shape_vec(shape, strings)
        .map(TractTensor::from)
        .map_err(|error| Error::backend(format!("tract rejects a tensor: {error}")))
}

/// A copy of one of tract's tensors.
///
/// # Errors
/// `Unsupported` where the value has no ONNX type.
pub(super) fn from_tract(tensor: &TractTensor) -> Result<Tensor> {
    let shape: Vec<u64> = tensor.shape().iter().map(|&extent| extent as u64).collect();
    let failed = |error: &dyn std::fmt::Display| Error::backend(format!("tract returns no plain tensor: {error}"));
    macro_rules! fixed_size {
        ($dtype:ident, $type:ty) => {{
            let view = tensor.to_plain_array_view::<$type>().map_err(|error| failed(&error))?;
            let data: Vec<u8> = view.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::new(DType::$dtype, shape, data)
        }};
    }
    match tensor.datum_type() {
        DatumType::Bool => {
            let view = tensor.to_plain_array_view::<bool>().map_err(|error| failed(&error))?;
            Tensor::new(DType::Bool, shape, view.iter().map(|&value| u8::from(value)).collect::<Vec<u8>>())
        }
        DatumType::U8 => fixed_size!(U8, u8),
        DatumType::U16 => fixed_size!(U16, u16),
        DatumType::U32 => fixed_size!(U32, u32),
        DatumType::U64 => fixed_size!(U64, u64),
        DatumType::I8 => fixed_size!(I8, i8),
        DatumType::I16 => fixed_size!(I16, i16),
        DatumType::I32 => fixed_size!(I32, i32),
        DatumType::I64 => fixed_size!(I64, i64),
        DatumType::F16 => fixed_size!(F16, f16),
        DatumType::F32 => fixed_size!(F32, f32),
        DatumType::F64 => fixed_size!(F64, f64),
        // Shapes are symbolic expressions inside tract; with concrete inputs each is a number.
        DatumType::TDim => {
            let view = tensor.to_plain_array_view::<TDim>().map_err(|error| failed(&error))?;
            let values: Vec<i64> =
                view.iter().map(TDim::to_i64).collect::<Result<_, _>>().map_err(|error| failed(&error))?;
            Tensor::from_i64(shape, &values)
        }
        // Quantized types are the plain integers with scale and zero point beside them.
        DatumType::QI8(_) => Tensor::new(DType::I8, shape, tensor.as_bytes().to_vec()),
        DatumType::QU8(_) => Tensor::new(DType::U8, shape, tensor.as_bytes().to_vec()),
        DatumType::QI32(_) => {
            let values: Vec<i32> = tensor.as_bytes().as_chunks().0.iter().map(|&b| i32::from_ne_bytes(b)).collect();
            Tensor::from_i32(shape, &values)
        }
        DatumType::String => {
            let view = tensor.to_plain_array_view::<String>().map_err(|error| failed(&error))?;
            Tensor::from_strings(shape, view.iter().map(|text| bytes::Bytes::from(text.clone())).collect())
        }
        other => Err(Error::unsupported(format!("tract returns a value of its own type {other:?}"))),
    }
}

/// Extents in the machine's own size.
///
/// # Errors
/// Fails where one does not fit.
pub(super) fn extents(shape: &[u64]) -> Result<Vec<usize>> {
    let fit = |&extent: &u64| {
        usize::try_from(extent).map_err(|_| Error::unsupported(format!("an extent of {extent} does not fit in memory")))
    };
    shape.iter().map(fit).collect()
}

fn elements<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_tract_survives_the_way_there_and_back() {
        for &dtype in DType::ALL {
            if dtype == DType::String || datum_type(dtype).is_none() {
                continue;
            }
            let bytes: Vec<u8> = (0..6 * dtype.bits() / 8).map(|byte| (byte % 2) as u8).collect();
            let tensor = Tensor::new(dtype, vec![2, 3], bytes).unwrap();
            assert!(from_tract(&to_tract(&tensor).unwrap()).unwrap().same_as(&tensor), "{dtype}");
        }
        let strings = Tensor::from_strings(vec![2], vec!["a".into(), "".into()]).unwrap();
        assert!(from_tract(&to_tract(&strings).unwrap()).unwrap().same_as(&strings));
    }

    #[test]
    fn symbolic_integers_become_plain_ones() {
        let dims = TractTensor::from(tract_onnx::prelude::tract_ndarray::arr1(&[TDim::from(3), TDim::from(-1)]));
        assert_eq!(from_tract(&dims).unwrap().to_i64(), Some(vec![3, -1]));
    }
}
