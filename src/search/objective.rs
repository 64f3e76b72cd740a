//! Which of several results is best within a budget.
//!
//! What the budget bounds has to hold; what it does not bound is to be as good as possible:
//!
//! | bound | first | near ties by | then by |
//! |---|---|---|---|
//! | drift | size | time | drift |
//! | drift and size | time | size | drift |
//! | drift and time, or all three | size | time | drift |
//! | size | drift | time | size |
//! | time, or size and time | drift | size | time |
//!
//! `top1` and `accuracy-drop` count as drift. Near ties are 2 % in size, 3 % in time (no clock tells less), 0.5 dB. Unless
//! the budget bounds time, a result that is slower than the original is none.

use super::budget::Budget;
use super::front::CLOCK_NOISE;
use super::measurement::Measurement;
use crate::error::Result;
use crate::validate::Gate;

/// Sizes that differ by no more than this share are nearly the same.
const NEAR_SIZE: f64 = 0.02;

/// Drifts that differ by no more than this are nearly the same.
const NEAR_DB: f64 = 0.5;

/// Decibels beyond this make no difference to anyone.
const MOST_DB: f64 = 120.0;

/// What is to be as good as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Size,
    Time,
    Drift,
}

/// What a search is for.
#[derive(Debug, Clone)]
pub(super) struct Objective {
    pub(super) budget: Budget,
    /// The bounds on drift, and those from elsewhere.
    gates: Vec<Gate>,
    original_bytes: u64,
    /// Whether results are timed at all.
    is_timed: bool,
}

impl Objective {
    /// `more` are gates beyond the budget.
    pub(super) fn new(budget: Budget, more: &[Gate], original_bytes: u64, is_timed: bool) -> Self {
        let gates = budget.gates().into_iter().chain(more.iter().cloned()).collect();
        Self { budget, gates, original_bytes, is_timed }
    }

    /// Whether results are timed, and their time matters.
    pub(super) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// What is to be good, that first which matters most.
    pub(super) fn aims(&self) -> [Aim; 3] {
        let budget = &self.budget;
        match (budget.bounds_quality(), budget.bounds_size(), budget.bounds_latency()) {
            (false, true, false) => [Aim::Drift, Aim::Time, Aim::Size],
            (false, _, _) => [Aim::Drift, Aim::Size, Aim::Time],
            (true, true, false) => [Aim::Time, Aim::Size, Aim::Drift],
            (true, _, _) => [Aim::Size, Aim::Time, Aim::Drift],
        }
    }

    /// Whether a result holds to the bounds on drift, and is sound.
    ///
    /// # Errors
    /// Fails where a bound does not fit the outputs or the data.
    pub(super) fn is_close_enough(&self, measured: &Measurement) -> Result<bool> {
        Ok(measured.bytes.is_some() && measured.refusal(&self.gates)?.is_none())
    }

    /// Whether it is small enough.
    pub(super) fn is_small_enough(&self, measured: &Measurement) -> bool {
        measured.bytes.is_some_and(|bytes| bytes as f64 <= self.budget.most_bytes(self.original_bytes))
    }

    /// Whether it is fast enough, as far as is known.
    pub(super) fn is_fast_enough(&self, measured: &Measurement) -> bool {
        match (self.budget.latency_over_bound(measured.speed), measured.speed) {
            (Some(over), _) => over <= 1.0,
            (None, Some(speed)) => speed.ratio <= 1.0 + CLOCK_NOISE || speed.interval95.0 <= 1.0,
            // Where ONNX Runtime runs the original, it has to run the result.
            (None, None) => !self.is_timed,
        }
    }

    /// Whether all bounds hold.
    ///
    /// # Errors
    /// As [`Self::is_close_enough`].
    pub(super) fn holds(&self, measured: &Measurement) -> Result<bool> {
        let is_sound = self.is_small_enough(measured) && self.is_fast_enough(measured);
        Ok(is_sound && self.is_close_enough(measured)?)
    }

    /// Whether a result that was not timed yet may turn out better than the best, or as good.
    pub(super) fn may_beat(&self, measured: &Measurement, best: &Measurement) -> bool {
        match self.aims() {
            [Aim::Time, ..] => true,
            [first, ..] => {
                let least = cost(first, best);
                cost(first, measured) <= least + nearness(first, least)
            }
        }
    }

    /// By which part of a bound a result misses it that misses most; 0 where all hold.
    ///
    /// # Errors
    /// As [`Self::is_close_enough`].
    pub(super) fn missed_by(&self, measured: &Measurement) -> Result<f64> {
        let slow = match (self.budget.latency_over_bound(measured.speed), measured.speed) {
            (Some(over), _) => (over - 1.0).max(0.0),
            (None, Some(speed)) if !self.is_fast_enough(measured) => speed.ratio - 1.0,
            _ => 0.0,
        };
        Ok(slow.max(self.budget.missed_by(measured, &self.gates, self.original_bytes)?))
    }

