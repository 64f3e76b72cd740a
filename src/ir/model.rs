//! A model: the main graph, functions, and everything around them.

use super::graph::Graph;
use super::node::Subgraph;
use super::signature::{Signature, TypedName, ValueType};
use crate::error::Result;
use crate::onnx::proto::{FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::onnx::types;

/// A function: an operator that the model defines by a graph of other operators.
#[derive(Debug, Clone)]
pub struct Function {
    /// The body. Its inputs and outputs carry no types.
    pub body: Graph,
    /// Every field of the message but the body.
    pub(crate) proto: FunctionProto,
}

impl Function {
    /// The operator type that the function defines.
    pub fn name(&self) -> &str {
        self.proto.name()
    }

    /// The version of the default operator set that the body is written for; 1 where the function names none.
    pub fn opset(&self) -> i64 {
        let default = self.proto.opset_import.iter().find(|opset| matches!(opset.domain(), "" | "ai.onnx"));
        default.map_or(1, OperatorSetIdProto::version)
    }

    /// The domain of the operator that the function defines.
    pub fn domain(&self) -> &str {
        self.proto.domain()
    }
}

/// An ONNX model.
#[derive(Debug, Default)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    /// The functions the model defines, in the order of the file.
    pub functions: Vec<Function>,
    /// Every field of the message but graph and functions.
    pub(crate) proto: ModelProto,
    /// What the reader noticed and a user should know: fields this version does not know and so would drop.
    pub warnings: Vec<String>,
    /// Whether anything is kept by name.
    pub(crate) keeps_something: bool,
}

impl Clone for Model {
    /// A model that is edited on its own: tensors are shared, names are not, so that what a clone is made into does not
    /// depend on what became of the others.
    fn clone(&self) -> Self {
        let mut copy = Self {
            graph: self.graph.clone(),
            functions: self.functions.clone(),
            proto: self.proto.clone(),
            warnings: self.warnings.clone(),
            keeps_something: self.keeps_something,
        };
        let bodies = copy.functions.iter_mut().map(|function| &mut function.body);
        for graph in std::iter::once(&mut copy.graph).chain(bodies) {
            let names = graph.pool.copy();
            graph.draw_names_from(&names);
        }
        copy
    }
}

impl Model {
    /// The version of the default operator set; 1 where the file names none, as the specification has it.
    pub fn opset(&self) -> i64 {
        self.opset_of("").unwrap_or(1)
    }

    /// The version of the operator set of a domain, where the model imports it.
    pub fn opset_of(&self, domain: &str) -> Option<i64> {
        let canonical = |d: &str| if d == "ai.onnx" { String::new() } else { d.to_owned() };
        let domain = canonical(domain);
        self.proto.opset_import.iter().find(|o| canonical(o.domain()) == domain).map(OperatorSetIdProto::version)
    }

    /// The operator sets the model imports, as (domain, version); the default domain is empty.
    pub fn opsets(&self) -> Vec<(String, i64)> {
        self.proto.opset_import.iter().map(|o| (o.domain().to_owned(), o.version())).collect()
    }

    /// Imports an operator set, or changes the version that is imported.
    pub fn set_opset(&mut self, domain: &str, version: i64) {
        let is_default = |domain: &str| matches!(domain, "" | "ai.onnx");
        let is_same = |other: &str| other == domain || (is_default(other) && is_default(domain));
        match self.proto.opset_import.iter_mut().find(|o| is_same(o.domain())) {
            Some(opset) => opset.version = Some(version),
            None => self.proto.opset_import.push(OperatorSetIdProto {
                domain: (!domain.is_empty()).then(|| domain.to_owned()),
                version: Some(version),
            }),
        }
    }

    /// The version of the file format.
    pub fn ir_version(&self) -> i64 {
        self.proto.ir_version()
    }

    /// Sets the version of the file format.
    pub fn set_ir_version(&mut self, version: i64) {
        self.proto.ir_version = Some(version);
    }

    /// The tool that wrote the file, and its version.
    pub fn producer(&self) -> (&str, &str) {
        (self.proto.producer_name(), self.proto.producer_version())
    }

    /// Whether the file says how to train the model; what it says of that is kept as it is.
    pub fn has_training_info(&self) -> bool {
        !self.proto.training_info.is_empty()
    }

