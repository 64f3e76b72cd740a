//! Tensors: type, and contents as a list, a fill, or left out.

use bytes::Bytes;

use super::super::element;
use super::super::fill::{self, Fill};
use super::super::lexer::Token;
use super::cursor::Cursor;
use super::types;
use crate::error::Result;
use crate::ir::DType;
use crate::onnx::proto::{SparseTensorProto, TensorProto, TypeProto, tensor_shape_proto::dimension, type_proto};

/// A fill makes no more elements than this: a short text must not ask for unbounded memory.
const MAX_FILL: u64 = 1 << 26;

/// The contents of a tensor whose type stood at `at`.
pub(super) fn contents(cursor: &mut Cursor<'_>, ty: &TypeProto, at: usize) -> Result<TensorProto> {
    let Some(type_proto::Value::TensorType(tensor)) = &ty.value else {
        return Err(cursor.error_at(at, "a constant needs the type of a dense tensor"));
    };
    let dims = tensor.shape.as_ref().and_then(|shape| extents(&shape.dim));
    let dtype = tensor.elem_type.and_then(DType::from_onnx);
    let (Some(dims), Some(dtype)) = (dims, dtype) else {
        return Err(cursor
            .error_at(at, "the type of a constant is not complete")
            .expected("an element type, and a number for every extent"));
    };
    let start = cursor.offset();
    let mut proto = TensorProto { dims, data_type: Some(dtype.to_onnx()), ..TensorProto::default() };
    match cursor.peek() {
        Token::Punct('{') if dtype == DType::String => {
            proto.string_data = cursor.list('{', '}', string)?;
            check_count(cursor, start, proto.string_data.len(), &proto.dims, 1)?;
        }
        Token::Punct('{') => {
            let (literal, per_element) = element::literal_type(dtype);
            let bits = elements(cursor, literal)?;
            check_count(cursor, start, bits.len(), &proto.dims, per_element)?;
            proto.raw_data = Some(element::pack(literal, bits.into_iter()).into());
        }
        Token::Ident("rand" | "iota") => proto.raw_data = Some(filled(cursor, dtype, &proto.dims)?.into()),
        Token::Hash(_) => {
            return Err(cursor
                .error_at(start, "the data of a tensor is not in the text")
                .expected("`{...}`, `rand(SEED)` or `iota`")
                .found(format!("{}, the hash of the data", cursor.peek().describe()))
                .help("print the model with its full data"));
        }
        _ => return cursor.expected("the contents of a tensor: `{...}`, `rand(SEED)` or `iota`"),
    }
    Ok(proto)
}

/// The number of elements of a shape; `None` past 64 bits.
fn count(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(u64::try_from(dim).ok()?))
}

fn check_count(cursor: &Cursor<'_>, at: usize, found: usize, dims: &[i64], per_element: u64) -> Result<()> {
    let expected = count(dims).and_then(|count| count.checked_mul(per_element));
    if expected == Some(found as u64) {
        return Ok(());
    }
    let expected = expected.map_or_else(|| "more than 64 bits can count".to_owned(), |count| count.to_string());
    Err(cursor
        .error_at(at, "the number of elements does not fit the shape")
        .expected(expected)
        .found(found.to_string()))
}

fn extents(dims: &[crate::onnx::proto::tensor_shape_proto::Dimension]) -> Option<Vec<i64>> {
    dims.iter()
        .map(|dim| match dim.value {
            Some(dimension::Value::DimValue(extent)) => Some(extent).filter(|&e| e >= 0),
            _ => None,
        })
        .collect()
}

/// A string or a byte string.
pub(super) fn string(cursor: &mut Cursor<'_>) -> Result<Bytes> {
    match cursor.peek() {
        Token::Str(_) => cursor.string().map(Bytes::from),
        Token::Bytes(_) => Ok(match cursor.next()? {
            Token::Bytes(bytes) => bytes.into(),
            _ => Bytes::new(),
        }),
        _ => cursor.expected("a quoted string"),
    }
}

fn elements(cursor: &mut Cursor<'_>, dtype: DType) -> Result<Vec<u128>> {
    cursor.list('{', '}', |cursor| {
        let text = match cursor.peek() {
            Token::Number(text) | Token::Ident(text) => *text,
            _ => "",
        };
        let Some(bits) = element::bits(dtype, text) else {
            return cursor.expected(format!("an element of type {dtype}"));
        };
        cursor.next()?;
        Ok(bits)
    })
}

fn filled(cursor: &mut Cursor<'_>, dtype: DType, dims: &[i64]) -> Result<Vec<u8>> {
    let at = cursor.offset();
    let fill = match cursor.identifier("a fill")? {
        "iota" => Fill::Iota,
        _ => {
            cursor.expect('(')?;
            let seed = cursor.integer()? as u64;
            cursor.expect(')')?;
            Fill::Random(seed)
        }
    };
    let count = count(dims).filter(|&count| count <= MAX_FILL);
    let Some(count) = count else {
        return Err(cursor.error_at(at, "too many elements to fill").expected(format!("at most {MAX_FILL}")));
    };
    fill::make(fill, dtype, count as usize)
        .ok_or_else(|| cursor.error_at(at, &format!("a tensor of type {dtype} cannot be filled")))
}

/// A tensor after its type, with an optional name and `=`: as it stands in attributes.
pub(super) fn named(cursor: &mut Cursor<'_>, ty: &TypeProto, at: usize) -> Result<TensorProto> {
    let name = match cursor.peek() {
        Token::Ident("rand" | "iota") => None,
        Token::Ident(_) | Token::Str(_) => Some(cursor.name("a name")?),
        _ => None,
    };
    cursor.take('=')?;
    Ok(TensorProto { name, ..contents(cursor, ty, at)? })
}

/// `{VALUES, INDICES}` of a sparse tensor whose type stood at `at`.
pub(super) fn sparse(cursor: &mut Cursor<'_>, ty: &TypeProto, at: usize) -> Result<SparseTensorProto> {
    let dims = match &ty.value {
        Some(type_proto::Value::SparseTensorType(sparse)) => sparse.shape.as_ref().and_then(|s| extents(&s.dim)),
        _ => None,
    };
    let Some(dims) = dims else {
        return Err(cursor
            .error_at(at, "the type of a constant is not complete")
            .expected("a number for every extent"));
    };
    let parts = cursor.list('{', '}', |cursor| {
        let at = cursor.offset();
        let ty = types::type_proto(cursor)?;
        named(cursor, &ty, at)
    })?;
    let Ok([values, indices]) = <[TensorProto; 2]>::try_from(parts) else {
        return Err(cursor.error_at(at, "a sparse tensor has two parts").expected("`{VALUES, INDICES}`"));
    };
    Ok(SparseTensorProto { values: Some(values), indices: Some(indices), dims })
}
