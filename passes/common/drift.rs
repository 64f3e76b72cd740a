//! How far a candidate drifts, sample by sample: how much samples differ tells what to expect of others.

use super::goal::worst;
use super::holdout::is_kept_back;
use crate::validate::Comparison;

/// So much worse than on the samples a drift is expected to be on others at least, in decibels: where few samples agree, it
/// may be by chance.
pub(in crate::passes) const LEAST_MARGIN_DB: f64 = 1.0;

/// How many standard errors above the mean the noise of other samples is expected to lie at most: 95 % of the time.
const STANDARD_ERRORS: f64 = 1.645;

/// The drift of each judged value on each of some samples.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Drift {
    samples: Vec<Vec<Comparison>>,
}

impl Drift {
    /// From comparisons by sample, then by judged value.
    pub(in crate::passes) fn new(samples: Vec<Vec<Comparison>>) -> Self {
        Self { samples }
    }

    /// The drift of each judged value over all samples.
    pub(in crate::passes) fn all(&self) -> Vec<Comparison> {
        merged(self.samples.iter())
    }

    /// The noise of the worst judged value over all samples.
    pub(in crate::passes) fn noise(&self) -> f64 {
        worst(&self.all())
    }

    /// The same over the samples that nothing was fitted to; over all where there are too few for that.
    pub(in crate::passes) fn noise_kept_back(&self) -> f64 {
        worst(&merged(self.kept_back()))
    }

    /// Whether samples that nothing was fitted to have more noise than in another drift on the same samples, by more than
    /// chance makes of it: a standard error of the difference.
    pub(in crate::passes) fn is_worse_kept_back(&self, before: &Self) -> bool {
        let pairs: Vec<_> = self.kept_back().zip(before.kept_back()).collect();
        let values = pairs.first().map_or(0, |(after, _)| after.len());
        let is_worse = |place: usize| {
            let error = |sample: &[Comparison]| sample.get(place).map_or(0.0, |one| one.energies().0);
            let more: Vec<f64> = pairs.iter().map(|(after, before)| error(after) - error(before)).collect();
            let (count, total) = (more.len() as f64, more.iter().sum::<f64>());
            let spread: f64 = more.iter().map(|one| (one - total / count).powi(2)).sum();
            let chance = if more.len() < 2 { 0.0 } else { (count / (count - 1.0) * spread).sqrt() };
            total > chance
        };
        (0..values).any(is_worse)
    }

    /// The noise to expect on other samples: that of those that nothing was fitted to, where it is more, and what chance may
    /// have spared the ones that were looked at, judged by how much they differ.
    pub(in crate::passes) fn expected(&self) -> f64 {
        let (all, kept_back) = (self.all(), merged(self.kept_back()));
        let of_value = |(place, (all, kept_back)): (usize, (&Comparison, &Comparison))| {
            let noise = all.noise_to_signal();
            let likely = noise.max(kept_back.noise_to_signal()) + STANDARD_ERRORS * self.standard_error(place, noise);
            likely.max(noise * 10f64.powf(LEAST_MARGIN_DB / 10.0))
        };
        all.iter().zip(&kept_back).enumerate().map(of_value).fold(0.0, f64::max)
    }

    /// The standard error of the noise of a judged value: of a ratio of sums over samples (Cochran 1977, Sampling Techniques,
    /// section 2.11).
    fn standard_error(&self, place: usize, noise: f64) -> f64 {
        let energies: Vec<(f64, f64)> =
            self.samples.iter().filter_map(|sample| sample.get(place)).map(Comparison::energies).collect();
        let count = energies.len() as f64;
        let signal: f64 = energies.iter().map(|(_, signal)| signal).sum();
        if energies.len() < 2 || !noise.is_finite() || signal <= 0.0 {
            return 0.0;
        }
        let squares: f64 = energies.iter().map(|(error, signal)| (error - noise * signal).powi(2)).sum();
        (count / (count - 1.0) * squares).sqrt() / signal
    }

    fn kept_back(&self) -> impl Iterator<Item = &Vec<Comparison>> {
        let count = self.samples.len();
        let has_any = (0..count).any(|place| is_kept_back(place, count));
        self.samples
            .iter()
            .enumerate()
            .filter(move |(place, _)| !has_any || is_kept_back(*place, count))
            .map(|(_, sample)| sample)
    }
}

fn merged<'c>(samples: impl Iterator<Item = &'c Vec<Comparison>>) -> Vec<Comparison> {
    let mut totals: Vec<Comparison> = Vec::new();
    for sample in samples {
        totals.resize_with(sample.len(), Comparison::default);
        totals.iter_mut().zip(sample).for_each(|(total, one)| total.merge(one.clone()));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tensor;

    /// Samples of a signal of 1 each, with these errors.
    fn drift(errors: &[f32]) -> Drift {
        let tensor = |value: f32| Tensor::from_f32([1], &[value]).unwrap();
        Drift::new(errors.iter().map(|error| vec![Comparison::of(&tensor(1.0), &tensor(1.0 + error))]).collect())
    }

    #[test]
    fn where_samples_agree_the_least_margin_is_left() {
        let even = drift(&[0.5; 4]);
        assert_eq!((even.noise(), even.noise_kept_back()), (0.25, 0.25));
        assert!((even.expected() - 0.25 * 10f64.powf(0.1)).abs() < 1e-12);
    }

    #[test]
    fn one_sample_with_all_of_the_noise_makes_more_of_it_likely() {
        // Errors squared: 1, 0, 0, 0; mean 0.25, squares about it 0.75, and a standard error of sqrt(4 / 3 * 0.75) / 4.
        let rare = drift(&[1.0, 0.0, 0.0, 0.0]);
        assert!((rare.expected() - (0.25 + STANDARD_ERRORS * 0.25)).abs() < 1e-12);
    }

    #[test]
    fn what_was_not_fitted_to_counts_where_it_is_worse() {
        let fitted = drift(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!((fitted.noise(), fitted.noise_kept_back()), (0.25, 1.0));
        assert!(fitted.expected() > 1.0);
        assert_eq!(drift(&[f32::NAN, 0.0]).expected(), f64::INFINITY);
    }

    #[test]
    fn chance_is_not_held_against_a_repair() {
        // Every fourth sample is kept back.
        let errors = |kept_back: &[f32]| -> Drift {
            drift(&kept_back.iter().flat_map(|&error| [0.0, 0.0, 0.0, error]).collect::<Vec<f32>>())
        };
        let before = errors(&[0.5, 0.5, 0.5, 0.5]);
        assert!(!errors(&[0.3, 0.7, 0.3, 0.6]).is_worse_kept_back(&before));
        assert!(errors(&[0.6, 0.6, 0.6, 0.5]).is_worse_kept_back(&before));
    }
}
