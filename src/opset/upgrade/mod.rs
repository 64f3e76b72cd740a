//! Raises the default operator set of a model: every operator keeps its meaning, whatever its newer definitions say.
//!
//! ```text
//! // opset 11                                         // opset 13
//! y = Squeeze<axes = [0]>(x)                    =>     y = Squeeze(x, axes)
//! p = Softmax<axis = 1>(q), q of rank 3         =>     p = Reshape(Softmax(Flatten<axis = 1>(q)), Shape(q))
//! ```
//!
//! An operator goes from one definition to the next, version by version, so an adapter has to know of two definitions
//! only, and what it adds is adapted by those after it. `steps` says for every operator and version what there is to
//! do: nothing, an adapter, or no way; a test holds that list against the operator table.
//!
//! Inputs that take the place of attributes become initializers in the main graph and `Constant` nodes elsewhere, each
//! distinct one once. Either the whole model is raised or nothing is changed.

mod attributes;
mod known;
mod normalization;
mod resize;
mod softmax;
mod spot;
mod steps;
mod walk;

use std::collections::BTreeMap;
use std::fmt;

use super::table::latest_opset;
use crate::error::{Error, Result};
use crate::ir::{Function, Graph, Model};
use crate::onnx::proto::OperatorSetIdProto;

/// The oldest operator set that can be raised. Before it, broadcasting was an attribute that each operator read its way.
pub const OLDEST: i64 = 7;

/// The newest operator set that every adapter is there for. A model can be raised further where none of its operators
/// was redefined after it.
pub const NEWEST: i64 = 21;

/// The first version of the file format in which initializers need not be inputs.
const FREE_INITIALIZERS: i64 = 4;

/// The first version of the file format that may import an operator set: (opset, version of the format).
const IR_VERSIONS: &[(i64, i64)] =
    &[(28, 14), (25, 13), (24, 12), (23, 11), (21, 10), (19, 9), (15, 8), (12, 7), (11, 6), (10, 5), (9, 4), (7, 3)];

/// What raising the operator set did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The version that the main graph imported; that of the oldest function where the main graph needed nothing.
    pub from: i64,
    /// The version that is imported now.
    pub to: i64,
    /// How many operators of each kind had to change, by the kind they were.
    pub adapted: BTreeMap<String, usize>,
    /// How many functions were raised as well.
    pub functions: usize,
    /// How many initializers are inputs no more: up to version 3 of the file format all of them had to be.
    pub freed_initializers: usize,
}

impl fmt::Display for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raised opset {} to {}", self.from, self.to)?;
        for (index, (op_type, count)) in self.adapted.iter().enumerate() {
            write!(f, "{} {count} {op_type}", if index == 0 { "; adapted" } else { "," })?;
        }
        if self.functions > 0 {
            write!(f, "; functions raised: {}", self.functions)?;
        }
        if self.freed_initializers > 0 {
            write!(f, "; initializers that are no inputs any more: {}", self.freed_initializers)?;
        }
        Ok(())
    }
}

/// Raises the default operator set of the model and of its functions to `to`; `None` where it is as high already.
///
/// The version of the file format follows where the operator set needs it. Functions whose own import is newer keep it.
///
/// # Errors
/// `Usage` where `to` is no known operator set; `Unsupported`, with the operator, where a model is older than
/// [`OLDEST`] or an operator cannot be expressed in a later definition. The model is as it was then.
pub fn upgrade(model: &mut Model, to: i64) -> Result<Option<Upgraded>> {
    if !(OLDEST..=latest_opset()).contains(&to) {
        return Err(Error::usage(format!("there is no way to opset {to}"))
            .expected(format!("an opset from {OLDEST} to {}", latest_opset())));
    }
    let is_used = uses_default_domain(&model.graph);
    // Without an import the first version is meant. Where no operator asks for it any will do: nothing is there to raise,
    // and passes that add operators find an import.
    let main = model.opset_of("").unwrap_or(if is_used { 1 } else { OLDEST });
    let is_main_old = main < to || model.opset_of("").is_none();
    let raisable = model.functions.iter().filter(|function| uses_default_domain(&function.body));
    let oldest_function = raisable.map(Function::opset).filter(|&version| version < to).min();
    let Some(from) = is_main_old.then_some(main).or(oldest_function) else { return Ok(None) };
    if let Some(too_old) = [Some(main), oldest_function].into_iter().flatten().find(|&version| version < OLDEST) {
        return Err(Error::unsupported("the operator set of the model is too old to be raised")
            .expected(format!("opset {OLDEST} or later"))
            .found(format!("opset {too_old}"))
            .help(format!("export the model again with opset {to}")));
    }

    if model.has_training_info() {
        return Err(Error::unsupported("the model says how to train it, in graphs whose operators cannot be raised")
            .found("training information")
            .help("export the model for inference"));
    }

    // Work on a copy: tensors are shared, so it is cheap, and a refusal leaves the model alone.
    let mut draft = model.clone();
    let mut adapted = BTreeMap::new();
    if is_main_old {
        walk::raise(&mut draft.graph, &[], walk::Place::MainGraph, (main, to), &mut adapted)?;
        set_import(&mut draft.proto.opset_import, to);
    }
    let mut functions = 0;
    for function in &mut draft.functions {
        let from = function.opset();
        if from >= to || !uses_default_domain(&function.body) {
            continue;
        }
        let path = [format!("function `{}`", function.name())];
        walk::raise(&mut function.body, &path, walk::Place::Inner, (from, to), &mut adapted)?;
        set_import(&mut function.proto.opset_import, to);
        functions += 1;
    }
    let freed_initializers = raise_ir_version(&mut draft, to)?;
    *model = draft;
    Ok(Some(Upgraded { from, to, adapted, functions, freed_initializers }))
}

