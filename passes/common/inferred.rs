//! What shape inference knows, for passes that ask [`facts`](super::facts): learnt once before a pass looks at a model,
//! kept beside the values while it edits, and forgotten after it. Functions get none: what holds at the calls that are there
//! today is not what their signature says.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::infer::{self, Extent, Fact, GraphFacts, Trusted};
use crate::ir::{Dim, Graph, Inferred, Model, NodeId, Shape};
use crate::pass::Cx;

/// Marks names of dimensions that stand for an expression or for an extent nobody named. No file has such a name.
const EXPRESSION_MARK: char = '\u{1}';

/// [`Model::edit_versioned_graphs`] where [`facts`](super::facts) knows what inference does; if there is an operator that
/// `asks` for it, since inference takes longer than most passes do.
///
/// # Errors
/// Fails on a graph with a cycle, and passes on what `edit` returns.
pub(in crate::passes) fn edit_graphs(
    model: &mut Model,
    cx: &mut Cx<'_>,
    asks: impl Fn(&Graph, NodeId) -> bool,
    mut edit: impl FnMut(&mut Graph, &[String], i64, &mut Cx<'_>) -> Result<()>,
) -> Result<()> {
    let mut is_asked = false;
    model.visit_graphs(|graph, _| {
        is_asked = is_asked || graph.nodes().into_iter().any(|node| asks(graph, node));
        Ok(())
    })?;
    if !is_asked {
        return model.edit_versioned_graphs(|graph, path, opset| edit(graph, path, opset, cx));
    }
    if let Some(trusted) = cx.trusted(model)? {
        learn(&mut model.graph, &trusted, trusted.inference.main(), &BTreeMap::new())?;
    }
    model.edit_versioned_graphs(|graph, path, opset| {
        edit(graph, path, opset, cx)?;
        forget(graph)
    })
}

/// Keeps beside the values of a graph, and of those inside of it, what is known of them; `outer` is what is known of the
/// values around it, by name.
fn learn(graph: &mut Graph, trusted: &Trusted, facts: &GraphFacts, outer: &BTreeMap<String, Inferred>) -> Result<()> {
    if !trusted.agrees {
        // To know nothing is better than to believe what the file says.
        graph.values().into_iter().try_for_each(|value| graph.set_inferred(value, Some(Inferred::default())))?;
    }
    for (value, fact) in facts.iter() {
        if graph.contains_value(value) {
            let known = inferred(fact).or_else(|| (!trusted.agrees).then(Inferred::default));
            graph.set_inferred(value, known)?;
        }
    }
    for (name, known) in outer {
        if let Some(value) = graph.find_value(name).filter(|&value| graph.value(value).is_outer()) {
            graph.set_inferred(value, Some(known.clone()))?;
        }
    }
    let holders: Vec<NodeId> =
        graph.nodes().into_iter().filter(|&node| !graph.node(node).subgraphs().is_empty()).collect();
    for node in holders {
        let seen = graph.captures(node).into_iter().filter_map(|value| {
            let held = graph.value(value);
            Some((held.name().to_owned(), held.inferred()?.clone()))
        });
        let seen: BTreeMap<String, Inferred> = seen.collect();
        graph.edit_subgraphs(node, |subgraphs| {
            for (index, inner) in subgraphs.iter_mut().enumerate() {
                if let Some(facts) = facts.subgraph(node, index) {
                    learn(&mut inner.graph, trusted, facts, &seen)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn forget(graph: &mut Graph) -> Result<()> {
    graph.values().into_iter().try_for_each(|value| graph.set_inferred(value, None))
}

fn inferred(fact: &Fact) -> Option<Inferred> {
    let shape = fact.shape.as_ref().map(|shape| Shape(shape.iter().map(dim).collect()));
    (fact.dtype.is_some() || shape.is_some()).then_some(Inferred { dtype: fact.dtype, shape })
}

/// A number, a name of the model, or a name that is equal where the extents are.
fn dim(extent: &Extent) -> Dim {
    let Some(expression) = extent else { return Dim::Unknown };
    match (expression.as_int(), expression.as_symbol()) {
        (Some(number), _) => u64::try_from(number).map_or(Dim::Unknown, Dim::Fixed),
        (None, Some(infer::Symbol::Named(name))) => Dim::Sym(name.clone()),
        (None, _) => Dim::Sym(format!("{EXPRESSION_MARK}{expression}").into()),
    }
}
