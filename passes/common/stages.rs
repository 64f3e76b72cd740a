//! The order in which layers are compressed when each is fitted to what those before it, already compressed, hand on.

use std::collections::BTreeMap;

use crate::calib::Layer;
use crate::error::Result;
use crate::ir::{Graph, NodeId};

/// Things with layers, in the order in which the model computes those; things of one layer stay in theirs.
///
/// # Errors
/// Fails where the graph has a cycle.
pub(in crate::passes) fn in_order<T>(graph: &Graph, mut all: Vec<T>, layer: impl Fn(&T) -> &Layer) -> Result<Vec<T>> {
    let order = graph.topological_order()?;
    let turns: BTreeMap<NodeId, usize> = order.into_iter().enumerate().map(|(turn, node)| (node, turn)).collect();
    all.sort_by_key(|one| turns.get(&layer(one).node));
    Ok(all)
}

/// Layers, in the order in which the model computes them, as stages: those that read the same rows together, in the order
/// of the first of them, since what an earlier stage reads cannot have changed since; runs of stages where there would be
/// more than `most`, since each stage costs a run over all samples.
pub(in crate::passes) fn stages<T: Clone>(ordered: &[T], layer: impl Fn(&T) -> &Layer, most: usize) -> Vec<Vec<T>> {
    let mut stages: Vec<Vec<T>> = Vec::new();
    for one in ordered {
        let shares = |stage: &&mut Vec<T>| stage.first().is_some_and(|other| layer(other).shares_rows(layer(one)));
        match stages.iter_mut().find(shares) {
            Some(stage) => stage.push(one.clone()),
            None => stages.push(vec![one.clone()]),
        }
    }
    let length = stages.len().div_ceil(most).max(1);
    stages.chunks(length).map(<[Vec<T>]>::concat).collect()
}
