//! What a graph does with its inputs, as far as synthetic data must know it.

use std::collections::BTreeSet;

use super::Hints;
use crate::ir::{Graph, NodeId, Port, ValueId};

/// Operators that hand the elements of their first input on as they are.
const CARRIERS: &[&str] = &[
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

impl Hints {
    /// Reads bounds of integer inputs off a graph: an input that ends up as the index of a table must stay inside it.
    pub fn from_graph(graph: &Graph) -> Self {
        let mut hints = Self::default();
        for &input in graph.inputs() {
            let value = graph.value(input);
            if !value.dtype().is_some_and(|dtype| dtype.is_integer()) {
                continue;
            }
            let rows =
                carried_to(graph, input).into_iter().filter_map(|(node, slot)| table_rows(graph, node, slot)).min();
            if let Some(last) = rows.and_then(|rows| i64::try_from(rows).ok()?.checked_sub(1)).filter(|last| *last >= 0)
            {
                hints.integer_bounds.insert(value.name().to_owned(), (0, last));
            }
        }
        hints
    }
}

/// Every reading of a value and of what carriers make of it.
fn carried_to(graph: &Graph, start: ValueId) -> Vec<(NodeId, u32)> {
    let mut readings = Vec::new();
    let mut seen = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(value) = open.pop() {
        for reading in graph.uses(value) {
            let Port::In(slot) = reading.port else { continue };
            let node = graph.node(reading.node);
            readings.push((reading.node, slot));
            if node.is_any(CARRIERS) && (slot == 0 || node.is("Concat")) {
                open.extend(
                    graph.node_outputs(reading.node).into_iter().flatten().filter(|&output| seen.insert(output)),
                );
            }
        }
    }
    readings
}

/// How many rows the table has that an operator looks up in with the given input.
fn table_rows(graph: &Graph, node: NodeId, slot: u32) -> Option<u64> {
    let op = graph.node(node);
    if op.is_any(&["Gather", "GatherElements"]) && slot == 1 {
        let shape = graph.value(graph.input(node, 0)?).shape()?;
        let axis = op.attr_int("axis", 0);
        let axis = if axis < 0 { axis + i64::try_from(shape.rank()).ok()? } else { axis };
        return shape.0.get(usize::try_from(axis).ok()?)?.fixed();
    }
    if op.is("OneHot") && slot == 0 {
        let depth = graph.constant(graph.input(node, 1)?)?;
        return depth.to_i64()?.first().and_then(|&depth| u64::try_from(depth).ok());
    }
    None
}
