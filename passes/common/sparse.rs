//! Weights most of which are zero: a bit for each says whether it is there, and codes are stored for those that are.
//!
//! ```text
//! there  = Cast(Reshape(Gather(bits, Cast(mask)), lines))           0 and 1, [R, C]
//! ranks  = CumSum(there, 1) + CumSum<exclusive>(last column, 0)     how many there are up to each, 1 for the first
//! values = Concat(0, Reshape(Gather(codebook, Cast(codes)), [-1]))
//! w      = Reshape(Gather(values, ranks * there), shape)
//! ```
//!
//! A byte of the mask stands for eight weights, the first in the highest bit; byte 128 stands for none, since packers take
//! the middle of a byte for its zero. Lines are runs of whole rows, so that the bytes of one column of the mask are about the
//! same weights of each row, which packers make use of. Two sums, along lines and over lines, take a runtime fewer steps
//! than one over all weights.

use super::kmeans::Codebook;
use super::packing::Packing;
use super::stored::store_parts;
use super::weights::Weights;
use crate::error::{Error, ErrorKind, Result, Site};
use crate::ir::{DType, Graph, NodeSpec, Tensor, ValueId};
use crate::pass::Scratch;

/// Weights that a byte of the mask stands for.
const BITS: usize = 8;

/// The byte that stands for eight zeros.
const NONE_THERE: u8 = 128;

/// Bytes of the operators and initializers that restore weights, besides contents, and how often they spell a name.
const OVERHEAD_BYTES: u64 = 800;
const NAMES: u64 = 36;

/// Weights as they are stored.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Sparse {
    /// `[lines, bytes of a line]`
    mask: Tensor,
    codes: Tensor,
    /// A row for each byte of codes.
    table: Tensor,
    per_byte: usize,
}

impl Sparse {
    /// Packs a codebook with a zero; `None` where there is none, or weights do not come in eights.
    ///
    /// # Errors
    /// Fails where the codes cannot be kept: the disk is full.
    pub(in crate::passes) fn new(weights: &Weights, book: &Codebook, scratch: &Scratch) -> Result<Option<Self>> {
        let Some(zero) = book.values.iter().position(|&value| value == 0.0) else { return Ok(None) };
        let is_there = |code: u8| usize::from(code) != zero;
        // What comes behind the zero moves up.
        let moved = |code: u8| code - u8::from(usize::from(code) > zero);
        let codes: Vec<u8> = book.codes.iter().copied().filter(|&code| is_there(code)).map(moved).collect();
        let mut values = book.values.clone();
        values.remove(zero);
        let Some((lines, line)) = lines(weights.tensor.shape()).filter(|_| !codes.is_empty()) else { return Ok(None) };
        let byte = |codes: &[u8]| codes.iter().fold(0, |byte, &code| byte << 1 | u8::from(is_there(code)));
        let mask: Vec<u8> = book.codes.chunks(BITS).map(|codes| byte(codes) ^ NONE_THERE).collect();
        let dtype = weights.tensor.dtype();
        let packing = Packing::smallest(values.len(), codes.len(), dtype.bits() as usize / 8);
        let packed = scratch.park(packing.pack(&codes))?;
        let table = vec![packing.entries() as u64, packing.per_byte as u64];
        Ok(Some(Self {
            mask: Tensor::new(DType::U8, vec![lines as u64, (line / BITS) as u64], scratch.park(mask)?)?,
            codes: Tensor::new(DType::U8, vec![packed.len() as u64], packed)?,
            table: Tensor::from_floats(dtype, table, &packing.table(&values))?,
            per_byte: packing.per_byte,
        }))
    }

    /// Bytes in the file, with what restores the weights.
    pub(in crate::passes) fn stored_bytes(&self, name: &str) -> u64 {
        let parts = self.mask.byte_len() + self.codes.byte_len() + self.table.byte_len();
        parts + (256 * BITS) as u64 + OVERHEAD_BYTES + NAMES * name.len() as u64
    }

    /// How weights are stored, in words.
    pub(in crate::passes) fn describe(&self) -> String {
        match self.per_byte {
            1 => "a bit for each and a code in a byte for those that are not zero".to_owned(),
            several => format!("a bit for each and {several} codes in a byte for those that are not zero"),
        }
    }

