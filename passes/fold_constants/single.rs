//! Gives one operator to a backend, as a model of its own.

use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes};
use crate::error::{Error, Result};
use crate::ir::{Graph, Model, Node, NodeId, Tensor, ValueType};
use crate::onnx::{self, EncodeOptions};

/// Versions of the file format below this one want initializers among the inputs.
const MIN_IR_VERSION: i64 = 8;

/// Computes an operator. The results are in the order of its output slots; `None` for those left empty.
///
/// # Errors
/// Passes on what the backend returns, which may not know the operator.
pub(super) fn compute(
    graph: &Graph,
    id: NodeId,
    inputs: &[Option<Tensor>],
    model: &Versions,
    choice: BackendChoice,
) -> Result<Vec<Option<Tensor>>> {
    let written: Vec<bool> = graph.node_outputs(id).iter().map(Option::is_some).collect();
    let model = model_of(graph.node(id), inputs, &written, model)?;
    let bytes = onnx::encode(&model, &EncodeOptions::default())?.to_bytes();
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    let mut results = backend::load(choice, &ModelBytes::new(bytes, None), &options)?.run(&[])?.into_iter();
    let results = written.iter().map(|&is_written| match is_written {
        true => results.next().map(|(_, tensor)| Some(tensor)).ok_or_else(|| Error::backend("a result is missing")),
        false => Ok(None),
    });
    results.collect()
}

/// The versions that an operator belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    /// Of the default operator set.
    pub(super) opset: i64,
    /// Of the file format.
    pub(super) ir: i64,
}

fn model_of(node: &Node, inputs: &[Option<Tensor>], written: &[bool], versions: &Versions) -> Result<Model> {
    let mut model = Model::default();
    model.proto.ir_version = Some(versions.ir.max(MIN_IR_VERSION));
    model.set_opset("", versions.opset);
    let graph = &mut model.graph;
    graph.residue.name = Some("one".to_owned());
    let id = graph.add_raw_node(
        Node {
            proto: node.proto.clone(),
            attributes: node.attributes.clone(),
            input_slots: node.input_slots,
            output_slots: node.output_slots,
            ..Node::default()
        },
        0,
    );
    for (slot, tensor) in inputs.iter().enumerate() {
        if let Some(tensor) = tensor {
            let value = graph.add_initializer("in", tensor.clone());
            graph.set_input(id, slot, Some(value))?;
        }
    }
    for (slot, _) in written.iter().enumerate().filter(|(_, is_written)| **is_written) {
        let value = graph.add_value("out", ValueType::Unknown);
        graph.set_output(id, slot, value)?;
        graph.add_output(value)?;
    }
    Ok(model)
}
