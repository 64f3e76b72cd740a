//! Constant tensors that share the memory map they were read from.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::dtype::DType;
use crate::error::{Error, Result};
use crate::onnx::proto::{TensorProto, tensor_proto::DataLocation};

/// A constant tensor: element type, shape and little-endian contents.
///
/// Cloning is free: the contents are shared, with the memory map of the file where they came from one. The message a
/// tensor was decoded from stays with it, so that an untouched tensor is written back byte for byte.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<u64>,
    contents: OnceLock<Bytes>,
    strings: Option<Arc<Vec<Bytes>>>,
    source: Option<Arc<TensorProto>>,
}

impl Tensor {
    /// A tensor of raw little-endian elements, sub-byte types packed as ONNX packs them.
    ///
    /// # Errors
    /// Fails where the number of bytes does not fit type and shape, and for strings.
    pub fn new(dtype: DType, shape: impl Into<Vec<u64>>, data: impl Into<Bytes>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        let expected = byte_len(dtype, &shape)?;
        if data.len() as u64 != expected {
            return Err(wrong_size(dtype, &shape, expected, data.len() as u64));
        }
        Ok(Self { dtype, shape, contents: OnceLock::from(data), strings: None, source: None })
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// Fails where the number of strings does not fit the shape.
    pub fn from_strings(shape: impl Into<Vec<u64>>, strings: Vec<Bytes>) -> Result<Self> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        if strings.len() as u64 != expected {
            return Err(wrong_size(DType::String, &shape, expected, strings.len() as u64));
        }
        let contents = OnceLock::from(Bytes::new());
        Ok(Self { dtype: DType::String, shape, contents, strings: Some(Arc::new(strings)), source: None })
    }

    /// A decoded tensor: `external` holds the contents where the message only points at another file.
    ///
    /// # Errors
    /// Fails where type, shape and contents do not go together.
    pub(crate) fn from_proto(proto: TensorProto, external: Option<Bytes>) -> Result<Self> {
        let number = proto.data_type.unwrap_or(0);
        let dtype = DType::from_onnx(number).ok_or_else(|| {
            Error::invalid_model(format!("unknown tensor data type {number}"))
                .expected("a data type of ONNX IR version 14 or lower")
        })?;
        let shape = proto
            .dims
            .iter()
            .map(|&dim| {
                u64::try_from(dim).map_err(|_| Error::invalid_model(format!("negative tensor dimension {dim}")))
            })
            .collect::<Result<Vec<u64>>>()?;
        let count = element_count(&shape)?;
        let is_external = proto.data_location == Some(DataLocation::External as i32);
        let mut strings = None;
        let contents = OnceLock::new();
        if dtype == DType::String {
            if proto.string_data.len() as u64 != count {
                return Err(wrong_size(dtype, &shape, count, proto.string_data.len() as u64));
            }
            strings = Some(Arc::new(proto.string_data.clone()));
        } else {
            let expected = byte_len(dtype, &shape)?;
            let raw = if is_external { external } else { proto.raw_data.clone() };
            match raw {
                Some(raw) => {
                    if raw.len() as u64 != expected {
                        return Err(wrong_size(dtype, &shape, expected, raw.len() as u64));
                    }
                    let _ = contents.set(raw);
                }
                None if is_external => {
                    return Err(Error::invalid_model("external tensor data was not loaded"));
                }
                None => {
                    let found = typed_byte_len(dtype, &proto);
                    if found != expected {
                        return Err(wrong_size(dtype, &shape, expected, found));
                    }
                }
            }
        }
        Ok(Self { dtype, shape, contents, strings, source: Some(Arc::new(proto)) })
    }

    /// The message the tensor was decoded from; `None` once it was made or changed here.
    pub(crate) fn source(&self) -> Option<&TensorProto> {
        self.source.as_deref()
    }

