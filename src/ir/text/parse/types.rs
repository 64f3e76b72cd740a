//! Types of values.

use super::super::lexer::Token;
use super::cursor::Cursor;
use crate::error::Result;
use crate::ir::DType;
use crate::onnx::proto::{
    TensorShapeProto, TypeProto,
    tensor_shape_proto::{Dimension, dimension},
    type_proto::{self, Value},
};

/// The words that begin a type other than that of a dense tensor.
pub(in super::super) const TYPE_WORDS: [&str; 5] = ["seq", "map", "optional", "sparse_tensor", "opaque"];

/// Whether a type is next.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    match cursor.peek() {
        Token::Ident(word) => DType::from_name(word).is_some() || TYPE_WORDS.contains(word),
        Token::Punct('?') => true,
        _ => false,
    }
}

/// A type.
pub(super) fn type_proto(cursor: &mut Cursor<'_>) -> Result<TypeProto> {
    cursor.nested(|cursor| Ok(TypeProto { value: value(cursor)?, ..TypeProto::default() }))
}

fn value(cursor: &mut Cursor<'_>) -> Result<Option<Value>> {
    if !is_next(cursor) {
        return cursor.expected("a type");
    }
    let word = match cursor.next()? {
        Token::Ident(word) => word,
        _ if *cursor.peek() != Token::Punct('[') => return Ok(None),
        _ => "?",
    };
    if !TYPE_WORDS.contains(&word) {
        let elem_type = DType::from_name(word).map(DType::to_onnx);
        return Ok(Some(Value::TensorType(type_proto::Tensor { elem_type, shape: shape(cursor)? })));
    }
    cursor.expect('(')?;
    let value = match word {
        "seq" => {
            let elem_type = Some(Box::new(type_proto(cursor)?));
            Value::SequenceType(Box::new(type_proto::Sequence { elem_type }))
        }
        "optional" => {
            let elem_type = Some(Box::new(type_proto(cursor)?));
            Value::OptionalType(Box::new(type_proto::Optional { elem_type }))
        }
        "map" => {
            let key_type = element(cursor)?;
            cursor.expect(',')?;
            let value_type = Some(Box::new(type_proto(cursor)?));
            Value::MapType(Box::new(type_proto::Map { key_type, value_type }))
        }
        "sparse_tensor" => {
            let elem_type = element(cursor)?;
            Value::SparseTensorType(type_proto::SparseTensor { elem_type, shape: shape(cursor)? })
        }
        _ => opaque(cursor)?,
    };
    cursor.expect(')')?;
    Ok(Some(value))
}

fn element(cursor: &mut Cursor<'_>) -> Result<Option<i32>> {
    if cursor.take('?')? {
        return Ok(None);
    }
    let Token::Ident(word) = *cursor.peek() else { return cursor.expected("an element type") };
    let Some(dtype) = DType::from_name(word) else { return cursor.expected("an element type") };
    cursor.next()?;
    Ok(Some(dtype.to_onnx()))
}

/// Nothing for a scalar, `[]` for an unknown rank.
fn shape(cursor: &mut Cursor<'_>) -> Result<Option<TensorShapeProto>> {
    if *cursor.peek() != Token::Punct('[') {
        return Ok(Some(TensorShapeProto::default()));
    }
    let dim = cursor.list('[', ']', |cursor| {
        let value = match cursor.peek() {
            Token::Punct('?') => {
                cursor.next()?;
                None
            }
            Token::Number(_) => Some(dimension::Value::DimValue(cursor.integer()?)),
            _ => Some(dimension::Value::DimParam(cursor.name("an extent: a number, a name or `?`")?)),
        };
        Ok(Dimension { value, ..Dimension::default() })
    })?;
    Ok((!dim.is_empty()).then_some(TensorShapeProto { dim }))
}

/// `opaque()`, `opaque(name)`, `opaque(some.domain, name)`: what stands between the brackets.
fn opaque(cursor: &mut Cursor<'_>) -> Result<Value> {
    let mut opaque = type_proto::Opaque::default();
    if *cursor.peek() != Token::Punct(')') {
        let mut first = cursor.name("a domain or a name")?;
        while cursor.take('.')? {
            first.push('.');
            first.push_str(&cursor.name("a part of a domain")?);
        }
        if cursor.take(',')? {
            opaque.domain = Some(first);
            opaque.name = Some(cursor.name("a name")?);
        } else {
            opaque.name = Some(first);
        }
    }
    Ok(Value::OpaqueType(opaque))
}
