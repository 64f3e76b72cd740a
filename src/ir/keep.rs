//! What a user wants kept, by name.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::model::Model;
use crate::error::Result;

/// The names that are kept: of operators, and of values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    nodes: BTreeSet<String>,
    values: BTreeSet<String>,
}

impl Kept {
    /// Something that is not in `now`, in words.
    pub fn lost_in(&self, now: &Self) -> Option<String> {
        let node = self.nodes.difference(&now.nodes).next().map(|name| format!("operator `{name}`"));
        node.or_else(|| self.values.difference(&now.values).next().map(|name| format!("value `{name}`")))
    }
}

impl Model {
    /// Keeps every operator and every value of that name, in all graphs, through the edits that follow; says how many
    /// operators and how many values there are. What lies inside of an operator keeps that one, too.
    ///
    /// # Errors
    /// Fails where an edit does.
    pub fn keep(&mut self, name: &str) -> Result<(usize, usize)> {
        let mut found = (0, 0);
        let bodies = self.functions.iter_mut().map(|function| &mut function.body);
        for graph in std::iter::once(&mut self.graph).chain(bodies) {
            let (nodes, values) = keep_in(graph, name)?;
            found = (found.0 + nodes, found.1 + values);
        }
        self.keeps_something |= found != (0, 0);
        Ok(found)
    }

    /// The names that could be kept, sorted.
    pub fn names_to_keep(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.each_graph(&mut |graph| {
            names.extend(graph.nodes().into_iter().map(|node| graph.node(node).name().to_owned()));
            names.extend(graph.values().into_iter().map(|value| graph.value(value).name().to_owned()));
        });
        names.remove("");
        names
    }

    /// What is kept by name.
    pub fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        if !self.keeps_something {
            return kept;
        }
        self.each_graph(&mut |graph| {
            for node in graph.nodes().into_iter().map(|node| graph.node(node)).filter(|node| node.is_kept()) {
                kept.nodes.insert(node.name().to_owned());
            }
            for value in graph.values().into_iter().map(|value| graph.value(value)).filter(|value| value.is_kept()) {
                kept.values.insert(value.name().to_owned());
            }
        });
        kept
    }

    fn each_graph(&self, visit: &mut dyn FnMut(&Graph)) {
        // The visitor never fails, so neither does the walk.
        let _ = self.visit_graphs(|graph, _| {
            visit(graph);
            Ok(())
        });
    }
}

fn keep_in(graph: &mut Graph, name: &str) -> Result<(usize, usize)> {
    let (mut nodes, mut values) = (0, 0);
    if let Some(value) = graph.find_value(name)
        && !graph.value(value).is_outer()
    {
        graph.keep_value(value)?;
        values += 1;
    }
    for node in graph.nodes() {
        if graph.node(node).name() == name {
            graph.keep_node(node)?;
            nodes += 1;
        }
        if graph.node(node).subgraphs().is_empty() {
            continue;
        }
        let inside = graph.edit_subgraphs(node, |subgraphs| {
            subgraphs.iter_mut().try_fold((0, 0), |(nodes, values), inner| {
                let (more_nodes, more_values) = keep_in(&mut inner.graph, name)?;
                Ok((nodes + more_nodes, values + more_values))
            })
        })?;
        if inside != (0, 0) {
            graph.keep_node(node)?;
        }
        (nodes, values) = (nodes + inside.0, values + inside.1);
    }
    Ok((nodes, values))
}
