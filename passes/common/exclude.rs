//! Operators and tensors that the user wants left alone.

use std::collections::BTreeSet;

use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Graph, Model, NodeId, ValueId};

/// Names of operators and tensors.
#[derive(Debug, Clone, Default)]
pub(in crate::passes) struct Exclude {
    names: BTreeSet<String>,
}

impl Exclude {
    pub(in crate::passes) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    /// Whether the user named the operator.
    pub(in crate::passes) fn has_node(&self, graph: &Graph, node: NodeId) -> bool {
        !self.names.is_empty() && self.names.contains(&graph.node_label(node))
    }

    /// Whether the user named the value.
    pub(in crate::passes) fn has_value(&self, graph: &Graph, value: ValueId) -> bool {
        !self.names.is_empty() && self.names.contains(graph.value(value).name())
    }

    /// Whether the user named the value or something that reads it.
    pub(in crate::passes) fn has_weights(&self, graph: &Graph, value: ValueId) -> bool {
        self.has_value(graph, value) || graph.uses(value).iter().any(|one| self.has_node(graph, one.node))
    }

    /// Makes sure that every name is one of the model's.
    ///
    /// # Errors
    /// Names the first that is not, and the closest one that is.
    pub(in crate::passes) fn check(&self, model: &Model) -> Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        model.visit_graphs(|graph, _| {
            names.extend(graph.nodes().into_iter().map(|node| graph.node_label(node)));
            names.extend(graph.values().into_iter().map(|value| graph.value(value).name().to_owned()));
            Ok(())
        })?;
        let Some(unknown) = self.names.iter().find(|name| !names.contains(*name)) else { return Ok(()) };
        let error = Error::usage(format!("`exclude` names `{unknown}`, which the model does not have"))
            .expected("the name of an operator or a tensor");
        Err(match did_you_mean(unknown, names.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help("`onnx-shrink inspect` lists the names of a model"),
        })
    }
}
