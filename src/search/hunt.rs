//! A search under way: what was measured so far, what is best of it, and the file of the best on disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gallery::Gallery;
use super::halt::Halting;
use super::lab::Lab;
use super::measurement::Measurement;
use super::objective::Objective;
use super::pace::Pace;
use crate::check::fingerprint;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::pass::Progress;
use crate::pass::pipeline::{Pipeline, Step};
use crate::shrink::Attempt;

/// What the thread that measures and the one that waits both see.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order they were measured, each pipeline once.
    pub(super) measured: Vec<Measurement>,
    /// The place of the best.
    pub(super) best: Option<usize>,
    /// How many of them were known from an earlier run.
    pub(super) from_cache: usize,
    /// The SHA-256 of the output as it is on disk.
    pub(super) on_disk: Option<String>,
    /// What passes took.
    pub(super) pace: Pace,
    /// Whether something was not tried because there was not enough time left for it.
    pub(super) has_skipped: bool,
}

impl Found {
    /// The best so far.
    pub(super) fn best(&self) -> Option<&Measurement> {
        self.measured.get(self.best?)
    }

    /// Whether the best is what lies on disk.
    pub(super) fn is_settled(&self) -> bool {
        self.best().is_none_or(|best| best.sha256.is_some() && best.sha256 == self.on_disk)
    }
}

/// A search under way.
pub(super) struct Hunt {
    pub(super) lab: Arc<Lab>,
    pub(super) objective: Objective,
    /// Where the best result goes.
    pub(super) output: PathBuf,
    /// What stands in front of every pipeline.
    pub(super) front: Vec<Step>,
    /// Results that no other beats, where they are kept.
    pub(super) gallery: Option<Gallery>,
    pub(super) found: Arc<Mutex<Found>>,
    pub(super) progress: Halting,
    pub(super) start: Instant,
    pub(super) deadline: Instant,
}

