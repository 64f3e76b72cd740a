//! Runs a rewrite of a graph and compares original and result.

use std::fmt;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors, Session};
use onnx_shrink::ir::{Model, Tensor, check, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draft::{Draft, Value};
use super::pipeline::settles;

/// How far floats may be apart, of the largest magnitude of the output ...
const RELATIVE: f64 = 1e-4;

/// ... and where that is next to nothing.
const ABSOLUTE: f64 = 1e-5;

/// How far floats may be apart where some have 16 bits.
const HALF_RELATIVE: f64 = 1e-2;

/// What an error in the last bit of every input changes, times this, is no difference.
const NOISE_FACTOR: f64 = 20.0;

/// The last bits of an input, of 32 bits and of 16.
const NUDGE: f64 = 1e-6;
const HALF_NUDGE: f64 = 1e-3;

/// What ONNX Runtime says where its optimizer damaged a graph.
const LOST_VALUE: &str = "is not a graph input, initializer, or output of a previous node";

/// Inputs each graph is run on.
const SAMPLES: u64 = 2;

/// What a rewrite says about its result.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) model: Model,
    pub(crate) may_grow: bool,
    pub(crate) says_changed: bool,
}

/// Something that rewrites models.
pub(crate) type Rewrite<'a> = dyn Fn(&Model) -> onnx_shrink::Result<Rewritten> + Sync + 'a;

/// A rewrite, and whether a second run of it has to leave the model alone.
pub(crate) struct Subject<'a> {
    pub(crate) rewrite: &'a Rewrite<'a>,
    pub(crate) settles: bool,
}

/// What came of a graph that is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Same {
        changed: bool,
    },
    /// ONNX Runtime does not run the original.
    NotRun,
    /// ONNX Runtime's optimizer takes a value away that a branch of an If reads, in one graph of some thousand; or it rounds
    /// what a dequantized matrix is multiplied by to 8 bits, which hangs on who else reads the matrix.
    LostByOptimizer,
}

/// A difference: which sort, and the words for it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) sort: &'static str,
    pub(crate) details: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sort, self.details)
    }
}

fn failure(sort: &'static str, details: impl fmt::Display) -> Failure {
    Failure { sort, details: details.to_string() }
}

/// Runs a pipeline as the command line does.
pub(crate) fn run_pipeline(steps: &[String], model: &Model) -> onnx_shrink::Result<Rewritten> {
    let scratch = Scratch::in_memory();
    let env = Env::plain(&scratch);
    let mut model = model.clone();
    let plan = steps.join(",").parse::<Pipeline>()?.plan()?;
    let run = manager::run(plan, &mut model, &env, &RunOptions::default())?;
    Ok(Rewritten { model, may_grow: run.may_grow, says_changed: run.changed().is_yes() })
}

/// Judges a pipeline on a graph.
pub(crate) fn judge_pipeline(draft: &Draft, steps: &[String]) -> Result<Judged, Failure> {
    judge(draft, &Subject { rewrite: &|model| run_pipeline(steps, model), settles: settles(steps) })
}

/// Judges a rewrite on a graph.
pub(crate) fn judge(draft: &Draft, subject: &Subject<'_>) -> Result<Judged, Failure> {
    let written = text::parse(&draft.text()).map_err(|e| failure("no graph", e))?;
    // What users have comes from a file.
    let model = onnx::decode(encode(&written), None).map_err(|e| failure("no graph", e))?;
    let before = encode(&model);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (subject.rewrite)(&model)));
    let result = result.map_err(|_| failure("panic", "the rewrite panicked"))?;
    let rewritten = result.map_err(|e| failure("error", e))?;
    let after = encode(&rewritten.model);
    check::structure(&rewritten.model).map_err(|e| failure("structure", e))?;
    if rewritten.model.signature() != model.signature() {
        return Err(failure("signature", "inputs or outputs are others"));
    }
    if rewritten.says_changed != (before != after) {
        return Err(failure("changed", format!("says {}, which is not so", rewritten.says_changed)));
    }
    if after.len() > before.len() && !rewritten.may_grow {
        return Err(failure("size", format!("{} bytes became {}", before.len(), after.len())));
    }
    if subject.settles {
        let again = (subject.rewrite)(&rewritten.model).map_err(|e| failure("second run", e))?;
        if encode(&again.model) != after {
            let texts = [&rewritten.model, &again.model].map(print);
            return Err(failure("second run", format!("changes\n{}\nto\n{}", texts[0], texts[1])));
        }
    }
    if before == after {
        return Ok(Judged::Same { changed: false });
    }
    let Ok(original) = load(&before) else { return Ok(Judged::NotRun) };
    let result = match load(&after) {
        Ok(result) => result,
        // Everything is there: the structure was checked above.
        Err(error) if error.to_string().contains(LOST_VALUE) => return Ok(Judged::LostByOptimizer),
        Err(error) => return Err(failure("load", format!("{error}\nresult:\n{}", print(&rewritten.model)))),
    };
    for sample in 0..SAMPLES {
        let inputs = inputs(&draft.inputs, sample);
        let Ok(expected) = original.run(&inputs) else { return Ok(Judged::NotRun) };
        let found = result.run(&inputs).map_err(|e| failure("run", format!("{e}\n{}", print(&rewritten.model))))?;
        let noise = original
            .run(&nudged(&inputs, if draft.is_half { HALF_NUDGE } else { NUDGE }))
            .map_err(|e| failure("run", e))?;
        let relative = if draft.is_half { HALF_RELATIVE } else { RELATIVE };
        if let Err(what) = compare(&expected, &found, &noise, relative) {
            if draft.is_quantized && is_same_as_written(&before, &after, &inputs, relative) {
                return Ok(Judged::LostByOptimizer);
            }
            return Err(failure("difference", format!("{what}\nresult:\n{}", print(&rewritten.model))));
        }
    }
    Ok(Judged::Same { changed: true })
}

