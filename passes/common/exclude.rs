//! Operators and tensors that the user wants left alone.

use std::collections::BTreeSet;

use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::passes::common::glob::Glob;

/// Names of operators and tensors, in which `*` stands for any characters.
#[derive(Debug, Clone, Default)]
pub(in crate::passes) struct Exclude {
    names: Vec<Glob>,
}

impl Exclude {
    pub(in crate::passes) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(Glob::new).collect() }
    }

    /// Whether nothing was named.
    pub(in crate::passes) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the user named something so.
    pub(in crate::passes) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether the user named the operator.
    pub(in crate::passes) fn has_node(&self, graph: &Graph, node: NodeId) -> bool {
        !self.names.is_empty() && self.has(&graph.node_label(node))
    }

    /// Whether the user named the value.
    pub(in crate::passes) fn has_value(&self, graph: &Graph, value: ValueId) -> bool {
        self.has(graph.value(value).name())
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
        let Some(unknown) = self.unknown_among(&names) else { return Ok(()) };
        let error = Error::usage(format!("`exclude` names `{unknown}`, which the model does not have"))
            .expected("the name of an operator or a tensor, or a pattern of one with `*`");
        Err(match did_you_mean(unknown, names.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help("`onnx-shrink inspect` lists the names of a model"),
        })
    }
    /// The first name that is none of the model's.
    pub(in crate::passes) fn unknown_among(&self, names: &BTreeSet<String>) -> Option<&str> {
        let is_unknown = |pattern: &&Glob| !names.iter().any(|name| pattern.matches(name));
        self.names.iter().find(is_unknown).map(Glob::as_str)
    }

    /// The first name, as the user wrote it, that one of these has.
    pub(in crate::passes) fn matching(&self, names: &[String]) -> Option<&str> {
        self.names.iter().find(|pattern| names.iter().any(|name| pattern.matches(name))).map(Glob::as_str)
    }
}
