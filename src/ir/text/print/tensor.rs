//! Tensors.

use std::fmt::{self, Write};

use super::super::element;
use super::quote::byte_string;
use super::{Style, separate};
use crate::ir::Tensor;

/// Contents: in full, or the hash of them.
pub(super) fn contents(out: &mut impl Write, tensor: &Tensor, style: Style) -> fmt::Result {
    if tensor.len() as u64 > style.full_data_up_to {
        return write!(out, "#{:016x}", hash(tensor));
    }
    out.write_char('{')?;
    if let Some(strings) = tensor.strings() {
        for (index, string) in strings.iter().enumerate() {
            separate(out, index)?;
            byte_string(out, string)?;
        }
    } else {
        let (literal, per_element) = element::literal_type(tensor.dtype());
        let data = tensor.data();
        for index in 0..tensor.len() * per_element as usize {
            separate(out, index)?;
            element::write(out, literal, data, index)?;
        }
    }
    out.write_char('}')
}

/// A hash of the contents that stays the same over versions and machines: FNV-1a over words of 64 bits.
fn hash(tensor: &Tensor) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME);
    let bytes = |hash: u64, data: &[u8]| {
        let (words, rest) = data.as_chunks::<8>();
        let hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
    };
    let hash = match tensor.strings() {
        Some(strings) => strings.iter().fold(BASIS, |hash, s| bytes(step(hash, s.len() as u64), s)),
        None => bytes(BASIS, tensor.data()),
    };
    // A multiplication moves bits up only: bring the high ones down once more.
    step(hash ^ (hash >> 32), 0)
}