/// Whether ONNX Runtime finds no difference where it runs the operators as they stand, with no shortcuts for quantized ones.
fn is_same_as_written(before: &bytes::Bytes, after: &bytes::Bytes, inputs: &NamedTensors, relative: f64) -> bool {
    let options = LoadOptions { threads: 1, as_written: true, ..LoadOptions::default() };
    let run = |bytes: &bytes::Bytes| {
        let model = ModelBytes::new(bytes.clone(), None);
        backend::load(BackendChoice::OnnxRuntime, &model, &options)?.run(inputs)
    };
    match (run(before), run(after)) {
        (Ok(expected), Ok(found)) => compare(&expected, &found, &expected, relative).is_ok(),
        _ => false,
    }
}

fn print(model: &Model) -> String {
    text::print(model, &text::PrintOptions { full_data_up_to_elements: 64, ..text::PrintOptions::default() })
}

fn encode(model: &Model) -> bytes::Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

fn load(bytes: &bytes::Bytes) -> onnx_shrink::Result<Box<dyn Session>> {
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    backend::load(BackendChoice::OnnxRuntime, &ModelBytes::new(bytes.clone(), None), &options)
}

/// Whether ONNX Runtime is installed: any model tells.
pub(crate) fn has_onnxruntime() -> bool {
    load(&encode(&text::parse("g (float[1] x) => (float[1] y) { y = Relu(x) }").unwrap())).is_ok()
}

fn inputs(values: &[Value], sample: u64) -> NamedTensors {
    let mut rng = ChaCha8Rng::seed_from_u64(sample);
    values.iter().map(|value| (value.name.clone(), value.sample(&mut rng))).collect()
}

/// The inputs with errors in the last bits of floats.
fn nudged(inputs: &NamedTensors, by: f64) -> NamedTensors {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut nudge = |tensor: &Tensor| match tensor.dtype().is_float() {
        true => tensor.map_f64(|_, value| value * (1.0 + rng.random_range(-by..by))).unwrap(),
        false => tensor.clone(),
    };
    inputs.iter().map(|(name, tensor)| (name.clone(), nudge(tensor))).collect()
}

fn compare(expected: &NamedTensors, found: &NamedTensors, noise: &NamedTensors, relative: f64) -> Result<(), String> {
    for (((name, old), (new_name, new)), (_, nudged)) in expected.iter().zip(found).zip(noise) {
        if name != new_name || old.type_text() != new.type_text() {
            return Err(format!("{} `{name}` became {} `{new_name}`", old.type_text(), new.type_text()));
        }
        if old.same_as(new) {
            continue;
        }
        if !old.dtype().is_float() {
            return Err(format!("`{name}` differs: {:?} became {:?}", old.to_i64(), new.to_i64()));
        }
        let [old, new, nudged] = [old, new, nudged].map(|tensor| tensor.to_f64().unwrap());
        let scale = old.iter().fold(0f64, |largest, v| largest.max(v.abs()));
        let limit = (relative * scale).max(ABSOLUTE).max(NOISE_FACTOR * distance(&old, &nudged));
        let worst = distance(&old, &new);
        if worst > limit {
            return Err(format!("`{name}` differs by {worst:e}, its largest element is {scale:e}"));
        }
    }
    Ok(())
}

/// The largest distance of two elements; a NaN on one side is as far as can be.
fn distance(old: &[f64], new: &[f64]) -> f64 {
    let apart = |(a, b): (&f64, &f64)| match a.is_nan() || b.is_nan() {
        true if a.is_nan() && b.is_nan() => 0.0,
        true => f64::INFINITY,
        false => (a - b).abs(),
    };
    old.iter().zip(new).map(apart).fold(0.0, f64::max)
}
