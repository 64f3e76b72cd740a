//! Brings tract's own copy of the messages into the form that tract reads rightly.

use std::collections::BTreeSet;

use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, tensor_proto::DataType};

/// Moves integers that tract looks for in the wrong field to `raw_data`, which it reads rightly, and clears names of
/// operators that would clash.
pub(super) fn prepare(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        prepare_graph(graph);
    }
}

fn prepare_graph(graph: &mut GraphProto) {
    clear_clashing_names(graph);
    graph.initializer.iter_mut().for_each(prepare_tensor);
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.t.iter_mut().for_each(prepare_tensor);
        attribute.g.iter_mut().for_each(prepare_graph);
        attribute.graphs.iter_mut().for_each(prepare_graph);
    }
}

/// tract names what has no name after its first output, and takes it badly where an operator has that name already. In
/// ONNX names of operators and of values have nothing to do with each other.
fn clear_clashing_names(graph: &mut GraphProto) {
    let outputs = graph.node.iter().flat_map(|node| &node.output).cloned();
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.clone());
    let values: BTreeSet<String> = outputs.chain(inputs).chain(constants).collect();
    for node in &mut graph.node {
        if values.contains(&node.name) && node.output.first() != Some(&node.name) {
            node.name.clear();
        }
    }
}

/// ONNX keeps `uint32` and `uint64` in `uint64_data`; tract looks in `int32_data` and `int64_data`.
fn prepare_tensor(tensor: &mut TensorProto) {
    let values = std::mem::take(&mut tensor.uint64_data);
    if values.is_empty() {
        return;
    }
    tensor.raw_data = if tensor.data_type == DataType::Uint32 as i32 {
        values.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
}
