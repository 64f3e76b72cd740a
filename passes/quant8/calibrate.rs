//! Ranges of activations, measured by running the model on calibration data.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::range::Range;
use crate::backend::{self, LoadOptions, ModelBytes, NamedTensors};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, ValueId};
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
    let graph = &model.graph;
    let names: Vec<&str> = values.iter().map(|&value| graph.value(value).name()).collect();
    let inner = values.iter().zip(&names).filter(|(value, _)| !graph.value(**value).is_input());
    let taps = inner.map(|(_, name)| (*name).to_owned()).collect();
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    let session = backend::load(env.backend, &bytes, &LoadOptions { taps, threads: 1 })?;
    env.progress.start("calibrating", samples.len() as u64);
    let measured: Vec<Result<Vec<Range>>> = (0..samples.len())
        .into_par_iter()
        .map(|index| {
            let inputs = samples.get(index)?;
            let outputs = session.run(&inputs)?;
            env.progress.advance(1);
            names.iter().map(|name| range_of(name, &inputs, &outputs)).collect()
        })
        .collect();
    env.progress.finish();
    let mut ranges = vec![Range::EMPTY; values.len()];
    for sample in measured {
        ranges.iter_mut().zip(sample?).for_each(|(range, seen)| *range = range.union(seen));
    }
    Ok(values.iter().copied().zip(ranges).collect())
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

fn range_of(name: &str, inputs: &NamedTensors, outputs: &NamedTensors) -> Result<Range> {
    let found = inputs.iter().chain(outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    let tensor = found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))?;
    Ok(Range::of(tensor.to_f32().unwrap_or_default().into_iter()))
}
