//! The generator and what is made of latents, in standard operators.
//!
//! ```text
//! hidden = Relu(Add(Add(MatMul(first, mix_first), bias), MatMul(second, mix_second)))      [256, 256, 64]
//! table  = Reshape(Add(MatMul(hidden, out), shift), [65536, block])                        once for all layers
//! w      = Mul(Transpose(Reshape(Slice(Reshape(Gather(table, Cast(latents)), ..)), ..)), scale)
//! ```
//!
//! Slice is there where the last block of a row is not full, Transpose where output channels are not the last axis. The
//! numbers of the generator are stored in 16 bits, each behind a Cast. All of it is computed once, when a runtime loads the
//! model.

use super::coded::Coded;
use super::decoder::{BIAS, Decoder, FIRST, MIX_FIRST, MIX_SECOND, OUT, PARTS, SECOND, SHIFT};
use super::table::BYTE;
use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, NodeSpec, Tensor, ValueId};
use crate::passes::common::rows::Rowed;
use crate::passes::common::stored::store_parts;

/// Names of the parts of a generator.
const NAMES: [&str; PARTS] = ["first", "second", "mix_first", "mix_second", "bias", "out", "shift"];

/// Bytes of the operators and initializers of the generator, besides its numbers.
const DECODER_OVERHEAD_BYTES: u64 = 1400;

/// Bytes of what restores weights, besides contents, and how often it spells a name.
const OVERHEAD_BYTES: u64 = 340;
const SPELLINGS: u64 = 14;

/// Bytes of the generator in the file.
pub(super) fn decoder_bytes(decoder: &Decoder) -> u64 {
    decoder.parts.iter().map(|part| 2 * part.len() as u64).sum::<u64>() + DECODER_OVERHEAD_BYTES
}

/// Bytes of weights in the file, with what restores them, but without the generator.
pub(super) fn stored_bytes(coded: &Coded, name: &str) -> u64 {
    coded.latents.byte_len() + coded.scales.byte_len() + OVERHEAD_BYTES + SPELLINGS * name.len() as u64
}

/// Adds the generator, for readers from `near` on; gives back the blocks of all latents.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn add_decoder(graph: &mut Graph, decoder: &Decoder, near: NodeId) -> Result<ValueId> {
    let mut parts = Vec::with_capacity(PARTS);
    for (part, (numbers, name)) in decoder.parts.iter().zip(NAMES).enumerate() {
        let tensor = Tensor::from_floats(DType::F16, decoder.shape(part), numbers)?;
        let stored = graph.add_initializer(&format!("generator_{name}_f16"), tensor);
        parts.push(graph.add_op(cast(DType::F32), &[stored], &format!("generator_{name}"), near)?);
    }
    let mut op = |operator: &str, inputs: [ValueId; 2], name: &str| {
        graph.add_op(NodeSpec::new(operator), &inputs, &format!("generator_{name}"), near)
    };
    let first = op("MatMul", [parts[FIRST], parts[MIX_FIRST]], "of_first")?;
    let first = op("Add", [first, parts[BIAS]], "biased")?;
    let second = op("MatMul", [parts[SECOND], parts[MIX_SECOND]], "of_second")?;
    let sums = op("Add", [first, second], "sums")?;
    let hidden = graph.add_op(NodeSpec::new("Relu"), &[sums], "generator_hidden", near)?;
    let mut op = |operator: &str, inputs: [ValueId; 2], name: &str| {
        graph.add_op(NodeSpec::new(operator), &inputs, &format!("generator_{name}"), near)
    };
    let blocks = op("MatMul", [hidden, parts[OUT]], "blocks")?;
    let blocks = op("Add", [blocks, parts[SHIFT]], "shifted")?;
    let shape = whole(&[(BYTE * BYTE) as i64, decoder.block as i64])?;
    let shape = graph.add_initializer("generator_shape", shape);
    graph.add_op(NodeSpec::new("Reshape"), &[blocks, shape], "generator_table", near)
}

