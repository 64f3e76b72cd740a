//! Which tensors are weights of layers whose inputs can be measured.

use std::collections::BTreeSet;

use super::targets::Target;
use super::view::View;
use crate::calib::{Layer, layer_of};
use crate::error::Result;
use crate::ir::{Graph, Model, ValueId};
use crate::passes::common::bias::Bias;
use crate::passes::common::ends;
use crate::passes::common::stages::in_order;

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
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (place, target) in targets.iter().enumerate() {
        match one(&model.graph, target) {
            Ok((layer, view)) => {
                let bias = Bias::of(&model.graph, &layer, view.rows);
                found.push(Measured { target: place, layer, view, bias });
            }
            Err(reason) => others.push((place, reason)),
        }
    }
    Ok((in_order(&model.graph, found, |one| &one.layer)?, others))
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

/// The targets with no other target before them, or none behind them, of those in the main graph.
pub(super) fn ends(model: &Model, targets: &[Target]) -> BTreeSet<usize> {
    let is_main = |target: &Target| target.place.0 == MAIN;
    let (places, values): (Vec<usize>, Vec<ValueId>) =
        targets.iter().enumerate().filter(|(_, t)| is_main(t)).map(|(place, target)| (place, target.place.1)).unzip();
    ends::ends(&model.graph, &values).into_iter().filter_map(|index| places.get(index).copied()).collect()
}
