//! Attributes of operators.

use std::fmt::{self, Write};

use super::super::element;
use super::super::parse::type_name;
use super::quote::{byte_string, name};
use super::{Style, graph, separate, tensor, types};
use crate::ir::{AttrRef, Attribute, DType, Node, Tensor};
use crate::onnx::proto::{AttributeProto, SparseTensorProto, TensorProto, attribute_proto::AttributeType};

/// `<name = value, ...>` of an operator.
pub(super) fn attributes(out: &mut impl Write, node: &Node, style: Style) -> fmt::Result {
    out.write_char('<')?;
    for (index, attribute) in node.attributes().iter().enumerate() {
        separate(out, index)?;
        one(out, attribute, Some(node), style)?;
    }
    out.write_char('>')
}

/// An attribute of a function with its default value.
pub(super) fn default_value(out: &mut impl Write, proto: &AttributeProto, style: Style) -> fmt::Result {
    let mut proto = proto.clone();
    let tensors: Option<Vec<Tensor>> = proto
        .t
        .take()
        .map(|boxed| *boxed)
        .into_iter()
        .chain(std::mem::take(&mut proto.tensors))
        .map(|tensor| Tensor::from_proto(tensor, None).ok())
        .collect();
    one(out, &Attribute::from_parts(proto, tensors.unwrap_or_default()), None, style)
}

fn one(out: &mut impl Write, attribute: &Attribute, node: Option<&Node>, style: Style) -> fmt::Result {
    name(out, attribute.name())?;
    let kind = attribute.kind();
    let proto = attribute.proto();
    // The type is written where the value does not tell it.
    let has_odd_nan = |values: &[f32]| values.iter().any(|v| v.is_nan() && v.to_bits() != f32::NAN.to_bits());
    let is_plain = match attribute.value() {
        AttrRef::Reference(_) => kind == AttributeType::Undefined,
        AttrRef::Float(value) => !has_odd_nan(&[value]),
        AttrRef::Floats(values) => !values.is_empty() && !has_odd_nan(values),
        AttrRef::Ints(values) => !values.is_empty(),
        AttrRef::Strings(values) => !values.is_empty(),
        AttrRef::Tensors(values) => !values.is_empty(),
        AttrRef::Int(_) | AttrRef::String(_) | AttrRef::Tensor(_) | AttrRef::Graph => true,
        AttrRef::Graphs | AttrRef::Opaque => false,
    };
    if !is_plain {
        write!(out, ": {}", type_name(kind))?;
    }
    out.write_str(" = ")?;
    let mut graphs = node.iter().flat_map(|n| n.subgraphs()).filter(|s| s.attribute == attribute.name());
    match attribute.value() {
        AttrRef::Reference(reference) => {
            out.write_char('@')?;
            name(out, reference)
        }
        AttrRef::Float(value) => float(out, value),
        AttrRef::Int(value) => write!(out, "{value}"),
        AttrRef::String(value) => byte_string(out, value),
        AttrRef::Tensor(value) => typed_tensor(out, value, style),
        AttrRef::Floats(values) => list(out, values, |out, value| float(out, *value)),
        AttrRef::Ints(values) => list(out, values, |out, value| write!(out, "{value}")),
        AttrRef::Strings(values) => list(out, values, |out, value| byte_string(out, value)),
        AttrRef::Tensors(values) => list(out, values, |out, value| typed_tensor(out, value, style)),
        AttrRef::Graph => graphs.try_for_each(|subgraph| graph::nested(out, &subgraph.graph, style)),
        AttrRef::Graphs => list(out, graphs, |out, subgraph| graph::nested(out, &subgraph.graph, style)),
        AttrRef::Opaque => match kind {
            AttributeType::TypeProto => proto.tp.iter().try_for_each(|ty| types::type_proto(out, ty)),
            AttributeType::TypeProtos => list(out, &proto.type_protos, |out, ty| types::type_proto(out, ty)),
            AttributeType::SparseTensors => list(out, &proto.sparse_tensors, |out, one| sparse(out, one, true, style)),
            _ => proto.sparse_tensor.iter().try_for_each(|one| sparse(out, one, true, style)),
        },
    }
}

fn list<W: Write, T>(
    out: &mut W,
    items: impl IntoIterator<Item = T>,
    item: impl Fn(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    out.write_char('[')?;
    for (index, one) in items.into_iter().enumerate() {
        separate(out, index)?;
        item(out, one)?;
    }
    out.write_char(']')
}

/// A float with a point or an exponent, so that it is no integer.
fn float(out: &mut impl Write, value: f32) -> fmt::Result {
    if value.is_finite() {
        return write!(out, "{value:?}");
    }
    element::write(out, DType::F32, &value.to_le_bytes(), 0)
}

fn typed_tensor(out: &mut impl Write, value: &Tensor, style: Style) -> fmt::Result {
    write!(out, "{} ", value.type_text())?;
    if let Some(given) = value.source().map(TensorProto::name).filter(|given| !given.is_empty()) {
        name(out, given)?;
        out.write_char(' ')?;
    }
    tensor::contents(out, value, style)
}

/// A sparse tensor; its type stands before `=` where it initializes a value.
pub(super) fn sparse(out: &mut impl Write, proto: &SparseTensorProto, typed: bool, style: Style) -> fmt::Result {
    if typed {
        sparse_type(out, proto)?;
        out.write_char(' ')?;
    }
    let parts = [&proto.values, &proto.indices].into_iter().flatten();
    // Decoding does not look into sparse tensors: damaged parts are left out.
    let parts = parts.enumerate().filter_map(|(index, part)| {
        // The name of the values is that of the initializer, which is written in front.
        let name = part.name.clone().filter(|_| typed || index > 0);
        Tensor::from_proto(TensorProto { name, ..part.clone() }, None).ok()
    });
    out.write_char('{')?;
    for (index, part) in parts.enumerate() {
        separate(out, index)?;
        typed_tensor(out, &part, style)?;
    }
    out.write_char('}')
}

/// `sparse_tensor(float[9])`.
pub(super) fn sparse_type(out: &mut impl Write, proto: &SparseTensorProto) -> fmt::Result {
    let element = proto.values.as_ref().and_then(|v| DType::from_onnx(v.data_type()));
    let dims: Vec<String> = proto.dims.iter().map(i64::to_string).collect();
    // Empty brackets would be those of an unknown shape.
    let shape = if dims.is_empty() { String::new() } else { format!("[{}]", dims.join(",")) };
    write!(out, "sparse_tensor({}{shape})", element.map_or("?", DType::name))
}