    /// Replaces the constant.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(in crate::passes) fn put(&self, graph: &mut Graph, weights: &Weights) -> Result<()> {
        let Weights { value, reader, tensor, .. } = weights;
        let name = graph.value(*value).name().to_owned();
        let whole = |numbers: &[i64]| Tensor::from_i64(vec![numbers.len() as u64], numbers);
        let extents: Vec<i64> = tensor.shape().iter().map(|&extent| extent as i64).collect();
        let lines = self.mask.shape().first().copied().unwrap_or(1) as i64;
        let line = tensor.len() as i64 / lines.max(1);
        let bits: Vec<u8> = (0..=u8::MAX).flat_map(bits_of).collect();
        let parts = [
            ("mask", self.mask.clone()),
            ("bits", Tensor::from_u8(vec![256, BITS as u64], bits)?),
            ("lines", whole(&[lines, line])?),
            ("along", Tensor::from_i64(Vec::<u64>::new(), &[1])?),
            ("end", whole(&[line - 1])?),
            ("over", Tensor::from_i64(Vec::<u64>::new(), &[0])?),
            ("codes", self.codes.clone()),
            ("codebook", self.table.clone()),
            ("flat", whole(&[-1])?),
            ("zero", Tensor::from_floats(tensor.dtype(), vec![1], &[0.0])?),
            ("shape", whole(&extents)?),
        ];
        let parts = parts.into_iter().map(|(suffix, tensor)| (format!("{name}_{suffix}"), tensor)).collect();
        let stored = store_parts(graph, *value, (tensor.dtype(), tensor.shape()), parts)?;
        let [mask, bits, lines, along, end, over, codes, codebook, flat, zero, shape] = stored[..] else {
            return Err(Error::new(ErrorKind::BrokenPass, "what restores weights lacks a part").at(Site::tensor(name)));
        };
        let mut add = |spec: NodeSpec, inputs: &[ValueId], suffix: &str| {
            graph.add_op(spec, inputs, &format!("{name}_{suffix}"), *reader)
        };
        let cast = || NodeSpec::new("Cast").attr("to", i64::from(DType::I32.to_onnx()));
        let gather = |axis: i64| NodeSpec::new("Gather").attr("axis", axis);
        let bytes = add(cast(), &[mask], "bytes")?;
        let rows = add(gather(0), &[bits, bytes], "rows")?;
        let grid = add(NodeSpec::new("Reshape"), &[rows, lines], "grid")?;
        let there = add(cast(), &[grid], "there")?;
        let within = add(NodeSpec::new("CumSum"), &[there, along], "within")?;
        let totals = add(gather(1), &[within, end], "totals")?;
        let before = add(NodeSpec::new("CumSum").attr("exclusive", 1), &[totals, over], "before")?;
        let ranks = add(NodeSpec::new("Add"), &[within, before], "ranks")?;
        let places = add(NodeSpec::new("Mul"), &[ranks, there], "places")?;
        let entries = add(cast(), &[codes], "entries")?;
        let looked_up = add(gather(0), &[codebook, entries], "looked_up")?;
        let line = add(NodeSpec::new("Reshape"), &[looked_up, flat], "line")?;
        let values = add(NodeSpec::new("Concat").attr("axis", 0), &[zero, line], "values")?;
        let restored = add(gather(0), &[values, places], "restored")?;
        graph.add_node(NodeSpec::new("Reshape"), &[Some(restored), Some(shape)], &[*value], *reader)?;
        Ok(())
    }
}

/// The bits of a byte of the mask, from the highest on.
fn bits_of(byte: u8) -> impl Iterator<Item = u8> {
    (0..BITS).rev().map(move |place| (byte ^ NONE_THERE) >> place & 1)
}

/// How many lines there are, and weights of a line: as few whole rows as make whole bytes, where such lines divide the
/// tensor. `None` where its weights do not make whole bytes.
fn lines(shape: &[u64]) -> Option<(usize, usize)> {
    let elements = shape.iter().product::<u64>() as usize;
    let row = shape.iter().skip(1).product::<u64>() as usize;
    if elements == 0 || !elements.is_multiple_of(BITS) {
        return None;
    }
    let line = (1..=BITS).map(|rows| rows * row).find(|line| line.is_multiple_of(BITS));
    let line = line.filter(|line| elements.is_multiple_of(*line)).unwrap_or(elements);
    Some((elements / line, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_rows_and_whole_bytes() {
        assert_eq!(lines(&[300, 784]), Some((300, 784)));
        assert_eq!(lines(&[50, 20, 5, 5]), Some((25, 1000)));
        assert_eq!(lines(&[3, 8, 3]), Some((3, 24)));
        assert_eq!(lines(&[8, 3]), Some((1, 24)));
        assert_eq!(lines(&[64]), Some((8, 8)));
        assert_eq!(lines(&[3, 3]), None);
        assert_eq!(lines(&[0, 8]), None);
    }

    #[test]
    fn the_middle_of_a_byte_is_nothing() {
        assert_eq!(bits_of(128).collect::<Vec<u8>>(), [0; 8]);
        assert_eq!(bits_of(0).collect::<Vec<u8>>(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bits_of(127).collect::<Vec<u8>>(), [1; 8]);
        assert_eq!(bits_of(129).collect::<Vec<u8>>(), [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
