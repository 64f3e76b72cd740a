//! Weights as short codes, and what looks them up in a table, in the place of a constant.
//!
//! ```text
//! w = Mul(Reshape(Slice(Reshape(Gather(codebook, Cast(codes)), [-1]), [0], [elements]), shape), scale)
//! ```
//!
//! With one code in a byte the codes have the shape of the weights, and Gather alone restores them; Slice and the first
//! Reshape are there where the last byte is not full, Mul where channels have scales of their own. All of it is computed
//! once, when a runtime loads the model.

use super::packing::Packing;
use super::stored::store_parts;
use super::weights::Weights;
use crate::error::Result;
use crate::ir::{DType, Graph, NodeSpec, Tensor};
use crate::pass::Scratch;

/// Bytes of the operators and initializers that restore weights, besides contents, and how often they spell a name.
const OVERHEAD_BYTES: u64 = 250;
const NAMES: u64 = 10;

/// The same for scales, where there are any.
const SCALES_OVERHEAD_BYTES: u64 = 60;
const SCALES_NAMES: u64 = 4;

/// Weights as they are stored.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Lookup {
    packing: Packing,
    /// One code in a byte: of the shape of the weights.
    codes: Tensor,
    table: Tensor,
    /// What the looked up weights are multiplied by.
    scales: Option<Tensor>,
    /// The shape in which they are, where it is not that of the weights.
    divided: Option<Vec<u64>>,
}

