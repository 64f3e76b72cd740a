//! How large the values of the main graph get on calibration data.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::backend::NamedTensors;
use crate::calib::load_model;
use crate::data::Samples;
use crate::error::Result;
use crate::infer;
use crate::ir::{DType, Model, Tensor, ValueId};
use crate::pass::Env;

/// The largest magnitude of a finite number in every computed value of 32-bit floats, over all samples.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn peaks(model: &Model, samples: &dyn Samples, env: &Env<'_>) -> Result<BTreeMap<ValueId, f64>> {
    let graph = &model.graph;
    let facts = infer::infer(model)?;
    let is_float = |value: &ValueId| facts.main().get(*value).and_then(|fact| fact.dtype) == Some(DType::F32);
    let is_computed = |value: &ValueId| graph.producer(*value).is_some() && graph.constant(*value).is_none();
    let values: BTreeMap<String, ValueId> = (graph.values().into_iter())
        .filter(|value| is_computed(value) && is_float(value))
        .map(|value| (graph.value(value).name().to_owned(), value))
        .collect();
    let taps = values.keys().cloned().collect();
    let session = load_model(model, taps, env.backend)?;
    env.progress.start("measuring", samples.len() as u64);
    let of_sample = |index: usize| -> Result<BTreeMap<ValueId, f64>> {
        let outputs: NamedTensors = session.run(&samples.get(index)?)?;
        env.progress.advance(1);
        let peaks = outputs.iter().filter_map(|(name, tensor)| Some((*values.get(name)?, peak(tensor))));
        Ok(peaks.collect())
    };
    let measured: Vec<Result<BTreeMap<ValueId, f64>>> = (0..samples.len()).into_par_iter().map(of_sample).collect();
    env.progress.finish();
    let mut all: BTreeMap<ValueId, f64> = BTreeMap::new();
    for peaks in measured {
        for (value, peak) in peaks? {
            let largest = all.entry(value).or_insert(0.0);
            *largest = largest.max(peak);
        }
    }
    Ok(all)
}

fn peak(tensor: &Tensor) -> f64 {
    let mut peak = 0f64;
    tensor.for_each_f64(|value| {
        if value.is_finite() {
            peak = peak.max(value.abs());
        }
    });
    peak
}
