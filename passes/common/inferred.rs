//! What shape inference knows, for passes that ask [`facts`](super::facts): learnt once before a pass looks at a model,
//! kept beside the values while it edits, and forgotten after it.
//!
//! Inference believes declared types where it has nothing better, so it sees only those that can be relied on: the inputs
//! of a loop body change their shapes in some models, whatever is declared. A model that contradicts itself gets no
//! inference, nor do functions: what holds at the calls that are there today is not what their signature says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::Result;
use crate::infer::{self, Extent, Fact, GraphFacts, Inference};
use crate::ir::{Dim, Graph, Inferred, Model, NodeId, Shape, ValueId, ValueType};

/// Before it, operators broadcast along an axis that an attribute names.
const PLAIN_BROADCASTING_OPSET: i64 = 7;

/// Marks names of dimensions that stand for an expression or for an extent nobody named. No file has such a name.
const EXPRESSION_MARK: char = '\u{1}';

/// [`Model::edit_versioned_graphs`] where [`facts`](super::facts) knows what inference does; if there is an operator that
/// `asks` for it, since inference takes longer than most passes do.
///
/// # Errors
/// Fails on a graph with a cycle, and passes on what `edit` returns.
pub(in crate::passes) fn edit_graphs(
    model: &mut Model,
    asks: impl Fn(&Graph, NodeId) -> bool,
    mut edit: impl FnMut(&mut Graph, &[String], i64) -> Result<()>,
) -> Result<()> {
    let mut is_asked = false;
    model.visit_graphs(|graph, _| {
        is_asked = is_asked || graph.nodes().into_iter().any(|node| asks(graph, node));
        Ok(())
    })?;
    if !is_asked {
        return model.edit_versioned_graphs(edit);
    }
    if let Some(trusted) = trusted(model)? {
        learn(&mut model.graph, &trusted, trusted.inference.main(), &BTreeMap::new())?;
    }
    model.edit_versioned_graphs(|graph, path, opset| {
        edit(graph, path, opset)?;
        forget(graph)
    })
}

/// What inference knows of a model.
pub(in crate::passes) struct Trusted {
    pub(in crate::passes) inference: Inference,
    /// Whether what the file declares of computed values goes with that. Where it does not, inference went without it, and
    /// so must whoever asks: exporters declare shapes that no run has.
    pub(in crate::passes) agrees: bool,
}

/// What inference knows of a model; `None` where it is not to be relied on.
///
/// # Errors
/// Fails on a graph with a cycle.
pub(in crate::passes) fn trusted(model: &Model) -> Result<Option<Trusted>> {
    let leaves_shape_open = |&input: &ValueId| {
        let held = model.graph.value(input);
        // The default tells a shape, but it is the caller's to choose.
        held.initializer().is_some() && !matches!(held.ty(), ValueType::Tensor(tensor) if tensor.shape.is_some())
    };
    if model.opset() < PLAIN_BROADCASTING_OPSET || model.graph.inputs().iter().any(leaves_shape_open) {
        return Ok(None);
    }
    let inference = infer::infer(&*without_untrusted_types(model)?)?;
    if inference.contradictions().is_empty() {
        return Ok(Some(Trusted { inference, agrees: true }));
    }
    tracing::debug!("inferred shapes contradict declared ones, which are not used");
    let mut copy = model.clone();
    copy.edit_graphs(|graph, _| forget_types(graph))?;
    let inference = infer::infer(&copy)?;
    let is_sound = inference.contradictions().is_empty();
    Ok(is_sound.then_some(Trusted { inference, agrees: false }))
}

/// Whether the types declared in an inner graph can be relied on. The inputs of a loop body change their shapes in some
/// models, whatever is declared.
pub(in crate::passes) fn trusts_inside(is_outer_trusted: bool, inner: &Graph) -> bool {
    is_outer_trusted && inner.inputs().is_empty()
}

/// The model without the types that are declared where they cannot be relied on.
fn without_untrusted_types(model: &Model) -> Result<Cow<'_, Model>> {
    let mut roots = std::iter::once(&model.graph).chain(model.functions.iter().map(|function| &function.body));
    if roots.all(trusts_all_inside) {
        return Ok(Cow::Borrowed(model));
    }
    let mut copy = model.clone();
    for (root, graph) in copy.roots_mut() {
        let mut trusts: Vec<bool> = Vec::new();
        graph.edit_outer_first(&root, |graph, path| {
            trusts.truncate(path.len() - root.len());
            let is_trusted = trusts.last().is_none_or(|&outer| trusts_inside(outer, graph));
            trusts.push(is_trusted);
            if !is_trusted {
                forget_types(graph)?;
            }
            Ok(())
        })?;
    }
    Ok(Cow::Owned(copy))
}

fn trusts_all_inside(graph: &Graph) -> bool {
    let mut subgraphs = graph.nodes().into_iter().flat_map(|node| graph.node(node).subgraphs());
    subgraphs.all(|inner| trusts_inside(true, &inner.graph) && trusts_all_inside(&inner.graph))
}

fn forget_types(graph: &mut Graph) -> Result<()> {
    let computed = graph.values().into_iter().filter(|&value| graph.producer(value).is_some());
    let computed: Vec<ValueId> = computed.collect();
    computed.into_iter().try_for_each(|value| graph.set_type(value, ValueType::Unknown))
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
