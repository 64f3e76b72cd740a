//! Which weights get 4 bits, and how they are coded.

use rayon::prelude::*;

use super::code::{Coded, closer, half_quadratic, round_to_nearest};
use super::emit::{self, Place};
use super::gptq;
use super::grid::{Grid, fits_half_scales};
use super::layout::Layout;
use super::options::{Format, Method, Settings};
use super::packed::{Packed, stored_bytes};
use crate::calib::{Gram, Layer, layer_of};
use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, Tensor, ValueId};
use crate::pass::{Cx, Scratch};
use crate::passes::common::feedback::Feedback;
use crate::passes::common::weights::{Weights, each_weights};

/// Bytes of the operators and initializers that restore weights, besides contents, and how often they spell a name.
const OVERHEAD_BYTES: u64 = 300;
const NAMES: u64 = 14;

/// Weights that can be quantized.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) value: ValueId,
    pub(super) tensor: Tensor,
    pub(super) reader: NodeId,
    pub(super) layout: Layout,
    /// The operator whose inputs say how much each weight matters, where there is one.
    pub(super) layer: Option<Layer>,
    pub(super) format: Format,
    /// Whether 4 bits are smaller than 8, with what restores either.
    pub(super) gains_from_four_bits: bool,
}

impl Candidate {
    pub(super) fn place(&self) -> Place<'_> {
        Place { value: self.value, tensor: &self.tensor, reader: self.reader }
    }

    /// The grid of these weights: standard arithmetic can restore 16-bit scales, kernels cannot.
    fn grid(&self, wanted: Grid, rows: &[f32]) -> Grid {
        let is_half = self.tensor.dtype() == DType::F16
            || (self.format == Format::Cast && fits_half_scales(rows, self.layout.block));
        if is_half { wanted.with_half_scales() } else { wanted }
    }

    /// The weights in rows.
    fn rows(&self) -> Vec<f32> {
        self.layout.to_rows(&self.tensor.to_f32().unwrap_or_default())
    }

    /// The weights in 4 bits, without calibration data.
    ///
    /// # Errors
    /// Fails where they cannot be kept until they are written.
    pub(super) fn coded(&self, settings: &Settings, scratch: &Scratch) -> Result<Packed> {
        let rows = self.rows();
        let (grid, block) = (self.grid(settings.grid, &rows), self.layout.block);
        let nearest = || round_to_nearest(&rows, block, grid);
        let coded = match settings.method {
            Method::RoundToNearest => nearest(),
            Method::HalfQuadratic => half_quadratic(&rows, block, grid),
            Method::Auto | Method::Gptq => closer(&rows, block, nearest(), half_quadratic(&rows, block, grid)),
        };
        Packed::new(&rows, &coded, self.layout, grid, scratch)
    }

    /// The weights in 4 bits by GPTQ; `None` where the moments do not serve.
    ///
    /// # Errors
    /// Fails where they cannot be kept until they are written.
    pub(super) fn coded_with(&self, grams: &[Gram], settings: &Settings, scratch: &Scratch) -> Result<Option<Packed>> {
        let rows = self.rows();
        let grid = self.grid(settings.grid, &rows);
        let group_len = rows.len() / grams.len().max(1);
        if grams.is_empty()
            || !group_len.is_multiple_of(self.layout.depth)
            || grams.iter().any(|g| g.dim() != self.layout.depth)
        {
            return Ok(None);
        }
        let groups: Vec<Option<Coded>> = grams
            .par_iter()
            .zip(rows.par_chunks(group_len.max(1)))
            .map(|(gram, rows)| {
                let feedback = Feedback::new(&gram.mean_products(), gram.dim(), gram.rows());
                // A group whose inputs are all zero can have any weights.
                Some(match feedback {
                    Some(feedback) => gptq::round(&feedback, rows, self.layout.block, grid),
                    None => round_to_nearest(rows, self.layout.block, grid),
                })
            })
            .collect();
        let mut all = Coded { levels: Vec::new(), scales: Vec::new(), zeros: Vec::new() };
        for group in groups.into_iter().flatten() {
            all.levels.extend(group.levels);
            all.scales.extend(group.scales);
            all.zeros.extend(group.zeros);
        }
        Packed::new(&rows, &all, self.layout, grid, scratch).map(Some)
    }

    /// The weights in 8 bits, with a scale a row.
    ///
    /// # Errors
    /// Fails where they cannot be kept until they are written.
    pub(super) fn coded_in_eight_bits(&self, scratch: &Scratch) -> Result<Packed> {
        let (rows, layout) = (self.rows(), self.layout.undivided());
        let is_half = self.tensor.dtype() == DType::F16;
        let grid = if is_half { Grid::EIGHT.with_half_scales() } else { Grid::EIGHT };
        Packed::new(&rows, &round_to_nearest(&rows, layout.depth, grid), layout, grid, scratch)
    }
}

/// The weights of one graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !is_codable(&weights.tensor) {
            return Err("some of its values are not finite, or too large to restore".to_owned());
        }
        let refusal = || "so few weights share a scale that the file would not get smaller".to_owned();
        found.push(candidate(graph, weights, settings).ok_or_else(refusal)?);
        Ok(())
    });
    found
}

/// Whether all values are finite, and no level of a grid that spans them overflows.
fn is_codable(tensor: &Tensor) -> bool {
    let most = if tensor.dtype() == DType::F16 { 60_000.0 } else { f32::MAX / 4.0 };
    tensor.to_f32().is_some_and(|values| values.iter().all(|value| value.abs() <= most))
}

fn candidate(graph: &Graph, weights: Weights, settings: &Settings) -> Option<Candidate> {
    let Weights { value, reader, tensor, role } = weights;
    let layout = Layout::new(tensor.shape(), &role.kept, settings.block);
    let place = Place { value, tensor: &tensor, reader };
    let format = emit::format_of(settings.format, graph, place, layout.block, true);
    let overhead = OVERHEAD_BYTES + NAMES * graph.value(value).name().len() as u64;
    let half = if format == Format::Cast { settings.grid.with_half_scales() } else { settings.grid };
    let (four, eight) =
        (stored_bytes(layout, half) + overhead, stored_bytes(layout.undivided(), Grid::EIGHT) + overhead / 2);
    if four.min(eight) >= tensor.byte_len() {
        return None;
    }
    let only_reader = graph.only_use(value).filter(|&(node, slot)| node == reader && slot == 1);
    let layer = only_reader.and_then(|(node, _)| layer_of(graph, node, tensor.shape()));
    let layer = layer.filter(|layer| layer.depth == layout.depth && layout.outer.min(layout.inner) == 1);
    Some(Candidate { value, tensor, reader, layout, layer, format, gains_from_four_bits: four < eight })
}
