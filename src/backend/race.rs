//! Two models timed against each other: run in turns, so that what else the machine does hits both.

use std::time::{Duration, Instant};

use super::{NamedTensors, Session};
use crate::error::Result;

/// Runs of each model before any is timed.
const WARM_UP_RUNS: usize = 2;

/// Fewest and most laps.
const LAPS: std::ops::RangeInclusive<usize> = 9..=101;

/// Fewest laps of a race that ends when it is decided: from the shortest to the longest of so many is a 93 % interval.
const DECISIVE_LAPS: usize = 5;

/// The quotients of a race, each of two runs that followed each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Laps {
    /// Seconds of the second model over seconds of the first, sorted.
    ratios: Vec<f64>,
    /// Seconds of each run of the second model, sorted.
    seconds: Vec<f64>,
}

impl Laps {
    /// Quotients and times of some laps; there must be one at least.
    fn new(mut ratios: Vec<f64>, mut seconds: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        seconds.sort_by(f64::total_cmp);
        Self { ratios, seconds }
    }

    /// How many laps there were.
    pub fn count(&self) -> usize {
        self.ratios.len()
    }

    /// How many times as long the second model takes.
    pub fn median(&self) -> f64 {
        self.ratios.get(self.ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How long a run of the second model takes. Unlike the quotients, it hangs on what else the machine does.
    pub fn median_seconds(&self) -> f64 {
        self.seconds.get(self.seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Where the true median lies with 95 % confidence, by order statistics: no assumption about how times are spread.
    pub fn interval95(&self) -> (f64, f64) {
        let n = self.ratios.len();
        let reach = (0.98 * (n as f64).sqrt()).ceil() as usize;
        let (low, high) = ((n / 2).saturating_sub(reach), (n / 2 + reach).min(n.saturating_sub(1)));
        let at = |index: usize| self.ratios.get(index).copied().unwrap_or(f64::NAN);
        (at(low), at(high))
    }
}

/// Runs two models in turns on one sample, for about as long as `patience`.
///
/// # Errors
/// Fails where a run fails.
pub fn race(first: &dyn Session, second: &dyn Session, inputs: &NamedTensors, patience: Duration) -> Result<Laps> {
    race_until(first, second, inputs, patience, |_| false)
}

/// The same, ended early once a few laps decide what they were run for.
///
/// # Errors
/// Fails where a run fails.
pub(crate) fn race_until(
    first: &dyn Session,
    second: &dyn Session,
    inputs: &NamedTensors,
    patience: Duration,
    is_decided: impl Fn(&Laps) -> bool,
) -> Result<Laps> {
    let time = |session: &dyn Session| -> Result<f64> {
        let start = Instant::now();
        session.run(inputs)?;
        Ok(start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE))
    };
    for _ in 0..WARM_UP_RUNS {
        time(first)?;
        time(second)?;
    }
    let start = Instant::now();
    let (mut ratios, mut seconds) = (Vec::new(), Vec::new());
    while ratios.len() < *LAPS.start() || (start.elapsed() < patience && ratios.len() < *LAPS.end()) {
        let before = time(first)?;
        let after = time(second)?;
        ratios.push(after / before);
        seconds.push(after);
        if ratios.len() >= DECISIVE_LAPS {
            let laps = Laps::new(ratios.clone(), seconds.clone());
            if is_decided(&laps) {
                return Ok(laps);
            }
        }
    }
    Ok(Laps::new(ratios, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_around_the_median() {
        let laps = Laps::new((1..=25).rev().map(f64::from).collect(), vec![1.0]);
        // The 8th and the 18th of 25 have the median between them with 95.7 % (binomial).
        assert_eq!((laps.count(), laps.median(), laps.interval95()), (25, 13.0, (8.0, 18.0)));
        let few = Laps::new(vec![2.0], vec![0.5]);
        assert_eq!((few.median(), few.interval95(), few.median_seconds()), (2.0, (2.0, 2.0), 0.5));
    }
}