fn uses_default_domain(graph: &Graph) -> bool {
    graph.nodes().into_iter().map(|node| graph.node(node)).any(|node| {
        node.domain().is_empty() || node.subgraphs().iter().any(|subgraph| uses_default_domain(&subgraph.graph))
    })
}

/// Changes the import of the default domain, under whichever of its two names the file has.
fn set_import(imports: &mut Vec<OperatorSetIdProto>, version: i64) {
    match imports.iter_mut().find(|import| matches!(import.domain(), "" | "ai.onnx")) {
        Some(import) => import.version = Some(version),
        None => imports.push(OperatorSetIdProto { domain: None, version: Some(version) }),
    }
}

fn raise_ir_version(model: &mut Model, opset: i64) -> Result<usize> {
    let needed = IR_VERSIONS.iter().find(|(first, _)| *first <= opset).map_or(0, |&(_, version)| version);
    let current = model.ir_version();
    if current >= needed {
        return Ok(0);
    }
    model.proto.ir_version = Some(needed);
    if current >= FREE_INITIALIZERS || needed < FREE_INITIALIZERS {
        return Ok(0);
    }
    // Left as inputs they would become something else: weights that a caller may replace.
    let listed: Vec<_> =
        model.graph.initializers().into_iter().filter(|&value| model.graph.value(value).is_input()).collect();
    listed.iter().try_for_each(|&value| model.graph.freeze_default(value))?;
    Ok(listed.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::ir::text;
    use crate::onnx::{self, EncodeOptions};

    fn model(text: &str) -> Model {
        text::parse(text).unwrap()
    }

    fn bytes(model: &Model) -> bytes::Bytes {
        onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
    }

    #[test]
    fn a_refusal_leaves_the_model_as_it_was() {
        let scan = "y = Scan<num_scan_inputs = 1, body = b (float i) => (float o) { o = Relu(i) }>(\"\", x)";
        let text = format!(
            "<ir_version: 3, opset_import: [\"\" : 8]> g (float[1,2] x) => (float[1,2] y, float[2] s) {{ \
             s = Squeeze<axes = [0]>(x) {scan} }}"
        );
        let mut model = model(&text);
        let before = bytes(&model);
        let error = upgrade(&mut model, 13).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("Scan"), "{error}");
        assert_eq!(bytes(&model), before);
    }

    #[test]
    fn types_are_followed_however_far() {
        let chain: String = (0..10_000).map(|i| format!("v{} = Relu(v{i})\n", i + 1)).collect();
        let text = format!(
            "<ir_version: 6, opset_import: [\"\" : 9]> g (float[2] v0) => (y) {{ {chain} c = Clip<min = 0.0>(v10000) \
             y = Abs(c) }}"
        );
        let upgraded = upgrade(&mut model(&text), 13).unwrap().unwrap();
        assert_eq!(upgraded.adapted, BTreeMap::from([("Clip".to_owned(), 1)]));
    }

    #[test]
    fn the_import_keeps_the_name_it_has() {
        let mut model =
            model("<ir_version: 6, opset_import: [\"ai.onnx\" : 11]> g (float x) => (float y) { y = Relu(x) }");
        assert_eq!(upgrade(&mut model, 13).unwrap().unwrap().from, 11);
        assert_eq!(model.opsets(), [("ai.onnx".to_owned(), 13)]);
        assert_eq!(model.ir_version(), 7);
        assert_eq!(upgrade(&mut model, 13).unwrap(), None);
    }

    #[test]
    fn a_model_that_needs_no_import_gets_one() {
        let mut model = model(
            "<ir_version: 8, opset_import: [\"com.example\" : 1]> g (float x) => (float y) { y = com.example.F(x) }",
        );
        upgrade(&mut model, 13).unwrap().unwrap();
        assert_eq!(model.opset(), 13);
        assert_eq!(model.ir_version(), 8);
    }

    #[test]
    fn there_is_a_way_to_known_versions_only() {
        for to in [OLDEST - 1, latest_opset() + 1] {
            assert_eq!(upgrade(&mut Model::default(), to).unwrap_err().kind(), ErrorKind::Usage);
        }
    }
}
