//! How many bytes things take in the file.

use prost::Message;

use crate::ir::{Graph, NodeId, Tensor, ValueId};
use crate::onnx::proto::TensorProto;

/// A nested message: its tag, its length and itself.
fn nested(bytes: u64) -> u64 {
    1 + prost::encoding::encoded_len_varint(bytes) as u64 + bytes
}

/// A tensor, as the value of an initializer of that name; in an attribute the name is empty.
pub(in crate::passes) fn tensor_bytes(tensor: &Tensor, name: &str) -> u64 {
    if let Some(source) = tensor.source() {
        let own_name = source.name.as_deref().map_or(0, |own| nested(own.len() as u64));
        let stored = source.encoded_len() as u64 - own_name;
        let is_elsewhere = source.raw_data.is_none() && source.data_location.is_some();
        let external = if is_elsewhere { tensor.byte_len() } else { 0 };
        return nested(stored + external + nested(name.len() as u64));
    }
    let head = TensorProto {
        dims: tensor.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
        data_type: Some(tensor.dtype().to_onnx()),
        name: Some(name.to_owned()),
        string_data: tensor.strings().map(<[bytes::Bytes]>::to_vec).unwrap_or_default(),
        ..TensorProto::default()
    };
    let data = if tensor.strings().is_some() { 0 } else { nested(tensor.byte_len()) };
    nested(head.encoded_len() as u64 + data)
}

/// A new `Constant` operator that yields a tensor.
pub(in crate::passes) fn constant_node_bytes(tensor: &Tensor, output: &str) -> u64 {
    // The attribute has a name, a type and the tensor; the operator its type and one output.
    let attribute = nested("value".len() as u64) + 3 + tensor_bytes(tensor, "");
    nested(nested(attribute) + nested("Constant".len() as u64) + nested(output.len() as u64))
}

/// An operator without its graphs, which folded operators do not have, and what `value_info` says of its outputs.
pub(in crate::passes) fn node_bytes(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let name = |value: Option<ValueId>| nested(value.map_or(0, |value| graph.value(value).name().len() as u64));
    let inputs: u64 = graph.node_inputs(id).into_iter().map(name).sum();
    let outputs: u64 = graph.node_outputs(id).into_iter().map(name).sum();
    let attributes = node.attributes().iter().map(|attribute| {
        let tensors: u64 = attribute.tensors().iter().map(|tensor| tensor_bytes(tensor, "")).sum();
        nested(attribute.proto().encoded_len() as u64 + tensors)
    });
    let infos: u64 = graph.node_outputs(id).into_iter().flatten().map(|output| info_bytes(graph, output)).sum();
    nested(node.proto.encoded_len() as u64 + inputs + outputs + attributes.sum::<u64>()) + infos
}

/// What `value_info` says of a value.
pub(in crate::passes) fn info_bytes(graph: &Graph, value: ValueId) -> u64 {
    graph.value(value).info.as_deref().map_or(0, |info| nested(info.encoded_len() as u64))
}

/// A constant of the graph, or nothing where it is none that this graph owns.
pub(in crate::passes) fn constant_bytes(graph: &Graph, value: ValueId) -> u64 {
    let held = graph.value(value);
    match (held.initializer(), graph.producer(value)) {
        (Some(tensor), _) if !held.is_input() && !held.is_pinned() => {
            tensor_bytes(tensor, held.name()) + info_bytes(graph, value)
        }
        (None, Some((node, _))) if graph.node(node).is("Constant") => node_bytes(graph, node),
        _ => 0,
    }
}