    /// The model's metadata, in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.proto.metadata_props.iter().map(|entry| (entry.key(), entry.value()))
    }

    /// Sets an entry of the model's metadata.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        match self.proto.metadata_props.iter_mut().find(|entry| entry.key() == key) {
            Some(entry) => entry.value = Some(value.to_owned()),
            None => self
                .proto
                .metadata_props
                .push(StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }),
        }
    }

    /// Keeps those entries of the model's metadata whose key `keep` accepts; says how many went.
    pub fn retain_metadata(&mut self, mut keep: impl FnMut(&str) -> bool) -> usize {
        let before = self.proto.metadata_props.len();
        self.proto.metadata_props.retain(|entry| keep(entry.key()));
        before - self.proto.metadata_props.len()
    }

    /// The names, types and shapes of inputs and outputs. An input with an initializer has a default and is not listed.
    pub fn signature(&self) -> Signature {
        let graph = &self.graph;
        let inputs = graph
            .inputs
            .iter()
            .map(|&input| graph.value(input))
            .filter(|value| value.init.is_none())
            .map(|value| TypedName { name: value.name().to_owned(), ty: value.ty().clone() })
            .collect();
        let outputs = graph
            .outputs
            .iter()
            .map(|output| TypedName {
                name: graph.value(output.value).name().to_owned(),
                ty: types::from_info(&output.info).unwrap_or(ValueType::Unknown),
            })
            .collect();
        Signature { inputs, outputs }
    }

    /// The number of operators in every graph: main graph, subgraphs and functions.
    pub fn node_count(&self) -> usize {
        self.graph.node_count_deep() + self.functions.iter().map(|f| f.body.node_count_deep()).sum::<usize>()
    }

    /// Lets `visit` see every graph with the path of operators that leads to it, outer graphs first.
    ///
    /// # Errors
    /// Passes on what `visit` returns.
    pub fn visit_graphs(&self, mut visit: impl FnMut(&Graph, &[String]) -> Result<()>) -> Result<()> {
        visit_graph(&self.graph, &mut Vec::new(), &mut visit)?;
        for function in &self.functions {
            visit_graph(&function.body, &mut vec![format!("function `{}`", function.name())], &mut visit)?;
        }
        Ok(())
    }

    /// Lets `edit` change every graph, inner graphs first, and brings captures up to date after each.
    ///
    /// # Errors
    /// Passes on what `edit` returns.
    pub fn edit_graphs(&mut self, mut edit: impl FnMut(&mut Graph, &[String]) -> Result<()>) -> Result<()> {
        self.edit_versioned_graphs(|graph, path, _| edit(graph, path))
    }
}

impl Model {
    /// [`Model::edit_graphs`] that also tells the version of the default operator set each graph is written for: a
    /// function has its own.
    ///
    /// # Errors
    /// Passes on what `edit` returns.
    pub fn edit_versioned_graphs(
        &mut self,
        mut edit: impl FnMut(&mut Graph, &[String], i64) -> Result<()>,
    ) -> Result<()> {
        let opset = self.opset();
        edit_graph(&mut self.graph, &mut Vec::new(), &mut |graph, path| edit(graph, path, opset))?;
        for function in &mut self.functions {
            let opset = function.opset();
            let mut path = vec![format!("function `{}`", function.proto.name())];
            edit_graph(&mut function.body, &mut path, &mut |graph, path| edit(graph, path, opset))?;
        }
        Ok(())
    }
}

fn step(graph: &Graph, node: super::NodeId, subgraph: &Subgraph) -> String {
    format!("{} `{}`.{}", graph.node(node).op_type(), graph.node_label(node), subgraph.attribute)
}

pub(super) fn visit_graph(
    graph: &Graph,
    path: &mut Vec<String>,
    visit: &mut impl FnMut(&Graph, &[String]) -> Result<()>,
) -> Result<()> {
    visit(graph, path)?;
    for node in graph.nodes() {
        for subgraph in graph.node(node).subgraphs() {
            path.push(step(graph, node, subgraph));
            visit_graph(&subgraph.graph, path, visit)?;
            path.pop();
        }
    }
    Ok(())
}

fn edit_graph(
    graph: &mut Graph,
    path: &mut Vec<String>,
    edit: &mut impl FnMut(&mut Graph, &[String]) -> Result<()>,
) -> Result<()> {
    edit_inner(graph, path, &mut |inner, path| edit_graph(inner, path, edit))?;
    edit(graph, path)
}

/// Lets `edit` change the graphs directly inside of this one, and brings captures up to date.
pub(super) fn edit_inner(
    graph: &mut Graph,
    path: &mut Vec<String>,
    edit: &mut dyn FnMut(&mut Graph, &mut Vec<String>) -> Result<()>,
) -> Result<()> {
    for node in graph.nodes() {
        if graph.node(node).subgraphs().is_empty() {
            continue;
        }
        let steps: Vec<String> = graph.node(node).subgraphs().iter().map(|s| step(graph, node, s)).collect();
        graph.edit_subgraphs(node, |subgraphs| {
            for (subgraph, step) in subgraphs.iter_mut().zip(steps) {
                path.push(step);
                let result = edit(&mut subgraph.graph, path);
                path.pop();
                result?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
