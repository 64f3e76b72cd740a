//! Puts packed codes and what looks them up in the place of a constant.
//!
//! ```text
//! w = Reshape(Slice(Reshape(Gather(codebook, Cast(codes)), [-1]), [0], [elements]), shape)
//! ```
//!
//! With one code in a byte the codes have the shape of the weights, and Gather alone restores them; Slice and the first
//! Reshape are there where the last byte is not full. All of it is computed once, when a runtime loads the model.

use super::kmeans::Codebook;
use super::packing::Packing;
use crate::error::Result;
use crate::ir::{DType, Graph, NodeSpec, Tensor};
use crate::pass::Scratch;
use crate::passes::common::stored::store_parts;
use crate::passes::common::weights::Weights;

/// Bytes of the operators and initializers that restore weights, besides contents, and how often they spell a name.
const OVERHEAD_BYTES: u64 = 250;
const NAMES: u64 = 10;

/// Codes of weights as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    packing: Packing,
    /// One code in a byte: of the shape of the weights.
    codes: Tensor,
    table: Tensor,
    pub(super) values: usize,
    pub(super) signal: f64,
    pub(super) error: f64,
}

impl Coded {
    /// Packs a codebook for weights.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(super) fn new(weights: &Weights, book: &Codebook, scratch: &Scratch) -> Result<Self> {
        let dtype = weights.tensor.dtype();
        let packing = Packing::smallest(book.values.len(), book.codes.len(), dtype.bits() as usize / 8);
        let packed = scratch.park(packing.pack(&book.codes))?;
        let (shape, table) = match packing.per_byte {
            1 => (weights.tensor.shape().to_vec(), vec![packing.entries() as u64]),
            per_byte => (vec![packed.len() as u64], vec![packing.entries() as u64, per_byte as u64]),
        };
        Ok(Self {
            packing,
            codes: Tensor::new(DType::U8, shape, packed)?,
            table: Tensor::from_floats(dtype, table, &packing.table(&book.values))?,
            values: book.values.len(),
            signal: book.signal,
            error: book.error,
        })
    }

    /// Bytes in the file, with what restores the weights.
    pub(super) fn stored_bytes(&self, name: &str) -> u64 {
        self.codes.byte_len() + self.table.byte_len() + OVERHEAD_BYTES + NAMES * name.len() as u64
    }

    /// Codes in a byte.
    pub(super) fn per_byte(&self) -> usize {
        self.packing.per_byte
    }

    /// Replaces the constant.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(super) fn put(&self, graph: &mut Graph, weights: &Weights) -> Result<()> {
        let Weights { value, reader, tensor, .. } = weights;
        let (value, reader) = (*value, *reader);
        let name = graph.value(value).name().to_owned();
        let part = |suffix: &str, tensor: Tensor| (format!("{name}_{suffix}"), tensor);
        let whole = |numbers: &[i64]| Tensor::from_i64(vec![numbers.len() as u64], numbers);
        let elements = tensor.len() as u64;
        let is_full = self.codes.byte_len() * self.packing.per_byte as u64 == elements;
        let mut parts = vec![part("codes", self.codes.clone()), part("codebook", self.table.clone())];
        if self.packing.per_byte > 1 {
            let extents: Vec<i64> = tensor.shape().iter().map(|&extent| extent as i64).collect();
            parts.push(part("shape", whole(&extents)?));
            if !is_full {
                parts.push(part("flat", whole(&[-1])?));
                parts.push(part("begin", whole(&[0])?));
                parts.push(part("end", whole(&[elements as i64])?));
            }
        }
        let stored = store_parts(graph, value, (tensor.dtype(), tensor.shape()), parts)?;
        let cast = NodeSpec::new("Cast").attr("to", i64::from(DType::I32.to_onnx()));
        let places = graph.add_op(cast, &[stored[0]], &format!("{name}_places"), reader)?;
        if self.packing.per_byte == 1 {
            graph.add_node(NodeSpec::new("Gather"), &[Some(stored[1]), Some(places)], &[value], reader)?;
            return Ok(());
        }
        let rows = format!("{name}_rows");
        let mut restored = graph.add_op(NodeSpec::new("Gather"), &[stored[1], places], &rows, reader)?;
        if !is_full {
            let line = format!("{name}_line");
            restored = graph.add_op(NodeSpec::new("Reshape"), &[restored, stored[3]], &line, reader)?;
            let inputs = [restored, stored[4], stored[5]];
            restored = graph.add_op(NodeSpec::new("Slice"), &inputs, &format!("{name}_elements"), reader)?;
        }
        graph.add_node(NodeSpec::new("Reshape"), &[Some(restored), Some(stored[2])], &[value], reader)?;
        Ok(())
    }
}