    /// Changes the message the tensor was decoded from, which must go on describing the same contents.
    pub(crate) fn edit_source(&mut self, edit: impl FnOnce(&mut TensorProto)) {
        if let Some(source) = &mut self.source {
            edit(Arc::make_mut(source));
        }
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    /// Fails where the number of values does not fit the shape.
    pub fn from_f32(shape: impl Into<Vec<u64>>, values: &[f32]) -> Result<Self> {
        Self::new(DType::F32, shape, le_bytes(values, |v| v.to_le_bytes()))
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    /// Fails where the number of values does not fit the shape.
    pub fn from_i64(shape: impl Into<Vec<u64>>, values: &[i64]) -> Result<Self> {
        Self::new(DType::I64, shape, le_bytes(values, |v| v.to_le_bytes()))
    }

    /// A tensor of 32-bit integers.
    ///
    /// # Errors
    /// Fails where the number of values does not fit the shape.
    pub fn from_i32(shape: impl Into<Vec<u64>>, values: &[i32]) -> Result<Self> {
        Self::new(DType::I32, shape, le_bytes(values, |v| v.to_le_bytes()))
    }

    /// A tensor of signed bytes.
    ///
    /// # Errors
    /// Fails where the number of values does not fit the shape.
    pub fn from_i8(shape: impl Into<Vec<u64>>, values: &[i8]) -> Result<Self> {
        Self::new(DType::I8, shape, le_bytes(values, |v| v.to_le_bytes()))
    }

    /// A tensor of unsigned bytes.
    ///
    /// # Errors
    /// Fails where the number of values does not fit the shape.
    pub fn from_u8(shape: impl Into<Vec<u64>>, values: Vec<u8>) -> Result<Self> {
        Self::new(DType::U8, shape, values)
    }

    /// Float values in one of the float types, rounded to nearest even.
    ///
    /// # Errors
    /// Fails where `dtype` is no float type or the number of values does not fit the shape.
    pub fn from_floats(dtype: DType, shape: impl Into<Vec<u64>>, values: &[f32]) -> Result<Self> {
        let data = match dtype {
            DType::F32 => le_bytes(values, |v| v.to_le_bytes()),
            DType::F64 => le_bytes(values, |v| f64::from(v).to_le_bytes()),
            DType::F16 => le_bytes(values, |v| half::f16::from_f32(v).to_le_bytes()),
            DType::BF16 => le_bytes(values, |v| half::bf16::from_f32(v).to_le_bytes()),
            other => return Err(Error::unsupported(format!("`{other}` is no float type to store values in"))),
        };
        Self::new(dtype, shape, data)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The extents.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // Every constructor checked the product against contents that fit in memory.
        self.shape.iter().product::<u64>() as usize
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as raw little-endian bytes; empty for strings.
    pub fn data(&self) -> &Bytes {
        self.contents.get_or_init(|| self.source.as_deref().map_or_else(Bytes::new, |p| typed_bytes(self.dtype, p)))
    }

    /// The number of bytes of the contents, strings included.
    pub fn byte_len(&self) -> u64 {
        match &self.strings {
            Some(strings) => strings.iter().map(|s| s.len() as u64).sum(),
            None => byte_len(self.dtype, &self.shape).unwrap_or(0),
        }
    }

    /// The strings of a string tensor.
    pub fn strings(&self) -> Option<&[Bytes]> {
        self.strings.as_ref().map(|s| s.as_slice())
    }

    /// The values of a float tensor, widened or rounded to 32 bits; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let data = self.data();
        Some(match self.dtype {
            DType::F32 => elements(data, f32::from_le_bytes),
            DType::F64 => elements(data, |b: [u8; 8]| f64::from_le_bytes(b) as f32),
            DType::F16 => elements(data, |b: [u8; 2]| half::f16::from_le_bytes(b).to_f32()),
            DType::BF16 => elements(data, |b: [u8; 2]| half::bf16::from_le_bytes(b).to_f32()),
            _ => return None,
        })
    }

    /// The values of an integer or bool tensor of at least 8 bits; `None` for other types and 64-bit unsigned values out
    /// of range.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let data = self.data();
        Some(match self.dtype {
            DType::U8 | DType::Bool => data.iter().map(|&b| i64::from(b)).collect(),
            DType::I8 => data.iter().map(|&b| i64::from(b as i8)).collect(),
            DType::U16 => elements(data, |b: [u8; 2]| i64::from(u16::from_le_bytes(b))),
            DType::I16 => elements(data, |b: [u8; 2]| i64::from(i16::from_le_bytes(b))),
            DType::I32 => elements(data, |b: [u8; 4]| i64::from(i32::from_le_bytes(b))),
            DType::U32 => elements(data, |b: [u8; 4]| i64::from(u32::from_le_bytes(b))),
            DType::I64 => elements(data, i64::from_le_bytes),
            DType::U64 => {
                let values: Vec<u64> = elements(data, u64::from_le_bytes);
                values.into_iter().map(|v| i64::try_from(v).ok()).collect::<Option<Vec<i64>>>()?
            }
            _ => return None,
        })
    }

    /// The one value of a tensor with one element, as a float; `None` for more elements or other types.
    pub fn scalar_f32(&self) -> Option<f32> {
        (self.len() == 1).then(|| self.to_f32())?.and_then(|v| v.first().copied())
    }

    /// The one value of a tensor with one element, as an integer; `None` for more elements or other types.
    pub fn scalar_i64(&self) -> Option<i64> {
        (self.len() == 1).then(|| self.to_i64())?.and_then(|v| v.first().copied())
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// Fails where the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<u64>>) -> Result<Self> {
        let shape = shape.into();
        match &self.strings {
            Some(strings) => Self::from_strings(shape, strings.to_vec()),
            None => Self::new(self.dtype, shape, self.data().clone()),
        }
    }

    /// Whether type, shape and contents are equal, bit for bit.
    pub fn same_as(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.strings == other.strings
            && self.data() == other.data()
    }

    /// Type and shape as the textual syntax writes them: `float[64,3,7,7]`; a scalar is `float`.
    pub fn type_text(&self) -> String {
        type_text(self.dtype, &self.shape)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {} bytes)", self.type_text(), self.byte_len())
    }
}

