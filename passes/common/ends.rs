//! The first and the last layers of a graph, which bear less than those between: inputs and outputs are theirs.

use std::collections::BTreeSet;

use crate::ir::{Graph, NodeId, ValueId};

/// The places of those weights whose readers have no reader of other weights before them, or none behind them.
pub(in crate::passes) fn ends(graph: &Graph, weights: &[ValueId]) -> BTreeSet<usize> {
    let readers = |value: ValueId| graph.uses(value).into_iter().map(|one| one.node).collect::<Vec<NodeId>>();
    let all: BTreeSet<NodeId> = weights.iter().flat_map(|&value| readers(value)).collect();
    let reaches = |from: &[NodeId], next: &dyn Fn(NodeId) -> Vec<NodeId>| {
        let mut seen: BTreeSet<NodeId> = from.iter().copied().collect();
        let mut left = from.to_vec();
        while let Some(node) = left.pop() {
            for other in next(node) {
                if all.contains(&other) && !from.contains(&other) {
                    return true;
                }
                if seen.insert(other) {
                    left.push(other);
                }
            }
        }
        false
    };
    let before = |node: NodeId| {
        let values = graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node));
        values.filter_map(|value| graph.producer(value)).map(|(node, _)| node).collect()
    };
    let behind = |node: NodeId| {
        let values = graph.node_outputs(node).into_iter().flatten();
        values.flat_map(|value| graph.uses(value)).map(|one| one.node).collect()
    };
    let is_end = |value: ValueId| {
        let nodes = readers(value);
        !reaches(&nodes, &before) || !reaches(&nodes, &behind)
    };
    (0..weights.len()).filter(|&place| is_end(weights[place])).collect()
}
