//! What goes into and comes out of a session, read from the model: the same checks for every backend.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{LoadOptions, NamedTensors};
use crate::error::{Error, Result, Site, did_you_mean};
use crate::ir::{DType, Tensor};
use crate::onnx::proto::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto, type_proto};

/// The inputs a session takes and the values it returns.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    inputs: Vec<Input>,
    outputs: Vec<String>,
    taps: Vec<String>,
}

#[derive(Debug, Clone)]
struct Input {
    name: String,
    dtype: Option<DType>,
    /// `None`: unknown rank; inside, `None`: an extent that may vary.
    dims: Option<Vec<Option<u64>>>,
    has_default: bool,
}

impl Interface {
    /// The interface of a model with the taps that `options` ask for.
    ///
    /// # Errors
    /// Fails where there is no graph, or a tap names no value of it.
    pub(super) fn of(model: &ModelProto, options: &LoadOptions) -> Result<Self> {
        let graph = model.graph.as_ref().ok_or_else(|| Error::invalid_model("the model has no graph"))?;
        let defaults: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
        let inputs = graph.input.iter().map(|info| Input::of(info, defaults.contains(info.name()))).collect();
        check_taps(graph, &options.taps)?;
        let outputs = graph.output.iter().map(|info| info.name().to_owned()).collect();
        Ok(Self { inputs, outputs, taps: options.taps.clone() })
    }

    /// Names of the graph outputs, in order.
    #[cfg(feature = "tract")]
    pub(super) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Taps that are no graph output, each once.
    pub(super) fn extra_outputs(&self) -> Vec<String> {
        let mut seen: BTreeSet<&String> = self.outputs.iter().collect();
        self.taps.iter().filter(|tap| seen.insert(tap)).cloned().collect()
    }

    /// The inputs, checked against what the model declares. Floats are given in the width that the model takes, so that one of
    /// 16 bits can be compared with the one that it was made from.
    ///
    /// # Errors
    /// `InvalidData`, naming the input that is missing, unknown, given twice, or of the wrong type or shape.
    pub(super) fn accepted<'a>(&self, given: &'a [(String, Tensor)]) -> Result<Cow<'a, [(String, Tensor)]>> {
        let wanted = |name: &str| self.inputs.iter().find(|input| input.name == name).and_then(|input| input.dtype);
        let is_float = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        let other_width = |(name, tensor): &(String, Tensor)| {
            wanted(name).filter(|&dtype| dtype != tensor.dtype() && is_float(dtype) && is_float(tensor.dtype()))
        };
        let given = match given.iter().any(|one| other_width(one).is_some()) {
            false => Cow::Borrowed(given),
            true => {
                let fit = |one: &(String, Tensor)| match (other_width(one), one.1.to_f32()) {
                    (Some(dtype), Some(values)) => {
                        Ok((one.0.clone(), Tensor::from_floats(dtype, one.1.shape(), &values)?))
                    }
                    _ => Ok(one.clone()),
                };
                Cow::Owned(given.iter().map(fit).collect::<Result<_>>()?)
            }
        };
        self.check_inputs(&given)?;
        Ok(given)
    }

    fn check_inputs(&self, given: &[(String, Tensor)]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for (name, tensor) in given {
            let Some(input) = self.inputs.iter().find(|input| input.name == *name) else {
                return Err(self.unknown_input(name));
            };
            if !seen.insert(name.as_str()) {
                return Err(Error::invalid_data(format!("input `{name}` is given twice")));
            }
            input.check(tensor)?;
        }
        match self.inputs.iter().find(|input| !input.has_default && !seen.contains(input.name.as_str())) {
            Some(missing) => Err(Error::invalid_data(format!("no data for input `{}`", missing.name))
                .expected(missing.type_text())
                .found(format!("inputs {}", quoted(given.iter().map(|(name, _)| name.as_str()))))),
            None => Ok(()),
        }
    }

    /// Puts computed values into the order of a result: graph outputs, then taps.
    pub(super) fn arrange(&self, computed: NamedTensors) -> Result<NamedTensors> {
        let computed: BTreeMap<String, Tensor> = computed.into_iter().collect();
        let names = self.outputs.iter().chain(&self.taps);
        names
            .map(|name| match computed.get(name) {
                Some(tensor) => Ok((name.clone(), tensor.clone())),
                None => Err(Error::backend(format!("the backend returned no value for `{name}`"))),
            })
            .collect()
    }

    fn unknown_input(&self, name: &str) -> Error {
        let names = || self.inputs.iter().map(|input| input.name.as_str());
        let error = Error::invalid_data(format!("the model has no input `{name}`"))
            .expected(format!("inputs {}", quoted(names())));
        match did_you_mean(name, names()) {
            Some(close) => error.help(format!("did you mean `{close}`?")),
            None => error,
        }
    }
}

impl Input {
    fn of(info: &ValueInfoProto, has_default: bool) -> Self {
        let mut input = Self { name: info.name().to_owned(), dtype: None, dims: None, has_default };
        if let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            input.dtype = DType::from_onnx(tensor.elem_type());
            input.dims = tensor.shape.as_ref().map(|shape| {
                let fixed = |dim: &tensor_shape_proto::Dimension| match dim.value {
                    Some(tensor_shape_proto::dimension::Value::DimValue(extent)) => u64::try_from(extent).ok(),
                    _ => None,
                };
                shape.dim.iter().map(fixed).collect()
            });
        }
        input
    }

    fn check(&self, tensor: &Tensor) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::invalid_data(format!("input `{}` has the wrong {what}", self.name))
                .expected(self.type_text())
                .found(tensor.type_text()))
        };
        if self.dtype.is_some_and(|dtype| dtype != tensor.dtype()) {
            return wrong("type");
        }
        let Some(dims) = &self.dims else { return Ok(()) };
        let fits = |(dim, extent): (&Option<u64>, &u64)| dim.is_none_or(|dim| dim == *extent);
        if dims.len() != tensor.rank() || !dims.iter().zip(tensor.shape()).all(fits) {
            return wrong("shape");
        }
        Ok(())
    }

    fn type_text(&self) -> String {
        let dtype = self.dtype.map_or("?", DType::name);
        let Some(dims) = &self.dims else { return format!("{dtype}[...]") };
        let dims: Vec<String> = dims.iter().map(|dim| dim.map_or_else(|| "?".into(), |dim| dim.to_string())).collect();
        format!("{dtype}[{}]", dims.join(","))
    }
}

fn check_taps(graph: &GraphProto, taps: &[String]) -> Result<()> {
    if taps.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<&str> = (graph.input.iter().map(|info| info.name()))
        .chain(graph.initializer.iter().map(|tensor| tensor.name()))
        .chain(graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)))
        .filter(|name| !name.is_empty())
        .collect();
    match taps.iter().find(|tap| !names.contains(tap.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let error = Error::usage("the main graph has no value of that name").at(Site::tensor(unknown));
            Err(match did_you_mean(unknown, names.iter().copied()) {
                Some(close) => error.help(format!("did you mean `{close}`?")),
                None => error,
            })
        }
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
