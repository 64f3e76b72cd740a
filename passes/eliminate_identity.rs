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
                let Some((from, to)) = ends_of_identity(graph, node) else { return Ok(Revisit::Unchanged) };
                if let Err(reason) = bypass(graph, node, from, to)? {
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

/// The input and the output of an `Identity`.
fn ends_of_identity(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    if !graph.node(node).is("Identity") {
        return None;
    }
    Some((graph.input(node, 0)?, graph.output(node, 0)?))
}

fn bypass(graph: &mut Graph, node: NodeId, from: ValueId, to: ValueId) -> Result<Result<(), &'static str>> {
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
    graph.remove_node(node)?;
    Ok(Ok(()))
}