    /// The place of the best of those that hold to all bounds.
    ///
    /// # Errors
    /// As [`Self::is_close_enough`].
    pub(super) fn best(&self, measured: &[&Measurement]) -> Result<Option<usize>> {
        let mut left = Vec::new();
        for (place, one) in measured.iter().enumerate() {
            if self.holds(one)? {
                left.push(place);
            }
        }
        let holding = left.clone();
        left.retain(|&place| !holding.iter().any(|&other| is_spare(measured, place, other)));
        let aims = self.aims();
        for aim in aims {
            let cost = |place: usize| cost(aim, measured[place]);
            let least = left.iter().map(|&place| cost(place)).fold(f64::INFINITY, f64::min);
            left.retain(|&place| cost(place) <= least + nearness(aim, least));
        }
        // Of equal ones, that which was there first: a clock would change its mind.
        Ok(left.into_iter().min_by(|&a, &b| {
            let by = |aim| cost(aim, measured[a]).total_cmp(&cost(aim, measured[b]));
            let exact = aims.into_iter().filter(|&aim| aim != Aim::Time).map(by);
            exact.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then(a.cmp(&b))
        }))
    }

    /// The place of the one that comes nearest to holding to all bounds, and by which part it misses one; `None` where
    /// there is no sound result.
    ///
    /// # Errors
    /// As [`Self::is_close_enough`].
    pub(super) fn nearest(&self, measured: &[&Measurement]) -> Result<Option<(usize, f64)>> {
        let mut nearest: Option<(usize, f64)> = None;
        for (place, one) in measured.iter().enumerate().filter(|(_, one)| one.is_sound()) {
            let missed = self.missed_by(one)?;
            if nearest.is_none_or(|(_, least)| missed < least) {
                nearest = Some((place, missed));
            }
        }
        Ok(nearest)
    }
}

/// Whether another result does the same in fewer bytes, or in as many and was there first.
pub(super) fn is_spare(measured: &[&Measurement], place: usize, other: usize) -> bool {
    let less = |place: usize| (measured[place].bytes, place);
    place != other && measured[place].does_the_same(measured[other]) && less(other) < less(place)
}

/// The less, the better.
fn cost(aim: Aim, measured: &Measurement) -> f64 {
    match aim {
        Aim::Size => measured.bytes.map_or(f64::INFINITY, |bytes| bytes as f64),
        Aim::Time => measured.speed.map_or(1.0, |speed| speed.ratio),
        Aim::Drift => -measured.snr_db().unwrap_or(f64::NEG_INFINITY).min(MOST_DB),
    }
}

fn nearness(aim: Aim, cost: f64) -> f64 {
    match aim {
        Aim::Size => NEAR_SIZE * cost,
        Aim::Time => CLOCK_NOISE * cost,
        Aim::Drift => NEAR_DB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::front::tests::measurement;

    fn best(budget: &str, measured: &[Measurement]) -> Option<usize> {
        let objective = Objective::new(budget.parse().unwrap(), &[], 1000, true);
        objective.best(&measured.iter().collect::<Vec<_>>()).unwrap()
    }

    /// Bytes, error (0.1 is 20 dB, 0.01 is 40 dB), time.
    fn some() -> [Measurement; 4] {
        [
            measurement(250, 0.01, Some(1.0)),
            measurement(253, 0.01, Some(0.5)),
            measurement(120, 0.1, Some(1.0)),
            measurement(100, 0.01, Some(1.5)),
        ]
    }

    #[test]
    fn what_is_not_bound_is_as_good_as_can_be() {
        // The smallest at 30 dB is slower than the original; of the next two, nearly equal in size, one is faster.
        assert_eq!(best("drift>=30dB", &some()), Some(1));
        assert_eq!(best("drift>=30dB,latency<=2", &some()), Some(3));
        assert_eq!(best("drift>=15dB", &some()), Some(2));
        assert_eq!(best("drift>=15dB,size<=500", &some()), Some(1));
        assert_eq!(best("size<=15%", &some()), Some(2));
        assert_eq!(best("latency<=0.6", &some()), Some(1));
        assert_eq!(best("drift>=50dB", &some()), None);
    }

    #[test]
    fn tells_how_near_it_came() {
        let objective = Objective::new("drift>=50dB,size<=200".parse().unwrap(), &[], 1000, true);
        let some = some();
        let (place, missed) = objective.nearest(&some.iter().collect::<Vec<_>>()).unwrap().unwrap();
        // 10 of 50 dB, and a quarter of the bytes too much; the last misses by time as well.
        assert_eq!(place, 0);
        assert!((missed - 0.25).abs() < 1e-6, "{missed}");
    }
}
