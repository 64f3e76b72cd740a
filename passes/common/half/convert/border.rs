//! Inputs and outputs in 16 bits, where the arithmetic behind them is.
//!
//! ```text
//! (float x) => (float y)                   =>   (float16 x) => (float16 y)
//! x_f16 = Cast<to = 10>(x)                      y = Relu(x)
//! y_f16 = Relu(x_f16)
//! y = Cast<to = 1>(y_f16)
//! ```
//!
//! What goes on reading or giving floats gets a Cast of its own. Inputs with a default, and what other parts of the file name,
//! stay what they are.

use std::collections::BTreeSet;

use super::super::HalfType;
use crate::error::Result;
use crate::infer;
use crate::ir::{DType, Graph, Model, NodeId, NodeSpec, Port, ValueId, ValueType};
use crate::passes::common::facts::cast_target;

/// Gives float inputs and outputs of the main graph the type, and says how many got it.
///
/// # Errors
/// Fails where an edit does, which is a defect.
pub(super) fn convert(model: &mut Model, half: HalfType) -> Result<usize> {
    let facts = infer::infer(model)?;
    let is_half = |value: &ValueId| facts.main().get(*value).and_then(|fact| fact.dtype) == Some(half.dtype());
    let halves: BTreeSet<ValueId> = model.graph.values().into_iter().filter(is_half).collect();
    let graph = &mut model.graph;
    let mut count = 0;
    for input in graph.inputs().to_vec() {
        let held = graph.value(input);
        let is_fixed = held.initializer().is_some() || held.is_output() || held.is_pinned();
        if held.ty().dtype() == Some(DType::F32) && !is_fixed {
            count += usize::from(convert_input(graph, input, half)?);
        }
    }
    let outputs: BTreeSet<ValueId> = graph.outputs().collect();
    for output in outputs {
        let held = graph.value(output);
        if held.ty().dtype() == Some(DType::F32) && !held.is_input() && !held.is_pinned() {
            count += usize::from(convert_output(graph, output, half, &halves)?);
        }
    }
    Ok(count)
}

fn convert_input(graph: &mut Graph, input: ValueId, half: HalfType) -> Result<bool> {
    let readers = graph.uses(input);
    let Some(near) = readers.first().map(|one| one.node) else { return Ok(false) };
    let casts: Vec<NodeId> = readers
        .iter()
        .filter(|one| one.port == Port::In(0) && is_cast(graph, one.node, half.dtype()))
        .map(|one| one.node)
        .collect();
    let shape = graph.value(input).ty().shape().cloned();
    graph.set_type(input, ValueType::tensor(half.dtype(), shape))?;
    let name = format!("{}_f32", graph.value(input).name());
    let restored = graph.add_value(&name, ValueType::Unknown);
    graph.replace_reads(input, restored)?;
    graph.add_node(cast(DType::F32), &[Some(input)], &[restored], near)?;
    for node in casts {
        match graph.output(node, 0) {
            // A graph output stays the output of an operator.
            Some(output) if graph.value(output).is_output() || graph.node(node).is_kept() => {
                graph.set_input(node, 0, Some(input))?;
            }
            Some(output) => {
                graph.replace_reads(output, input)?;
                graph.remove_node(node)?;
            }
            None => {}
        }
    }
    if graph.use_count(restored) == 0
        && let Some((node, _)) = graph.producer(restored)
    {
        graph.remove_node(node)?;
    }
    Ok(true)
}

fn convert_output(graph: &mut Graph, output: ValueId, half: HalfType, halves: &BTreeSet<ValueId>) -> Result<bool> {
    let Some((node, slot)) = graph.producer(output) else { return Ok(false) };
    graph.declare_output(output, half.dtype())?;
    let shape = graph.value(output).ty().shape().cloned();
    let narrow = graph.input(node, 0).filter(|value| {
        let held = graph.value(*value);
        let is_free = !held.is_input() && !held.is_output() && !held.is_pinned() && !held.is_outer();
        is_cast(graph, node, DType::F32)
            && !graph.node(node).is_kept()
            && halves.contains(value)
            && is_free
            && graph.producer(*value).is_some()
    });
    let name = format!("{}_f32", graph.value(output).name());
    let wide = graph.add_value(&name, ValueType::Unknown);
    graph.replace_reads(output, wide)?;
    match narrow {
        Some(narrow) => {
            if graph.replace_value(output, narrow)?.is_err() {
                graph.set_output(node, slot, wide)?;
                graph.add_node(cast(half.dtype()), &[Some(wide)], &[output], node)?;
                return Ok(true);
            }
            graph.set_type(narrow, ValueType::tensor(half.dtype(), shape))?;
            match graph.use_count(wide) {
                0 => {
                    graph.remove_node(node)?;
                    graph.remove_value(wide)?;
                }
                _ => {
                    graph.set_output(node, slot, wide)?;
                    graph.remove_value(output)?;
                }
            }
        }
        None => {
            graph.set_output(node, slot, wide)?;
            graph.add_node(cast(half.dtype()), &[Some(wide)], &[output], node)?;
            graph.set_type(output, ValueType::tensor(half.dtype(), shape))?;
        }
    }
    Ok(true)
}

fn is_cast(graph: &Graph, node: NodeId, to: DType) -> bool {
    graph.node(node).is("Cast") && cast_target(graph.node(node)) == Some(to)
}

fn cast(to: DType) -> NodeSpec {
    NodeSpec::new("Cast").attr("to", i64::from(to.to_onnx()))
}
