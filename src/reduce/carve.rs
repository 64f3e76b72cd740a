//! A model of some of the operators of another.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, ValueId, ValueType, check};

/// What becomes of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// What it wrote becomes an input.
    Gone,
    /// What it wrote is what it read.
    Bypassed,
}

/// Which operators are left, and which outputs are not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    kept: BTreeSet<NodeId>,
    bypassed: BTreeSet<NodeId>,
    /// Names of outputs that are not wanted.
    pub(super) unwanted: BTreeSet<String>,
}

impl Cut {
    /// Some operators and nothing else.
    pub(super) fn whole(nodes: &[NodeId]) -> Self {
        Self { kept: nodes.iter().copied().collect(), bypassed: BTreeSet::new(), unwanted: BTreeSet::new() }
    }

    /// The same without some operators.
    pub(super) fn with(&self, nodes: &[NodeId], fate: Fate) -> Self {
        let mut cut = self.clone();
        for node in nodes {
            cut.kept.remove(node);
            if fate == Fate::Bypassed {
                cut.bypassed.insert(*node);
            }
        }
        cut
    }

    pub(super) fn keeps(&self, node: NodeId) -> bool {
        self.kept.contains(&node)
    }

    /// How many operators are left.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether all of some operators are left, with all outputs.
    pub(super) fn is_whole(&self, nodes: &[NodeId]) -> bool {
        self.kept.len() == nodes.len() && self.unwanted.is_empty()
    }
}

/// The operators that are left, as a model: every value of theirs that none of them reads is an output. `None` where that
/// is no model, because nothing is left or the type of a new input is not known.
///
/// # Errors
/// Fails where an edit does.
pub(super) fn carve(model: &Model, cut: &Cut) -> Result<Option<Model>> {
    let mut model = model.clone();
    let graph = &mut model.graph;
    let were_outputs: BTreeSet<ValueId> = graph.outputs().collect();
    let mut undefined: BTreeSet<ValueId> = BTreeSet::new();
    for node in graph.topological_order()? {
        if cut.keeps(node) || graph.node(node).is("Constant") {
            continue;
        }
        let way = cut.bypassed.contains(&node).then(|| way_around(graph, node)).flatten();
        undefined.extend(graph.node_outputs(node).into_iter().flatten());
        graph.detach_node(node)?;
        if let Some((output, input)) = way {
            graph.replace_reads(output, input)?;
        }
    }
    let mut outputs = Vec::new();
    for &node in &cut.kept {
        for output in graph.node_outputs(node).into_iter().flatten() {
            let is_wanted = !cut.unwanted.contains(graph.value(output).name());
            if is_wanted && (graph.uses(output).is_empty() || were_outputs.contains(&output)) {
                outputs.push(output);
            }
        }
    }
    for value in undefined {
        if graph.uses(value).is_empty() {
            continue;
        }
        if *graph.value(value).ty() == ValueType::Unknown {
            return Ok(None);
        }
        graph.make_input(value)?;
    }
    if outputs.is_empty() {
        return Ok(None);
    }
    graph.cut(&outputs)?;
    graph.drop_unread_inputs()?;
    for value in graph.values() {
        let is_stray = graph.producer(value).is_none() && !graph.value(value).is_input();
        if is_stray && graph.is_unread(value) && graph.constant(value).is_none() {
            graph.remove_value(value)?;
        }
    }
    Ok(check::structure(&model).is_ok().then_some(model))
}

/// The output of an operator with one, and an input of the same type to read instead.
fn way_around(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    let [Some(output)] = graph.node_outputs(node)[..] else { return None };
    let ty = graph.value(output).ty();
    let inputs = graph.node_inputs(node).into_iter().flatten();
    let mut same = inputs.filter(|&input| graph.constant(input).is_none() && graph.value(input).ty() == ty);
    same.next().filter(|_| *ty != ValueType::Unknown).map(|input| (output, input))
}
