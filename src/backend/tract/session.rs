//! Running a model in tract: one optimised plan for each set of input shapes, one state for each run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prost::Message;
use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoTValue, TVec, TractError, TypedRunnableModel,
};
use tract_onnx::tract_core::internal::TractErrorContext;
use tract_onnx::tract_core::plan;
use tract_onnx::{Onnx, pb};

use super::super::interface::Interface;
use super::super::{ModelBytes, NamedTensors, Session};
use super::distrust::{self, Distrust};
use super::guard::catch_panic;
use super::{NAME, convert, prepare};
use crate::error::{Error, Result, Site};
use crate::ir::{DType, Tensor};

/// Plans kept for different input shapes. Validation uses one or two; more would only hold memory.
const MAX_PLANS: usize = 8;

/// Type and shape of every input, in the order of the model.
type Shapes = Vec<(DType, Vec<u64>)>;
type Plan = Arc<TypedRunnableModel>;

/// A model in tract.
pub(super) struct TractSession {
    model: InferenceModel,
    inputs: Vec<String>,
    /// Names of what a plan computes, in the order of its outputs.
    computed: Vec<String>,
    interface: Interface,
    plans: Mutex<BTreeMap<Shapes, Result<Plan, String>>>,
}

impl fmt::Debug for TractSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TractSession").field("inputs", &self.inputs).field("computed", &self.computed).finish()
    }
}

impl TractSession {
    /// Translates a model that passed the gate.
    ///
    /// # Errors
    /// `Unsupported` where tract cannot translate it.
    pub(super) fn load(model: &ModelBytes, interface: Interface) -> Result<Self> {
        let folder = match model.folder().map(|folder| folder.to_str()) {
            Some(None) => return Err(Error::unsupported("tract needs the name of the model's folder to be UTF-8")),
            Some(Some(folder)) => Some(folder),
            None => None,
        };
        let parsed = catch_panic(|| {
            let mut proto = pb::ModelProto::decode(model.bytes().as_ref())?;
            prepare::prepare(&mut proto);
            onnx().parse(&proto, folder)
        });
        let parsed = match parsed {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(error)) => return Err(refused("translate", &format!("{error:#}"))),
            Err(panic) => return Err(refused("translate", &panic)),
        };
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(Error::invalid_model("a node reads a value that nothing computes").at(Site::tensor(name)));
        }
        let mut model = parsed.model;
        let computed: Vec<String> = interface.outputs().iter().cloned().chain(interface.extra_outputs()).collect();
        let outlets: Vec<_> = (computed.iter())
            .map(|name| {
                let missing = || Error::invalid_model("nothing computes an output").at(Site::tensor(name));
                parsed.outlets_by_name.get(name).copied().ok_or_else(missing)
            })
            .collect::<Result<_>>()?;
        model.select_output_outlets(&outlets).map_err(|error| refused("translate", &format!("{error:#}")))?;
        let inputs = model.inputs.iter().map(|outlet| model.node(outlet.node).name.clone()).collect();
        Ok(Self { model, inputs, computed, interface, plans: Mutex::default() })
    }

    /// The given tensors in the order of the model.
    fn ordered<'a>(&self, given: &'a [(String, Tensor)]) -> Result<Vec<&'a Tensor>> {
        if let Some((name, _)) = given.iter().find(|(name, _)| !self.inputs.contains(name)) {
            return Err(Error::unsupported("tract cannot replace the default of an input").at(Site::tensor(name)));
        }
        let find = |name: &String| {
            let missing = || Error::invalid_data(format!("no data for input `{name}`"));
            given.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor).ok_or_else(missing)
        };
        self.inputs.iter().map(find).collect()
    }

    /// The plan for the shapes of the inputs, made on their first use. A refusal is remembered as well.
    fn plan(&self, inputs: &[&Tensor]) -> Result<Plan> {
        let shapes: Shapes = inputs.iter().map(|tensor| (tensor.dtype(), tensor.shape().to_vec())).collect();
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MAX_PLANS && !plans.contains_key(&shapes) {
            plans.clear();
        }
        let plan = plans.entry(shapes).or_insert_with_key(|shapes| self.build(shapes));
        plan.clone().map_err(|reason| refused("optimise", &reason))
    }

    fn build(&self, shapes: &Shapes) -> Result<Plan, String> {
        let plan = catch_panic(|| {
            let mut model = self.model.clone();
            for (index, (dtype, shape)) in shapes.iter().enumerate() {
                let datum_type = convert::datum_type(*dtype).with_context(|| format!("no element type `{dtype}`"))?;
                let shape = convert::extents(shape)?;
                model.set_input_fact(index, InferenceFact::dt_shape(datum_type, shape))?;
            }
            TypedRunnableModel::new(model.into_optimized()?)
        });
        plan?.map_err(|error| format!("{error:#}"))
    }

    fn execute(&self, plan: &Plan, inputs: &[&Tensor]) -> Result<NamedTensors> {
        let inputs =
            (inputs.iter()).map(|tensor| Ok(convert::to_tract(tensor)?.into_tvalue())).collect::<Result<TVec<_>>>()?;
        let running = Cell::new(None);
        let outputs = catch_panic(|| {
            plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, values| {
                running.set(Some(context.node_id));
                distrust::inputs(node, &values)?;
                let results = plan::eval(context, state, node, values)?;
                distrust::outputs(node, &results)?;
                Ok::<_, TractError>(results)
            })
        });
        let site = || match running.get().and_then(|id| plan.model().nodes.get(id)) {
            Some(node) => Site::node(node.op.name(), node.name.clone()),
            None => Site::default(),
        };
        // A failure says more about tract than about the model: another backend may well run it.
        let failed = |what: &str, reason: String| Error::unsupported(what).at(site()).found(reason);
        match outputs {
            Ok(Ok(outputs)) => (self.computed.iter().zip(&outputs))
                .map(|(name, value)| Ok((name.clone(), convert::from_tract(value)?)))
                .collect(),
            Ok(Err(error)) if error.is::<Distrust>() => Err(Error::unsupported(error.to_string()).at(site())),
            Ok(Err(error)) => Err(failed("tract failed to run the model", format!("{error:#}"))),
            Err(panic) => Err(failed("tract panicked on the model", panic)),
        }
    }
}

