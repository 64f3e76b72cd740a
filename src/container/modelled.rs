//! Adaptive binary range coding with mixed contexts, in integers only, so that it decodes alike on every machine.
//!
//! Each bit is predicted from several contexts; their predictions are mixed in the logistic domain by weights that
//! learn, as in the PAQ family (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005).
//! The contexts are those that weights have: the row, the column, and the values beside and above.

use super::coder::BitCoder;

/// Contexts of each bit.
const CONTEXTS: usize = 6;

/// Rows and columns are told apart up to this many; beyond it, neighbours share statistics.
const MAX_LINES: usize = 512;

/// Steps after which a probability adapts no slower.
const SLOWEST: u32 = 250;

/// How fast the weights of the mixture learn.
const LEARNING_RATE: i32 = 6;

/// 1 / (1 + e^-x): 12 bits for x in 1/256, by interpolation.
fn squash(x: i32) -> i32 {
    const TABLE: [i32; 33] = [
        1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
        3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
    ];
    let x = x.clamp(-2047, 2047) + 2048;
    let (at, part) = ((x >> 7) as usize, x & 127);
    let (low, high) = (TABLE.get(at).copied().unwrap_or(1), TABLE.get(at + 1).copied().unwrap_or(4094));
    (low * (128 - part) + high * part + 64) >> 7
}

/// The inverse of [`squash`] for each 12-bit probability.
fn stretch_table() -> Vec<i16> {
    let mut table = vec![2047i16; 4096];
    let mut next = 0usize;
    for x in -2047..=2047 {
        let reached = squash(x) as usize;
        for slot in table.iter_mut().take(reached + 1).skip(next) {
            *slot = x as i16;
        }
        next = next.max(reached + 1);
    }
    table
}

/// Predictions from several contexts and their mixture.
struct Mixture {
    stretch: Vec<i16>,
    /// For each context, by its value: a 22-bit probability of a one above a 10-bit count.
    tables: [Vec<u32>; CONTEXTS],
    /// By set: the weights of the contexts, 65,536 for one.
    weights: Vec<[i32; CONTEXTS]>,
}

impl Mixture {
    fn new(sizes: [usize; CONTEXTS], sets: usize) -> Self {
        Self {
            stretch: stretch_table(),
            tables: sizes.map(|size| vec![1 << 31; size]),
            weights: vec![[(1 << 16) / 3; CONTEXTS]; sets],
        }
    }

    /// Codes one bit and learns from it.
    fn code(&mut self, coder: &mut impl BitCoder, at: [usize; CONTEXTS], set: usize, bit: bool) -> bool {
        let mut inputs = [0i32; CONTEXTS];
        let mut sum = 0i64;
        let mut none = [0i32; CONTEXTS];
        let weights = self.weights.get_mut(set).unwrap_or(&mut none);
        for (((input, weight), table), at) in inputs.iter_mut().zip(weights.iter()).zip(&self.tables).zip(at) {
            let probability = table.get(at).copied().unwrap_or(1 << 31) >> 20;
            *input = self.stretch.get(probability as usize).map_or(0, |x| i32::from(*x));
            sum += i64::from(*input) * i64::from(*weight);
        }
        let mixed = squash((sum >> 16).clamp(-2047, 2047) as i32).clamp(1, 4095);
        let bit = coder.code(mixed as u32, bit);
        let error = ((i32::from(bit) << 12) - mixed) * LEARNING_RATE;
        for (input, weight) in inputs.iter().zip(weights.iter_mut()) {
            *weight = (*weight + ((input * error + 0x2000) >> 14)).clamp(-(1 << 20), 1 << 20);
        }
        for (table, at) in self.tables.iter_mut().zip(at) {
            if let Some(slot) = table.get_mut(at) {
                let (probability, count) = (i64::from(*slot >> 10), *slot & 1023);
                let target = if bit { (1 << 22) - 1 } else { 0 };
                let moved = probability + (target - probability) * 2 / (2 * i64::from(count) + 3);
                *slot = ((moved as u32) << 10) | (count + 1).min(SLOWEST);
            }
        }
        bit
    }
}

