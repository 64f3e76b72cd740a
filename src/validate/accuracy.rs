//! How often a model is right, before and after.

use serde::{Deserialize, Serialize};

use super::metrics::{argmax, numbers, score_width};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::Tensor;

/// The share of right answers of both models on the same labelled rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Of the reference, 0 to 1.
    pub before: f64,
    /// Of the candidate, 0 to 1.
    pub after: f64,
    /// The number of labelled rows.
    pub samples: u64,
    /// Where the candidate's true accuracy lies with 95 % confidence, given that number of rows.
    pub interval95: (f64, f64),
}

/// Counts of right answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Hits {
    before: u64,
    after: u64,
    rows: u64,
}

impl Hits {
    /// Counts the right answers for one sample.
    ///
    /// # Errors
    /// Fails where no output has one answer for each label.
    pub(super) fn count(before: &NamedTensors, after: &NamedTensors, labels: &[i64]) -> Result<Self> {
        let answers = before.iter().zip(after).find_map(|((_, before), (_, after))| {
            let right = answers(before).filter(|answers| answers.len() == labels.len())?;
            Some((right, answers(after).unwrap_or_default()))
        });
        let Some((before, after)) = answers else { return Err(no_answers(before, labels.len())) };
        let right = |answers: &[Option<i64>]| {
            answers.iter().zip(labels).filter(|(answer, label)| **answer == Some(**label)).count() as u64
        };
        Ok(Self { before: right(&before), after: right(&after), rows: labels.len() as u64 })
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self { before: self.before + other.before, after: self.after + other.after, rows: self.rows + other.rows }
    }

    pub(super) fn finish(self) -> Accuracy {
        let share = |hits: u64| if self.rows == 0 { 0.0 } else { hits as f64 / self.rows as f64 };
        Accuracy {
            before: share(self.before),
            after: share(self.after),
            samples: self.rows,
            interval95: wilson_interval95(self.after, self.rows),
        }
    }
}

/// The answer of each row: the place of the largest score, or the value itself where the model returns classes.
fn answers(output: &Tensor) -> Option<Vec<Option<i64>>> {
    if let Some(width) = score_width(output) {
        let scores = numbers(output)?;
        return Some(scores.chunks_exact(width).map(|row| argmax(row).map(|class| class as i64)).collect());
    }
    let classes = output.to_i64().filter(|_| output.dtype().is_integer())?;
    Some(classes.into_iter().map(Some).collect())
}

fn no_answers(outputs: &NamedTensors, labels: usize) -> Error {
    let found: Vec<String> = outputs.iter().map(|(name, tensor)| format!("`{} {name}`", tensor.type_text())).collect();
    Error::invalid_data("no output has one answer for each label")
        .expected(format!("scores or classes for {labels} labels in each sample"))
        .found(found.join(", "))
        .help("leave out the array `label` to compare without accuracy")
}

/// The Wilson score interval for a share of `hits` in `trials` at 95 % confidence; `(0, 1)` without trials.
pub fn wilson_interval95(hits: u64, trials: u64) -> (f64, f64) {
    /// The 97.5th percentile of the standard normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (trials as f64, hits as f64 / trials as f64);
    let z2 = Z * Z;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(values: &[f32]) -> NamedTensors {
        vec![("y".into(), Tensor::from_f32(vec![2, 2], values).unwrap())]
    }

    #[test]
    fn counts_right_rows() {
        let hits = Hits::count(&outputs(&[0.0, 1.0, 1.0, 0.0]), &outputs(&[1.0, 0.0, 1.0, 0.0]), &[1, 0]).unwrap();
        let accuracy = hits.merge(Hits::default()).finish();
        assert_eq!((accuracy.before, accuracy.after, accuracy.samples), (1.0, 0.5, 2));
    }

    #[test]
    fn takes_classes_as_they_are() {
        let classes: NamedTensors = vec![("class".into(), Tensor::from_i64(vec![2], &[4, 5]).unwrap())];
        let accuracy = Hits::count(&classes, &classes, &[4, 6]).unwrap().finish();
        assert_eq!(accuracy.before, 0.5);
    }

    #[test]
    fn names_the_outputs_where_labels_do_not_fit() {
        let error = Hits::count(&outputs(&[0.0; 4]), &outputs(&[0.0; 4]), &[1]).unwrap_err().to_string();
        assert!(error.contains("float[2,2] y") && error.contains("1 labels"), "{error}");
    }

    #[test]
    fn matches_published_wilson_intervals() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
        let (low, high) = wilson_interval95(81, 263);
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = wilson_interval95(0, 20);
        assert!(low.abs() < 1e-12 && (high - 0.1611).abs() < 5e-5, "{low} {high}");
    }
}
