//! Putting graphs that operators hold in their place: from the outermost graph to the inner ones, each told which small
//! constants it can see around it.

use std::collections::BTreeMap;

use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NameCount, NodeId, Tensor, ValueId};
use crate::pass::{Changed, Cx, counted};

/// The first version of the file format in which an initializer need not be an input.
const FREE_INITIALIZERS_IR_VERSION: i64 = 4;

/// The one number of each constant with one element that the graphs around have, by name.
#[derive(Debug, Clone, Default)]
pub(in crate::passes) struct Around(BTreeMap<String, Tensor>);

impl Around {
    /// The tensor with one element that a value of a graph always is; what runtimes take as a condition or a count has one
    /// element, whatever its rank.
    pub(in crate::passes) fn single(&self, graph: &Graph, value: ValueId) -> Option<Tensor> {
        if graph.value(value).is_outer() {
            return self.0.get(graph.value(value).name()).cloned();
        }
        graph.constant_behind_identity(value).filter(|tensor| tensor.len() == 1)
    }

    /// What the graphs inside of an operator can see.
    fn inside(&self, graph: &Graph, node: NodeId) -> Self {
        let mut seen = self.clone();
        for value in graph.captures(node) {
            if let Some(tensor) = graph.constant(value).filter(|tensor| tensor.len() == 1) {
                seen.0.insert(graph.value(value).name().to_owned(), tensor);
            }
        }
        seen
    }
}

/// Where an operator is to be replaced.
pub(in crate::passes) struct Spot<'a> {
    pub(in crate::passes) around: &'a Around,
    /// The operator set of the graph.
    pub(in crate::passes) opset: i64,
    /// Whether constants of a graph may be initializers there.
    pub(in crate::passes) has_initializers: bool,
}

/// Puts what an operator does in its place; `None` where it is not one for that, and a reason where it cannot be done.
pub(in crate::passes) type Replace =
    fn(&mut Graph, NodeId, &Spot<'_>, &mut NameCount) -> Result<Option<Result<(), &'static str>>>;

/// Lets `replace` see every operator that holds graphs, what was put in place included; `what` names those that went.
///
/// # Errors
/// Passes on what `replace` returns.
pub(in crate::passes) fn run(what: Words, replace: Replace, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
    if !model.roots().into_iter().any(|(_, graph)| holds_graphs(graph)) {
        return Ok(Changed::No);
    }
    let mut names = NameCount::default();
    for (_, graph) in model.roots() {
        names.add(graph);
    }
    let has_initializers = model.ir_version() >= FREE_INITIALIZERS_IR_VERSION;
    let mut opsets = vec![model.opset()];
    opsets.extend(model.functions.iter().map(|function| function.opset()));
    let mut changed = Changed::No;
    for (place, ((root, graph), opset)) in model.roots_mut().into_iter().zip(opsets).enumerate() {
        let around = Around::default();
        let spot = Spot { around: &around, opset, has_initializers: has_initializers && place == 0 };
        changed |= within(graph, &root, &spot, (what, replace), &mut names, cx)?;
    }
    Ok(changed)
}

/// The noun of a remark and what comes behind it.
pub(in crate::passes) type Words = (&'static str, &'static str);

/// Whether a graph, or one inside of it, has a value of that name of its own: one around it cannot be read there then.
pub(in crate::passes) fn defines(graph: &Graph, name: &str) -> bool {
    let is_own = graph.find_value(name).is_some_and(|value| !graph.value(value).is_outer());
    let inner = || graph.nodes().into_iter().flat_map(|node| graph.node(node).subgraphs());
    is_own || inner().any(|inner| defines(&inner.graph, name))
}

fn holds_graphs(graph: &Graph) -> bool {
    graph.nodes().into_iter().any(|node| !graph.node(node).subgraphs().is_empty())
}

/// Works in a graph and then in the graphs inside of it.
fn within(
    graph: &mut Graph,
    path: &[String],
    spot: &Spot<'_>,
    (words, replace): (Words, Replace),
    names: &mut NameCount,
    cx: &mut Cx<'_>,
) -> Result<Changed> {
    let mut changed = Changed::No;
    cx.enter(path);
    loop {
        let mut replaced = 0;
        for node in graph.nodes() {
            if graph.node(node).subgraphs().is_empty() {
                continue;
            }
            let site = graph.site(node);
            if graph.node(node).is_kept() {
                continue;
            }
            match replace(graph, node, spot, names)? {
                None => {}
                Some(Ok(())) => replaced += 1,
                Some(Err(reason)) => cx.skipped(site, reason),
            }
        }
        if replaced == 0 {
            break;
        }
        changed = Changed::Yes;
        let text = format!("inlined {} {}", counted(replaced, words.0), words.1);
        cx.measured(Site::default(), text, &[("operators", replaced as f64)]);
    }
    for node in graph.nodes() {
        if graph.node(node).subgraphs().is_empty() {
            continue;
        }
        let around = spot.around.inside(graph, node);
        let label = format!("{} `{}`", graph.node(node).op_type(), graph.node_label(node));
        graph.edit_subgraphs(node, |subgraphs| {
            for inner in subgraphs {
                let path = [path, &[format!("{label}.{}", inner.attribute)]].concat();
                let spot = Spot { around: &around, opset: spot.opset, has_initializers: true };
                changed |= within(&mut inner.graph, &path, &spot, (words, replace), names, cx)?;
            }
            Ok(())
        })?;
    }
    Ok(changed)
}
