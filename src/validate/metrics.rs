//! How far one output is from another, element by element; sums that add up over samples.

use serde::{Deserialize, Serialize};

use super::accuracy::wilson_interval95;
use crate::ir::{DType, Tensor};

/// The signal-to-noise ratio that stands for "no signal left", where the true one is minus infinity.
pub const SNR_FLOOR_DB: f64 = -200.0;

/// Rows of scores are looked for in outputs of these ranks: `[N, C]` and `[N, T, C]`.
const SCORE_RANKS: std::ops::RangeInclusive<usize> = 2..=3;

/// Outputs that differ in type or shape, which no metric can describe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Type and shape of the reference's output: `float[1,10]`.
    pub expected: String,
    /// Type and shape of the candidate's output.
    pub found: String,
}

/// The sums behind the metrics of one output, over any number of samples.
///
/// Sums are in double precision and in the order of [`merge`](Self::merge), so equal calls give equal bits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    dtype: Option<DType>,
    mismatch: Option<Mismatch>,
    elements: u64,
    equal: u64,
    /// Elements that are finite on both sides; the sums below are over these alone.
    finite: u64,
    new_non_finite: u64,
    changed_non_finite: u64,
    max_abs: f64,
    reference_energy: f64,
    candidate_energy: f64,
    difference_energy: f64,
    product: f64,
    rows: u64,
    /// Rows with more than five scores; in shorter ones five places say nothing.
    long_rows: u64,
    top1: u64,
    top5: u64,
}

/// How far one output drifted, over all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputDrift {
    /// The name of the output.
    pub name: String,
    /// The element type of the reference's output, in ONNX's words.
    pub dtype: String,
    /// The number of elements compared.
    pub elements: u64,
    /// Whether type, shape and every bit are equal.
    pub exact: bool,
    /// The first sample's types and shapes where they differ; the metrics then leave such samples out.
    pub mismatch: Option<Mismatch>,
    /// Elements that are NaN or infinite in the candidate and finite in the reference.
    pub new_non_finite: u64,
    /// Elements that are NaN or infinite in the reference and something else in the candidate.
    pub changed_non_finite: u64,
    /// The share of elements with equal bits.
    pub equal: f64,
    /// The largest difference; `null` for bools and strings.
    pub max_abs: Option<f64>,
    /// The length of the difference over that of the reference; `null` for bools and strings, and where the reference
    /// is all zero and the candidate is not.
    pub rel_l2: Option<f64>,
    /// The signal-to-noise ratio in decibels, at least [`SNR_FLOOR_DB`]; `null` for bools and strings, and where all
    /// values are equal, which makes it infinite.
    pub snr_db: Option<f64>,
    /// The cosine of the angle between reference and candidate; `null` for bools and strings.
    pub cosine: Option<f64>,
    /// The share of rows whose largest score is in the same place; `null` where the output holds no scores.
    pub top1: Option<f64>,
    /// The share of rows where the reference's largest score is among the candidate's five largest; `null` where the
    /// output holds no scores, or at most five in a row.
    pub top5: Option<f64>,
    /// Where the ratio in decibels lies with 95 % confidence on data like the samples; `null` where it is infinite or
    /// `null` itself, and for a single sample, which says nothing about others.
    pub snr_interval95_db: Option<(f64, f64)>,
    /// Where the share behind `top1` lies with 95 % confidence, each row taken as independent; `null` where `top1` is.
    pub top1_interval95: Option<(f64, f64)>,
}

impl OutputDrift {
    /// Whether the output holds numbers, so that distances mean something.
    pub fn is_numeric(&self) -> bool {
        self.max_abs.is_some()
    }

    /// Whether the output holds floats, on which reassociation and quantization leave a noise.
    pub fn dtype_is_float(&self) -> bool {
        DType::from_name(&self.dtype).is_some_and(DType::is_float)
    }

    /// Whether every value is equal, even if `-0` and `0` or the bits of a NaN tell them apart.
    pub fn same_values(&self) -> bool {
        self.mismatch.is_none()
            && self.new_non_finite == 0
            && self.changed_non_finite == 0
            && if self.is_numeric() { self.max_abs == Some(0.0) } else { self.exact }
    }
}

impl Comparison {
    /// Compares one sample's output. Of floats in another width the values count: a model may have been asked to give
    /// those.
    pub fn of(reference: &Tensor, candidate: &Tensor) -> Self {
        let mut comparison = Self { dtype: Some(reference.dtype()), ..Self::default() };
        let widened = in_width_of(reference, candidate);
        let candidate = widened.as_ref().unwrap_or(candidate);
        if reference.dtype() != candidate.dtype() || reference.shape() != candidate.shape() {
            comparison.mismatch = Some(Mismatch { expected: reference.type_text(), found: candidate.type_text() });
            return comparison;
        }
        comparison.elements = reference.len() as u64;
        comparison.equal = equal_elements(reference, candidate);
        if let (Some(before), Some(after)) = (numbers(reference), numbers(candidate)) {
            comparison.add_numbers(&before, &after);
            if let Some(width) = score_width(reference) {
                comparison.add_scores(&before, &after, width);
            }
        }
        comparison
    }

