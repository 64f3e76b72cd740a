//! Puts the branch that an `If` with a constant condition takes in the place of the operator.
//!
//! ```text
//! < bool always = {1} >
//! y = If(always) <then_branch = () => (t) { t = Relu(x) }, ...>      =>      y = Relu(x)
//! ```
//!
//! Values of the branch keep their names, unless another graph of the model defines the same name; outputs of the branch
//! take over the names of the operator's outputs. A branch that returns a constant, a value of the graph around it, or one
//! value twice gets an `Identity` for that.
//!
//! Left alone are
//! 1. conditions that are not constant, or inputs with a default;
//! 2. branches with sparse initializers, or with values that parts of the file besides operators name.

use super::common::inline::{self, Spot};
use crate::error::Result;
use crate::ir::{DType, Graph, Model, NameCount, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "inline-if",
    summary: "replaces an If with a constant condition by the branch it takes",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct InlineIf;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(InlineIf))
}

impl Pass for InlineIf {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        inline::run(("If operator", "with a constant condition"), take_branch, model, cx)
    }
}

/// Puts the branch that an `If` always takes in its place.
fn take_branch(
    graph: &mut Graph,
    node: NodeId,
    spot: &Spot<'_>,
    names: &mut NameCount,
) -> Result<Option<Result<(), &'static str>>> {
    let Some(condition) = condition(graph, node, spot) else { return Ok(None) };
    let attribute = if condition { "then_branch" } else { "else_branch" };
    graph.inline(node, attribute, names, spot.has_initializers).map(Some)
}

/// The condition of an `If`, where it is constant.
fn condition(graph: &Graph, node: NodeId, spot: &Spot<'_>) -> Option<bool> {
    if !graph.node(node).is("If") {
        return None;
    }
    let tensor = spot.around.single(graph, graph.input(node, 0)?)?;
    (tensor.dtype() == DType::Bool).then(|| tensor.data().first().copied()).flatten().map(|byte| byte != 0)
}
