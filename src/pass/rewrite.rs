//! The worklist that drives local rewrites.

use std::collections::{BTreeSet, VecDeque};

use super::Changed;
use crate::error::Result;
use crate::ir::{Graph, NodeId};

/// What a rule did at one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revisit {
    /// Nothing.
    Unchanged,
    /// It changed the graph; these operators may match now. Those that are gone are passed over.
    Changed(Vec<NodeId>),
}

/// Sweeps over a graph at most. What a change makes match is looked at within a sweep; another sweep finds little.
const MAX_SWEEPS: usize = 8;

/// Offers every operator of a graph to a rule, in topological order, and those again that a change may have made match,
/// until nothing is left; then all of them once more where something changed, since an operator may match for having lost
/// a neighbour far away. Near linear in operators where each change asks for few revisits.
///
/// # Errors
/// Passes on what the rule returns.
pub fn rewrite_graph(
    graph: &mut Graph,
    mut rule: impl FnMut(&mut Graph, NodeId) -> Result<Revisit>,
) -> Result<Changed> {
    let mut changed = Changed::No;
    for _ in 0..MAX_SWEEPS {
        match sweep(graph, &mut rule)? {
            Changed::No => break,
            Changed::Yes => changed = Changed::Yes,
        }
    }
    Ok(changed)
}

fn sweep(graph: &mut Graph, rule: &mut impl FnMut(&mut Graph, NodeId) -> Result<Revisit>) -> Result<Changed> {
    let mut queue: VecDeque<NodeId> = graph.topological_order()?.into();
    let mut queued: BTreeSet<NodeId> = queue.iter().copied().collect();
    let mut changed = Changed::No;
    while let Some(node) = queue.pop_front() {
        queued.remove(&node);
        if !graph.contains_node(node) {
            continue;
        }
        if let Revisit::Changed(again) = rule(graph, node)? {
            changed = Changed::Yes;
            for node in again {
                if graph.contains_node(node) && queued.insert(node) {
                    queue.push_back(node);
                }
            }
        }
    }
    Ok(changed)
}
