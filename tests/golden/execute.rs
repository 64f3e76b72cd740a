//! Executes the graph before and after a run on seeded inputs.

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use onnx_shrink::ir::{Model, Tensor};
use onnx_shrink::pass::Effect;

use super::run::{bytes, samples};

/// How far results of passes that only round may be apart, of the largest magnitude in the tensor.
const ROUNDING: f64 = 1e-4;

/// Compares what two models compute.
pub(super) fn compare(before: &Model, after: &Model, effect: Effect) -> Result<(), String> {
    let samples = samples("synthetic:2", before).map_err(|e| format!("no inputs: {e}"))?;
    let (old, new) = (load(before, "input")?, load(after, "result")?);
    for index in 0..samples.len() {
        let inputs = samples.get(index).map_err(|e| format!("no inputs: {e}"))?;
        let expected = old.run(&inputs).map_err(|e| format!("the input does not run: {e}"))?;
        let found = new.run(&inputs).map_err(|e| format!("the result does not run: {e}"))?;
        if expected.len() != found.len() {
            return Err(format!("{} outputs became {}", expected.len(), found.len()));
        }
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            agree(expected, found, effect).map_err(|what| format!("output `{name}` of sample {index}: {what}"))?;
        }
    }
    Ok(())
}

fn load(model: &Model, which: &str) -> Result<Box<dyn Session>, String> {
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    backend::load(BackendChoice::Auto, &ModelBytes::new(bytes(model), None), &options)
        .map_err(|e| format!("no backend runs the {which}; where none can: `// BACKEND: none, REASON`\n{e}"))
}

fn agree(expected: &Tensor, found: &Tensor, effect: Effect) -> Result<(), String> {
    if expected.type_text() != found.type_text() {
        return Err(format!("{} became {}", expected.type_text(), found.type_text()));
    }
    if effect == Effect::Lossy || expected.same_as(found) {
        return Ok(());
    }
    let (Some(old), Some(new)) = (expected.to_f32(), found.to_f32()) else {
        return Err("the results differ".to_owned());
    };
    let scale = old.iter().filter(|v| v.is_finite()).fold(0f64, |largest, v| largest.max(f64::from(v.abs())));
    let distance = |(a, b): (&f32, &f32)| {
        if a.to_bits() == b.to_bits() { 0.0 } else { (f64::from(*a) - f64::from(*b)).abs() }
    };
    // A NaN on one side only must not get lost in a maximum.
    let distances: Vec<f64> =
        old.iter().zip(&new).map(distance).map(|d| if d.is_nan() { f64::INFINITY } else { d }).collect();
    let worst = distances.into_iter().fold(0f64, f64::max);
    if effect == Effect::Rounding && worst <= ROUNDING * scale {
        return Ok(());
    }
    Err(format!("the results differ by up to {worst:e}, the largest is {scale:e}; the pass is {effect}"))
}