fn type_text(dtype: DType, shape: &[u64]) -> String {
    if shape.is_empty() {
        return dtype.to_string();
    }
    let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("{dtype}[{}]", dims.join(","))
}

fn element_count(shape: &[u64]) -> Result<u64> {
    shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)).ok_or_else(|| {
        Error::invalid_model("the number of tensor elements overflows 64 bits").found(format!("dimensions {shape:?}"))
    })
}

fn byte_len(dtype: DType, shape: &[u64]) -> Result<u64> {
    let count = element_count(shape)?;
    dtype
        .byte_len(count)
        .ok_or_else(|| Error::invalid_model(format!("{count} elements of type `{dtype}` have no size")))
}

fn wrong_size(dtype: DType, shape: &[u64], expected: u64, found: u64) -> Error {
    let unit = if dtype == DType::String { "strings" } else { "bytes" };
    Error::invalid_model("tensor contents do not fit its type and shape")
        .expected(format!("{expected} {unit} for `{}`", type_text(dtype, shape)))
        .found(format!("{found} {unit}"))
}

fn elements<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
}

fn le_bytes<const N: usize, T: Copy>(values: &[T], write: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| write(v)).collect()
}

/// Bytes of the raw form of contents that a message keeps in a typed field.
fn typed_byte_len(dtype: DType, proto: &TensorProto) -> u64 {
    (match dtype {
        DType::F32 | DType::Complex64 => proto.float_data.len() * 4,
        DType::F64 | DType::Complex128 => proto.double_data.len() * 8,
        DType::I64 => proto.int64_data.len() * 8,
        DType::U64 => proto.uint64_data.len() * 8,
        DType::U32 => proto.uint64_data.len() * 4,
        DType::I32 => proto.int32_data.len() * 4,
        DType::U16 | DType::I16 | DType::F16 | DType::BF16 => proto.int32_data.len() * 2,
        DType::F6E2M3 | DType::F6E3M2 => (proto.int32_data.len() * 6).div_ceil(8),
        // Bytes, and the other types of less than a byte: one packed byte in each int32.
        _ => proto.int32_data.len(),
    }) as u64
}

