//! Which weights are generated, and how they lie in blocks.
//!
//! Weights are a matrix with a row for each output channel. A block holds weights of neighbouring rows in the same place:
//! they are multiplied by the same input, so that what an error in a block costs hangs on one number.

use rayon::prelude::*;

use super::coded;
use super::options::Settings;
use crate::calib::{Layer, layer_of};
use crate::ir::Graph;
use crate::pass::Cx;
use crate::passes::common::bias::Bias;
use crate::passes::common::layout::Layout;
use crate::passes::common::weights::{Weights, each_weights};

/// Weights that can be generated.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) weights: Weights,
    layout: Layout,
    /// The operator whose inputs say how much each weight matters, where there is one.
    pub(super) layer: Option<Layer>,
    pub(super) bias: Option<Bias>,
}

impl Candidate {
    fn new(graph: &Graph, weights: Weights, block: usize) -> Self {
        let (shape, elements) = (weights.tensor.shape(), weights.tensor.len());
        let layout = Layout::along(shape, &weights.role.kept);
        let alone = graph.only_use(weights.value).filter(|&(_, slot)| slot == 1);
        let layer = alone.and_then(|(node, _)| layer_of(graph, node, shape));
        let layer = layer.filter(|layer| {
            let groups = layer.groups.max(1);
            let is_whole = groups == 1 || (layout.channels / groups).is_multiple_of(block);
            layer.depth * layout.channels == elements && layout.channels.is_multiple_of(groups) && is_whole
        });
        let bias = layer.as_ref().and_then(|layer| Bias::of(graph, layer, layout.channels));
        Self { weights, layout, layer, bias }
    }

    /// Rows of the matrix.
    pub(super) fn channels(&self) -> usize {
        self.layout.channels
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
    pub(super) fn out_of_rows(&self, rows: &[f32]) -> Vec<f32> {
        let mut elements = vec![0.0; rows.len()];
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
}

/// The weights of the main graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !weights.tensor.is_finite() {
            return Err("some of its values are not finite".to_owned());
        }
        if weights.role.kept.is_empty() {
            return Err("its channels do not lie along neighbouring axes".to_owned());
        }
        found.push(Candidate::new(graph, weights, settings.block));
        Ok(())
    });
    found
}

/// Blocks of all candidates together that training looks at, at most.
const MAX_BLOCKS: usize = 1 << 18;

/// Blocks of the candidates, divided by the magnitudes of their rows, one behind the other; many are thinned out evenly.
pub(super) fn sample(candidates: &[Candidate], block: usize) -> Vec<f32> {
    let count = |one: &Candidate| one.channels().div_ceil(block) * one.depth();
    let all: usize = candidates.iter().map(count).sum();
    let some = candidates.par_iter().map(|candidate| {
        let (rows, own) = (candidate.rows(), count(candidate));
        // Of a small tensor among large ones, at least one.
        let taken =
            if all <= MAX_BLOCKS { own } else { (own as u128 * MAX_BLOCKS as u128 / all as u128).max(1) as usize };
        let blocks = coded::blocks(&rows, &coded::magnitudes(&rows, candidate.depth()), block);
        let some = (0..taken).flat_map(|index| blocks[index * own / taken * block..][..block].to_vec());
        some.collect::<Vec<f32>>()
    });
    some.collect::<Vec<Vec<f32>>>().concat()
}
