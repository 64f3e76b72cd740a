//! What is remembered of an activation over all samples: as much after a million of them as after one.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::sum::ExactSum;
use crate::ir::{DType, Tensor};
use crate::passes::quant8::range::Range;

/// Statistics of one activation. Adding tensors and merging statistics give the same in any order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::passes::quant8) struct Statistics {
    /// Samples with at least one finite number.
    samples: u64,
    /// The smallest and the largest number; `None` before the first.
    extremes: Option<(f32, f32)>,
    /// The smallest number of each sample, added up, and the largest.
    minima: ExactSum,
    maxima: ExactSum,
    /// `None` where nobody asked for it.
    histogram: Option<Histogram>,
}

impl Statistics {
    /// Of nothing yet.
    pub(in crate::passes::quant8) fn new(with_histogram: bool) -> Self {
        Self { histogram: with_histogram.then(Histogram::default), ..Self::default() }
    }

    /// Takes in what one sample gave.
    pub(in crate::passes::quant8) fn add(&mut self, tensor: &Tensor) {
        with_floats(tensor, |values| {
            let seen = Range::of_bytes(values);
            if let Some(histogram) = &mut self.histogram {
                histogram.add(values, if seen.is_empty() { 0.0 } else { seen.max.max(-seen.min) });
            }
            if !seen.is_empty() {
                self.samples += 1;
                self.minima.add(seen.min);
                self.maxima.add(seen.max);
                self.widen(seen);
            }
        });
    }

    /// Takes in what other samples gave.
    pub(in crate::passes::quant8) fn merge(&mut self, other: Self) {
        self.widen(other.range());
        self.samples += other.samples;
        self.minima.merge(other.minima);
        self.maxima.merge(other.maxima);
        self.histogram = match (self.histogram.take(), other.histogram) {
            (Some(mut one), Some(another)) => {
                one.merge(another);
                Some(one)
            }
            _ => None,
        };
    }

    fn widen(&mut self, seen: Range) {
        let range = self.range().union(seen);
        self.extremes = (!range.is_empty()).then_some((range.min, range.max));
    }

    /// From the smallest number to the largest.
    pub(in crate::passes::quant8) fn range(&self) -> Range {
        self.extremes.map_or(Range::EMPTY, |(min, max)| Range { min, max })
    }

    /// From the smallest number of a sample to the largest, on average over samples.
    pub(in crate::passes::quant8) fn mean_range(&self) -> Range {
        if self.samples == 0 {
            return Range::EMPTY;
        }
        let mean = |sum: &ExactSum| (sum.value() / self.samples as f64) as f32;
        Range { min: mean(&self.minima), max: mean(&self.maxima) }
    }

    /// The counts of numbers, where they were asked for.
    pub(in crate::passes::quant8) fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_ref()
    }

    /// Whether they are some that this code could have made.
    pub(in crate::passes::quant8) fn is_sound(&self) -> bool {
        let ordered = self.extremes.is_none_or(|(min, max)| min <= max && min.is_finite() && max.is_finite());
        ordered && self.histogram.as_ref().is_none_or(Histogram::is_sound)
    }
}

/// Hands over the elements of a tensor as the bytes of 32-bit floats; those of other float types are converted.
pub(in crate::passes::quant8) fn with_floats(tensor: &Tensor, mut read: impl FnMut(&[[u8; 4]])) {
    if tensor.dtype() == DType::F32 {
        return read(tensor.data().as_chunks::<4>().0);
    }
    let converted: Vec<[u8; 4]> = tensor.to_f32().unwrap_or_default().into_iter().map(f32::to_le_bytes).collect();
    read(&converted);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[&[f32]]) -> Statistics {
        let mut statistics = Statistics::new(true);
        for values in samples {
            statistics.add(&Tensor::from_f32([values.len() as u64], values).unwrap());
        }
        statistics
    }

    #[test]
    fn samples_can_be_divided_and_merged() {
        let samples: [&[f32]; 4] = [&[1.0, -3.0], &[0.5, f32::NAN, 7.0], &[], &[f32::INFINITY]];
        let all = of(&samples);
        assert_eq!(all.range(), Range { min: -3.0, max: 7.0 });
        assert_eq!(all.mean_range(), Range { min: -1.25, max: 4.0 });
        let mut merged = of(&samples[1..]);
        merged.merge(of(&samples[..1]));
        assert_eq!(merged, all);
        assert_eq!(of(&[]).mean_range(), Range::EMPTY);
    }

    #[test]
    fn they_survive_being_written_and_read() {
        let all = of(&[&[1.0e-40, -3.25, 0.1, f32::MAX], &[0.0]]);
        let text = serde_json::to_string(&all).unwrap();
        let read: Statistics = serde_json::from_str(&text).unwrap();
        assert!(read == all && read.is_sound(), "{text}");
    }
}
