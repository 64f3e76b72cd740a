//! Numbers and runs in a packed file.

use super::stream::damaged;
use crate::error::Result;

/// Appends a number, seven bits a byte.
pub(super) fn put(out: &mut Vec<u8>, number: usize) {
    let mut rest = number as u64;
    while rest > 127 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads from the front of a slice.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("a file that ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or_else(|| damaged("a file that ends too early"))
    }

    /// A number that [`put`] wrote.
    pub(super) fn number(&mut self) -> Result<usize> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return usize::try_from(number).map_err(|_| damaged("a number that is too large"));
            }
        }
        Err(damaged("a number that is too large"))
    }

    /// A run after its length.
    pub(super) fn sized(&mut self) -> Result<&'a [u8]> {
        let len = self.number()?;
        self.take(len)
    }

    /// A checksum.
    pub(super) fn checksum(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}
