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

use std::collections::BTreeMap;

use crate::error::{Result, Site};
use crate::ir::{DType, Graph, Model, NameCount, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope, counted};

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

/// The first version of the file format in which an initializer need not be an input.
const FREE_INITIALIZERS_IR_VERSION: i64 = 4;

#[derive(Debug)]
struct InlineIf;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(InlineIf))
}

/// Constant conditions of enclosing graphs, by name.
type Conditions = BTreeMap<String, bool>;

impl Pass for InlineIf {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        if !model.roots().into_iter().any(|(_, graph)| has_if(graph)) {
            return Ok(Changed::No);
        }
        let mut names = NameCount::default();
        for (_, graph) in model.roots() {
            names.add(graph);
        }
        let ir = model.ir_version();
        let mut changed = Changed::No;
        for (place, (root, graph)) in model.roots_mut().into_iter().enumerate() {
            let has_initializers = ir >= FREE_INITIALIZERS_IR_VERSION && place == 0;
            changed |= inline_all(graph, &root, &Conditions::new(), has_initializers, &mut names, cx)?;
        }
        Ok(changed)
    }
}

fn has_if(graph: &Graph) -> bool {
    graph
        .nodes()
        .into_iter()
        .map(|node| graph.node(node))
        .any(|held| held.is("If") || held.subgraphs().iter().any(|inner| has_if(&inner.graph)))
}

/// Inlines in a graph, what was inlined included, and then in the graphs inside of it.
fn inline_all(
    graph: &mut Graph,
    path: &[String],
    outer: &Conditions,
    has_initializers: bool,
    names: &mut NameCount,
    cx: &mut Cx<'_>,
) -> Result<Changed> {
    let mut changed = Changed::No;
    cx.enter(path);
    loop {
        let mut inlined = 0;
        for node in graph.nodes() {
            let Some(condition) = condition(graph, node, outer) else { continue };
            let attribute = if condition { "then_branch" } else { "else_branch" };
            let site = graph.site(node);
            match graph.inline(node, attribute, names, has_initializers)? {
                Ok(()) => inlined += 1,
                Err(reason) => cx.skipped(site, reason),
            }
        }
        if inlined == 0 {
            break;
        }
        changed = Changed::Yes;
        let text = format!("inlined {} with a constant condition", counted(inlined, "If operator"));
        cx.measured(Site::default(), text, &[("operators", inlined as f64)]);
    }
    for node in graph.nodes() {
        if graph.node(node).subgraphs().is_empty() {
            continue;
        }
        let conditions = visible_conditions(graph, node, outer);
        let label = format!("{} `{}`", graph.node(node).op_type(), graph.node_label(node));
        graph.edit_subgraphs(node, |subgraphs| {
            for inner in subgraphs {
                let path = [path, &[format!("{label}.{}", inner.attribute)]].concat();
                changed |= inline_all(&mut inner.graph, &path, &conditions, true, names, cx)?;
            }
            Ok(())
        })?;
    }
    Ok(changed)
}

/// The condition of an `If`, where it is constant.
fn condition(graph: &Graph, node: NodeId, outer: &Conditions) -> Option<bool> {
    if !graph.node(node).is("If") {
        return None;
    }
    let value = graph.input(node, 0)?;
    if graph.value(value).is_outer() {
        return outer.get(graph.value(value).name()).copied();
    }
    let tensor = graph.constant_behind_identity(value)?;
    // Runtimes take a condition of one element, whatever its rank.
    (tensor.dtype() == DType::Bool && tensor.len() == 1)
        .then(|| tensor.data().first().copied())
        .flatten()
        .map(|b| b != 0)
}

/// What the graphs inside of an operator can know of conditions outside.
fn visible_conditions(graph: &Graph, node: NodeId, outer: &Conditions) -> Conditions {
    let mut visible = outer.clone();
    for value in graph.captures(node) {
        let tensor = graph.constant(value).filter(|tensor| tensor.dtype() == DType::Bool && tensor.len() == 1);
        if let Some(byte) = tensor.and_then(|tensor| tensor.data().first().copied()) {
            visible.insert(graph.value(value).name().to_owned(), byte != 0);
        }
    }
    visible
}
