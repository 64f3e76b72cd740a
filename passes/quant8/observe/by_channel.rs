//! The extremes of each channel of an activation.

use serde::{Deserialize, Serialize};

use super::statistics::with_floats;
use crate::ir::Tensor;
use crate::passes::quant8::range::Range;

/// The range of each channel on the last axis. Adding tensors and merging give the same in any order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(in crate::passes::quant8) enum Channels {
    /// Nothing was seen yet.
    #[default]
    Unseen,
    /// The smallest and the largest finite number of each.
    Extremes { minima: Vec<f32>, maxima: Vec<f32> },
    /// Their number varies, or there are none.
    Mixed,
}

impl Channels {
    /// Takes in what one sample gave.
    pub(in crate::passes::quant8) fn add(&mut self, tensor: &Tensor) {
        let count = tensor.shape().last().and_then(|&count| usize::try_from(count).ok()).unwrap_or(0);
        if *self == Self::Unseen && count > 0 {
            *self = Self::Extremes { minima: vec![f32::INFINITY; count], maxima: vec![f32::NEG_INFINITY; count] };
        }
        let Self::Extremes { minima, maxima } = self else {
            *self = Self::Mixed;
            return;
        };
        if minima.len() != count {
            *self = Self::Mixed;
            return;
        }
        with_floats(tensor, |values| {
            for row in values.chunks_exact(count) {
                for ((min, max), &raw) in minima.iter_mut().zip(maxima.iter_mut()).zip(row) {
                    // Adding 0 makes one of both zeros.
                    let value = f32::from_le_bytes(raw) + 0.0;
                    let is_finite = value.abs() <= f32::MAX;
                    *min = if is_finite && value < *min { value } else { *min };
                    *max = if is_finite && value > *max { value } else { *max };
                }
            }
        });
    }

    /// Takes in what other samples gave.
    pub(in crate::passes::quant8) fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Unseen) => {}
            (Self::Extremes { minima, maxima }, Self::Extremes { minima: others, maxima: other_maxima })
                if minima.len() == others.len() =>
            {
                minima.iter_mut().zip(others).for_each(|(min, other)| *min = min.min(other));
                maxima.iter_mut().zip(other_maxima).for_each(|(max, other)| *max = max.max(other));
            }
            (Self::Unseen, other) => *self = other,
            _ => *self = Self::Mixed,
        }
    }

    /// The range of each channel; `None` where their number varies.
    pub(in crate::passes::quant8) fn ranges(&self) -> Option<Vec<Range>> {
        let Self::Extremes { minima, maxima } = self else { return None };
        Some(minima.iter().zip(maxima).map(|(&min, &max)| Range { min, max }).collect())
    }
}

/// The form in a file, which has no infinities: a channel without a finite number is `null`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stored {
    Unseen,
    Extremes(Vec<Option<(f32, f32)>>),
    Mixed,
}

impl From<Channels> for Stored {
    fn from(channels: Channels) -> Self {
        match channels {
            Channels::Unseen => Self::Unseen,
            Channels::Mixed => Self::Mixed,
            Channels::Extremes { minima, maxima } => {
                Self::Extremes(minima.into_iter().zip(maxima).map(|pair| (pair.0 <= pair.1).then_some(pair)).collect())
            }
        }
    }
}

impl From<Stored> for Channels {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Unseen => Self::Unseen,
            Stored::Mixed => Self::Mixed,
            Stored::Extremes(extremes) => {
                let pairs = extremes.into_iter().map(|pair| pair.unwrap_or((f32::INFINITY, f32::NEG_INFINITY)));
                let (minima, maxima) = pairs.unzip();
                Self::Extremes { minima, maxima }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], values: &[f32]) -> Tensor {
        Tensor::from_f32(shape, values).unwrap()
    }

    #[test]
    fn channels_lie_on_the_last_axis_and_merge() {
        let mut all = Channels::default();
        all.add(&tensor(&[2, 2], &[1.0, -2.0, 3.0, f32::NAN]));
        let mut more = Channels::default();
        more.add(&tensor(&[1, 1, 2], &[-1.0, 5.0]));
        all.merge(more);
        let ranges = [Range { min: -1.0, max: 3.0 }, Range { min: -2.0, max: 5.0 }];
        assert_eq!(all.ranges().unwrap(), ranges);
        all.merge(Channels::default());
        assert_eq!(all.ranges().unwrap(), ranges);
        all.add(&tensor(&[3], &[0.0; 3]));
        assert_eq!((all.ranges(), all), (None, Channels::Mixed));
    }

    #[test]
    fn they_survive_being_written_and_read() {
        let mut all = Channels::default();
        all.add(&tensor(&[1, 2], &[f32::NAN, 0.1]));
        for channels in [all, Channels::Unseen, Channels::Mixed] {
            let text = serde_json::to_string(&channels).unwrap();
            assert_eq!(serde_json::from_str::<Channels>(&text).unwrap(), channels, "{text}");
        }
    }
}
