//! How long results take, in times of the original: in ONNX Runtime, on one thread, in turns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::{BackendChoice, LoadOptions, ModelBytes, NamedTensors, Session, load, race};
use crate::error::Result;

/// A race ends after this time, once it has the fewest laps.
const PATIENCE: Duration = Duration::from_millis(1200);

/// What much hangs on is timed in so many races, each of models loaded anew: one race may fall into a bad moment from its
/// first lap to its last.
const RACES: usize = 3;

/// The time of a result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Time of a run over that of the original: the median of runs that follow each other.
    pub ratio: f64,
    /// Where the true median lies with 95 % confidence.
    pub interval95: (f64, f64),
    /// Milliseconds of a run; `null` for the original itself. Unlike the ratio, it hangs on what else the machine did.
    pub ms: Option<f64>,
    /// How many pairs of runs the ratio is from.
    pub laps: usize,
    /// How many races there were; of three, the middle one counts.
    pub races: usize,
}

impl Speed {
    /// The original takes its own time.
    pub(super) fn of_the_original() -> Self {
        Self { ratio: 1.0, interval95: (1.0, 1.0), ms: None, laps: 0, races: RACES }
    }

    /// Whether it was timed often enough for what much hangs on.
    pub(super) fn is_sure(&self) -> bool {
        self.races >= RACES
    }

    /// The middle one of several races, the slower one of two; `None` where there are none.
    pub(super) fn of_races(mut races: Vec<Self>) -> Option<Self> {
        races.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let middle = races.get(races.len() / 2).copied()?;
        Some(Self { races: races.len(), ..middle })
    }
}

/// The original, ready to be run in turns with others.
#[derive(Debug)]
pub(super) struct Timer {
    original: Box<dyn Session>,
    inputs: NamedTensors,
}

impl Timer {
    /// Loads the original into ONNX Runtime.
    ///
    /// # Errors
    /// `Unsupported` where ONNX Runtime is not installed or does not take the model.
    pub(super) fn new(original: &ModelBytes, inputs: NamedTensors) -> Result<Self> {
        Ok(Self { original: open(original)?, inputs })
    }

    /// Times a result.
    ///
    /// # Errors
    /// Fails where ONNX Runtime does not take or run it.
    pub(super) fn time(&self, result: &ModelBytes) -> Result<Speed> {
        let result = open(result)?;
        let laps = race(&*self.original, &*result, &self.inputs, PATIENCE)?;
        Ok(Speed {
            ratio: laps.median(),
            interval95: laps.interval95(),
            ms: Some(1e3 * laps.median_seconds()),
            laps: laps.count(),
            races: 1,
        })
    }
}

fn open(model: &ModelBytes) -> Result<Box<dyn Session>> {
    load(BackendChoice::OnnxRuntime, model, &LoadOptions { taps: Vec::new(), threads: 1, ..LoadOptions::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_three_races_the_middle_one_counts() {
        let race = |ratio: f64| Speed { ratio, interval95: (ratio, ratio), ms: Some(ratio), laps: 9, races: 1 };
        let all = Speed::of_races([1.4, 0.9, 0.8].map(race).to_vec()).unwrap();
        assert_eq!((all.ratio, all.races, all.is_sure()), (0.9, 3, true));
        let two = Speed::of_races([1.0, 0.5].map(race).to_vec()).unwrap();
        assert_eq!((two.ratio, two.is_sure()), (1.0, false));
        assert_eq!(Speed::of_races(Vec::new()), None);
    }
}
