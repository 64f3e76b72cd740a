//! How far a candidate drifts from the float model, measured by running both.

use rayon::prelude::*;

use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes, Session};
use crate::data::Samples;
use crate::error::{ErrorKind, Result};
use crate::ir::{Graph, Model, Tensor};
use crate::onnx::{EncodeOptions, encode};
use crate::pass::Env;
use crate::validate::Comparison;

/// Candidates are many, so each runs on so many samples at most, spread evenly over all.
const MAX_SAMPLES: usize = 32;

/// Activations that squeeze scores into probabilities: a last one is looked behind, since it hides some drifts and
/// magnifies others.
const SQUEEZING: &[&str] = &["Softmax", "LogSoftmax", "Sigmoid"];

/// Operators between such an activation and the output that change nothing, or were added by quantization.
const TRANSPARENT: &[&str] = &["Identity", "Cast", "QuantizeLinear", "DequantizeLinear"];

/// The outputs of the float model on some samples.
pub(in crate::passes) struct Trial<'a> {
    samples: &'a dyn Samples,
    chosen: Vec<usize>,
    reference: Vec<Vec<Tensor>>,
    backend: BackendChoice,
}

impl<'a> Trial<'a> {
    /// Runs the float model.
    ///
    /// # Errors
    /// Fails where no backend can run it on the samples.
    pub(in crate::passes) fn new(model: &Model, samples: &'a dyn Samples, env: &Env<'_>) -> Result<Self> {
        let (session, backend) = load_fastest(model, judged(&model.graph), env.backend)?;
        let mut trial = Self { samples, chosen: spread(samples.len()), reference: Vec::new(), backend };
        trial.reference = trial.run(&*session, model.graph.outputs().len())?;
        Ok(trial)
    }

    /// What runs models.
    pub(in crate::passes) fn backend(&self) -> BackendChoice {
        self.backend
    }

    /// The drift of each judged value of a candidate: outputs, or what goes into a last Softmax or Sigmoid.
    ///
    /// # Errors
    /// Fails where no backend can run the candidate.
    pub(in crate::passes) fn drift(&self, candidate: &Model) -> Result<Vec<Comparison>> {
        let session = load(candidate, judged(&candidate.graph), self.backend)?;
        let outputs = self.run(&*session, candidate.graph.outputs().len())?;
        let mut totals: Vec<Comparison> = Vec::new();
        for (before, after) in self.reference.iter().zip(&outputs) {
            totals.resize_with(before.len(), Comparison::default);
            for (total, (before, after)) in totals.iter_mut().zip(before.iter().zip(after)) {
                total.merge(Comparison::of(before, after));
            }
        }
        Ok(totals)
    }

    /// What a loaded model returns for each sample, without the outputs that others are judged in place of.
    fn run(&self, session: &dyn Session, outputs: usize) -> Result<Vec<Vec<Tensor>>> {
        self.chosen
            .par_iter()
            .map(|&index| {
                let returned = session.run(&self.samples.get(index)?)?;
                Ok(returned.into_iter().skip(outputs).map(|(_, tensor)| tensor).collect())
            })
            .collect()
    }
}

/// At most as many samples as trials run on, by their places among `all`.
pub(in crate::passes) fn spread(all: usize) -> Vec<usize> {
    let count = all.min(MAX_SAMPLES);
    (0..count).map(|index| index * all / count).collect()
}

/// Loads a model so that it returns some values besides its outputs; where more than one backend may, into the faster.
///
/// # Errors
/// Fails where no backend takes the model.
pub(in crate::passes) fn load_fastest(
    model: &Model,
    taps: Vec<String>,
    backend: BackendChoice,
) -> Result<(Box<dyn Session>, BackendChoice)> {
    if backend == BackendChoice::Auto {
        match load(model, taps.clone(), BackendChoice::OnnxRuntime) {
            Ok(session) => return Ok((session, BackendChoice::OnnxRuntime)),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
    }
    Ok((load(model, taps, backend)?, backend))
}

fn load(model: &Model, taps: Vec<String>, backend: BackendChoice) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    backend::load(backend, &bytes, &LoadOptions { taps, threads: 1 })
}

/// For each output that holds numbers, the value that its drift is measured on.
fn judged(graph: &Graph) -> Vec<String> {
    graph
        .outputs()
        .map(|output| {
            let mut value = output;
            while let Some((node, 0)) = graph.producer(value) {
                let Some(input) = graph.input(node, 0) else { break };
                match graph.node(node) {
                    held if held.is_any(TRANSPARENT) => value = input,
                    held if held.is_any(SQUEEZING) => return graph.value(input).name().to_owned(),
                    _ => break,
                }
            }
            graph.value(output).name().to_owned()
        })
        .collect()
}
