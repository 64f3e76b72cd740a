//! Which tensors are weights of layers whose inputs can be measured.

use std::collections::BTreeSet;

use super::bias::Bias;
use super::targets::Target;
use super::view::View;
use crate::calib::{Layer, layer_of};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId};

/// The number of the main graph among all.
const MAIN: usize = 0;

/// A tensor whose layer's inputs can be measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Its place among the targets.
    pub(super) target: usize,
    pub(super) layer: Layer,
    pub(super) view: View,
    pub(super) bias: Option<Bias>,
}

/// Places among the targets, with the reason why they cannot be measured.
pub(super) type Others = Vec<(usize, &'static str)>;

/// The targets that can be measured, in the order in which the model computes them, and why the others cannot.
///
/// # Errors
/// Fails where the graph has a cycle.
pub(super) fn measured(model: &Model, targets: &[Target]) -> Result<(Vec<Measured>, Others)> {
    let order = model.graph.topological_order()?;
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (place, target) in targets.iter().enumerate() {
        match one(&model.graph, target) {
            Ok((layer, view)) => {
                let turn = order.iter().position(|&node| node == layer.node);
                let bias = Bias::of(&model.graph, &layer, view.rows);
                found.push((turn, Measured { target: place, layer, view, bias }));
            }
            Err(reason) => others.push((place, reason)),
        }
    }
    found.sort_by_key(|(turn, measured)| (*turn, measured.target));
    Ok((found.into_iter().map(|(_, measured)| measured).collect(), others))
}

fn one(graph: &Graph, target: &Target) -> Result<(Layer, View), &'static str> {
    let (MAIN, value) = target.place else { return Err("it is not in the main graph") };
    let Some((node, slot)) = graph.only_use(value) else { return Err("several operators read it") };
    if graph.value(value).is_input() {
        return Err("a caller may replace it");
    }
    if !target.tensor.is_finite() {
        return Err("some of its values are not finite");
    }
    let layer = layer_of(graph, node, target.tensor.shape()).filter(|_| slot == 1);
    let view = layer.as_ref().and_then(|layer| View::new(graph, layer, target.tensor.shape()));
    match (layer, view) {
        (Some(layer), Some(view)) => Ok((layer, view)),
        _ => Err("what it is multiplied by cannot be told in rows"),
    }
}

/// Layers as stages: those that read the same rows together, in the order of the first of them; runs of stages where
/// there would be more than `most`.
pub(super) fn stages(measured: &[Measured], most: usize) -> Vec<Vec<&Measured>> {
    let mut stages: Vec<Vec<&Measured>> = Vec::new();
    for one in measured {
        match stages.iter_mut().find(|stage| stage.first().is_some_and(|other| other.layer.shares_rows(&one.layer))) {
            Some(stage) => stage.push(one),
            None => stages.push(vec![one]),
        }
    }
    let length = stages.len().div_ceil(most).max(1);
    stages.chunks(length).map(<[Vec<&Measured>]>::concat).collect()
}

/// The targets with no other target before them, or none behind them, of those in the main graph.
pub(super) fn ends(model: &Model, targets: &[Target]) -> BTreeSet<usize> {
    let graph = &model.graph;
    let readers = |target: &Target| graph.uses(target.place.1).into_iter().map(|one| one.node).collect::<Vec<NodeId>>();
    let main = || targets.iter().enumerate().filter(|(_, target)| target.place.0 == MAIN);
    let all: BTreeSet<NodeId> = main().flat_map(|(_, target)| readers(target)).collect();
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
    let is_end = |target: &Target| {
        let nodes = readers(target);
        !reaches(&nodes, &before) || !reaches(&nodes, &behind)
    };
    main().filter(|(_, target)| is_end(target)).map(|(place, _)| place).collect()
}
