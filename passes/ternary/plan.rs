//! Which weights become ternary.

use std::collections::BTreeSet;

use super::coded::{Coded, Levels};
use super::options::Settings;
use crate::calib::{Layer, layer_of};
use crate::error::Result;
use crate::ir::{Graph, Tensor, ValueId};
use crate::pass::{Cx, Scratch};
use crate::passes::common::bias::Bias;
use crate::passes::common::ends::ends;
use crate::passes::common::layout::Layout;
use crate::passes::common::role::{float_constant, role_of};
use crate::passes::common::weights::{Weights, each_weights};

/// Weights that can become ternary. A row holds those of one output channel.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) weights: Weights,
    layout: Layout,
    /// The operator whose inputs say how much each weight matters, where there is one.
    pub(super) layer: Option<Layer>,
    pub(super) bias: Option<Bias>,
}

impl Candidate {
    fn new(graph: &Graph, weights: Weights) -> Self {
        let (shape, elements) = (weights.tensor.shape(), weights.tensor.len());
        let layout = Layout::along(shape, &weights.role.kept);
        let alone = graph.only_use(weights.value).filter(|&(_, slot)| slot == 1);
        let layer = alone.and_then(|(node, _)| layer_of(graph, node, shape));
        let layer = layer.filter(|layer| {
            layer.depth * layout.channels == elements && layout.channels.is_multiple_of(layer.groups.max(1))
        });
        let bias = layer.as_ref().and_then(|layer| Bias::of(graph, layer, layout.channels));
        Self { weights, layout, layer, bias }
    }

    /// Weights of a row.
    pub(super) fn depth(&self) -> usize {
        self.weights.tensor.len() / self.layout.channels.max(1)
    }

    /// The weights in rows.
    pub(super) fn rows(&self) -> Vec<f32> {
        let elements = self.weights.tensor.to_f32().unwrap_or_default();
        self.places().map(|place| elements.get(place).copied().unwrap_or_default()).collect()
    }

    /// Rows in the order of the tensor's elements.
    pub(super) fn out_of_rows<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
        let mut elements = vec![T::default(); rows.len()];
        for (place, &value) in self.places().zip(rows) {
            if let Some(element) = elements.get_mut(place) {
                *element = value;
            }
        }
        elements
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        let (layout, len) = (self.layout, self.weights.tensor.len());
        (0..layout.channels).flat_map(move |channel| layout.elements(channel, len))
    }

    /// The shape with which scales broadcast to the weights.
    pub(super) fn scale_shape(&self) -> Vec<u64> {
        let kept = &self.weights.role.kept;
        let extents = self.weights.tensor.shape().iter().enumerate();
        extents.map(|(axis, &extent)| if kept.contains(&axis) { extent } else { 1 }).collect()
    }

    /// The weights by their own magnitudes.
    ///
    /// # Errors
    /// Fails where they cannot be kept until they are written.
    pub(super) fn coded(&self, settings: &Settings, scratch: &Scratch) -> Result<Coded> {
        let rows = self.rows();
        let levels = Levels::nearest(&rows, self.depth(), settings.rule, settings.is_shared);
        Coded::new(self, &rows, &levels, settings.is_shared, scratch)
    }
}

/// The weights of the main graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !weights.role.is_factor {
            return Err("ternary weights are for products and convolutions".to_owned());
        }
        if !weights.tensor.is_finite() {
            return Err("some of its values are not finite".to_owned());
        }
        found.push(weights);
        Ok(())
    });
    if settings.codes_ends {
        return found.into_iter().map(|weights| Candidate::new(graph, weights)).collect();
    }
    // Small layers are layers all the same: what is left out of them does not make another one the first.
    let all = products(graph);
    let ends: BTreeSet<ValueId> = ends(graph, &all).into_iter().filter_map(|place| all.get(place).copied()).collect();
    let (left, taken): (Vec<Weights>, Vec<Weights>) =
        found.into_iter().partition(|weights| ends.contains(&weights.value));
    for weights in left {
        let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
        cx.skipped(site, "a first or last layer, which bears it least: left to another pass, or to `all=true`");
    }
    taken.into_iter().map(|weights| Candidate::new(graph, weights)).collect()
}

/// All constants of a graph that are weights of products, of any size.
fn products(graph: &Graph) -> Vec<ValueId> {
    let is_product = |&value: &ValueId| {
        let role = |(_, tensor): (_, Tensor)| role_of(graph, value, tensor.shape()).ok();
        float_constant(graph, value).and_then(role).is_some_and(|role| role.is_factor)
    };
    graph.values().into_iter().filter(is_product).collect()
}
