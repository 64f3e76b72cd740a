//! Runs a model for some of its values.

use std::collections::BTreeMap;

use super::session::load_fastest;
use crate::backend::{BackendChoice, NamedTensors, Session};
use crate::error::{Error, Result};
use crate::ir::{Model, Tensor, ValueId};

/// A loaded model that returns some of its values.
pub(crate) struct Runner {
    /// `None` where only inputs are asked for.
    session: Option<Box<dyn Session>>,
    names: BTreeMap<ValueId, String>,
}

/// What a model was given and returned for one sample.
pub(crate) struct Ran<'r> {
    inputs: NamedTensors,
    outputs: NamedTensors,
    names: &'r BTreeMap<ValueId, String>,
}

impl Runner {
    /// The whole model, with the values of the main graph beside its outputs.
    pub(crate) fn whole(model: &Model, values: &[ValueId], backend: BackendChoice) -> Result<Self> {
        let graph = &model.graph;
        let mut taps: Vec<String> = (values.iter().filter(|&&value| !graph.value(value).is_input()))
            .map(|&value| graph.value(value).name().to_owned())
            .collect();
        taps.sort();
        taps.dedup();
        Ok(Self { session: Some(load_fastest(model, taps, backend)?.0), names: names(model, values) })
    }

    /// Only what the values depend on.
    pub(crate) fn up_to(model: &Model, values: &[ValueId], backend: BackendChoice) -> Result<Self> {
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
        Ok(Self { session: Some(load_fastest(&part, Vec::new(), backend)?.0), names })
    }

    pub(crate) fn run(&self, inputs: &NamedTensors) -> Result<Ran<'_>> {
        let outputs = self.session.as_ref().map(|session| session.run(inputs)).transpose()?.unwrap_or_default();
        Ok(Ran { inputs: inputs.clone(), outputs, names: &self.names })
    }
}

impl Ran<'_> {
    /// One of the values that were asked for.
    pub(crate) fn of(&self, value: ValueId) -> Result<&Tensor> {
        let name = self.names.get(&value).map_or("", String::as_str);
        let found = self.inputs.iter().chain(&self.outputs).find(|(given, _)| given == name).map(|(_, tensor)| tensor);
        found.ok_or_else(|| Error::backend(format!("the backend did not return `{name}`")))
    }
}

fn names(model: &Model, values: &[ValueId]) -> BTreeMap<ValueId, String> {
    values.iter().map(|&value| (value, model.graph.value(value).name().to_owned())).collect()
}
