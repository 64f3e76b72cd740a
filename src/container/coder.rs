//! A binary range coder without carries: 32 bits of range, 12 bits of probability.

/// Writes bits, or reads them: a model that is written against this trait does both.
pub(super) trait BitCoder {
    /// Codes one bit, of which `ones` of 4,096 are expected to be one. An encoder writes `bit` and returns it, a
    /// decoder returns the bit it read.
    fn code(&mut self, ones: u32, bit: bool) -> bool;
}

/// The part of the range that a one gets.
fn split(low: u32, high: u32, ones: u32) -> u32 {
    let range = u64::from(high - low);
    low + ((range * u64::from(ones)) >> 12) as u32
}

/// The encoder.
pub(super) struct Encoder {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { low: 0, high: u32::MAX, out: Vec::new() }
    }

    /// The bytes that were written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.extend(self.high.to_be_bytes());
        self.out
    }
}

impl BitCoder for Encoder {
    fn code(&mut self, ones: u32, bit: bool) -> bool {
        let middle = split(self.low, self.high, ones);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 255;
        }
        bit
    }
}

/// The decoder. Past the end of its bytes it reads zeros: a checksum tells.
pub(super) struct Decoder<'a> {
    low: u32,
    high: u32,
    code: u32,
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut rest = bytes.iter();
        let code = (0..4).fold(0, |code, _| code << 8 | u32::from(rest.next().copied().unwrap_or(0)));
        Self { low: 0, high: u32::MAX, code, rest }
    }
}

impl BitCoder for Decoder<'_> {
    fn code(&mut self, ones: u32, _: bool) -> bool {
        let middle = split(self.low, self.high, ones);
        let bit = self.code <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 255;
            self.code = self.code << 8 | u32::from(self.rest.next().copied().unwrap_or(0));
        }
        bit
    }
}
