//! Rules that look at an operator and at those before it, and what they may do.

use std::collections::BTreeMap;

use super::pattern::Match;
use super::{edit, facts, inferred, size};
use crate::error::{Result, Site};
use crate::ir::{AttrValue, Graph, Model, NodeId, Tensor, ValueId, ValueType};
use crate::pass::{Changed, Cx, Revisit, rewrite_graph, tally};

/// The operators that remarks name, and what to do with the last of them in a graph of that operator set.
pub(in crate::passes) type Rule = (&'static str, fn(&Graph, NodeId, i64) -> Option<Merge>);

/// What to do with an operator that follows others.
pub(in crate::passes) enum Merge {
    /// It hands on this value.
    HandsOn(ValueId),
    /// It changes.
    Becomes {
        op_type: &'static str,
        /// Its inputs, all of them.
        inputs: Vec<Option<Operand>>,
        /// Attributes that change; `None` for those that go.
        attributes: Vec<(&'static str, Option<AttrValue>)>,
    },
    /// It goes, and the operator before it, whose output nothing else reads, does its work with another attribute.
    Absorbed { into: NodeId, attribute: &'static str, value: AttrValue },
    /// It turns the axes back that `first` turned, with operators in between that do not care: from the last to the
    /// first of them, each with the input slot. Nothing else reads what lies between.
    Transposes { first: NodeId, between: Vec<(NodeId, usize)>, perm: Vec<i64> },
    /// It and others are replaced.
    Replaced(Box<Match>),
    /// What is left to do, which yields the operators to look at again.
    By(Edit),
}

/// An edit that begins at an operator.
pub(in crate::passes) type Edit = Box<dyn FnOnce(&mut Graph, NodeId) -> Result<Vec<NodeId>>>;

/// What an input slot reads.
pub(in crate::passes) enum Operand {
    Value(ValueId),
    /// A new constant.
    New(Tensor),
}

/// Applies rules to every operator of the default domain until none finds anything.
///
/// # Errors
/// Fails where an edit does.
pub(in crate::passes) fn run(rules: &[Rule], model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
    let mut changed = Changed::No;
    inferred::edit_graphs(
        model,
        cx,
        |_, _| true,
        |graph, path, opset, cx| {
            cx.enter(path);
            let mut merged: BTreeMap<String, usize> = BTreeMap::new();
            changed |= rewrite_graph(graph, |graph, node| {
                let held = graph.node(node);
                if !held.domain().is_empty() || facts::depends_on_caller(held) {
                    return Ok(Revisit::Unchanged);
                }
                for (name, rule) in rules {
                    let Some(merge) = rule(graph, node, opset) else { continue };
                    let site = graph.site(node);
                    let readers = graph.output(node, 0).map(|output| graph.uses(output)).unwrap_or_default();
                    match merge.apply(graph, node)? {
                        Err(reason) => {
                            cx.skipped(site, reason);
                            continue;
                        }
                        Ok(new) => {
                            *merged.entry((*name).to_owned()).or_default() += 1;
                            let after = readers.into_iter().map(|one| one.node);
                            return Ok(Revisit::Changed(new.into_iter().chain(after).collect()));
                        }
                    }
                }
                Ok(Revisit::Unchanged)
            })?;
            if let Some((text, total)) = tally(&merged) {
                cx.measured(Site::default(), format!("merged {text}"), &[("pairs", total as f64)]);
            }
            Ok(())
        },
    )?;
    Ok(changed)
}

impl Merge {
    /// An operator that changes type and inputs.
    pub(in crate::passes) fn becomes(op_type: &'static str, inputs: Vec<Option<Operand>>) -> Self {
        Self::Becomes { op_type, inputs, attributes: Vec::new() }
    }

    /// Does it, and removes what nothing reads any more; or says why it cannot be done. The operators to look at again.
    fn apply(self, graph: &mut Graph, node: NodeId) -> Result<Result<Vec<NodeId>, &'static str>> {
        let before: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
        let mut again = vec![node];
        match self {
            Self::HandsOn(value) => {
                if let Err(reason) = edit::bypass(graph, node, value)? {
                    return Ok(Err(reason));
                }
            }
            Self::Becomes { inputs, .. } if is_larger(graph, node, &inputs) => {
                return Ok(Err("the constant that it would need takes more bytes than what goes"));
            }
            Self::Becomes { op_type, inputs, attributes } => become_another(graph, node, op_type, inputs, attributes)?,
            Self::Absorbed { into, attribute, value } => {
                let Some(between) = graph.output(into, 0) else { return Ok(Err("it has no output")) };
                let ty = output_type(graph, node);
                if let Err(reason) = edit::bypass(graph, node, between)? {
                    return Ok(Err(reason));
                }
                graph.set_attr(into, attribute, value)?;
                graph.set_type(between, ty)?;
                again.push(into);
            }
            Self::Transposes { first, between, perm } => {
                if let Err(reason) = turn_between(graph, node, first, &between, perm)? {
                    return Ok(Err(reason));
                }
                again.extend(between.into_iter().map(|(node, _)| node));
            }
            Self::By(edit) => return edit(graph, node).map(Ok),
            Self::Replaced(found) => {
                again.extend(found.apply(graph, node)?);
                return Ok(Ok(again));
            }
        }
        edit::drop_unread_chain(graph, before)?;
        Ok(Ok(again))
    }
}

fn output_type(graph: &Graph, node: NodeId) -> ValueType {
    graph.output(node, 0).map_or(ValueType::Unknown, |output| graph.value(output).ty().clone())
}

fn name_of_operand(graph: &Graph, node: NodeId) -> String {
    let label = graph.output(node, 0).map_or("", |value| graph.value(value).name());
    format!("{label}_operand")
}

/// Whether the constants that come with other inputs take more bytes than the operators and constants that go with the old
/// ones: those that others read too stay.
fn is_larger(graph: &Graph, node: NodeId, inputs: &[Option<Operand>]) -> bool {
    let name = name_of_operand(graph, node);
    let bytes = |operand: &Operand| match operand {
        Operand::Value(_) => 0,
        Operand::New(tensor) => size::tensor_bytes(tensor, &name),
    };
    let new: u64 = inputs.iter().flatten().map(bytes).sum();
    let stays = |&value: &ValueId| inputs.iter().flatten().any(|o| matches!(o, Operand::Value(kept) if *kept == value));
    let mut going: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().filter(|value| !stays(value)).collect();
    let mut freed = 0;
    while let Some(value) = going.pop() {
        if freed >= new {
            break;
        }
        if graph.only_use(value).is_none() {
            continue;
        }
        match graph.producer(value).filter(|&(first, _)| !graph.node(first).is("Constant")) {
            None => freed += size::constant_bytes(graph, value),
            Some((first, _)) => {
                freed += size::node_bytes(graph, first);
                going.extend(graph.node_inputs(first).into_iter().flatten().filter(|value| !stays(value)));
            }
        }
    }
    new > freed
}

fn become_another(
    graph: &mut Graph,
    node: NodeId,
    op_type: &str,
    inputs: Vec<Option<Operand>>,
    attributes: Vec<(&'static str, Option<AttrValue>)>,
) -> Result<()> {
    let name = name_of_operand(graph, node);
    let slots = graph.node(node).input_slots().max(inputs.len());
    let mut inputs = inputs.into_iter();
    for slot in 0..slots {
        let value = match inputs.next().flatten() {
            None => None,
            Some(Operand::Value(value)) => Some(value),
            Some(Operand::New(tensor)) => Some(graph.add_initializer(&name, tensor)),
        };
        graph.set_input(node, slot, value)?;
    }
    graph.trim_inputs(node)?;
    graph.set_op_type(node, op_type)?;
    for (name, value) in attributes {
        match value {
            Some(value) => graph.set_attr(node, name, value)?,
            None => drop(graph.remove_attr(node, name)?),
        }
    }
    Ok(())
}

/// Lets the operators between two Transposes read what the first one reads; the second does the work of both, or goes.
fn turn_between(
    graph: &mut Graph,
    last: NodeId,
    first: NodeId,
    between: &[(NodeId, usize)],
    perm: Vec<i64>,
) -> Result<Result<(), &'static str>> {
    let ends = (graph.input(first, 0), graph.output(first, 0), graph.input(last, 0));
    let (Some(source), Some(turned), Some(back)) = ends else { return Ok(Err("it lacks an input")) };
    if facts::is_identity(&perm) {
        let ty = output_type(graph, last);
        if let Err(reason) = edit::bypass(graph, last, back)? {
            return Ok(Err(reason));
        }
        graph.set_type(back, ty)?;
    } else {
        graph.set_type(back, ValueType::Unknown)?;
        graph.set_attr(last, "perm", perm)?;
    }
    for &(node, slot) in between {
        if graph.input(node, slot) == Some(turned) {
            graph.set_input(node, slot, Some(source))?;
        } else if let Some(value) = graph.input(node, slot) {
            graph.set_type(value, ValueType::Unknown)?;
        }
    }
    edit::drop_unread_chain(graph, vec![turned])?;
    Ok(Ok(()))
}
