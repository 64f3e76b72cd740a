//! What running a model returns of the values that calibration looks at.
//!
//! ONNX Runtime keeps images in a layout of its own from one convolution to the next, and computes Relu and Clip within
//! them. Every image that has to be handed out leaves that layout, which takes about as long as to compute it. Where only
//! extremes are wanted of an image behind Relu or Clip, of which the least is known to be 0, the greatest of each channel
//! is computed beside it instead, by GlobalMaxPool, which reads the image as it lies.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::backend::{BackendChoice, NamedTensors, Session};
use crate::calib::load_model;
use crate::error::{Error, Result};
use crate::ir::{Graph, Model, NodeSpec, Tensor, ValueId};
use crate::pass::Env;

/// A loaded model that returns some of its values.
pub(super) struct Taps<'m> {
    model: &'m Model,
    backend: BackendChoice,
    /// The values by name, in the order they are returned.
    names: Vec<String>,
    /// The name of the greatest of each channel, by the name of the image.
    greatest: BTreeMap<String, String>,
    session: Box<dyn Session>,
    /// Returns every value as it is: for samples that images are not finite on.
    whole: OnceLock<Box<dyn Session>>,
}

impl<'m> Taps<'m> {
    /// Loads a model to look at values of its main graph, of some of which only extremes are wanted.
    ///
    /// # Errors
    /// Fails where no backend can run the model.
    pub(super) fn new(
        model: &'m Model,
        values: &[ValueId],
        only_extremes: impl Fn(&ValueId) -> bool,
        env: &Env<'_>,
    ) -> Result<Self> {
        let names: Vec<String> = values.iter().map(|&value| model.graph.value(value).name().to_owned()).collect();
        let backend = env.backend;
        let mut greatest = BTreeMap::new();
        let reducible = |value: &&ValueId| only_extremes(value) && is_image_from_zero(&model.graph, **value);
        let images: Vec<ValueId> = values.iter().filter(reducible).copied().collect();
        let session = if !images.is_empty() && backend == BackendChoice::OnnxRuntime {
            let mut draft = model.clone();
            for value in images {
                let name = model.graph.value(value).name();
                if let Some((producer, _)) = draft.graph.producer(value) {
                    let pool = NodeSpec::new("GlobalMaxPool");
                    let pooled = draft.graph.add_op(pool, &[value], &format!("{name}_greatest"), producer)?;
                    greatest.insert(name.to_owned(), draft.graph.value(pooled).name().to_owned());
                }
            }
            load(&draft, &names, &greatest, backend)?
        } else {
            load(model, &names, &greatest, backend)?
        };
        Ok(Self { model, backend, names, greatest, session, whole: OnceLock::new() })
    }

    /// What a sample gives, in the order of the values: a tensor with the extremes of each, where only these are wanted.
    ///
    /// # Errors
    /// Fails where the sample cannot be run.
    pub(super) fn run(&self, inputs: &NamedTensors) -> Result<Vec<Tensor>> {
        let outputs = self.session.run(inputs)?;
        let mut tensors = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let Some(greatest) = self.greatest.get(name) else {
                tensors.push(find(name, inputs, &outputs)?.clone());
                continue;
            };
            let channels = find(greatest, inputs, &outputs)?.to_f32().unwrap_or_default();
            if !channels.iter().all(|value| value.is_finite()) {
                return self.run_whole(inputs);
            }
            let extremes: Vec<f32> = std::iter::once(0.0).chain(channels).collect();
            tensors.push(Tensor::from_f32([extremes.len() as u64], &extremes)?);
        }
        Ok(tensors)
    }

    fn run_whole(&self, inputs: &NamedTensors) -> Result<Vec<Tensor>> {
        let session = match self.whole.get() {
            Some(session) => session,
            None => {
                let session = load(self.model, &self.names, &BTreeMap::new(), self.backend)?;
                self.whole.get_or_init(|| session)
            }
        };
        let outputs = session.run(inputs)?;
        self.names.iter().map(|name| Ok(find(name, inputs, &outputs)?.clone())).collect()
    }
}

/// Loads a model so that it returns values, or what stands for them; inputs are known anyhow.
fn load(
    model: &Model,
    names: &[String],
    instead: &BTreeMap<String, String>,
    backend: BackendChoice,
) -> Result<Box<dyn Session>> {
    let is_input =
        |name: &String| model.graph.find_value(name).is_some_and(|value| model.graph.value(value).is_input());
    let inner = names.iter().filter(|name| !is_input(name));
    let taps = inner.map(|name| instead.get(name).unwrap_or(name).clone()).collect();
    load_model(model, taps, backend)
}

/// Whether a value is what Relu, or Clip from 0 on, makes of a convolution.
fn is_image_from_zero(graph: &Graph, value: ValueId) -> bool {
    let Some((node, 0)) = graph.producer(value) else { return false };
    let is_convolution = |value| graph.producer(value).is_some_and(|(conv, _)| graph.node(conv).is("Conv"));
    if !graph.input(node, 0).is_some_and(is_convolution) {
        return false;
    }
    let held = graph.node(node);
    let least = || graph.input(node, 1).and_then(|value| graph.constant(value)).and_then(|least| least.scalar_f32());
    held.is("Relu") || (held.is("Clip") && least() == Some(0.0))
}

fn find<'t>(name: &str, inputs: &'t NamedTensors, outputs: &'t NamedTensors) -> Result<&'t Tensor> {
    let found = inputs.iter().chain(outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))
}