impl Lookup {
    /// Packs a code for each of the weights: the place of what stands for it among `values`.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(in crate::passes) fn new(weights: &Weights, values: &[f32], codes: &[u8], scratch: &Scratch) -> Result<Self> {
        let dtype = weights.tensor.dtype();
        let packing = Packing::smallest(values.len(), codes.len(), dtype.bits() as usize / 8);
        Self::packed(weights, values, codes, packing, scratch)
    }

    /// The same with a byte for each code, in the shape of the weights.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(in crate::passes) fn in_bytes(
        weights: &Weights,
        values: &[f32],
        codes: &[u8],
        scratch: &Scratch,
    ) -> Result<Self> {
        Self::packed(weights, values, codes, Packing::single(values.len()), scratch)
    }

    fn packed(weights: &Weights, values: &[f32], codes: &[u8], packing: Packing, scratch: &Scratch) -> Result<Self> {
        let dtype = weights.tensor.dtype();
        let packed = scratch.park(packing.pack(codes))?;
        let (shape, table) = match packing.per_byte {
            1 => (weights.tensor.shape().to_vec(), vec![packing.entries() as u64]),
            per_byte => (vec![packed.len() as u64], vec![packing.entries() as u64, per_byte as u64]),
        };
        Ok(Self {
            packing,
            codes: Tensor::new(DType::U8, shape, packed)?,
            table: Tensor::from_floats(dtype, table, &packing.table(values))?,
            scales: None,
            divided: None,
        })
    }

    /// The same, multiplied by scales of the type of the weights, whose shape broadcasts to theirs.
    pub(in crate::passes) fn scaled(self, scales: Tensor) -> Self {
        Self { scales: Some(scales), ..self }
    }

    /// The same, multiplied by scales that broadcast to another shape of the weights, of that type or another float type.
    ///
    /// # Errors
    /// Fails where the shape is not one of the weights.
    pub(in crate::passes) fn scaled_in(self, divided: Vec<u64>, scales: Tensor) -> Result<Self> {
        // With a code in a byte nothing else gives the weights a shape.
        let codes = match self.packing.per_byte {
            1 => Tensor::new(self.codes.dtype(), divided.clone(), self.codes.data().clone())?,
            _ => self.codes,
        };
        Ok(Self { codes, scales: Some(scales), divided: Some(divided), ..self })
    }

    /// Bytes in the file, with what restores the weights.
    pub(in crate::passes) fn stored_bytes(&self, name: &str) -> u64 {
        let name = name.len() as u64;
        let divided = if self.divided.is_some() { 2 } else { 1 };
        let scales = |scales: &Tensor| scales.byte_len() + divided * (SCALES_OVERHEAD_BYTES + SCALES_NAMES * name);
        self.codes.byte_len()
            + self.table.byte_len()
            + OVERHEAD_BYTES
            + NAMES * name
            + self.scales.as_ref().map_or(0, scales)
    }

    /// How many codes a byte holds, in words.
    pub(in crate::passes) fn describe(&self) -> String {
        match self.packing.per_byte {
            1 => "a code in a byte".to_owned(),
            several => format!("{several} codes in a byte"),
        }
    }

    /// Replaces the constant.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(in crate::passes) fn put(&self, graph: &mut Graph, weights: &Weights) -> Result<()> {
        let Weights { value, reader, tensor, .. } = weights;
        let (value, reader) = (*value, *reader);
        let name = graph.value(value).name().to_owned();
        let part = |suffix: &str, tensor: Tensor| (format!("{name}_{suffix}"), tensor);
        let whole = |numbers: &[i64]| Tensor::from_i64(vec![numbers.len() as u64], numbers);
        let elements = tensor.len() as u64;
        let is_full = self.codes.byte_len() * self.packing.per_byte as u64 == elements;
        let mut parts = vec![part("codes", self.codes.clone()), part("codebook", self.table.clone())];
        let extents = |shape: &[u64]| shape.iter().map(|&extent| extent as i64).collect::<Vec<i64>>();
        if self.packing.per_byte > 1 {
            parts.push(part("shape", whole(&extents(self.divided.as_deref().unwrap_or(tensor.shape())))?));
            if !is_full {
                parts.push(part("flat", whole(&[-1])?));
                parts.push(part("begin", whole(&[0])?));
                parts.push(part("end", whole(&[elements as i64])?));
            }
        }
        if self.divided.is_some() {
            parts.push(part("whole", whole(&extents(tensor.shape()))?));
        }
        parts.extend(self.scales.clone().map(|scales| part("scale", scales)));
        let stored = store_parts(graph, value, (tensor.dtype(), tensor.shape()), parts)?;
        let cast = NodeSpec::new("Cast").attr("to", i64::from(DType::I32.to_onnx()));
        let places = graph.add_op(cast, &[stored[0]], &format!("{name}_places"), reader)?;
        let (last, inputs) = if self.packing.per_byte == 1 {
            (NodeSpec::new("Gather"), [stored[1], places])
        } else {
            let rows = format!("{name}_rows");
            let mut restored = graph.add_op(NodeSpec::new("Gather"), &[stored[1], places], &rows, reader)?;
            if !is_full {
                let line = format!("{name}_line");
                restored = graph.add_op(NodeSpec::new("Reshape"), &[restored, stored[3]], &line, reader)?;
                let inputs = [restored, stored[4], stored[5]];
                restored = graph.add_op(NodeSpec::new("Slice"), &inputs, &format!("{name}_elements"), reader)?;
            }
            (NodeSpec::new("Reshape"), [restored, stored[2]])
        };
        let (last, inputs) = match (&self.scales, stored.last()) {
            (Some(tensor_of_scales), Some(&stored_scales)) => {
                let levels = graph.add_op(last, &inputs, &format!("{name}_levels"), reader)?;
                let scales = if tensor_of_scales.dtype() == tensor.dtype() {
                    stored_scales
                } else {
                    let cast = NodeSpec::new("Cast").attr("to", i64::from(tensor.dtype().to_onnx()));
                    graph.add_op(cast, &[stored_scales], &format!("{name}_scales"), reader)?
                };
                match stored.iter().rev().nth(1).filter(|_| self.divided.is_some()) {
                    Some(&shape) => {
                        let scaled = format!("{name}_scaled");
                        let scaled = graph.add_op(NodeSpec::new("Mul"), &[levels, scales], &scaled, reader)?;
                        (NodeSpec::new("Reshape"), [scaled, shape])
                    }
                    None => (NodeSpec::new("Mul"), [levels, scales]),
                }
            }
            _ => (last, inputs),
        };
        graph.add_node(last, &inputs.map(Some), &[value], reader)?;
        Ok(())
    }
}
