//! Weights in rows: those of one output channel together, in the order in which the channel reads its inputs.

use super::bias::Bias;
use super::layout::Layout;
use super::weights::Weights;
use crate::calib::{Layer, layer_of};
use crate::ir::Graph;

/// Weights, and what reads them. A row holds those of one output channel.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Rowed {
    pub(in crate::passes) weights: Weights,
    layout: Layout,
    /// The operator whose inputs say how much each weight matters, where there is one.
    pub(in crate::passes) layer: Option<Layer>,
    pub(in crate::passes) bias: Option<Bias>,
}

impl Rowed {
    pub(in crate::passes) fn new(graph: &Graph, weights: Weights) -> Self {
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

    /// Rows there are.
    pub(in crate::passes) fn channels(&self) -> usize {
        self.layout.channels
    }

    /// Weights of a row.
    pub(in crate::passes) fn depth(&self) -> usize {
        self.weights.tensor.len() / self.layout.channels.max(1)
    }

    /// The weights in rows.
    pub(in crate::passes) fn rows(&self) -> Vec<f32> {
        let elements = self.weights.tensor.to_f32().unwrap_or_default();
        self.places().map(|place| elements.get(place).copied().unwrap_or_default()).collect()
    }

    /// Rows in the order of the tensor's elements.
    pub(in crate::passes) fn out_of_rows<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
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

    /// The shape with which scales of rows broadcast to the weights.
    pub(in crate::passes) fn scale_shape(&self) -> Vec<u64> {
        let kept = &self.weights.role.kept;
        let extents = self.weights.tensor.shape().iter().enumerate();
        extents.map(|(axis, &extent)| if kept.contains(&axis) { extent } else { 1 }).collect()
    }

    /// How weights divide into blocks of so many neighbours of a row; `None` where rows do not, or neighbours lie apart and
    /// together.
    pub(in crate::passes) fn blocks(&self, block: usize) -> Option<Blocks> {
        let (Layout { channels, inner }, depth) = (self.layout, self.depth());
        let count = depth.checked_div(block).filter(|count| count * block == depth && *count > 0)?;
        let shape = |extents: [usize; 3]| extents.iter().map(|&extent| extent as u64).collect();
        match inner {
            1 => Some(Blocks { divided: shape([count, block, channels]), scales: shape([count, 1, channels]) }),
            _ if inner == depth => {
                Some(Blocks { divided: shape([channels, count, block]), scales: shape([channels, count, 1]) })
            }
            _ => None,
        }
    }
}

/// Weights in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::passes) struct Blocks {
    /// The shape of weights in which blocks are an axis.
    pub(in crate::passes) divided: Vec<u64>,
    /// The shape of one number for each block.
    pub(in crate::passes) scales: Vec<u64>,
}

impl Blocks {
    /// Numbers of blocks, row by row, in the order of their shape.
    pub(in crate::passes) fn out_of_rows<T: Copy + Default>(&self, numbers: &[T]) -> Vec<T> {
        let &[count, 1, channels] = self.scales.as_slice() else { return numbers.to_vec() };
        let (count, channels) = (count as usize, channels as usize);
        let number =
            |place: usize| numbers.get(place % channels * count + place / channels).copied().unwrap_or_default();
        (0..numbers.len()).map(number).collect()
    }
}
