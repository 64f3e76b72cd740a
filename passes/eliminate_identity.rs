//! Removes `Identity` operators: what read their output reads their input.
//!
//! ```text
//! a = Identity(x)             =>   y = Relu(x)
//! b = Relu(a)
//! y = Identity(b)
//! ```
//!
//! Where the output of the operator is an output of the graph, the value before it takes over the name. That cannot be
//! done, and the operator stays, where
//! 1. the value before it is an input, an initializer, or belongs to an enclosing graph: an output must be computed in
//!    its own graph;
//! 2. the value before it is an output already: both names are promised;
//! 3. parts of the file besides operators know one of the two by name.

use super::common::edit;
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, counted, rewrite_graph};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "eliminate-identity",
    summary: "removes Identity operators",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct EliminateIdentity;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(EliminateIdentity))
}

impl Pass for EliminateIdentity {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_graphs(|graph, path| {
            cx.enter(path);
            let mut removed = 0;
            changed |= rewrite_graph(graph, |graph, node| {
                let Some(from) = input_of_identity(graph, node) else { return Ok(Revisit::Unchanged) };
                if let Err(reason) = edit::bypass(graph, node, from)? {
                    cx.skipped(graph.site(node), reason);
                    return Ok(Revisit::Unchanged);
                }
                removed += 1;
                Ok(Revisit::Changed(Vec::new()))
            })?;
            if removed > 0 {
                let site = crate::Site::default();
                cx.measured(
                    site,
                    format!("removed {}", counted(removed, "Identity operator")),
                    &[("operators", removed as f64)],
                );
            }
            Ok(())
        })?;
        Ok(changed)
    }
}

/// What an `Identity` hands on.
fn input_of_identity(graph: &Graph, node: NodeId) -> Option<ValueId> {
    if graph.node(node).is("Identity") { graph.input(node, 0) } else { None }
}
