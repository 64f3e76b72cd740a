//! One array in NumPy's `.npy` format, as a [`Tensor`].
//!
//! Little-endian arrays in C order share the buffer they are read from; big-endian and Fortran-order ones are copied
//! into that form. Arrays of Python objects and records are refused.

use bytes::Bytes;
use npyz::{DType as NpyType, Endianness, NpyHeader, Order, TypeChar, TypeStr};

use crate::error::{Error, Result, Site};
use crate::ir::{DType, Shape, Tensor, ValueType};

/// NumPy's own reader refuses longer headers, because evaluating them costs more than they are worth.
const MAX_HEADER_BYTES: usize = 10_000;

/// No header ends past this many bytes of a file: magic, version, length and the text.
pub(super) const MAX_PREFIX_BYTES: u64 = 12 + MAX_HEADER_BYTES as u64;

/// Brackets in a header nest no deeper than this outside of structured types, which are refused anyway.
const MAX_HEADER_NESTING: usize = 8;

/// Type and shape of the array `name`, from the first [`MAX_PREFIX_BYTES`] of an `.npy` file.
///
/// # Errors
/// Fails where the bytes start no `.npy` file of an element type that ONNX knows.
pub(super) fn describe(name: &str, prefix: &[u8]) -> Result<ValueType> {
    let (header, _) = parse_header(prefix).map_err(|e| e.or_at(|| Site::tensor(name)))?;
    let dtype = match element_type(&header.dtype()).ok_or_else(|| unsupported_type(name, &header))?.kind {
        Kind::Plain(dtype) => dtype,
        Kind::Bytes | Kind::Unicode => DType::String,
    };
    Ok(ValueType::tensor(dtype, Some(Shape::fixed(header.shape().iter().copied()))))
}

/// Element type, shape and where the elements start, of an array of numbers that lies in a file of `len` bytes as tensors
/// do; `None` where its elements have to be put into another order.
///
/// # Errors
/// As [`parse`].
pub(super) fn plain(name: &str, prefix: &[u8], len: u64) -> Result<Option<(DType, Vec<u64>, u64)>> {
    let (header, data_start) = parse_header(prefix).map_err(|e| e.or_at(|| Site::tensor(name)))?;
    let element = element_type(&header.dtype()).ok_or_else(|| unsupported_type(name, &header))?;
    let Kind::Plain(dtype) = element.kind else { return Ok(None) };
    let shape = header.shape().to_vec();
    let is_in_order = header.order() == Order::C || shape.len() < 2;
    let bytes = shape.iter().try_fold(element.bytes as u64, |product, &dim| product.checked_mul(dim));
    let fits = bytes.is_some_and(|bytes| bytes > 0 && bytes.checked_add(data_start as u64) == Some(len));
    let is_little = !element.big_endian || element.bytes == 1;
    Ok((fits && is_in_order && is_little).then_some((dtype, shape, data_start as u64)))
}

/// Reads the array `name` from the bytes of an `.npy` file.
///
/// # Errors
/// Fails where the bytes are no whole `.npy` file of an element type that ONNX knows.
pub(super) fn parse(name: &str, file: &Bytes) -> Result<Tensor> {
    let (header, data_start) = parse_header(file).map_err(|e| e.or_at(|| Site::tensor(name)))?;
    let element = element_type(&header.dtype()).ok_or_else(|| unsupported_type(name, &header))?;
    let shape = header.shape().to_vec();
    let expected_bytes = shape
        .iter()
        .try_fold(element.bytes as u64, |product, &dim| product.checked_mul(dim))
        .ok_or_else(|| corrupt(name).found(format!("a shape of {shape:?}, which overflows 64 bits")))?;
    let data = file.slice(data_start..);
    if data.len() as u64 != expected_bytes {
        return Err(corrupt(name)
            .expected(format!("{expected_bytes} bytes for {} with shape {shape:?}", header.dtype().descr()))
            .found(format!("{} bytes", data.len())));
    }
    let data = in_c_order(data, &header, element.bytes);
    let tensor = match element.kind {
        Kind::Plain(dtype) => Tensor::new(dtype, shape, to_little_endian(data, &element)),
        Kind::Bytes => Tensor::from_strings(shape, byte_strings(&data, element.bytes)),
        Kind::Unicode => Tensor::from_strings(shape, unicode_strings(name, &data, &element)?),
    };
    tensor.map_err(|e| e.or_at(|| Site::tensor(name)))
}

/// The header of an `.npy` file and where its data starts.
fn parse_header(file: &[u8]) -> Result<(NpyHeader, usize)> {
    let bad = |why: &str| Error::invalid_data("malformed .npy header").expected("an array written by NumPy").found(why);
    let length_at = |range: std::ops::Range<usize>| {
        file.get(range).map(|bytes| bytes.iter().rev().fold(0_usize, |length, &byte| (length << 8) | usize::from(byte)))
    };
    if file.len() < 8 || !file.starts_with(b"\x93NUMPY") {
        return Err(bad("other magic bytes"));
    }
    // Version 1 has two bytes of header length, later versions have four.
    let text_start = if file[6] == 1 { 10 } else { 12 };
    let length = length_at(8..text_start).ok_or_else(|| bad("the file ends inside the header"))?;
    if length > MAX_HEADER_BYTES {
        return Err(bad(&format!("a header of {length} bytes")));
    }
    let data_start = text_start + length;
    let text = file.get(text_start..data_start).ok_or_else(|| bad("the file ends inside the header"))?;
    if !is_harmless_header(text) {
        return Err(bad("a header that is no plain description of an array"));
    }
    let header = NpyHeader::from_reader(&file[..data_start]).map_err(|e| bad(&e.to_string()).with_source(e))?;
    Ok((header, data_start))
}

