//! The constants of a graph.

use std::collections::{BTreeMap, BTreeSet};

use super::is_sub_byte;
use crate::error::Result;
use crate::ir::Tensor;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};

/// Constants as the messages that hold them, and those that were computed.
pub(super) struct Constants {
    held: BTreeMap<String, TensorProto>,
    computed: BTreeMap<String, Tensor>,
    taken: BTreeSet<String>,
}

impl Constants {
    /// The initializers of a graph that no caller can replace.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let inputs: BTreeSet<&str> = graph.input.iter().map(|input| input.name()).collect();
        let fixed = graph.initializer.iter().filter(|tensor| !inputs.contains(tensor.name()));
        let held = fixed.map(|tensor| (tensor.name().to_owned(), tensor.clone())).collect();
        let outputs = graph.node.iter().flat_map(|node| &node.output).cloned();
        let names = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
        let taken = outputs.chain(names).chain(inputs.into_iter().map(str::to_owned)).collect();
        Self { held, computed: BTreeMap::new(), taken }
    }

    /// Notes what a `Constant` operator holds.
    pub(super) fn learn(&mut self, node: &NodeProto) {
        let value = node.attribute.iter().find(|attribute| attribute.name() == "value");
        if let ("Constant", Some(output), Some(tensor)) =
            (node.op_type(), node.output.first(), value.and_then(|value| value.t.as_deref()))
        {
            self.held.insert(output.clone(), tensor.clone());
        }
    }

    /// The constant of that name, where its contents are at hand.
    ///
    /// # Errors
    /// Fails where they do not fit its type and shape.
    pub(super) fn get(&self, name: &str) -> Result<Option<Tensor>> {
        if let Some(tensor) = self.computed.get(name) {
            return Ok(Some(tensor.clone()));
        }
        match self.held.get(name) {
            Some(tensor) if tensor.data_location != Some(DataLocation::External as i32) => {
                Tensor::from_proto(tensor.clone(), None).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Adds what was computed.
    pub(super) fn add(&mut self, name: &str, tensor: Tensor) {
        self.taken.insert(name.to_owned());
        self.computed.insert(name.to_owned(), tensor);
    }

    /// A name that nothing in the graph has.
    pub(super) fn fresh(&self, base: &str) -> String {
        let mut name = format!("{base}_lowered");
        while self.taken.contains(&name) {
            name.push('_');
        }
        name
    }

    /// A name for a value that an operator writes, which nothing else in the graph has or gets.
    pub(super) fn fresh_value(&mut self, base: &str) -> String {
        let name = self.fresh(base);
        self.taken.insert(name.clone());
        name
    }

    /// Writes what was computed to the graph, and drops constants that nothing reads any more and tract could not read.
    pub(super) fn store(self, graph: &mut GraphProto) {
        for (name, tensor) in self.computed {
            graph.initializer.push(TensorProto {
                name: Some(name),
                data_type: Some(tensor.dtype().to_onnx()),
                dims: tensor.shape().iter().map(|&extent| extent as i64).collect(),
                raw_data: Some(tensor.data().clone()),
                ..TensorProto::default()
            });
        }
        let mut read = BTreeSet::new();
        collect_reads(graph, &mut read);
        graph.initializer.retain(|tensor| read.contains(tensor.name()) || !is_sub_byte(tensor.data_type()));
        graph.node.retain(|node| {
            let is_small = |tensor: &TensorProto| is_sub_byte(tensor.data_type());
            node.op_type() != "Constant"
                || node.output.iter().any(|output| read.contains(output))
                || !node.attribute.iter().any(|attribute| attribute.t.as_deref().is_some_and(is_small))
        });
        let kept: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
        // What is said of a value that is an initializer now, or gone, is of no use.
        graph.value_info.retain(|info| !kept.contains(info.name()) && !is_small_info(info));
    }
}

fn is_small_info(info: &crate::onnx::proto::ValueInfoProto) -> bool {
    use crate::onnx::proto::type_proto::Value;
    matches!(info.r#type.as_ref().and_then(|ty| ty.value.as_ref()), Some(Value::TensorType(tensor)) if is_sub_byte(tensor.elem_type()))
}

/// Names that operators of a graph, or of graphs inside of it, read, and those that it returns.
fn collect_reads(graph: &GraphProto, read: &mut BTreeSet<String>) {
    read.extend(graph.output.iter().map(|output| output.name().to_owned()));
    for node in &graph.node {
        read.extend(node.input.iter().cloned());
        for attribute in &node.attribute {
            super::subgraphs(attribute).for_each(|inner| collect_reads(inner, read));
        }
    }
}