impl Session for TractSession {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn run(&self, inputs: &[(String, Tensor)]) -> Result<NamedTensors> {
        let inputs = self.interface.accepted(inputs)?;
        let inputs = self.ordered(&inputs)?;
        let plan = self.plan(&inputs)?;
        self.interface.arrange(self.execute(&plan, &inputs)?)
    }
}

/// tract's table of operators, filled once.
fn onnx() -> &'static Onnx {
    static ONNX: OnceLock<Onnx> = OnceLock::new();
    // Declared shapes of outputs and intermediate values are often symbolic or wrong; tract infers better ones.
    ONNX.get_or_init(|| tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true))
}

fn refused(verb: &str, reason: &str) -> Error {
    Error::unsupported(format!("tract cannot {verb} the model")).at(site_in(reason).unwrap_or_default()).found(reason)
}

/// The node that one of tract's errors is about: it writes `node #3 "name" Operator`.
fn site_in(reason: &str) -> Option<Site> {
    let (_, rest) = reason.split_once("node #")?;
    let (_, rest) = rest.split_once(" \"")?;
    let (name, rest) = rest.split_once("\" ")?;
    let op = rest.split([' ', ':', '(']).next()?;
    Some(Site::node(op, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_node_in_an_error_of_tract() {
        let text = "Translating node #3 \"the conv\" ConvHir ToTypedTranslator: no kernel";
        assert_eq!(site_in(text), Some(Site::node("ConvHir", "the conv")));
        assert_eq!(site_in("no node here"), None);
    }
}