    /// Adds the sums of another sample.
    pub fn merge(&mut self, other: Self) {
        self.dtype = self.dtype.or(other.dtype);
        self.mismatch = self.mismatch.take().or(other.mismatch);
        self.elements += other.elements;
        self.equal += other.equal;
        self.finite += other.finite;
        self.new_non_finite += other.new_non_finite;
        self.changed_non_finite += other.changed_non_finite;
        self.max_abs = self.max_abs.max(other.max_abs);
        self.reference_energy += other.reference_energy;
        self.candidate_energy += other.candidate_energy;
        self.difference_energy += other.difference_energy;
        self.product += other.product;
        self.rows += other.rows;
        self.long_rows += other.long_rows;
        self.top1 += other.top1;
        self.top5 += other.top5;
    }

    /// The metrics.
    pub fn finish(self, name: String) -> OutputDrift {
        let numeric = self.dtype.is_some_and(is_numeric);
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        OutputDrift {
            name,
            dtype: self.dtype.map(|dtype| dtype.to_string()).unwrap_or_default(),
            elements: self.elements,
            exact: self.mismatch.is_none() && self.equal == self.elements,
            new_non_finite: self.new_non_finite,
            changed_non_finite: self.changed_non_finite,
            equal: share(self.equal, self.elements).unwrap_or(if self.mismatch.is_none() { 1.0 } else { 0.0 }),
            // A difference past the range of doubles must not read as null.
            max_abs: numeric.then_some(self.max_abs.min(f64::MAX)),
            rel_l2: if numeric { self.rel_l2() } else { None },
            snr_db: if numeric { self.snr_db() } else { None },
            cosine: numeric.then(|| self.cosine()),
            top1: share(self.top1, self.rows),
            top5: share(self.top5, self.long_rows),
            snr_interval95_db: None,
            top1_interval95: (self.rows > 0).then(|| wilson_interval95(self.top1, self.rows)),
            mismatch: self.mismatch,
        }
    }

    /// The energy of the difference over that of the reference: 0 where all values are equal, infinite where type, shape
    /// or finiteness differ, or the output holds no numbers and differs.
    pub fn noise_to_signal(&self) -> f64 {
        let is_broken = self.mismatch.is_some() || self.new_non_finite > 0 || self.changed_non_finite > 0;
        let is_numeric = self.dtype.is_none_or(is_numeric);
        match () {
            () if is_broken || (!is_numeric && self.equal < self.elements) => f64::INFINITY,
            () if self.difference_energy == 0.0 => 0.0,
            () => self.difference_energy / self.reference_energy,
        }
    }

    /// The energies of the difference and of the reference: sums of squares over the elements that are finite in both.
    pub fn energies(&self) -> (f64, f64) {
        (self.difference_energy, self.reference_energy)
    }

    fn add_numbers(&mut self, before: &[f64], after: &[f64]) {
        for (&reference, &candidate) in before.iter().zip(after) {
            match (reference.is_finite(), candidate.is_finite()) {
                (true, true) => {}
                (true, false) => {
                    self.new_non_finite += 1;
                    continue;
                }
                (false, _) => {
                    let same = reference == candidate || (reference.is_nan() && candidate.is_nan());
                    self.changed_non_finite += u64::from(!same);
                    continue;
                }
            }
            let difference = candidate - reference;
            self.finite += 1;
            self.max_abs = self.max_abs.max(difference.abs());
            self.reference_energy += reference * reference;
            self.candidate_energy += candidate * candidate;
            self.difference_energy += difference * difference;
            self.product += reference * candidate;
        }
    }

    fn add_scores(&mut self, before: &[f64], after: &[f64], width: usize) {
        for (before, after) in before.chunks_exact(width).zip(after.chunks_exact(width)) {
            let best = argmax(before);
            self.rows += 1;
            self.top1 += u64::from(best == argmax(after));
            if width > 5 {
                self.long_rows += 1;
                self.top5 += u64::from(best.is_some_and(|best| rank_of(after, best) < 5));
            }
        }
    }

    fn rel_l2(&self) -> Option<f64> {
        if self.difference_energy == 0.0 {
            return Some(0.0);
        }
        let ratio = (self.difference_energy / self.reference_energy).sqrt();
        ratio.is_finite().then_some(ratio)
    }

