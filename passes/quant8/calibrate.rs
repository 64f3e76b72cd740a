//! Statistics of activations, measured by running the model on calibration data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::observe::{Channels, Statistics};
use super::range::Range;
use super::taps::Taps;
use crate::backend::NamedTensors;
use crate::calib::load_model;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, ValueId};
use crate::pass::Env;

/// What to measure of the main graph.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Values to count the numbers of.
    pub(super) statistics: BTreeSet<ValueId>,
    /// Whether more is wanted than extremes.
    pub(super) histograms: bool,
    /// Values to measure each channel of.
    pub(super) channels: BTreeSet<ValueId>,
}

/// What was measured.
#[derive(Debug, Default, Clone)]
pub(super) struct Measured {
    pub(super) statistics: BTreeMap<ValueId, Statistics>,
    pub(super) channels: BTreeMap<ValueId, Channels>,
}

impl Measured {
    fn nothing(wanted: &Wanted) -> Self {
        let statistics = wanted.statistics.iter().map(|&value| (value, Statistics::new(wanted.histograms)));
        let channels = wanted.channels.iter().map(|&value| (value, Channels::default()));
        Self { statistics: statistics.collect(), channels: channels.collect() }
    }

    fn merge(&mut self, other: Self) {
        self.statistics.values_mut().zip(other.statistics.into_values()).for_each(|(a, b)| a.merge(b));
        self.channels.values_mut().zip(other.channels.into_values()).for_each(|(a, b)| a.merge(b));
    }
}

/// Measures values of the main graph on every sample, in parallel.
///
/// Each thread takes the next sample that nobody has, and keeps statistics of its own until the last is done: memory does
/// not grow with the number of samples, and the result does not depend on who took which.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run: the first of those.
pub(super) fn measure(model: &Model, wanted: &Wanted, samples: &dyn Samples, env: &Env<'_>) -> Result<Measured> {
    let values: Vec<ValueId> = wanted.statistics.union(&wanted.channels).copied().collect();
    let only_extremes = |value: &ValueId| !wanted.histograms && !wanted.channels.contains(value);
    let taps = Taps::new(model, &values, only_extremes, env)?;
    env.progress.start("calibrating", samples.len() as u64);
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = |_| {
        let mut measured = Measured::nothing(wanted);
        // Whoever took a sample runs it, whatever happens meanwhile: so the first that fails is always the same.
        while !has_failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= samples.len() {
                break;
            }
            let taken = samples.get(index).and_then(|inputs| add(&taps, &inputs, &values, &mut measured));
            if let Err(error) = taken {
                has_failed.store(true, Ordering::Relaxed);
                return Err((index, error));
            }
            env.progress.advance(1);
        }
        Ok(measured)
    };
    let workers = rayon::current_num_threads().min(samples.len()).max(1);
    let parts: Vec<Result<Measured, (usize, Error)>> =
        (0..workers).into_par_iter().with_max_len(1).map(worker).collect();
    env.progress.finish();
    let (mut total, mut first_error) = (Measured::nothing(wanted), None::<(usize, Error)>);
    for part in parts {
        match part {
            Ok(part) => total.merge(part),
            Err(error) if first_error.as_ref().is_none_or(|first| error.0 < first.0) => first_error = Some(error),
            Err(_) => {}
        }
    }
    match first_error {
        None => Ok(total),
        Some((_, error)) => Err(error),
    }
}

/// Takes in what one sample gives.
fn add(taps: &Taps<'_>, inputs: &NamedTensors, values: &[ValueId], measured: &mut Measured) -> Result<()> {
    for (value, tensor) in values.iter().zip(taps.run(inputs)?) {
        if let Some(statistics) = measured.statistics.get_mut(value) {
            statistics.add(&tensor);
        }
        if let Some(channels) = measured.channels.get_mut(value) {
            channels.add(&tensor);
        }
    }
    Ok(())
}

/// The range of each channel on the last axis. Values with another number of channels in another sample have none.
///
/// # Errors
/// As [`measure`].
pub(super) fn channels(
    model: &Model,
    values: &[ValueId],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<BTreeMap<ValueId, Vec<Range>>> {
    let wanted = Wanted { channels: values.iter().copied().collect(), ..Wanted::default() };
    let measured = measure(model, &wanted, samples, env)?;
    Ok(measured.channels.into_iter().filter_map(|(value, channels)| Some((value, channels.ranges()?))).collect())
}

/// The shapes that values of the main graph have on the first sample.
///
/// # Errors
/// Fails where no backend can run the model.
pub(super) fn shapes(
    model: &Model,
    values: &[ValueId],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<BTreeMap<ValueId, Vec<u64>>> {
    let names: BTreeMap<&str, ValueId> = values.iter().map(|&value| (model.graph.value(value).name(), value)).collect();
    let taps = names.keys().map(|&name| name.to_owned()).collect();
    let outputs = load_model(model, taps, env.backend)?.run(&samples.get(0)?)?;
    let shapes =
        outputs.iter().filter_map(|(name, tensor)| Some((*names.get(name.as_str())?, tensor.shape().to_vec())));
    Ok(shapes.collect())
}