/// Whether parsing the header is safe: `npyz` evaluates it recursively and multiplies the extents unchecked, so deep
/// nesting and an overflowing shape are found before it is asked.
fn is_harmless_header(text: &[u8]) -> bool {
    let (mut quote, mut depth, mut digits, mut product) = (None, 0_usize, String::new(), 1_u64);
    for &byte in text.iter().chain(b" ") {
        if let Some(open) = quote {
            if byte == b'\\' {
                return false;
            }
            quote = (byte != open).then_some(open);
            continue;
        }
        if byte.is_ascii_digit() {
            digits.push(char::from(byte));
            continue;
        }
        if !digits.is_empty() {
            let checked = digits.parse::<u64>().ok().and_then(|extent| product.checked_mul(extent.max(1)));
            let Some(checked) = checked else { return false };
            product = checked;
            digits.clear();
        }
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' | b' ' | b'\n' => {}
            // The letters of True and False.
            letter if letter.is_ascii_alphabetic() => {}
            _ => return false,
        }
        if depth > MAX_HEADER_NESTING {
            return false;
        }
    }
    quote.is_none()
}

/// How one element is stored.
struct Element {
    kind: Kind,
    bytes: usize,
    big_endian: bool,
}

enum Kind {
    /// A number or bool that ONNX has too.
    Plain(DType),
    /// A byte string padded with zeros.
    Bytes,
    /// UTF-32 code points padded with zeros.
    Unicode,
}

fn element_type(descr: &NpyType) -> Option<Element> {
    let NpyType::Plain(scalar) = descr else { return None };
    let kind = match (scalar.type_char(), scalar.size_field()) {
        (TypeChar::Bool, 1) => Kind::Plain(DType::Bool),
        (TypeChar::Int, 1) => Kind::Plain(DType::I8),
        (TypeChar::Int, 2) => Kind::Plain(DType::I16),
        (TypeChar::Int, 4) => Kind::Plain(DType::I32),
        (TypeChar::Int, 8) => Kind::Plain(DType::I64),
        (TypeChar::Uint, 1) => Kind::Plain(DType::U8),
        (TypeChar::Uint, 2) => Kind::Plain(DType::U16),
        (TypeChar::Uint, 4) => Kind::Plain(DType::U32),
        (TypeChar::Uint, 8) => Kind::Plain(DType::U64),
        (TypeChar::Float, 2) => Kind::Plain(DType::F16),
        (TypeChar::Float, 4) => Kind::Plain(DType::F32),
        (TypeChar::Float, 8) => Kind::Plain(DType::F64),
        (TypeChar::ByteStr, 1..) => Kind::Bytes,
        (TypeChar::UnicodeStr, 1..) => Kind::Unicode,
        _ => return None,
    };
    Some(Element { kind, bytes: element_bytes(scalar)?, big_endian: scalar.endianness() == Endianness::Big })
}

fn element_bytes(scalar: &TypeStr) -> Option<usize> {
    scalar.num_bytes().filter(|&bytes| bytes > 0)
}

/// The elements with the last axis varying fastest.
fn in_c_order(data: Bytes, header: &NpyHeader, element_bytes: usize) -> Bytes {
    let shape = header.shape();
    if header.order() == Order::C || shape.len() < 2 || data.is_empty() {
        return data;
    }
    let mut reordered = Vec::with_capacity(data.len());
    let mut index = vec![0_u64; shape.len()];
    for _ in 0..data.len() / element_bytes {
        let offset = index.iter().zip(header.strides()).map(|(i, stride)| i * stride).sum::<u64>() as usize;
        reordered.extend_from_slice(&data[offset * element_bytes..(offset + 1) * element_bytes]);
        for (digit, &extent) in index.iter_mut().zip(shape).rev() {
            *digit += 1;
            if *digit < extent {
                break;
            }
            *digit = 0;
        }
    }
    reordered.into()
}

fn to_little_endian(data: Bytes, element: &Element) -> Bytes {
    if !element.big_endian || element.bytes == 1 {
        return data;
    }
    let mut swapped = data.to_vec();
    swapped.chunks_exact_mut(element.bytes).for_each(<[u8]>::reverse);
    swapped.into()
}

fn byte_strings(data: &Bytes, width: usize) -> Vec<Bytes> {
    data.chunks_exact(width)
        .map(|padded| {
            let length = padded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            data.slice_ref(&padded[..length])
        })
        .collect()
}

fn unicode_strings(name: &str, data: &Bytes, element: &Element) -> Result<Vec<Bytes>> {
    let decode = |padded: &[u8]| -> Option<Bytes> {
        let points = padded
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&point| if element.big_endian { u32::from_be_bytes(point) } else { u32::from_le_bytes(point) });
        let text = points.map(char::from_u32).collect::<Option<String>>()?;
        Some(text.trim_end_matches('\0').to_owned().into())
    };
    let strings = data.chunks_exact(element.bytes).map(decode).collect::<Option<Vec<Bytes>>>();
    strings.ok_or_else(|| corrupt(name).expected("Unicode code points").found("a number that is none"))
}

fn unsupported_type(name: &str, header: &NpyHeader) -> Error {
    let error = Error::invalid_data(format!("array `{name}` has an element type that no model input can have"))
        .expected("numbers, bools or strings")
        .found(header.dtype().descr());
    if header.dtype().uses_pickled_array() {
        return error.help("an object array usually holds rows of different lengths: pad them to one length");
    }
    error
}

fn corrupt(name: &str) -> Error {
    Error::invalid_data(format!("array `{name}` is truncated or corrupt"))
}