/// Why a search goes no further.
pub(super) enum Stop {
    TimeIsUp,
    /// Not with this pipeline: there is too little time left for what the like took before.
    TooLong,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Hunt {
    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing may be changed any more.
    pub(super) fn is_over(&self) -> bool {
        self.progress.is_halted()
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Looks up or measures a pipeline, and takes its result for the best where it is.
    ///
    /// # Errors
    /// Stops where time is up or files cannot be read or written. That the pipeline fails is a measurement.
    pub(super) fn measure(&self, text: &str) -> Result<Measurement, Stop> {
        self.measure_whole(&text.parse::<Pipeline>()?.after(self.front.iter().cloned()))
    }

    /// The same with a pipeline that has in front what stands in front of every one.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub(super) fn measure_whole(&self, pipeline: &Pipeline) -> Result<Measurement, Stop> {
        let text = pipeline.to_string();
        if let Some(known) = self.found().measured.iter().find(|known| known.pipeline == text) {
            return Ok(known.clone());
        }
        let is_complete = |known: &Measurement| match &known.speed {
            Some(speed) => speed.is_sure() || !self.would_win(known),
            None => !self.is_worth_timing(known),
        };
        if let Some(known) = self.lab.known(pipeline).filter(is_complete) {
            self.record(known.clone(), None)?;
            return Ok(known);
        }
        self.settle()?;
        // The first is measured however little time there is: it is the original.
        if self.is_over() || (self.left().is_zero() && !self.found().measured.is_empty()) {
            return Err(Stop::TimeIsUp);
        }
        if self.is_too_long(pipeline) {
            return Err(Stop::TooLong);
        }
        let progress: &dyn Progress = &self.progress;
        self.progress.watcher().trying(&text, &self.place(), Some(self.left()));
        let is_worth_timing = |measured: &Measurement| self.is_worth_timing(measured);
        let would_win = |measured: &Measurement| self.would_win(measured);
        let (measured, attempt) =
            self.lab.measure(pipeline, Some(&self.output), is_worth_timing, would_win, progress)?;
        self.record(measured.clone(), attempt)?;
        Ok(measured)
    }

    /// Whether a pipeline would not end in time, if its passes take as long as before.
    fn is_too_long(&self, pipeline: &Pipeline) -> bool {
        let left = self.left().as_secs_f64();
        let mut found = self.found();
        let is_too_long = !found.measured.is_empty() && found.pace.seconds(pipeline) > left;
        found.has_skipped |= is_too_long;
        is_too_long
    }

    /// What a part of the search comes to; `None` where there is too little time left for it.
    pub(super) fn unless_too_long<T>(&self, part: Result<T, Stop>) -> Result<Option<T>, Stop> {
        match part {
            Err(Stop::TooLong) => Ok(None),
            part => part.map(Some),
        }
    }

    /// How far the search has come, in a few words.
    fn place(&self) -> String {
        let found = self.found();
        let best = found.best().map(|best| format!(", best {}", self.describe(best))).unwrap_or_default();
        format!("{} tried{best}", found.measured.len())
    }

    /// Size, drift and time of a result.
    pub(super) fn describe(&self, measured: &Measurement) -> String {
        let bytes = measured.bytes.unwrap_or_default();
        let ratio = self.lab.bench().original().total_bytes() as f64 / bytes.max(1) as f64;
        let drift = match measured.snr_db() {
            Some(snr) if snr.is_finite() => format!("{snr:.1} dB"),
            _ => "no drift".to_owned(),
        };
        let speed = measured.speed.map(|speed| format!(", x{:.2}", 1.0 / speed.ratio)).unwrap_or_default();
        format!("{} bytes ({ratio:.2} x smaller), {drift}{speed}", crate::report::words::grouped(bytes))
    }

    /// Whether the time of a result matters: it holds to all other bounds and could be the best, or all are shown.
    fn is_worth_timing(&self, measured: &Measurement) -> bool {
        if !self.objective.is_timed() || measured.obstacle.is_some() {
            return false;
        }
        let is_close = self.objective.is_close_enough(measured).unwrap_or(false);
        let holds = is_close && self.objective.is_small_enough(measured);
        holds && self.found().best().is_none_or(|best| self.objective.may_beat(measured, best))
            || self.gallery.is_some()
    }

    /// Whether a result would be the best so far.
    fn would_win(&self, measured: &Measurement) -> bool {
        let found = self.found();
        let all: Vec<&Measurement> = found.measured.iter().chain([measured]).collect();
        self.objective.best(&all).is_ok_and(|best| best == Some(all.len() - 1))
    }

    fn record(&self, measured: Measurement, attempt: Option<Attempt>) -> Result<(), Stop> {
        let mut found = self.found();
        if self.is_over() {
            return Err(Stop::TimeIsUp);
        }
        if let Some(attempt) = &attempt {
            found.pace.learn(attempt);
        }
        found.from_cache += usize::from(attempt.is_none() && measured.obstacle.as_ref().is_none_or(|o| !o.is_failure));
        found.measured.push(measured);
        let all: Vec<&Measurement> = found.measured.iter().collect();
        let best = self.objective.best(&all)?;
        if let (Some(gallery), Some(attempt), Some(measured)) = (&self.gallery, &attempt, found.measured.last()) {
            gallery.show(&all, measured, attempt)?;
        }
        let is_new = best != found.best;
        found.best = best;
        let is_this = best == Some(found.measured.len() - 1);
        if let Some(attempt) = attempt.filter(|_| is_this) {
            let sha256 = attempt.sha256.clone();
            // What lies there is whole at all times: it is replaced by a rename.
            attempt.keep()?;
            found.on_disk = Some(sha256);
        }
        if let (true, Some(best)) = (is_new, found.best()) {
            let text =
                format!("{:.0} s: {}: {}", self.start.elapsed().as_secs_f64(), self.describe(best), best.pipeline);
            drop(found);
            self.progress.watcher().says(&text);
        }
        Ok(())
    }

    /// Sees to it that the best so far is what lies on disk: of what a run before has measured, only that is known.
    ///
    /// # Errors
    /// Stops where files cannot be read or written.
    pub(super) fn settle(&self) -> Result<(), Stop> {
        loop {
            let best = {
                let mut found = self.found();
                if found.on_disk.is_none() && found.best.is_some() {
                    let there = Input::open(&self.output).and_then(|input| fingerprint(&input));
                    found.on_disk = there.ok().map(|there| there.sha256);
                }
                if found.is_settled() {
                    return Ok(());
                }
                found.best().cloned()
            };
            let Some(best) = best else { return Ok(()) };
            let pipeline: Pipeline = best.pipeline.parse()?;
            self.progress.watcher().trying(&best.pipeline, "making the best of before again", Some(self.left()));
            let progress: &dyn Progress = &self.progress;
            let (measured, attempt) =
                self.lab.measure(&pipeline, Some(&self.output), |_| false, |_| false, progress)?;
            let mut found = self.found();
            let is_as_known = measured.sha256 == best.sha256;
            if !is_as_known {
                // What there is now may be no best any more.
                let place = found.measured.iter().position(|known| known.pipeline == best.pipeline);
                if let Some(known) = place.and_then(|place| found.measured.get_mut(place)) {
                    *known = measured;
                }
                let all: Vec<&Measurement> = found.measured.iter().collect();
                found.best = self.objective.best(&all)?;
            }
            if let Some(attempt) = attempt
                && found.best().is_some_and(|now| now.pipeline == best.pipeline)
            {
                let sha256 = attempt.sha256.clone();
                attempt.keep()?;
                found.on_disk = Some(sha256);
            }
            drop(found);
            if !is_as_known {
                let text =
                    format!("the cache does not tell what `{}` gives here: it was measured again", best.pipeline);
                self.progress.watcher().says(&text);
            }
        }
    }
}
