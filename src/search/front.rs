//! The Pareto front: what no other result beats.

use super::measurement::Measurement;
use super::objective::is_spare;

/// Times closer together than this share are the same, as far as a clock can tell.
pub(super) const CLOCK_NOISE: f64 = 0.03;

/// For each measurement whether it is on the front: no other is at least as small, as close to the original and as fast,
/// and better in one of them. Where one of two was not timed, time says nothing. Of equal ones, the first is.
pub(super) fn front(measured: &[&Measurement]) -> Vec<bool> {
    let points: Vec<Option<Point>> = measured.iter().map(|one| Point::of(one)).collect();
    let is_on_front = |place: usize| {
        let Some(one) = &points[place] else { return false };
        let mut others = points.iter().enumerate().filter_map(|(at, other)| Some((at, other.as_ref()?)));
        !others.any(|(at, other)| other.beats(one) || is_spare(measured, place, at))
    };
    (0..measured.len()).map(is_on_front).collect()
}

/// What results are compared by.
struct Point {
    bytes: u64,
    snr_db: f64,
    ratio: Option<f64>,
}

impl Point {
    fn of(measured: &Measurement) -> Option<Self> {
        let ratio = measured.speed.map(|speed| speed.ratio);
        Some(Self { bytes: measured.bytes?, snr_db: measured.snr_db()?, ratio })
    }

    fn beats(&self, other: &Self) -> bool {
        let (not_slower, faster) = match (self.ratio, other.ratio) {
            (Some(own), Some(others)) => (own <= others * (1.0 + CLOCK_NOISE), own * (1.0 + CLOCK_NOISE) < others),
            _ => (true, false),
        };
        let at_least_as_good = self.bytes <= other.bytes && self.snr_db >= other.snr_db && not_slower;
        at_least_as_good && (self.bytes < other.bytes || self.snr_db > other.snr_db || faster)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pass::Effect;
    use crate::search::Speed;
    use crate::validate::{Comparison, DriftReport};

    pub(in crate::search) fn measurement(bytes: u64, error: f32, ratio: Option<f64>) -> Measurement {
        let tensor = |value: f32| crate::ir::Tensor::from_f32(vec![1], &[value]).unwrap();
        let output = Comparison::of(&tensor(1.0), &tensor(1.0 + error)).finish("y".into());
        let drift = DriftReport {
            backend_reference: "test".into(),
            backend_candidate: "test".into(),
            samples: 1,
            outputs: vec![output],
            noise: None,
            accuracy: None,
        };
        Measurement {
            pipeline: String::new(),
            bytes: Some(bytes),
            // Two of another size are not the same.
            operators: Some(bytes),
            sha256: Some(format!("{bytes} {error} {ratio:?}")),
            effect: Some(Effect::Lossy),
            drift: Some(drift),
            obstacle: None,
            speed: ratio.map(|ratio| Speed { ratio, interval95: (ratio, ratio), ms: None, laps: 9, races: 1 }),
            seconds: 0.0,
        }
    }

    fn on_front(measured: &[Measurement]) -> Vec<bool> {
        front(&measured.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_another_beats_is_not_on_it() {
        let small = measurement(10, 0.1, Some(1.0));
        let close = measurement(20, 0.01, Some(1.0));
        let fast = measurement(20, 0.1, Some(0.5));
        let beaten = measurement(21, 0.1, Some(1.0));
        assert_eq!(on_front(&[small, close, fast, beaten]), [true, true, true, false]);
    }

    #[test]
    fn a_clock_does_not_tell_little_differences() {
        let one = measurement(10, 0.1, Some(1.0));
        // Larger, and faster by less than can be told.
        assert_eq!(on_front(&[one.clone(), measurement(11, 0.1, Some(0.99))]), [true, false]);
        assert_eq!(on_front(&[one.clone(), measurement(11, 0.1, Some(0.9))]), [true, true]);
        assert_eq!(on_front(&[one.clone(), measurement(11, 0.1, None)]), [true, false]);
        assert_eq!(on_front(&[one.clone(), one]), [true, false]);
    }

    #[test]
    fn what_failed_is_not_on_it() {
        let mut failed = measurement(1, 0.1, None);
        failed.obstacle = Some(crate::search::Obstacle { is_failure: true, reason: "no".into() });
        assert_eq!(on_front(&[failed, measurement(10, 0.1, None)]), [false, true]);
    }
}
