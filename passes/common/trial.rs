//! How far a candidate drifts from the float model, measured by running both.

use rayon::prelude::*;

use super::drift::Drift;
use super::holdout::{Part, is_kept_back};
use crate::backend::{BackendChoice, Session};
use crate::calib::{load_fastest, load_model};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, Model, Tensor, ValueId};
use crate::pass::Env;
use crate::validate::Comparison;

/// Candidates are many, so each runs on so many samples at most, spread evenly over all.
const MAX_SAMPLES: usize = 32;

/// Activations that squeeze scores into probabilities: a last one is looked behind, since it hides some drifts and
/// magnifies others.
const SQUEEZING: &[&str] = &["Softmax", "LogSoftmax", "Sigmoid"];

/// Operators between such an activation and the output that change nothing, or were added by quantization.
const TRANSPARENT: &[&str] = &["Identity", "Cast", "QuantizeLinear", "DequantizeLinear"];

/// Samples that a tensor alone is measured on at most: what is chosen by that is measured again on more. Of large ones fewer
/// do, which tell as much.
const MAX_SAMPLES_ALONE: usize = 8;
const MAX_LARGE_SAMPLES_ALONE: usize = 3;

/// Elements of the inputs of a large sample.
const LARGE_SAMPLE_ELEMENTS: u64 = 1 << 18;

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
        Self::in_session(model, samples, &*session, backend)
    }

    /// Runs the float model in the backend that runs everything else, not in a faster one that only some machines have.
    ///
    /// # Errors
    /// Fails where it cannot run the model on the samples.
    pub(in crate::passes) fn portable(model: &Model, samples: &'a dyn Samples, env: &Env<'_>) -> Result<Self> {
        let session = load_model(model, judged(&model.graph), env.backend)?;
        Self::in_session(model, samples, &*session, env.backend)
    }

    fn in_session(
        model: &Model,
        samples: &'a dyn Samples,
        session: &dyn Session,
        backend: BackendChoice,
    ) -> Result<Self> {
        let mut trial = Self { samples, chosen: spread(samples.len()), reference: Vec::new(), backend };
        let all = trial.places(trial.chosen.len());
        trial.reference = trial.run(session, model.graph.outputs().len(), &all)?;
        Ok(trial)
    }

    /// The backend that runs every model here.
    pub(in crate::passes) fn backend(&self) -> BackendChoice {
        self.backend
    }

    /// The drift of each judged value of a candidate: outputs, or what goes into a last Softmax or Sigmoid.
    ///
    /// # Errors
    /// Fails where no backend can run the candidate.
    pub(in crate::passes) fn drift(&self, candidate: &Model) -> Result<Vec<Comparison>> {
        self.drift_on(candidate, self.chosen.len())
    }

    /// The same on `most` samples at most.
    ///
    /// # Errors
    /// Fails where no backend can run the candidate.
    pub(in crate::passes) fn drift_on(&self, candidate: &Model, most: usize) -> Result<Vec<Comparison>> {
        Ok(self.drifts_on(candidate, most)?.all())
    }

    /// The drift of each judged value on each sample.
    ///
    /// # Errors
    /// Fails where no backend can run the candidate.
    pub(in crate::passes) fn drifts(&self, candidate: &Model) -> Result<Drift> {
        self.drifts_on(candidate, self.chosen.len())
    }

    fn drifts_on(&self, candidate: &Model, most: usize) -> Result<Drift> {
        let session = load_model(candidate, judged(&candidate.graph), self.backend)?;
        let places = self.places(most);
        let outputs = self.run(&*session, candidate.graph.outputs().len(), &places)?;
        let of_sample = |(&place, after): (&usize, &Vec<Tensor>)| {
            let before = &self.reference[place];
            before.iter().zip(after).map(|(before, after)| Comparison::of(before, after)).collect()
        };
        Ok(Drift::new(places.iter().zip(&outputs).map(of_sample).collect()))
    }

    /// What repairs may be fitted to: all samples but those that drifts are checked on.
    pub(in crate::passes) fn fitted(&self) -> Part<'a> {
        let (kept_back, _) = self.divided();
        let indices: Vec<usize> = kept_back.iter().map(|&place| self.chosen[place]).collect();
        Part::without(self.samples, &indices)
    }

    /// The places of the chosen samples that are kept back, and of the others.
    fn divided(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.chosen.len()).partition(|&place| is_kept_back(place, self.chosen.len()))
    }

    /// The drift of a candidate in which a single tensor is another: on few samples.
    ///
    /// # Errors
    /// Fails where no backend can run the candidate.
    pub(in crate::passes) fn drift_alone(&self, candidate: &Model) -> Result<Vec<Comparison>> {
        let first = self.samples.get(0)?;
        let elements: u64 = first.iter().map(|(_, tensor)| tensor.len() as u64).sum();
        let is_large = elements >= LARGE_SAMPLE_ELEMENTS;
        self.drift_on(candidate, if is_large { MAX_LARGE_SAMPLES_ALONE } else { MAX_SAMPLES_ALONE })
    }

    /// So many of the chosen samples at most, spread evenly.
    fn places(&self, most: usize) -> Vec<usize> {
        let count = self.chosen.len().min(most);
        (0..count).map(|index| index * self.chosen.len() / count).collect()
    }

    /// What is made of values of a model's main graph, sample by sample, over `most` samples at most, of those that may be
    /// fitted to. `of` gets the place of the value in the list. Only what the values depend on is run.
    ///
    /// # Errors
    /// Fails where no backend can run that part.
    pub(in crate::passes) fn observe<T: Send>(
        &self,
        model: &Model,
        values: &[ValueId],
        most: usize,
        of: impl Fn(usize, &Tensor) -> T + Sync,
    ) -> Result<Vec<Vec<T>>> {
        let mut part = model.clone();
        part.graph.cut(values)?;
        let session = load_model(&part, Vec::new(), self.backend)?;
        let (_, fitted) = self.divided();
        let count = fitted.len().min(most);
        let places: Vec<usize> = (0..count).map(|index| fitted[index * fitted.len() / count]).collect();
        places
            .into_par_iter()
            .map(|place| {
                let returned = session.run(&self.samples.get(self.chosen[place])?)?;
                Ok(returned.iter().enumerate().map(|(place, (_, tensor))| of(place, tensor)).collect())
            })
            .collect()
    }

    /// What a loaded model returns for some of the samples, without the outputs that others are judged in place of.
    fn run(&self, session: &dyn Session, outputs: usize, places: &[usize]) -> Result<Vec<Vec<Tensor>>> {
        places
            .par_iter()
            .map(|&place| {
                let returned = session.run(&self.samples.get(self.chosen[place])?)?;
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