    fn snr_db(&self) -> Option<f64> {
        let nothing_left = self.finite == 0 && self.new_non_finite + self.changed_non_finite > 0;
        if nothing_left || self.mismatch.is_some() && self.elements == 0 {
            return Some(SNR_FLOOR_DB);
        }
        if self.difference_energy == 0.0 {
            return None;
        }
        let snr = 10.0 * (self.reference_energy / self.difference_energy).log10();
        // Energies that overflow leave a NaN; `max` takes the floor for it.
        Some(snr.max(SNR_FLOOR_DB)).map(|snr| if snr.is_finite() { snr } else { SNR_FLOOR_DB })
    }

    fn cosine(&self) -> f64 {
        if self.reference_energy == 0.0 && self.candidate_energy == 0.0 {
            return if self.new_non_finite == 0 && self.mismatch.is_none() { 1.0 } else { 0.0 };
        }
        let lengths = self.reference_energy.sqrt() * self.candidate_energy.sqrt();
        let cosine = self.product / lengths;
        if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 }
    }
}

/// The place of the largest score, the first of equal ones; `None` where all are NaN.
pub(super) fn argmax(scores: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &score) in scores.iter().enumerate() {
        if !score.is_nan() && best.is_none_or(|(_, highest)| score > highest) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// How many scores come before the one at `index` when they are sorted from the largest, the first of equal ones first.
fn rank_of(scores: &[f64], index: usize) -> usize {
    let score = scores[index];
    if score.is_nan() {
        return scores.len();
    }
    scores.iter().enumerate().filter(|&(i, &other)| other > score || (other == score && i < index)).count()
}

/// The length of a row of scores; `None` where a tensor holds none.
pub(super) fn score_width(tensor: &Tensor) -> Option<usize> {
    let width = *tensor.shape().last()? as usize;
    (tensor.dtype().is_float() && SCORE_RANKS.contains(&tensor.rank()) && width > 1).then_some(width)
}

/// The values of a numeric tensor.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    let data = tensor.data();
    match tensor.dtype() {
        DType::F64 => Some(data.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()),
        DType::U64 => Some(data.as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes) as f64).collect()),
        dtype if dtype.is_float() => Some(tensor.to_f32()?.into_iter().map(f64::from).collect()),
        dtype if is_numeric(dtype) => Some(tensor.to_i64()?.into_iter().map(|value| value as f64).collect()),
        _ => None,
    }
}

fn is_numeric(dtype: DType) -> bool {
    dtype.is_float() || (dtype.is_integer() && dtype.bits() >= 8)
}

/// The number of elements with equal bits. Elements below a byte count by the byte.
fn equal_elements(reference: &Tensor, candidate: &Tensor) -> u64 {
    let elements = reference.len() as u64;
    if let (Some(before), Some(after)) = (reference.strings(), candidate.strings()) {
        return before.iter().zip(after).filter(|(before, after)| before == after).count() as u64;
    }
    let (before, after) = (reference.data(), candidate.data());
    if before == after {
        return elements;
    }
    let bits = reference.dtype().bits();
    let width = (bits / 8).max(1) as usize;
    let different = before.chunks(width).zip(after.chunks(width)).filter(|(before, after)| before != after).count();
    let per_chunk = if bits < 6 { 8 / bits.max(1) } else { 1 };
    elements.saturating_sub(different as u64 * per_chunk)
}