/// Where an element is: its row and column, made few enough to keep statistics of each.
struct Lines {
    width: usize,
    row_shift: u32,
    column_shift: u32,
}

impl Lines {
    fn new(len: usize, width: usize) -> Self {
        let shift = |count: usize| (0..usize::BITS).find(|shift| count >> shift < MAX_LINES).unwrap_or(0);
        let width = width.clamp(1, len.max(1));
        Self { width, row_shift: shift(len / width), column_shift: shift(width) }
    }

    fn row(&self, at: usize) -> usize {
        (at / self.width) >> self.row_shift
    }

    fn column(&self, at: usize) -> usize {
        (at % self.width) >> self.column_shift
    }
}

/// Codes bytes in rows of `width`; a decoder fills `data`, an encoder reads it. `centre` is the byte that stands for
/// zero: 0 where bytes are signed, 128 where they are not.
pub(super) fn bytes(coder: &mut impl BitCoder, data: &mut [u8], width: usize, centre: u8) {
    const LEVELS: usize = 9;
    let lines = Lines::new(data.len(), width);
    let mut mixture =
        Mixture::new([256, 256 * LEVELS * LEVELS, 256 * MAX_LINES, 256 * MAX_LINES, 256 * 64, 256 * 256], 256);
    let size = |byte: u8| u32::from((byte.wrapping_sub(centre) as i8).unsigned_abs());
    let level = |byte: u8| (u32::BITS - size(byte).leading_zeros()) as usize;
    for at in 0..data.len() {
        let back = |by: usize| at.checked_sub(by).and_then(|at| data.get(at)).copied().unwrap_or(centre);
        let (left, above) = (back(1), back(lines.width));
        let around: u32 = [
            left,
            back(2),
            above,
            back(lines.width + 1),
            back(lines.width.saturating_sub(1).max(1)),
            back(2 * lines.width),
        ]
        .map(size)
        .iter()
        .sum();
        let contexts = [
            0,
            level(left) * LEVELS + level(above),
            lines.column(at),
            lines.row(at),
            (around / 8).min(63) as usize,
            usize::from(left),
        ];
        let byte = data.get(at).copied().unwrap_or(0);
        let mut node = 1usize;
        for position in (0..8).rev() {
            let bit = mixture.code(coder, contexts.map(|c| c * 256 + node), node, byte >> position & 1 == 1);
            node = node * 2 + usize::from(bit);
        }
        if let Some(slot) = data.get_mut(at) {
            *slot = node as u8;
        }
    }
}

/// Codes which elements of rows of `width` are not zero; a decoder fills `mask`, an encoder reads it.
pub(super) fn mask(coder: &mut impl BitCoder, mask: &mut [bool], width: usize) {
    let lines = Lines::new(mask.len(), width);
    let mut mixture = Mixture::new([1 << 8, 1 << 8, MAX_LINES, MAX_LINES, 33 * 8, 33], 33);
    let mut recent = 0u32;
    for at in 0..mask.len() {
        let back = |by: usize| at.checked_sub(by).and_then(|at| mask.get(at)).copied().unwrap_or(false);
        let width = lines.width;
        let gather = |offsets: &[usize]| offsets.iter().fold(0, |bits, by| bits * 2 + usize::from(back(*by)));
        let near = gather(&[1, 2, width.saturating_sub(1).max(1), width, width + 1, 2 * width, 3, 3 * width]);
        let column = gather(&[width, 2 * width, 3 * width, 4 * width, 5 * width, 6 * width, 7 * width, 8 * width]);
        let density = recent.count_ones() as usize;
        let contexts =
            [near, column, lines.column(at), lines.row(at), density * 8 + column.count_ones().min(7) as usize, density];
        let bit = mixture.code(coder, contexts, density, mask.get(at).copied().unwrap_or(false));
        recent = recent << 1 | u32::from(bit);
        if let Some(slot) = mask.get_mut(at) {
            *slot = bit;
        }
    }
}
