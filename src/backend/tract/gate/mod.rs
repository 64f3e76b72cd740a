//! The gate in front of tract: it lets through what tract is known to compute rightly and refuses everything else.
//!
//! tract looks operators up by name, whatever their domain, and ignores attributes it does not know. So the gate works
//! from a table (`table.rs`) of operators with the attributes tract honours and a rule for what it gets wrong in spite of
//! that (`rules.rs`). What is not in the table is refused: an operator that is new here must earn its row. The node tests
//! of the `onnx` package hold the table to its promise (`tests/backend`).

mod rules;
mod scope;
mod table;

use std::collections::BTreeSet;

use self::scope::{NodeView, Scope, Types};
use crate::error::{Error, Result, Site};
use crate::ir::DType;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, type_proto};

/// Versions of the default operator set whose operators the table describes.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// Checks that tract computes the model rightly.
///
/// # Errors
/// `Unsupported`, with the node and the reason, where it is not known to.
pub fn check(model: &ModelProto) -> Result<()> {
    let Some(graph) = &model.graph else { return Err(Error::invalid_model("the model has no graph")) };
    let opset = default_opset(model)?;
    let functions = model.functions.iter().map(|function| (function.domain(), function.name())).collect();
    let types = Types::of(graph);
    Gate { opset, functions, types }.check_graph(graph, None, &[])
}

struct Gate<'a> {
    opset: i64,
    functions: BTreeSet<(&'a str, &'a str)>,
    types: Types,
}

impl Gate<'_> {
    fn check_graph<'s>(&self, graph: &'s GraphProto, outer: Option<&'s Scope<'s>>, path: &[String]) -> Result<()> {
        check_values(graph).map_err(|(reason, tensor)| refusal(reason, Site::tensor(tensor).in_path(path)))?;
        let mut scope = Scope::new(graph, outer);
        for node in &graph.node {
            let site = || Site::node(node.op_type(), name(node)).in_path(path);
            let view = NodeView { node, opset: self.opset, scope: &scope, types: &self.types };
            self.check_node(&view).map_err(|reason| refusal(reason, site()))?;
            for attribute in &node.attribute {
                let mut inner = path.to_vec();
                inner.push(format!("{} `{}`.{}", node.op_type(), name(node), attribute.name()));
                for subgraph in subgraphs(attribute) {
                    self.check_graph(subgraph, Some(&scope), &inner)?;
                }
            }
            scope.learn(node);
        }
        Ok(())
    }

    fn check_node(&self, view: &NodeView<'_, '_>) -> Result<(), String> {
        let (domain, op) = (view.domain(), view.node.op_type());
        if self.functions.contains(&(view.node.domain(), op)) {
            return Err("tract does not expand functions of the model".to_owned());
        }
        let Some(operator) = table::find(domain, op) else {
            let domain = if domain.is_empty() { String::new() } else { format!(" of domain `{domain}`") };
            return Err(format!("the operator `{op}`{domain} is not known to run rightly in tract"));
        };
        for attribute in &view.node.attribute {
            if !operator.attributes.contains(&attribute.name()) {
                return Err(format!("tract ignores the attribute `{}`", attribute.name()));
            }
            check_attribute(attribute)?;
        }
        (operator.rule)(view)
    }
}

fn default_opset(model: &ModelProto) -> Result<i64> {
    let default = model.opset_import.iter().find(|import| matches!(import.domain(), "" | "ai.onnx"));
    let version = default.map_or(0, |import| import.version());
    if OPSETS.contains(&version) {
        return Ok(version);
    }
    Err(refusal(
        format!("operator set {version} is not one of {} to {}", OPSETS.start(), OPSETS.end()),
        Site::default(),
    ))
}

/// Refuses types that tract does not have, and values that are no dense tensors.
fn check_values(graph: &GraphProto) -> Result<(), (String, String)> {
    for info in graph.input.iter().chain(&graph.output) {
        check_type(info).map_err(|reason| (reason, info.name().to_owned()))?;
    }
    for tensor in &graph.initializer {
        check_dtype(tensor.data_type()).map_err(|reason| (reason, tensor.name().to_owned()))?;
    }
    match graph.sparse_initializer.first() {
        Some(sparse) => {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            Err(("tract ignores sparse initializers".to_owned(), name.to_owned()))
        }
        None => Ok(()),
    }
}

fn check_type(info: &ValueInfoProto) -> Result<(), String> {
    match info.r#type.as_ref().and_then(|ty| ty.value.as_ref()) {
        None => Ok(()),
        Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type() == 0 => Ok(()),
        Some(type_proto::Value::TensorType(tensor)) => check_dtype(tensor.elem_type()),
        Some(_) => Err("tract has dense tensors only".to_owned()),
    }
}

fn check_attribute(attribute: &AttributeProto) -> Result<(), String> {
    if !attribute.ref_attr_name().is_empty() {
        return Err(format!("the attribute `{}` refers to that of a function", attribute.name()));
    }
    attribute.t.as_deref().into_iter().chain(&attribute.tensors).try_for_each(|tensor| check_dtype(tensor.data_type()))
}

/// Whether tract has an element type, by ONNX's number for it.
pub(super) fn check_dtype(number: i32) -> Result<(), String> {
    let dtype = DType::from_onnx(number).ok_or_else(|| format!("unknown element type {number}"))?;
    match super::convert::datum_type(dtype) {
        Some(_) => Ok(()),
        None => Err(format!("tract has no element type `{dtype}`")),
    }
}

fn subgraphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.as_deref().into_iter().chain(&attribute.graphs)
}

fn name(node: &NodeProto) -> &str {
    if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() }
}

fn refusal(reason: String, site: Site) -> Error {
    Error::unsupported(reason).at(site).help("run the model with ONNX Runtime: --backend onnxruntime")
}