/// The candidate in the type of the reference, where both are floats of up to 32 bits and only the width is another.
fn in_width_of(reference: &Tensor, candidate: &Tensor) -> Option<Tensor> {
    let is_float = |tensor: &Tensor| matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16);
    let is_other = reference.dtype() != candidate.dtype() && is_float(reference) && is_float(candidate);
    let values = candidate.to_f32().filter(|_| is_other)?;
    Tensor::from_floats(reference.dtype(), candidate.shape(), &values).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[u64], values: &[f32]) -> Tensor {
        Tensor::from_f32(shape, values).unwrap()
    }

    fn drift(before: &Tensor, after: &Tensor) -> OutputDrift {
        Comparison::of(before, after).finish("y".into())
    }

    #[test]
    fn matches_a_case_computed_by_hand() {
        // reference (3, 4): energy 25; difference (0, 0.5): energy 0.25; product 9 + 18 = 27; candidate energy 29.25.
        let drift = drift(&floats(&[2], &[3.0, 4.0]), &floats(&[2], &[3.0, 4.5]));
        assert_eq!(drift.max_abs, Some(0.5));
        assert_eq!(drift.rel_l2, Some(0.1));
        assert!((drift.snr_db.unwrap() - 20.0).abs() < 1e-12);
        assert!((drift.cosine.unwrap() - 27.0 / (5.0 * 29.25_f64.sqrt())).abs() < 1e-12);
        assert_eq!((drift.equal, drift.exact, drift.top1), (0.5, false, None));
    }

    #[test]
    fn equal_bits_are_exact() {
        let tensor = floats(&[2], &[f32::NAN, 4.0]);
        let drift = drift(&tensor, &tensor);
        assert!(drift.exact && drift.same_values());
        assert_eq!((drift.snr_db, drift.max_abs, drift.new_non_finite), (None, Some(0.0), 0));
    }

    #[test]
    fn negative_zero_has_the_same_value_but_not_the_same_bits() {
        let drift = drift(&floats(&[1], &[0.0]), &floats(&[1], &[-0.0]));
        assert!(!drift.exact && drift.same_values());
        assert_eq!((drift.snr_db, drift.cosine), (None, Some(1.0)));
    }

    #[test]
    fn counts_new_and_changed_non_finite_values() {
        let before = floats(&[4], &[1.0, 1.0, f32::INFINITY, f32::NAN]);
        let after = floats(&[4], &[f32::NAN, f32::INFINITY, 1.0, f32::NAN]);
        let drift = drift(&before, &after);
        assert_eq!((drift.new_non_finite, drift.changed_non_finite), (2, 1));
        // Nothing is left to compare, which must not look like a perfect match.
        assert_eq!(drift.snr_db, Some(SNR_FLOOR_DB));
        assert!(!drift.same_values());
    }

    #[test]
    fn a_lost_signal_has_the_lowest_ratio() {
        let drift = drift(&floats(&[2], &[0.0, 0.0]), &floats(&[2], &[1.0, 0.0]));
        assert_eq!((drift.snr_db, drift.rel_l2, drift.cosine), (Some(SNR_FLOOR_DB), None, Some(0.0)));
    }

    #[test]
    fn floats_of_another_width_are_compared_by_value() {
        let reference = Tensor::from_f32([2], &[1.0, 2.0]).unwrap();
        let halves = Tensor::from_floats(DType::F16, [2], &[1.0, 2.0]).unwrap();
        let drift = Comparison::of(&reference, &halves).finish("y".to_owned());
        assert!(drift.mismatch.is_none() && drift.max_abs == Some(0.0));
    }

    #[test]
    fn another_shape_or_type_is_a_mismatch() {
        let drift = drift(&floats(&[2, 1], &[1.0, 2.0]), &floats(&[1, 2], &[1.0, 2.0]));
        assert!(!drift.exact);
        let mismatch = drift.mismatch.unwrap();
        assert_eq!((mismatch.expected.as_str(), mismatch.found.as_str()), ("float[2,1]", "float[1,2]"));
    }

    #[test]
    fn compares_places_of_scores() {
        let before = floats(&[2, 6], &[9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 7.0, 1.0, 1.0, 1.0, 1.0]);
        // Row 0: the best becomes the last of six. Row 1: the best stays.
        let after = floats(&[2, 6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 6.0, 1.0, 1.0, 1.0, 1.0]);
        let many = drift(&before, &after);
        assert_eq!((many.top1, many.top5), (Some(0.5), Some(0.5)));
        let few = drift(&floats(&[1, 2], &[0.0, 1.0]), &floats(&[1, 2], &[1.0, 0.0]));
        assert_eq!((few.top1, few.top5), (Some(0.0), None));
    }

    #[test]
    fn integers_bools_and_strings_count_equal_elements() {
        let integers = drift(
            &Tensor::from_i64(vec![4], &[1, 2, 3, 4]).unwrap(),
            &Tensor::from_i64(vec![4], &[1, 2, 3, 5]).unwrap(),
        );
        assert_eq!((integers.equal, integers.max_abs), (0.75, Some(1.0)));
        let bools = drift(
            &Tensor::new(DType::Bool, vec![2], vec![0, 1]).unwrap(),
            &Tensor::new(DType::Bool, vec![2], vec![1, 1]).unwrap(),
        );
        assert_eq!((bools.equal, bools.max_abs, bools.snr_db), (0.5, None, None));
        let strings =
            |text: [&'static str; 2]| Tensor::from_strings(vec![2], text.map(bytes::Bytes::from).to_vec()).unwrap();
        assert_eq!(drift(&strings(["a", "b"]), &strings(["a", "c"])).equal, 0.5);
    }

    #[test]
    fn merging_equals_comparing_at_once() {
        let (before, after) = ([1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 2.0, 4.0]);
        let whole = Comparison::of(&floats(&[2, 2], &before), &floats(&[2, 2], &after));
        let mut merged = Comparison::of(&floats(&[1, 2], &before[..2]), &floats(&[1, 2], &after[..2]));
        merged.merge(Comparison::of(&floats(&[1, 2], &before[2..]), &floats(&[1, 2], &after[2..])));
        assert_eq!(whole, merged);
    }
}