/// Replaces a constant by what restores it.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn put(graph: &mut Graph, candidate: &Rowed, coded: &Coded, table: (ValueId, usize)) -> Result<()> {
    let (table, block) = table;
    let weights = &candidate.weights;
    let (value, reader, tensor) = (weights.value, weights.reader, &weights.tensor);
    let name = graph.value(value).name().to_owned();
    let named = |suffix: &str| format!("{name}_{suffix}");
    let order = Order::new(tensor.shape(), &weights.role.kept);
    let (depth, channels) = (candidate.depth() as i64, candidate.channels() as i64);
    let is_full = candidate.channels().is_multiple_of(block);
    let mut parts = vec![
        (named("latents"), coded.latents.clone()),
        (named("scale"), coded.scales.clone()),
        (named("shape"), whole(&order.extents)?),
    ];
    if !is_full {
        parts.push((named("matrix"), whole(&[depth, candidate.channels().next_multiple_of(block) as i64])?));
        for (suffix, number) in [("begin", 0), ("end", channels), ("axis", 1)] {
            parts.push((named(suffix), whole(&[number])?));
        }
    }
    let stored = store_parts(graph, value, (tensor.dtype(), tensor.shape()), parts)?;
    let mut op = |spec: NodeSpec, inputs: &[ValueId], suffix: &str| graph.add_op(spec, inputs, &named(suffix), reader);
    let places = op(cast(DType::I32), &[stored[0]], "places")?;
    let mut restored = op(NodeSpec::new("Gather"), &[table, places], "blocks")?;
    if !is_full {
        restored = op(NodeSpec::new("Reshape"), &[restored, stored[3]], "padded")?;
        restored = op(NodeSpec::new("Slice"), &[restored, stored[4], stored[5], stored[6]], "rows")?;
    }
    restored = op(NodeSpec::new("Reshape"), &[restored, stored[2]], "levels")?;
    if let Some(perm) = order.perm {
        restored = op(NodeSpec::new("Transpose").attr("perm", perm), &[restored], "turned")?;
    }
    let mut scales = stored[1];
    if coded.scales.dtype() != DType::F32 {
        scales = op(cast(DType::F32), &[scales], "scales")?;
    }
    let last = if tensor.dtype() == DType::F32 {
        (NodeSpec::new("Mul"), vec![Some(restored), Some(scales)])
    } else {
        let scaled = op(NodeSpec::new("Mul"), &[restored, scales], "scaled")?;
        (cast(tensor.dtype()), vec![Some(scaled)])
    };
    graph.add_node(last.0, &last.1, &[value], reader)?;
    Ok(())
}

/// How a matrix with output channels last becomes a tensor.
struct Order {
    /// The extents of the tensor with the axes of output channels last.
    extents: Vec<i64>,
    /// What brings them into place; `None` where they are.
    perm: Option<Vec<i64>>,
}

impl Order {
    fn new(shape: &[u64], kept: &std::ops::Range<usize>) -> Self {
        let axes: Vec<usize> = (0..shape.len()).filter(|axis| !kept.contains(axis)).chain(kept.clone()).collect();
        let extents = axes.iter().filter_map(|&axis| shape.get(axis)).map(|&extent| extent as i64).collect();
        let place = |axis: usize| axes.iter().position(|&other| other == axis).unwrap_or(axis) as i64;
        let perm: Vec<i64> = (0..shape.len()).map(place).collect();
        let is_plain = perm.is_sorted();
        Self { extents, perm: (!is_plain).then_some(perm) }
    }
}

fn cast(to: DType) -> NodeSpec {
    NodeSpec::new("Cast").attr("to", i64::from(to.to_onnx()))
}

fn whole(numbers: &[i64]) -> Result<Tensor> {
    Tensor::from_i64(vec![numbers.len() as u64], numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_channels_go_last_and_come_back() {
        let order = Order::new(&[2, 3, 4, 5], &(1..2));
        assert_eq!((order.extents, order.perm), (vec![2, 4, 5, 3], Some(vec![0, 3, 1, 2])));
        assert!(Order::new(&[3, 4], &(1..2)).perm.is_none());
    }
}
