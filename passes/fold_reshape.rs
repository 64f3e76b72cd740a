//! Gives a Reshape with a computed target a constant one, where the types of values tell what the target is.
//!
//! ```text
//! // float[batch,seq,384] x, float[batch,seq,12,32] y
//! s = Shape(x)                =>   y = Reshape(x, {0, 0, 12, 32})
//! b = Gather(s, zero)
//! n = Gather(s, one)
//! t = Concat(b, n, heads, size)
//! y = Reshape(x, t)
//! ```
//!
//! Each extent of the output must be a number, or equal to the extent of the input at the same place, which 0 stands for;
//! if all the others are numbers, one may be anything, which -1 stands for.
//!
//! Left alone are
//! 1. targets that are no Concat, nor a Cast of one, or that something else than such a Reshape reads: the file would only
//!    get larger;
//! 2. targets with more extents that are not known: of those one could be -1, but not two;
//! 3. -1 beside 0: where an extent were 0 when the model runs, -1 could be anything;
//! 4. an extent of 0 that is known, which would mean "as it is".

use std::collections::BTreeMap;

use super::common::{edit, facts, inferred, pattern};
use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NodeId, Port, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fold-reshape",
    summary: "gives a Reshape whose target is computed a constant one, where the types of values tell it",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct FoldReshape;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FoldReshape))
}

impl Pass for FoldReshape {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |graph, node| computed_target(graph, node).is_some(),
            |graph, path, _, cx| {
                cx.enter(path);
                let mut folded: BTreeMap<String, usize> = BTreeMap::new();
                changed |= rewrite_graph(graph, |graph, node| {
                    let Some(computed) = computed_target(graph, node) else { return Ok(Revisit::Unchanged) };
                    let lists = match targets(graph, computed) {
                        Ok(lists) => lists,
                        Err(reason) => {
                            cx.skipped(graph.site(node), reason);
                            return Ok(Revisit::Unchanged);
                        }
                    };
                    *folded.entry("Reshape".to_owned()).or_default() += lists.values().map(Vec::len).sum::<usize>();
                    fold(graph, computed, lists)?;
                    Ok(Revisit::Changed(Vec::new()))
                })?;
                if let Some((text, total)) = tally(&folded) {
                    cx.measured(
                        Site::default(),
                        format!("made constant the target of {text}"),
                        &[("operators", total as f64)],
                    );
                }
                Ok(())
            },
        )?;
        Ok(changed)
    }
}

/// The target of a Reshape, where the last step of shape arithmetic computes it, which can go: else a constant would come
/// for nothing.
fn computed_target(graph: &Graph, node: NodeId) -> Option<ValueId> {
    let held = graph.node(node);
    if !held.is("Reshape") || facts::depends_on_caller(held) {
        return None;
    }
    let target = graph.input(node, 1)?;
    let cast = pattern::written_by(graph, target, "Cast").and_then(|cast| graph.input(cast, 0));
    pattern::written_by(graph, cast.unwrap_or(target), "Concat")?;
    Some(target)
}

/// The constants that can take the place of a computed target, each with the operators that get it.
fn targets(graph: &Graph, computed: ValueId) -> Result<BTreeMap<Vec<i64>, Vec<NodeId>>, &'static str> {
    let held = graph.value(computed);
    let mut lists: BTreeMap<Vec<i64>, Vec<NodeId>> = BTreeMap::new();
    for one in graph.uses(computed) {
        let is_target = graph.node(one.node).is("Reshape") && one.port == Port::In(1);
        if !is_target || held.is_output() || held.is_pinned() {
            return Err("something else reads its target too");
        }
        if graph.node(one.node).attr_int("allowzero", 0) != 0 {
            return Err("an extent of 0 in its target means none");
        }
        let shape = |value: Option<ValueId>| value.and_then(|value| facts::shape(graph, value));
        let after = shape(graph.output(one.node, 0)).ok_or("the number of axes it makes is not known")?;
        let list = facts::reshape_target(shape(graph.input(one.node, 0)).as_ref(), &after);
        lists
            .entry(list.ok_or("its target depends on more than one extent that is not known")?)
            .or_default()
            .push(one.node);
    }
    Ok(lists)
}

fn fold(graph: &mut Graph, computed: ValueId, lists: BTreeMap<Vec<i64>, Vec<NodeId>>) -> Result<()> {
    let label = graph.value(computed).name().to_owned();
    for (list, nodes) in lists {
        let constant = graph.add_initializer(&label, Tensor::from_i64([list.len() as u64], &list)?);
        nodes.into_iter().try_for_each(|node| graph.set_input(node, 1, Some(constant)))?;
    }
    edit::drop_unread_chain(graph, vec![computed])
}
