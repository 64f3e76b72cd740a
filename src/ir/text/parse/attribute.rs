//! Attributes of operators.

use super::super::lexer::Token;
use super::cursor::Cursor;
use super::{graph, tensor, types};
use crate::error::Result;
use crate::ir::DType;
use crate::onnx::proto::{AttributeProto, attribute_proto::AttributeType, type_proto::Value};

/// The types by their names in the text; a list has its element beside it.
const TYPES: [(&str, AttributeType, Option<AttributeType>); 14] = {
    use AttributeType::*;
    [
        ("float", Float, None),
        ("int", Int, None),
        ("string", String, None),
        ("tensor", Tensor, None),
        ("graph", Graph, None),
        ("sparse_tensor", SparseTensor, None),
        ("type_proto", TypeProto, None),
        ("floats", Floats, Some(Float)),
        ("ints", Ints, Some(Int)),
        ("strings", Strings, Some(String)),
        ("tensors", Tensors, Some(Tensor)),
        ("graphs", Graphs, Some(Graph)),
        ("sparse_tensors", SparseTensors, Some(SparseTensor)),
        ("type_protos", TypeProtos, Some(TypeProto)),
    ]
};

/// The name of a type in the text.
pub(in super::super) fn type_name(kind: AttributeType) -> &'static str {
    TYPES.iter().find(|(_, t, _)| *t == kind).map_or("undefined", |(name, ..)| name)
}

/// `<name = value, ...>`, where it is next.
pub(super) fn attributes(cursor: &mut Cursor<'_>) -> Result<Vec<AttributeProto>> {
    if *cursor.peek() != Token::Punct('<') {
        return Ok(Vec::new());
    }
    cursor.list('<', '>', |cursor| {
        let name = cursor.name("the name of an attribute")?;
        value_of(cursor, name)
    })
}

/// An attribute after its name: a type, where it is given, and a value.
pub(super) fn value_of(cursor: &mut Cursor<'_>, name: String) -> Result<AttributeProto> {
    let declared = if cursor.take(':')? { Some(declared_type(cursor)?) } else { None };
    cursor.expect('=')?;
    let at = cursor.offset();
    let mut attribute = AttributeProto { name: Some(name), ..AttributeProto::default() };
    if cursor.take('@')? {
        attribute.ref_attr_name = Some(cursor.name("the name of an attribute of the function")?);
        attribute.r#type = declared.map(|kind| kind as i32);
        return Ok(attribute);
    }
    let element = declared.and_then(|kind| TYPES.iter().find(|(_, t, _)| *t == kind)?.2);
    let kind = if *cursor.peek() == Token::Punct('[') {
        let kinds = cursor.list('[', ']', |cursor| {
            let mut one = AttributeProto::default();
            let kind = single(cursor, &mut one, element)?;
            append(&mut attribute, one);
            Ok(kind)
        })?;
        let Some(first) = kinds.first().copied().or(element) else {
            return Err(cursor.error_at(at, "an empty list has no type").expected("`name: ints = []` or the like"));
        };
        if kinds.iter().any(|kind| *kind != first) {
            return Err(cursor.error_at(at, "a list of values of different types"));
        }
        TYPES.iter().find(|(_, _, e)| *e == Some(first)).map_or(AttributeType::Undefined, |(_, list, _)| *list)
    } else {
        single(cursor, &mut attribute, declared)?
    };
    if let Some(declared) = declared.filter(|declared| *declared != kind) {
        return Err(cursor
            .error_at(at, "the value of an attribute does not fit its type")
            .expected(type_name(declared))
            .found(type_name(kind)));
    }
    attribute.r#type = Some(kind as i32);
    Ok(attribute)
}

fn declared_type(cursor: &mut Cursor<'_>) -> Result<AttributeType> {
    let Token::Ident(word) = *cursor.peek() else { return cursor.expected("the type of an attribute") };
    let Some((_, kind, _)) = TYPES.iter().find(|(name, ..)| *name == word) else {
        return cursor.expected(format!("the type of an attribute: {}", TYPES.map(|(name, ..)| name).join(", ")));
    };
    cursor.next()?;
    Ok(*kind)
}