/// The raw form of contents that a message keeps in a typed field.
fn typed_bytes(dtype: DType, proto: &TensorProto) -> Bytes {
    match dtype {
        DType::F32 | DType::Complex64 => le_bytes(&proto.float_data, |v| v.to_le_bytes()),
        DType::F64 | DType::Complex128 => le_bytes(&proto.double_data, |v| v.to_le_bytes()),
        DType::I64 => le_bytes(&proto.int64_data, |v| v.to_le_bytes()),
        DType::U64 => le_bytes(&proto.uint64_data, |v| v.to_le_bytes()),
        DType::U32 => le_bytes(&proto.uint64_data, |v| (v as u32).to_le_bytes()),
        DType::I32 => le_bytes(&proto.int32_data, |v| v.to_le_bytes()),
        DType::U16 | DType::I16 | DType::F16 | DType::BF16 => le_bytes(&proto.int32_data, |v| (v as u16).to_le_bytes()),
        DType::F6E2M3 | DType::F6E3M2 => pack_six_bits(&proto.int32_data),
        _ => proto.int32_data.iter().map(|&v| v as u8).collect(),
    }
    .into()
}

/// Six-bit codes, one in each integer, as `raw_data` packs them: from the lowest bit up, four in three bytes.
fn pack_six_bits(codes: &[i32]) -> Vec<u8> {
    let mut packed = vec![0u8; (codes.len() * 6).div_ceil(8)];
    for (index, &code) in codes.iter().enumerate() {
        let (byte, shift) = (index * 6 / 8, index * 6 % 8);
        let bits = ((code & 0x3f) as u16) << shift;
        packed[byte] |= bits as u8;
        if let Some(next) = packed.get_mut(byte + 1) {
            *next |= (bits >> 8) as u8;
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_the_size_of_contents() {
        assert!(Tensor::new(DType::F32, vec![2, 3], vec![0; 24]).is_ok());
        assert!(Tensor::new(DType::F32, vec![2, 3], vec![0; 23]).is_err());
        assert!(Tensor::new(DType::I4, vec![3], vec![0; 2]).is_ok());
        assert!(Tensor::new(DType::U8, vec![u64::MAX, 2], vec![0; 2]).is_err());
    }

    #[test]
    fn reads_typed_fields_like_raw_ones() {
        let proto = TensorProto {
            data_type: Some(DType::I8.to_onnx()),
            dims: vec![3],
            int32_data: vec![-1, 127, -128],
            ..TensorProto::default()
        };
        let tensor = Tensor::from_proto(proto, None).unwrap();
        assert_eq!(tensor.to_i64(), Some(vec![-1, 127, -128]));
        assert_eq!(tensor.data().as_ref(), &[255, 127, 128]);
    }

    #[test]
    fn packs_six_bit_codes_four_in_three_bytes() {
        let codes = [0b00_0001, 0b10_0010, 0b00_0011, 0b11_0100, 0b11_1111];
        assert_eq!(pack_six_bits(&codes), [0b1000_0001, 0b0011_1000, 0b1101_0000, 0b0011_1111]);
        assert_eq!(DType::F6E2M3.byte_len(5), Some(4));
    }

    #[test]
    fn rounds_floats_to_the_narrower_type() {
        let tensor = Tensor::from_floats(DType::F16, vec![2], &[1.0, 1.0 + 1.0 / 4096.0]).unwrap();
        assert_eq!(tensor.to_f32(), Some(vec![1.0, 1.0]));
    }
}
