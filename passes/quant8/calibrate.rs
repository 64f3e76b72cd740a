//! Ranges of activations, measured by running the model on calibration data.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::range::Range;
use crate::backend::{self, LoadOptions, ModelBytes, NamedTensors};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, Tensor, ValueId};
use crate::onnx::{EncodeOptions, encode};
use crate::pass::Env;

/// The smallest and largest finite number seen of each value of the main graph, over all samples. Only these are kept, so
/// memory does not grow with the number of samples.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn ranges(
    model: &Model,
    values: &[ValueId],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<BTreeMap<ValueId, Range>> {
    measure(
        model,
        values,
        samples,
        env,
        Range::EMPTY,
        |tensor| Range::of(tensor.to_f32().unwrap_or_default()),
        Range::union,
    )
}

/// The same for each channel on the last axis. Values with another number of channels in another sample have none.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn channels(
    model: &Model,
    values: &[ValueId],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<BTreeMap<ValueId, Vec<Range>>> {
    let of = |tensor: &Tensor| -> Option<Vec<Range>> {
        let count = usize::try_from(*tensor.shape().last()?).ok().filter(|&count| count > 0)?;
        let mut ranges = vec![Range::EMPTY; count];
        for row in tensor.to_f32()?.chunks_exact(count) {
            ranges.iter_mut().zip(row).for_each(|(range, &value)| *range = range.union(Range::of([value])));
        }
        Some(ranges)
    };
    // `None` before the first sample, and `Some(None)` once two do not fit together.
    let merge = |all: Option<Option<Vec<Range>>>, one: Option<Option<Vec<Range>>>| match (all, one) {
        (None, one) => one,
        (Some(Some(all)), Some(Some(one))) if all.len() == one.len() => {
            Some(Some(all.into_iter().zip(one).map(|(all, one)| all.union(one)).collect()))
        }
        _ => Some(None),
    };
    let measured = measure(model, values, samples, env, None, |tensor| Some(of(tensor)), merge)?;
    Ok(measured.into_iter().filter_map(|(value, ranges)| Some((value, ranges??))).collect())
}

/// Measures values of the main graph on every sample, in parallel, and merges what was measured in the order of samples.
fn measure<T: Clone + Send>(
    model: &Model,
    values: &[ValueId],
    samples: &dyn Samples,
    env: &Env<'_>,
    nothing: T,
    of: impl Fn(&Tensor) -> T + Sync,
    merge: impl Fn(T, T) -> T,
) -> Result<BTreeMap<ValueId, T>> {
    let graph = &model.graph;
    let names: Vec<&str> = values.iter().map(|&value| graph.value(value).name()).collect();
    let inner = values.iter().zip(&names).filter(|(value, _)| !graph.value(**value).is_input());
    let taps = inner.map(|(_, name)| (*name).to_owned()).collect();
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    let session = backend::load(env.backend, &bytes, &LoadOptions { taps, threads: 1 })?;
    env.progress.start("calibrating", samples.len() as u64);
    let measured: Vec<Result<Vec<T>>> = (0..samples.len())
        .into_par_iter()
        .map(|index| {
            let inputs = samples.get(index)?;
            let outputs = session.run(&inputs)?;
            env.progress.advance(1);
            names.iter().map(|name| Ok(of(find(name, &inputs, &outputs)?))).collect()
        })
        .collect();
    env.progress.finish();
    let mut totals = vec![nothing; values.len()];
    for sample in measured {
        totals = totals.into_iter().zip(sample?).map(|(total, one)| merge(total, one)).collect();
    }
    Ok(values.iter().copied().zip(totals).collect())
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
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    let outputs = backend::load(env.backend, &bytes, &LoadOptions { taps, threads: 1 })?.run(&samples.get(0)?)?;
    let shapes =
        outputs.iter().filter_map(|(name, tensor)| Some((*names.get(name.as_str())?, tensor.shape().to_vec())));
    Ok(shapes.collect())
}

fn find<'t>(name: &str, inputs: &'t NamedTensors, outputs: &'t NamedTensors) -> Result<&'t Tensor> {
    let found = inputs.iter().chain(outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))
}
