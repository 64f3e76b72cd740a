//! Removes operators that hand their input on unchanged: same values, same type, same shape.
//!
//! ```text
//! a = Cast<to = 1>(x)         =>   y = Relu(x)         // x is float already
//! b = Transpose<perm = [0, 1]>(a)
//! c = Mul(b, one)
//! y = Relu(c)
//! ```
//!
//! Which operators can be such, and when, tell the tables in [`arithmetic`], [`layout`] and [`choice`].
//!
//! Left alone are
//! 1. operators whose constants, types or shapes are not known well enough: two dimensions are equal where they are the
//!    same number or have the same name;
//! 2. the addition of 0 to floats: it turns -0 into 0. Subtracting 0 and adding -0 do not;
//! 3. operators whose name, or that of their input, is promised, as described in `eliminate-identity`;
//! 4. operators of which another output is read: the mask of a Dropout, the indices of a MaxPool.

mod arithmetic;
mod choice;
mod layout;

use std::collections::BTreeMap;

use super::common::{edit, facts, inferred};
use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "eliminate-nop",
    summary: "removes operators that hand their input on unchanged: Cast to the same type, Mul by 1, Pad by 0 and so on",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct EliminateNop;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(EliminateNop))
}

impl Pass for EliminateNop {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |_, _| true,
            |graph, path, opset, cx| {
                cx.enter(path);
                let mut removed: BTreeMap<String, usize> = BTreeMap::new();
                changed |= rewrite_graph(graph, |graph, node| {
                    let Some(slot) = slot_handed_on(graph, node, opset) else { return Ok(Revisit::Unchanged) };
                    let Some(from) = graph.input(node, slot) else { return Ok(Revisit::Unchanged) };
                    let (site, op_type) = (graph.site(node), graph.node(node).op_type().to_owned());
                    match edit::bypass(graph, node, from)? {
                        Ok(()) => {
                            *removed.entry(op_type).or_default() += 1;
                            Ok(Revisit::Changed(Vec::new()))
                        }
                        Err(reason) => {
                            cx.skipped(site, reason);
                            Ok(Revisit::Unchanged)
                        }
                    }
                })?;
                if let Some((text, total)) = tally(&removed) {
                    cx.measured(Site::default(), format!("removed {text}"), &[("operators", total as f64)]);
                }
                Ok(())
            },
        )?;
        Ok(changed)
    }
}

/// The input slot that the first output of an operator is equal to.
fn slot_handed_on(graph: &Graph, node: NodeId, opset: i64) -> Option<usize> {
    let held = graph.node(node);
    let is_only_output = graph.node_outputs(node).into_iter().skip(1).flatten().all(|output| graph.is_unread(output));
    if !held.domain().is_empty() || !held.subgraphs().is_empty() || facts::depends_on_caller(held) || !is_only_output {
        return None;
    }
    arithmetic::slot_handed_on(graph, node, opset)
        .or_else(|| layout::hands_on(graph, node, opset).then_some(0))
        .or_else(|| choice::hands_on(graph, node, opset).then_some(0))
}
