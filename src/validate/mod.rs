//! How far a result drifted from the original: both run on the same samples, and every output is compared.
//!
//! [`compare`] measures, [`DriftReport::judge`] holds the measurements against [`Gate`]s.

mod accuracy;
mod gates;
mod interval;
mod metrics;
mod noise;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use accuracy::{Accuracy, wilson_interval95};
pub use gates::{Gate, Metric, Tolerance};
pub use metrics::{Comparison, Mismatch, OutputDrift, SNR_FLOOR_DB};
pub use verdict::{Closest, Failure, Verdict};

use interval::Spread;

use crate::backend::{NamedTensors, Session};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::Tensor;

/// How to compare two models.
#[derive(Clone, Copy, Default)]
pub struct CompareOptions<'a> {
    /// Measure the noise floor too, at the price of running the original twice.
    pub noise: bool,
    /// The seed of the perturbation behind the noise floor.
    pub seed: u64,
    /// Called after each sample with the number of samples done and of all; from any thread.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

impl fmt::Debug for CompareOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompareOptions")
            .field("noise", &self.noise)
            .field("seed", &self.seed)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

/// How far a candidate drifted from its reference.
///
/// The JSON form is stable: the fields below by name, every metric that does not apply or is infinite as `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The backend that ran the reference.
    pub backend_reference: String,
    /// The backend that ran the candidate.
    pub backend_candidate: String,
    /// The number of samples both ran on.
    pub samples: usize,
    /// The drift of each output, in the order of the reference.
    pub outputs: Vec<OutputDrift>,
    /// The drift of the reference itself when every float input moves by the smallest step there is; `null` where that
    /// was not asked for or the model has no float input.
    pub noise: Option<Vec<OutputDrift>>,
    /// The accuracy before and after; `null` where the data has no labels.
    pub accuracy: Option<Accuracy>,
}

/// What one sample contributes.
struct SampleResult {
    drift: Vec<(String, Comparison)>,
    noise: Option<Vec<(String, Comparison)>>,
    accuracy: Option<accuracy::Hits>,
}

/// Runs both models on all samples and compares what they return, output by output.
///
/// Samples run in parallel, and are merged in order: the report is the same at any number of threads.
///
/// # Errors
/// Fails where a model cannot run, the output names differ, or the labels do not fit the outputs.
pub fn compare(
    reference: &dyn Session,
    candidate: &dyn Session,
    samples: &dyn Samples,
    options: &CompareOptions<'_>,
) -> Result<DriftReport> {
    let total = samples.len();
    if total == 0 {
        return Err(Error::invalid_data("there are no samples to compare on"));
    }
    let (done, first_failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let results: Vec<Option<Result<SampleResult>>> = (0..total)
        .into_par_iter()
        .map(|index| {
            // Samples before a failed one still run, so that the first failure is the same at any number of threads.
            if index > first_failed.load(Ordering::Relaxed) {
                return None;
            }
            let result = compare_sample(reference, candidate, samples, index, options);
            if result.is_err() {
                first_failed.fetch_min(index, Ordering::Relaxed);
            } else if let Some(progress) = options.progress {
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            }
            Some(result)
        })
        .collect();

    let (mut drift, mut noise, mut hits) = (Totals::default(), Totals::default(), None);
    let mut has_noise = options.noise;
    for result in results.into_iter().flatten() {
        let result = result?;
        drift.add(result.drift)?;
        match result.noise {
            Some(sample) => noise.add(sample)?,
            None => has_noise = false,
        }
        if let Some(sample) = result.accuracy {
            hits = Some(accuracy::Hits::merge(hits.unwrap_or_default(), sample));
        }
    }
    Ok(DriftReport {
        backend_reference: reference.backend().to_owned(),
        backend_candidate: candidate.backend().to_owned(),
        samples: total,
        outputs: drift.finish(),
        noise: has_noise.then(|| noise.finish()),
        accuracy: hits.map(accuracy::Hits::finish),
    })
}

fn compare_sample(
    reference: &dyn Session,
    candidate: &dyn Session,
    samples: &dyn Samples,
    index: usize,
    options: &CompareOptions<'_>,
) -> Result<SampleResult> {
    let inputs = samples.get(index)?;
    let before = reference.run(&inputs)?;
    let after = match_outputs(&before, candidate.run(&inputs)?)?;
    let noise = match options.noise.then(|| noise::perturb(&inputs, options.seed, index as u64)) {
        Some(Some(perturbed)) => {
            let moved = match_outputs(&before, reference.run(&perturbed?)?)?;
            Some(compare_outputs(&before, &moved))
        }
        _ => None,
    };
    let accuracy = match samples.label(index) {
        Some(labels) => Some(accuracy::Hits::count(&before, &after, &labels)?),
        None => None,
    };
    Ok(SampleResult { drift: compare_outputs(&before, &after), noise, accuracy })
}

/// The candidate's outputs in the order of the reference's.
fn match_outputs(reference: &NamedTensors, candidate: NamedTensors) -> Result<NamedTensors> {
    let names = |outputs: &NamedTensors| outputs.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<String>>();
    let (expected, found) = (names(reference), names(&candidate));
    if expected != found {
        let list = |names: &BTreeSet<String>, others: &BTreeSet<String>| {
            let only: Vec<String> = names.difference(others).map(|name| format!("`{name}`")).collect();
            if only.is_empty() { "no other outputs".to_owned() } else { only.join(", ") }
        };
        return Err(Error::usage("the two models do not have the same outputs")
            .expected(format!("{}, as the reference has", list(&expected, &found)))
            .found(list(&found, &expected)));
    }
    let mut candidate: BTreeMap<String, Tensor> = candidate.into_iter().collect();
    Ok(reference.iter().filter_map(|(name, _)| candidate.remove_entry(name)).collect())
}

fn compare_outputs(before: &NamedTensors, after: &NamedTensors) -> Vec<(String, Comparison)> {
    before.iter().zip(after).map(|((name, before), (_, after))| (name.clone(), Comparison::of(before, after))).collect()
}

/// The comparisons of all samples so far, by output, and how much the samples differ.
#[derive(Default)]
struct Totals(Vec<(String, Comparison, Spread)>);

impl Totals {
    fn add(&mut self, sample: Vec<(String, Comparison)>) -> Result<()> {
        if self.0.is_empty() {
            self.0 = sample
                .into_iter()
                .map(|(name, one)| {
                    let spread = Spread::of(one.energies());
                    (name, one, spread)
                })
                .collect();
            return Ok(());
        }
        if self.0.len() != sample.len() {
            return Err(Error::backend("a model returned another number of outputs for another sample")
                .expected(self.0.len().to_string())
                .found(sample.len().to_string()));
        }
        for ((_, total, spread), (_, one)) in self.0.iter_mut().zip(sample) {
            spread.merge(Spread::of(one.energies()));
            total.merge(one);
        }
        Ok(())
    }

    fn finish(self) -> Vec<OutputDrift> {
        let finish = |(name, comparison, spread): (String, Comparison, Spread)| {
            let mut drift = comparison.finish(name);
            let is_finite = drift.snr_db.is_some_and(|snr| snr > SNR_FLOOR_DB);
            drift.snr_interval95_db = if is_finite { spread.snr_interval95_db() } else { None };
            drift
        };
        self.0.into_iter().map(finish).collect()
    }
}

#[cfg(test)]
mod tests;
