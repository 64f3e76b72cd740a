//! The worklist that drives local rewrites.

use std::collections::{BTreeSet, VecDeque};

use super::Changed;
use crate::error::Result;
use crate::ir::{Graph, NodeId, ValueId};

/// What a rule did at one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revisit {
    /// Nothing.
    Unchanged,
    /// It changed the graph; these operators may match now. Those that are gone are passed over.
    Changed(Vec<NodeId>),
}

/// Operators that are looked at again behind a value that lost a reader, at most: many rules ask for values that nothing else
/// reads, and begin at the last operator of a chain.
const MAX_BEHIND: usize = 16;

/// Values that more operators read are none that a rule waits for.
const MAX_READERS: usize = 2;

/// Offers every operator of a graph to a rule, in topological order, and those again that a change may have made match,
/// until nothing is left: those that the rule names, and those behind values that lost a reader. Near linear in operators
/// where each change asks for few revisits.
///
/// # Errors
/// Passes on what the rule returns.
pub fn rewrite_graph(graph: &mut Graph, rule: impl FnMut(&mut Graph, NodeId) -> Result<Revisit>) -> Result<Changed> {
    graph.note_losses(true);
    let changed = sweep(graph, rule);
    graph.note_losses(false);
    changed
}

fn sweep(graph: &mut Graph, mut rule: impl FnMut(&mut Graph, NodeId) -> Result<Revisit>) -> Result<Changed> {
    let mut queue: VecDeque<NodeId> = graph.topological_order()?.into();
    let mut queued: BTreeSet<NodeId> = queue.iter().copied().collect();
    let mut changed = Changed::No;
    while let Some(node) = queue.pop_front() {
        queued.remove(&node);
        if !graph.contains_node(node) {
            continue;
        }
        let Revisit::Changed(mut again) = rule(graph, node)? else { continue };
        changed = Changed::Yes;
        for value in graph.take_losses() {
            behind(graph, value, &mut again);
        }
        for node in again {
            if graph.contains_node(node) && queued.insert(node) {
                queue.push_back(node);
            }
        }
    }
    Ok(changed)
}

/// The nearest operators that depend on a value.
fn behind(graph: &Graph, value: ValueId, found: &mut Vec<NodeId>) {
    let mut unseen = VecDeque::from([value]);
    let mut left = MAX_BEHIND;
    while let Some(value) = unseen.pop_front() {
        for reader in graph.readers_up_to(value, MAX_READERS) {
            if left == 0 {
                return;
            }
            left -= 1;
            found.push(reader);
            unseen.extend(graph.node_outputs(reader).into_iter().flatten());
        }
    }
}
