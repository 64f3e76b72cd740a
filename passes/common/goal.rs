//! What a lossy result has to reach: little noise, the same best class, or next to no accuracy lost.

use super::trial::Trial;
use crate::backend::{BackendChoice, Session};
use crate::calib::load_model;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::Model;
use crate::validate::{CompareOptions, Comparison, compare};

/// What the result has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::passes) struct Goal {
    /// The least signal-to-noise ratio in decibels of any output, measured before a last Softmax or Sigmoid.
    pub(in crate::passes) snr_db: Option<f64>,
    /// How often the best of several scores has to be that of the float model, at least.
    pub(in crate::passes) top1: Option<f64>,
    /// So many points of accuracy may be lost, on labelled data.
    pub(in crate::passes) accuracy_drop: Option<f64>,
}

impl Goal {
    /// A goal that is harder to reach, for data that are not those the result is for: half of the errors, and so much less
    /// noise.
    pub(in crate::passes) fn with_margin(self, margin_db: f64) -> Self {
        Self {
            snr_db: self.snr_db.map(|snr_db| snr_db + margin_db),
            top1: self.top1.map(|least| (1.0 + least) / 2.0),
            accuracy_drop: self.accuracy_drop.map(|most| most.min(most / 2.0)),
        }
    }

    /// The option that asks for it.
    pub(in crate::passes) fn name(self) -> &'static str {
        match (self.snr_db, self.top1) {
            (Some(_), _) => "target",
            (None, Some(_)) => "top1",
            (None, None) => "acc-drop",
        }
    }

    /// The options that ask for it, as a pipeline has them.
    pub(in crate::passes) fn text(self) -> String {
        let options = [("target", self.snr_db), ("top1", self.top1), ("acc-drop", self.accuracy_drop)];
        let given = options.iter().filter_map(|(key, value)| Some(format!("{key}={}", (*value)?)));
        given.collect::<Vec<String>>().join(":")
    }

    /// Whether more is asked for than little noise.
    pub(in crate::passes) fn has_scores(self) -> bool {
        self.top1.is_some() || self.accuracy_drop.is_some()
    }
}

/// The noise of the worst of the judged values.
pub(in crate::passes) fn worst(drift: &[Comparison]) -> f64 {
    // An energy of infinity over another is no number, and is no little noise.
    let noises = drift.iter().map(Comparison::noise_to_signal);
    noises.map(|noise| if noise.is_nan() { f64::INFINITY } else { noise }).fold(0.0, f64::max)
}

/// The float model, to compare the scores of candidates with, on all samples.
pub(in crate::passes) struct Judge<'a> {
    float: Box<dyn Session>,
    samples: &'a dyn Samples,
    backend: BackendChoice,
}

impl<'a> Judge<'a> {
    /// Loads the float model.
    ///
    /// # Errors
    /// Fails where the backend does not take it.
    pub(in crate::passes) fn new(model: &Model, samples: &'a dyn Samples, backend: BackendChoice) -> Result<Self> {
        Ok(Self { float: load_model(model, Vec::new(), backend)?, samples, backend })
    }

    /// Whether the scores of a candidate are what the goal asks for.
    ///
    /// # Errors
    /// Fails where the candidate does not run, no output holds scores, or classes are asked for that nobody knows.
    pub(in crate::passes) fn holds(&self, candidate: &Model, goal: Goal) -> Result<bool> {
        let candidate = load_model(candidate, Vec::new(), self.backend)?;
        let report = compare(&*self.float, &*candidate, self.samples, &CompareOptions::default())?;
        let mut holds = true;
        if let Some(least) = goal.top1 {
            let agreements = report.outputs.iter().filter_map(|output| output.top1);
            let worst = agreements.min_by(f64::total_cmp).ok_or_else(|| {
                Error::usage("`top1` compares the best of several scores, and no output of the model holds any")
                    .help("name a `target` in dB")
            })?;
            holds &= worst >= least;
        }
        if let Some(most) = goal.accuracy_drop {
            let accuracy = report.accuracy.as_ref().ok_or_else(|| {
                Error::usage("`acc-drop` needs to know the right classes")
                    .expected("calibration data with an array `label`")
                    .help("name `top1`, the agreement with the float model, or a `target` in dB")
            })?;
            holds &= (accuracy.before - accuracy.after) * 100.0 <= most;
        }
        tracing::debug!(holds, "scores of a candidate");
        Ok(holds)
    }
}

/// The largest share from 0 to 1 that reaches a goal, found by halving the interval so many times, and what it makes of the
/// model; `None` where none does. `make` answers `None` where a share changes nothing.
///
/// # Errors
/// Passes on what `make` returns, and fails where a candidate does not run.
pub(in crate::passes) fn largest_share<T>(
    steps: usize,
    mut make: impl FnMut(f64) -> Result<Option<T>>,
    mut holds: impl FnMut(&T) -> Result<bool>,
) -> Result<Option<(f64, T)>> {
    let (mut low, mut high, mut best) = (0.0, 1.0, None);
    for _ in 0..steps {
        let middle = (low + high) / 2.0;
        match make(middle)? {
            Some(made) if holds(&made)? => {
                low = middle;
                best = Some((middle, made));
            }
            Some(_) => high = middle,
            None => low = middle,
        }
    }
    Ok(best)
}

/// Whether a candidate reaches a goal.
///
/// # Errors
/// Fails where the candidate does not run.
pub(in crate::passes) fn reaches(
    candidate: &Model,
    goal: Goal,
    trial: &Trial<'_>,
    judge: Option<&Judge<'_>>,
) -> Result<bool> {
    if let Some(snr_db) = goal.snr_db {
        let budget = 10f64.powf(-snr_db / 10.0);
        if worst(&trial.drift(candidate)?) > budget {
            return Ok(false);
        }
    }
    match judge {
        Some(judge) => judge.holds(candidate, goal),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_never_makes_a_goal_easier() {
        let goal = Goal { snr_db: Some(20.0), top1: Some(0.99), accuracy_drop: Some(-0.5) };
        let margin = Goal { snr_db: Some(21.0), top1: Some(0.995), accuracy_drop: Some(-0.5) };
        assert_eq!(goal.with_margin(1.0), margin);
        assert_eq!((goal.name(), goal.text().as_str()), ("target", "target=20:top1=0.99:acc-drop=-0.5"));
    }

    #[test]
    fn the_largest_share_that_holds_is_found() {
        let found = largest_share(8, |share| Ok(Some(share)), |share| Ok(*share <= 0.3)).unwrap().unwrap().0;
        assert!(found <= 0.3 && found > 0.29, "{found}");
        assert!(largest_share(4, |share| Ok(Some(share)), |_| Ok(false)).unwrap().is_none());
        assert!(largest_share(4, |_| Ok(None::<f64>), |_| Ok(true)).unwrap().is_none());
    }
}
