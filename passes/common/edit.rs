//! Edits that clean up behind them.

use crate::error::Result;
use crate::ir::{Graph, NodeId, ValueId};

/// Makes everything that read the first output of an operator read `from`, and removes the operator with the constants
/// that only it read. Its other outputs must be unread. Says why where that cannot be done, and changes nothing then.
///
/// # Errors
/// Fails where an edit does.
pub(in crate::passes) fn bypass(graph: &mut Graph, node: NodeId, from: ValueId) -> Result<Result<(), &'static str>> {
    let Some(to) = graph.output(node, 0) else { return Ok(Err("it has no output")) };
    if graph.value(to).is_kept() {
        return Ok(Err("its output is to be kept"));
    }
    if graph.value(to).is_pinned() {
        return Ok(Err("other parts of the file refer to its output by name"));
    }
    let names_an_output = graph.value(to).is_output();
    if let Err(reason) = graph.replace_value(to, from)? {
        return Ok(Err(reason));
    }
    if names_an_output {
        // The list of outputs tells the type now.
        graph.drop_value_info(from)?;
    }
    remove(graph, node)?;
    Ok(Ok(()))
}

/// Removes an operator, whose outputs nothing reads, with the constants that only it read.
///
/// # Errors
/// Fails where an output is still read.
pub(in crate::passes) fn remove(graph: &mut Graph, node: NodeId) -> Result<()> {
    let inputs: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
    graph.remove_node(node)?;
    drop_unread_constants(graph, inputs)
}

/// Removes those of some values that are constants which nothing reads.
///
/// # Errors
/// Fails where an edit does.
pub(in crate::passes) fn drop_unread_constants(graph: &mut Graph, values: Vec<ValueId>) -> Result<()> {
    for value in values {
        if graph.contains_value(value) {
            graph.remove_unread_constant(value)?;
        }
    }
    Ok(())
}

/// Removes what wrote values that nothing reads any more, and so on to what came before.
///
/// # Errors
/// Fails where an edit does.
pub(in crate::passes) fn drop_unread_chain(graph: &mut Graph, mut values: Vec<ValueId>) -> Result<()> {
    while let Some(value) = values.pop() {
        if !graph.contains_value(value) || !graph.is_unread(value) {
            continue;
        }
        match graph.producer(value) {
            Some((node, _)) if graph.node_outputs(node).into_iter().flatten().all(|output| graph.is_unread(output)) => {
                values.extend(graph.node_inputs(node).into_iter().flatten());
                graph.remove_node(node)?;
            }
            Some(_) => {}
            None => drop(graph.remove_unread_constant(value)?),
        }
    }
    Ok(())
}
