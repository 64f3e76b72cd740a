//! The weights of a layer as rows, one for each output, in the order in which the layer's inputs are measured.

use crate::calib::Layer;
use crate::ir::Graph;

use super::pattern::{Columns, Pattern};

/// How a tensor's elements make rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) rows: usize,
    pub(super) depth: usize,
    /// Rows of the first of so many groups read the first group of inputs, and so on.
    pub(super) groups: usize,
    /// Whether rows lie down the tensor's columns.
    is_transposed: bool,
    /// Neighbouring columns that read the same input, at different places.
    taps: usize,
}

impl View {
    /// The rows of a layer's weights of that shape; `None` where they do not fit the layer.
    pub(super) fn new(graph: &Graph, layer: &Layer, shape: &[u64]) -> Option<Self> {
        let node = graph.node(layer.node);
        let is_transposed = node.is("MatMul") || (node.is("Gemm") && node.attr_int("transB", 0) == 0);
        let elements = shape.iter().product::<u64>() as usize;
        let rows = elements.checked_div(layer.depth)?;
        let taps = if node.is("Conv") { shape.get(2..)?.iter().product::<u64>() as usize } else { 1 };
        let fits = rows * layer.depth == elements && rows.is_multiple_of(layer.groups) && rows > 0;
        fits.then_some(Self { rows, depth: layer.depth, groups: layer.groups, is_transposed, taps })
    }

    /// Elements in the tensor's order, put into rows.
    pub(super) fn to_rows<T: Copy>(self, elements: &[T]) -> Vec<T> {
        if !self.is_transposed {
            return elements.to_vec();
        }
        (0..self.rows).flat_map(|row| (0..self.depth).map(move |k| elements[k * self.rows + row])).collect()
    }

    /// Rows, put into the tensor's order.
    pub(super) fn out_of_rows<T: Copy>(self, rows: &[T]) -> Vec<T> {
        if !self.is_transposed {
            return rows.to_vec();
        }
        (0..self.depth).flat_map(|k| (0..self.rows).map(move |row| rows[row * self.depth + k])).collect()
    }

    /// Elements of the rows of one group.
    pub(super) fn group_len(self) -> usize {
        self.rows / self.groups * self.depth
    }

    /// How columns of rows fall into groups of the pattern.
    pub(super) fn columns(self, pattern: Pattern) -> Columns {
        Columns::new(pattern, self.depth / self.taps, self.taps)
    }
}
