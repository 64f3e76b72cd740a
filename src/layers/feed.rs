//! A copy of the reference in which every layer reads what it is given instead of what the layer before computed.
//!
//! ```text
//! x -> Conv -> a -> Relu -> y      =>      x -> Conv -> a        a_fed -> Relu -> y        outputs a, y
//! ```

use std::collections::BTreeSet;

use crate::backend::ModelBytes;
use crate::error::{Error, Result};
use crate::ir::{DType, Model, NodeId, ValueId, ValueType};
use crate::onnx::{EncodeOptions, encode};

/// The model, and the names of its inputs.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) file: ModelBytes,
    /// For each value, by its place in what was asked for, the input that stands for it; `None` where nothing reads it.
    pub(super) inputs: Vec<Option<String>>,
    /// For each value, the operators between the values before and itself.
    pub(super) operators: Vec<usize>,
}

/// Cuts the reference apart at values with their element types.
///
/// # Errors
/// Fails where the model cannot be edited, or is too large for one file.
pub(super) fn feed(reference: &Model, values: &[(ValueId, DType)]) -> Result<Fed> {
    let mut model = reference.clone();
    let graph = &mut model.graph;
    let mut inputs = Vec::with_capacity(values.len());
    for &(value, dtype) in values {
        if graph.uses(value).is_empty() {
            inputs.push(None);
            continue;
        }
        let base = format!("{}_fed", graph.value(value).name());
        let fed = graph.add_value(&base, ValueType::tensor(dtype, None));
        graph.make_input(fed)?;
        graph.replace_reads(value, fed)?;
        inputs.push(Some(graph.value(fed).name().to_owned()));
    }
    let outputs: Vec<ValueId> = values.iter().map(|(value, _)| *value).collect();
    graph.cut(&outputs)?;
    let operators = outputs.iter().map(|&output| upstream(&model, output)).collect();
    let encoded = encode(&model, &EncodeOptions::default())?;
    if encoded.side_len() > 0 {
        return Err(Error::unsupported("a model of more than 2 GiB cannot be compared layer by layer"));
    }
    Ok(Fed { file: ModelBytes::new(encoded.to_bytes(), None), inputs, operators })
}

/// How many operators a value depends on, constants not counted.
fn upstream(model: &Model, value: ValueId) -> usize {
    let graph = &model.graph;
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if let Some((node, _)) = graph.producer(value)
            && !graph.node(node).is("Constant")
            && seen.insert(node)
        {
            open.extend(graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node)));
        }
    }
    seen.len()
}
