//! Types of values.

use std::fmt::{self, Write};

use super::super::lexer::is_identifier;
use super::quote::{Notes, name, notes, quoted};
use crate::ir::DType;
use crate::onnx::proto::{
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto::Value,
};

/// A value with its type, as lists of inputs, outputs and types have it.
pub(super) fn value_info(out: &mut impl Write, value: &str, info: Option<&ValueInfoProto>) -> fmt::Result {
    let Some(info) = info else { return name(out, value) };
    if let Some(ty) = &info.r#type {
        type_proto(out, ty)?;
        out.write_char(' ')?;
    }
    name(out, value)?;
    notes(
        out,
        &Notes {
            doc_string: info.doc_string.as_deref(),
            metadata_props: &info.metadata_props,
            denotation: info.r#type.as_ref().and_then(|ty| ty.denotation.as_deref()),
            ..Notes::default()
        },
    )
}

/// A type.
pub(super) fn type_proto(out: &mut impl Write, ty: &TypeProto) -> fmt::Result {
    match &ty.value {
        None => out.write_char('?'),
        Some(Value::TensorType(tensor)) => {
            element(out, tensor.elem_type)?;
            shape(out, tensor.shape.as_ref(), known(tensor.elem_type).is_none())
        }
        Some(Value::SequenceType(sequence)) => wrapped(out, "seq", sequence.elem_type.as_deref()),
        Some(Value::OptionalType(optional)) => wrapped(out, "optional", optional.elem_type.as_deref()),
        Some(Value::MapType(map)) => {
            out.write_str("map(")?;
            element(out, map.key_type)?;
            out.write_str(", ")?;
            inner(out, map.value_type.as_deref())?;
            out.write_char(')')
        }
        Some(Value::SparseTensorType(sparse)) => {
            out.write_str("sparse_tensor(")?;
            element(out, sparse.elem_type)?;
            shape(out, sparse.shape.as_ref(), false)?;
            out.write_char(')')
        }
        Some(Value::OpaqueType(opaque)) => {
            out.write_str("opaque(")?;
            if let Some(domain) = opaque.domain.as_deref().filter(|d| !d.is_empty()) {
                let is_plain = domain.split('.').all(is_identifier);
                if is_plain {
                    out.write_str(domain)?
                } else {
                    quoted(out, domain)?
                }
                out.write_str(", ")?;
            }
            match opaque.name() {
                "" => {}
                name if name.split('.').all(is_identifier) => out.write_str(name)?,
                name => quoted(out, name)?,
            }
            out.write_char(')')
        }
    }
}

fn wrapped(out: &mut impl Write, word: &str, element: Option<&TypeProto>) -> fmt::Result {
    write!(out, "{word}(")?;
    inner(out, element)?;
    out.write_char(')')
}

fn inner(out: &mut impl Write, ty: Option<&TypeProto>) -> fmt::Result {
    match ty {
        Some(ty) => type_proto(out, ty),
        None => out.write_char('?'),
    }
}

fn known(elem_type: Option<i32>) -> Option<DType> {
    elem_type.and_then(DType::from_onnx)
}

fn element(out: &mut impl Write, elem_type: Option<i32>) -> fmt::Result {
    out.write_str(known(elem_type).map_or("?", DType::name))
}

/// Nothing for a scalar, `[]` for an unknown rank. A scalar of unknown type is written as of unknown rank, because `?`
/// alone is a type of which nothing at all is known.
fn shape(out: &mut impl Write, shape: Option<&TensorShapeProto>, brackets: bool) -> fmt::Result {
    let dims = shape.map_or(&[][..], |shape| &shape.dim);
    if dims.is_empty() {
        return out.write_str(if shape.is_none() || brackets { "[]" } else { "" });
    }
    out.write_char('[')?;
    for (index, dim) in dims.iter().enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        match &dim.value {
            None => out.write_char('?')?,
            Some(dimension::Value::DimValue(extent)) => write!(out, "{extent}")?,
            Some(dimension::Value::DimParam(symbol)) if is_identifier(symbol) => out.write_str(symbol)?,
            Some(dimension::Value::DimParam(symbol)) => quoted(out, symbol)?,
        }
    }
    out.write_char(']')
}
