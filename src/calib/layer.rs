//! Operators that multiply rows by constant weights.

use super::unfold::{Patches, Window};
use crate::ir::{Graph, NodeId, ValueId};

/// An operator of the main graph that multiplies rows of its input by weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The operator.
    pub node: NodeId,
    /// The weights that it reads.
    pub weights: ValueId,
    /// Numbers of a row: weights that are added up for one number of the output.
    pub depth: usize,
    /// Groups of the operator: each has rows of its own.
    pub groups: usize,
    pub(super) source: Source,
}

/// Where the rows of a layer come from. Layers with the same source have the same moments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) input: ValueId,
    pub(super) rows: Rows,
    pub(super) depth: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rows {
    /// The last axis.
    Last,
    /// The first axis of two.
    First,
    /// Patches of an image.
    Patches(Patches),
}

impl Layer {
    /// Whether two layers read the same rows.
    pub fn shares_rows(&self, other: &Self) -> bool {
        self.source == other.source
    }

    /// Bytes of the sums over the layer's rows.
    pub fn moment_bytes(&self) -> u64 {
        8 * self.groups as u64 * (self.depth as u64).pow(2)
    }
}

/// The layer that an operator is, with the extents of its weights; `None` where its weights are no constant in the second
/// place, or its rows cannot be told.
pub fn layer_of(graph: &Graph, node: NodeId, shape: &[u64]) -> Option<Layer> {
    let held = graph.node(node);
    let (input, weights) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let extents = shape.iter().map(|&extent| usize::try_from(extent).ok()).collect::<Option<Vec<usize>>>()?;
    if input == weights || extents.contains(&0) {
        return None;
    }
    let mut groups = 1;
    let (depth, rows) = match (held.op_type(), extents.as_slice()) {
        _ if !held.domain().is_empty() => return None,
        ("MatMul", &[depth, _]) => (depth, Rows::Last),
        ("Gemm", &[first, second]) => {
            let is_transposed = held.attr_int("transB", 0) != 0;
            let rows = if held.attr_int("transA", 0) == 0 { Rows::Last } else { Rows::First };
            (if is_transposed { second } else { first }, rows)
        }
        ("Conv", [outputs, channels, kernel @ ..]) if !kernel.is_empty() => {
            groups = usize::try_from(held.attr_int("group", 1)).ok().filter(|&count| count > 0)?;
            if outputs % groups != 0 {
                return None;
            }
            let window = Window::of(held, kernel)?;
            (channels * kernel.iter().product::<usize>(), Rows::Patches(Patches { groups, window }))
        }
        _ => return None,
    };
    Some(Layer { node, weights, depth, groups, source: Source { input, rows, depth } })
}
