//! Which operators and tensors the user wants quantized: `only=` and `exclude=`.

use std::collections::BTreeSet;

use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::passes::common::glob::Glob;

/// What was named, and what was to be left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    only: Vec<Glob>,
    exclude: Vec<Glob>,
}

/// Whether an operator is called that, or is one of that kind.
fn matches_node(glob: &Glob, graph: &Graph, node: NodeId) -> bool {
    glob.matches(graph.node(node).op_type()) || glob.matches(&graph.node_label(node))
}

impl Selection {
    /// From the values of the options.
    pub(super) fn new(only: Vec<String>, exclude: Vec<String>) -> Self {
        let patterns = |names: Vec<String>| names.into_iter().map(Glob::new).collect();
        Self { only: patterns(only), exclude: patterns(exclude) }
    }

    /// Whether weights stay float, with the operators that read them: one of them is excluded, or there are some that are
    /// to be quantized and these are not among them.
    pub(super) fn excludes(&self, graph: &Graph, weight: ValueId, readers: &[NodeId]) -> bool {
        let name = graph.value(weight).name();
        let is_named = |pattern: &Glob| pattern.matches(name);
        let is_excluded = self
            .exclude
            .iter()
            .any(|pattern| is_named(pattern) || readers.iter().any(|&reader| matches_node(pattern, graph, reader)));
        let is_chosen = |reader: NodeId| self.only.iter().any(|pattern| matches_node(pattern, graph, reader));
        let is_meant = || self.only.iter().any(is_named) || readers.iter().all(|&reader| is_chosen(reader));
        is_excluded || (!self.only.is_empty() && !is_meant())
    }

    /// Whether the user said what is to be quantized.
    pub(super) fn is_chosen(&self) -> bool {
        !self.only.is_empty()
    }

    /// Makes sure that everything named is something of the model's.
    ///
    /// # Errors
    /// Names the first that is not, and the closest one that is.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        if self.only.is_empty() && self.exclude.is_empty() {
            return Ok(());
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        model.visit_graphs(|graph, _| {
            for node in graph.nodes() {
                names.extend([graph.node_label(node), graph.node(node).op_type().to_owned()]);
            }
            names.extend(graph.values().into_iter().map(|value| graph.value(value).name().to_owned()));
            Ok(())
        })?;
        for (option, patterns) in [("only", &self.only), ("exclude", &self.exclude)] {
            let is_unknown = |pattern: &&Glob| !names.iter().any(|name| pattern.matches(name));
            let Some(unknown) = patterns.iter().find(is_unknown).map(Glob::as_str) else { continue };
            let error = Error::usage(format!("`{option}` names `{unknown}`, which the model does not have"))
                .expected("the name of an operator or a tensor, a kind of operator, or a pattern of one with `*`");
            return Err(match did_you_mean(unknown, names.iter().map(String::as_str)) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error.help("`onnx-shrink inspect` lists the names of a model"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;

    #[test]
    fn weights_are_chosen_by_name_kind_or_pattern() {
        let source = "<ir_version: 8, opset_import: [\"\" : 13]> g (float[2,2] x) => (float[2,2] y, float[2,2] z) <float[2,2] w = {1, 2, 3, 4}> {
            [first] y = MatMul(x, w)
            [second] z = Gemm(x, w)
        }";
        let model = text::parse(source).unwrap();
        let graph = &model.graph;
        let (weight, nodes) = (graph.find_value("w").unwrap(), graph.nodes());
        let excludes = |only: &[&str], exclude: &[&str], readers: &[NodeId]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Selection::new(names(only), names(exclude)).excludes(graph, weight, readers)
        };
        assert!(!excludes(&[], &[], &nodes));
        assert!(excludes(&[], &["MatMul"], &nodes) && !excludes(&[], &["MatMul"], &nodes[1..]));
        assert!(excludes(&[], &["w"], &nodes) && excludes(&[], &["sec*"], &nodes));
        assert!(!excludes(&["first"], &[], &nodes[..1]) && excludes(&["first"], &[], &nodes));
        assert!(!excludes(&["w"], &[], &nodes) && !excludes(&["Gemm", "first"], &[], &nodes));
        assert!(excludes(&["*"], &["w"], &nodes));
    }

    #[test]
    fn unknown_names_are_corrected() {
        let source =
            "<ir_version: 8, opset_import: [\"\" : 13]> g (float[2] x) => (float[2] y) { [relu_1] y = Relu(x) }";
        let model = text::parse(source).unwrap();
        let check = |only: &str| Selection::new(vec![only.to_owned()], Vec::new()).check(&model);
        assert!(check("Relu").is_ok() && check("rel*").is_ok());
        let error = check("relu_2").unwrap_err().to_string();
        assert!(error.contains("`only` names `relu_2`") && error.contains("did you mean `relu_1`?"), "{error}");
        assert!(check("conv*").is_err());
    }
}
