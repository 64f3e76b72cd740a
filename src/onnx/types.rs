//! Type messages to value types and back.

use crate::error::{Error, Result};
use crate::ir::{DType, Dim, Shape, TensorType, ValueType};
use crate::onnx::proto::{
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, tensor_shape_proto::dimension, type_proto,
};

/// What an entry of inputs, outputs or `value_info` says of its value.
///
/// # Errors
/// Fails on an unknown element type and on negative extents.
pub(crate) fn from_info(info: &ValueInfoProto) -> Result<ValueType> {
    info.r#type.as_ref().map_or(Ok(ValueType::Unknown), |ty| from_proto(ty).map_err(|e| e.or_at(|| site(info))))
}

fn site(info: &ValueInfoProto) -> crate::error::Site {
    crate::error::Site::tensor(info.name())
}

fn from_proto(proto: &TypeProto) -> Result<ValueType> {
    let other = |words: String| Ok(ValueType::Other(words));
    match &proto.value {
        None => Ok(ValueType::Unknown),
        Some(type_proto::Value::TensorType(tensor)) => {
            // Undefined (0): exporters leave it so where they do not know; nothing is known then.
            let number = tensor.elem_type.unwrap_or(0);
            if number == 0 {
                return Ok(ValueType::Unknown);
            }
            let dtype = DType::from_onnx(number)
                .ok_or_else(|| Error::invalid_model(format!("unknown tensor data type {number}")))?;
            Ok(ValueType::tensor(dtype, tensor.shape.as_ref().map(shape)))
        }
        Some(type_proto::Value::SequenceType(sequence)) => {
            other(format!("seq({})", element(sequence.elem_type.as_deref())?))
        }
        Some(type_proto::Value::OptionalType(optional)) => {
            other(format!("optional({})", element(optional.elem_type.as_deref())?))
        }
        Some(type_proto::Value::MapType(map)) => {
            let key = map.key_type.and_then(DType::from_onnx).map_or("?", DType::name);
            other(format!("map({key}, {})", element(map.value_type.as_deref())?))
        }
        Some(type_proto::Value::SparseTensorType(sparse)) => {
            let dtype = sparse.elem_type.and_then(DType::from_onnx).map_or("?", DType::name);
            other(format!("sparse_tensor({dtype})"))
        }
        Some(type_proto::Value::OpaqueType(_)) => other("opaque".to_owned()),
    }
}

fn element(proto: Option<&TypeProto>) -> Result<ValueType> {
    proto.map_or(Ok(ValueType::Unknown), from_proto)
}

fn shape(proto: &TensorShapeProto) -> Shape {
    Shape(
        proto
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(dimension::Value::DimValue(extent)) => {
                    // Exporters write -1 for "not known".
                    u64::try_from(*extent).map_or(Dim::Unknown, Dim::Fixed)
                }
                Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Sym(name.as_str().into()),
                _ => Dim::Unknown,
            })
            .collect(),
    )
}

/// Puts another shape into an entry of inputs, outputs or `value_info` that declares a tensor; what else it says of the
/// type and of each dimension stays.
pub(crate) fn set_shape(info: &mut ValueInfoProto, shape: &Shape) {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|ty| ty.value.as_mut()) else {
        return;
    };
    let present = tensor.shape.get_or_insert_default();
    present.dim.resize_with(shape.rank(), Default::default);
    for (present, dim) in present.dim.iter_mut().zip(&shape.0) {
        present.value = dim_value(dim);
    }
}

fn dim_value(dim: &Dim) -> Option<dimension::Value> {
    match dim {
        Dim::Fixed(extent) => Some(dimension::Value::DimValue(i64::try_from(*extent).unwrap_or(i64::MAX))),
        Dim::Sym(name) => Some(dimension::Value::DimParam(name.to_string())),
        Dim::Unknown => None,
    }
}

/// The message for a type; `None` where there is nothing to say or only words.
pub(crate) fn to_proto(ty: &ValueType) -> Option<TypeProto> {
    let ValueType::Tensor(TensorType { dtype, shape }) = ty else { return None };
    let dim = |dim: &Dim| tensor_shape_proto::Dimension { value: dim_value(dim), ..Default::default() };
    let shape = shape.as_ref().map(|shape| TensorShapeProto { dim: shape.0.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(dtype.to_onnx()), shape };
    Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() })
}