/// Moves the one value of an attribute into a list.
fn append(list: &mut AttributeProto, one: AttributeProto) {
    list.floats.extend(one.f);
    list.ints.extend(one.i);
    list.strings.extend(one.s);
    list.tensors.extend(one.t.map(|boxed| *boxed));
    list.graphs.extend(one.g.map(|boxed| *boxed));
    list.sparse_tensors.extend(one.sparse_tensor.map(|boxed| *boxed));
    list.type_protos.extend(one.tp.map(|boxed| *boxed));
}

/// One value; `wanted` says what it should be where that is known.
fn single(
    cursor: &mut Cursor<'_>,
    attribute: &mut AttributeProto,
    wanted: Option<AttributeType>,
) -> Result<AttributeType> {
    if types::is_next(cursor) {
        return typed(cursor, attribute, wanted);
    }
    match *cursor.peek() {
        Token::Number(text) => number(cursor, attribute, text, wanted),
        Token::Ident(word) if is_float_word(word) => number(cursor, attribute, word, wanted),
        Token::Ident(_) => {
            attribute.g = Some(Box::new(graph::graph(cursor)?));
            Ok(AttributeType::Graph)
        }
        Token::Str(_) => {
            let text = cursor.string()?;
            // Quoted names of graphs go beyond ONNX, whose printer writes them and whose parser takes them for strings.
            if *cursor.peek() == Token::Punct('(') {
                attribute.g = Some(Box::new(graph::named(cursor, text)?));
                return Ok(AttributeType::Graph);
            }
            attribute.s = Some(text.into());
            Ok(AttributeType::String)
        }
        Token::Bytes(_) => {
            attribute.s = Some(tensor::string(cursor)?);
            Ok(AttributeType::String)
        }
        _ => cursor.expected("the value of an attribute"),
    }
}

fn is_float_word(word: &str) -> bool {
    ["nan", "inf", "infinity"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// A number: a float where it looks like one or should be one, else an integer.
fn number(
    cursor: &mut Cursor<'_>,
    attribute: &mut AttributeProto,
    text: &str,
    wanted: Option<AttributeType>,
) -> Result<AttributeType> {
    let is_hex = text.starts_with("0x");
    let looks_float = !is_hex && text.contains(|c: char| c == '.' || c.is_ascii_alphabetic());
    if looks_float || wanted == Some(AttributeType::Float) {
        let Some(bits) = super::super::element::bits(DType::F32, text) else { return cursor.expected("a float") };
        attribute.f = Some(f32::from_bits(bits as u32));
        cursor.next()?;
        return Ok(AttributeType::Float);
    }
    attribute.i = Some(cursor.integer()?);
    Ok(AttributeType::Int)
}

/// What begins with a type: a tensor, a sparse tensor, or the type alone.
fn typed(
    cursor: &mut Cursor<'_>,
    attribute: &mut AttributeProto,
    wanted: Option<AttributeType>,
) -> Result<AttributeType> {
    let at = cursor.offset();
    let ty = types::type_proto(cursor)?;
    let is_alone = wanted == Some(AttributeType::TypeProto) || matches!(cursor.peek(), Token::Punct(',' | '>' | ']'));
    if is_alone {
        attribute.tp = Some(Box::new(ty));
        return Ok(AttributeType::TypeProto);
    }
    if matches!(ty.value, Some(Value::SparseTensorType(_))) {
        cursor.take('=')?;
        attribute.sparse_tensor = Some(Box::new(tensor::sparse(cursor, &ty, at)?));
        return Ok(AttributeType::SparseTensor);
    }
    attribute.t = Some(Box::new(tensor::named(cursor, &ty, at)?));
    Ok(AttributeType::Tensor)
}
