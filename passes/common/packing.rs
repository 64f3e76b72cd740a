//! Several small numbers in a byte, and the table that tells what each byte stands for.
//!
//! A byte holds as many digits to the base of the number of values as go into it: 8 of two values, 5 of three, 2 of up to
//! 16. The first digit is the lowest. Whoever has the table needs no arithmetic to take a byte apart.

/// Values of a byte.
const BYTE: usize = 256;

/// How codes below `base` are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passes) struct Packing {
    base: usize,
    /// Codes in a byte.
    pub(in crate::passes) per_byte: usize,
}

impl Packing {
    /// The packing of `len` codes that takes the fewest bytes with its table of values of `value_bytes` each.
    pub(in crate::passes) fn smallest(base: usize, len: usize, value_bytes: usize) -> Self {
        let base = base.clamp(2, BYTE);
        let all = (1..=8).map(|per_byte| Self { base, per_byte }).take_while(|packing| packing.entries() <= BYTE);
        all.min_by_key(|packing| packing.stored_bytes(len, value_bytes)).unwrap_or(Self { base, per_byte: 1 })
    }

    /// One code in each byte.
    pub(in crate::passes) fn single(base: usize) -> Self {
        Self { base: base.clamp(2, BYTE), per_byte: 1 }
    }

    /// Rows of the table.
    pub(in crate::passes) fn entries(self) -> usize {
        self.base.saturating_pow(self.per_byte as u32)
    }

    /// Bytes of packed codes and table.
    pub(in crate::passes) fn stored_bytes(self, len: usize, value_bytes: usize) -> usize {
        len.div_ceil(self.per_byte) + self.entries() * self.per_byte * value_bytes
    }

    /// Codes in bytes; those that are missing in the last one are 0.
    pub(in crate::passes) fn pack(self, codes: &[u8]) -> Vec<u8> {
        let byte =
            |digits: &[u8]| digits.iter().rev().fold(0, |byte, &digit| byte * self.base + usize::from(digit)) as u8;
        codes.chunks(self.per_byte).map(byte).collect()
    }

    /// The table `[entries, per_byte]`: the value of each digit of each byte.
    pub(in crate::passes) fn table(self, values: &[f32]) -> Vec<f32> {
        let value = |digit: usize| values.get(digit).copied().unwrap_or_default();
        let digits =
            |entry: usize| (0..self.per_byte).map(move |place| entry / self.base.pow(place as u32) % self.base);
        (0..self.entries()).flat_map(digits).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_hold_as_many_digits_as_go_into_them() {
        let most = |base| Packing::smallest(base, 1 << 20, 4).per_byte;
        assert_eq!([2, 3, 4, 5, 6, 7, 16, 17, 256].map(most), [8, 5, 4, 3, 3, 2, 2, 1, 1]);
        // A table of 256 entries does not pay for a hundred codes.
        assert_eq!(Packing::smallest(16, 100, 4).per_byte, 1);
    }

    #[test]
    fn the_table_restores_what_was_packed() {
        let values = [-1.5, 0.0, 2.5];
        let codes: Vec<u8> = (0..17).map(|i| (i * 7 % 3) as u8).collect();
        let packing = Packing::smallest(3, 1 << 20, 4);
        let (packed, table) = (packing.pack(&codes), packing.table(&values));
        assert_eq!((packed.len(), table.len()), (4, 243 * 5));
        let restored = packed.iter().flat_map(|&byte| table[usize::from(byte) * 5..][..5].to_vec());
        let expected = codes.iter().map(|&code| values[usize::from(code)]);
        assert!(restored.take(17).eq(expected));
    }
}
