//! Runs a model for some of its values.

use std::collections::BTreeMap;

use crate::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Model, Tensor, ValueId};
use crate::onnx::{EncodeOptions, encode};

/// A loaded model that returns some of its values.
pub(super) struct Runner {
    /// `None` where only inputs are asked for.
    session: Option<Box<dyn Session>>,
    names: BTreeMap<ValueId, String>,
}

/// What a model was given and returned for one sample.
pub(super) struct Ran<'r> {
    inputs: NamedTensors,
    outputs: NamedTensors,
    names: &'r BTreeMap<ValueId, String>,
}

impl Runner {
    /// The whole model, with the values of the main graph beside its outputs.
    pub(super) fn whole(model: &Model, values: &[ValueId], backend: BackendChoice) -> Result<Self> {
        let graph = &model.graph;
        let mut taps: Vec<String> = (values.iter().filter(|&&value| !graph.value(value).is_input()))
            .map(|&value| graph.value(value).name().to_owned())
            .collect();
        taps.sort();
        taps.dedup();
        Ok(Self { session: Some(load(model, backend, taps)?), names: names(model, values) })
    }

    /// Only what the values depend on.
    pub(super) fn up_to(model: &Model, values: &[ValueId], backend: BackendChoice) -> Result<Self> {
        let names = names(model, values);
        let mut computed: Vec<ValueId> =
            values.iter().copied().filter(|&value| !model.graph.value(value).is_input()).collect();
        computed.sort_unstable();
        computed.dedup();
        if computed.is_empty() {
            return Ok(Self { session: None, names });
        }
        let mut part = model.clone();
        part.graph.cut(&computed)?;
        Ok(Self { session: Some(load(&part, backend, Vec::new())?), names })
    }

    pub(super) fn run(&self, inputs: &NamedTensors) -> Result<Ran<'_>> {
        let outputs = self.session.as_ref().map(|session| session.run(inputs)).transpose()?.unwrap_or_default();
        Ok(Ran { inputs: inputs.clone(), outputs, names: &self.names })
    }
}

impl Ran<'_> {
    /// One of the values that were asked for.
    pub(super) fn of(&self, value: ValueId) -> Result<&Tensor> {
        let name = self.names.get(&value).map_or("", String::as_str);
        let found = self.inputs.iter().chain(&self.outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
        found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))
    }
}

fn names(model: &Model, values: &[ValueId]) -> BTreeMap<ValueId, String> {
    values.iter().map(|&value| (value, model.graph.value(value).name().to_owned())).collect()
}

/// Where both can run the model, the faster backend.
fn load(model: &Model, backend: BackendChoice, taps: Vec<String>) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    let options = LoadOptions { taps, threads: 1 };
    if backend == BackendChoice::Auto {
        match backend::load(BackendChoice::OnnxRuntime, &bytes, &options) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            loaded => return loaded,
        }
    }
    backend::load(backend, &bytes, &options)
}
