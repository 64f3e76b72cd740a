//! Executes the graph before and after a run on seeded inputs.

use onnx_shrink::ErrorKind;
use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::data::Samples;
use onnx_shrink::ir::text;
use onnx_shrink::ir::{DType, Model, Tensor};
use onnx_shrink::pass::Effect;

use super::corpus;
use super::run::{bytes, samples};

/// How far results of passes that only round may be apart, of the largest magnitude in the tensor.
const ROUNDING: f64 = 1e-4;

/// Compares what two models compute.
pub(super) fn compare(before: &Model, after: &Model, effect: Effect) -> Result<(), String> {
    // A pass that narrows shapes leaves inputs that the graph before it takes as well.
    let samples = samples("synthetic:2", after).map_err(|e| format!("no inputs: {e}"))?;
    let both = |choice| -> onnx_shrink::Result<[Results; 2]> {
        Ok([execute(before, choice, &*samples)?, execute(after, choice, &*samples)?])
    };
    let results = match both(BackendChoice::Auto) {
        // Two runtimes differ in the last bits: compare within one.
        Ok([old, new]) if old.backend != new.backend => both(BackendChoice::OnnxRuntime),
        results => results,
    };
    let [old, new] = match results {
        Ok(results) => results,
        Err(error) if error.kind() == ErrorKind::CannotValidate && !has_onnxruntime() => {
            corpus::skip("a golden that needs ONNX Runtime, which is not installed, was not executed");
            return Ok(());
        }
        Err(error) => return Err(format!("cannot execute; where no backend can: `// BACKEND: none, REASON`\n{error}")),
    };
    for (index, (old, new)) in old.outputs.iter().zip(&new.outputs).enumerate() {
        if old.len() != new.len() {
            return Err(format!("{} outputs became {}", old.len(), new.len()));
        }
        for ((name, expected), (_, found)) in old.iter().zip(new) {
            agree(expected, &in_width_of(expected, found), effect)
                .map_err(|what| format!("output `{name}` of sample {index}: {what}"))?;
        }
    }
    Ok(())
}

/// The outputs of every sample, and the backend that computed them.
struct Results {
    backend: &'static str,
    outputs: Vec<NamedTensors>,
}

fn execute(model: &Model, choice: BackendChoice, samples: &dyn Samples) -> onnx_shrink::Result<Results> {
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    let session = backend::load(choice, &ModelBytes::new(bytes(model), None), &options)?;
    let outputs = (0..samples.len())
        .map(|index| session.run(&samples.get(index)?))
        .collect::<onnx_shrink::Result<Vec<NamedTensors>>>()?;
    Ok(Results { backend: session.backend(), outputs })
}

/// Whether ONNX Runtime is installed: any model tells.
fn has_onnxruntime() -> bool {
    let model = text::parse("g (float[1] x) => (float[1] y) { y = Relu(x) }").unwrap();
    let bytes = ModelBytes::new(bytes(&model), None);
    backend::load(BackendChoice::OnnxRuntime, &bytes, &LoadOptions::default()).is_ok()
}

/// What was found, in 32 bits where only its width is another: the manager has checked that types of outputs are what they were,
/// unless the pass was asked to change them.
fn in_width_of(expected: &Tensor, found: &Tensor) -> Tensor {
    let is_narrower = expected.dtype() == DType::F32 && matches!(found.dtype(), DType::F16 | DType::BF16);
    match found.to_f32().filter(|_| is_narrower) {
        Some(values) => Tensor::from_f32(found.shape(), &values).unwrap_or_else(|_| found.clone()),
        None => found.clone(),
    }
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
