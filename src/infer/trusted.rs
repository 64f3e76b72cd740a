//! What inference knows of a model that may be wrong about itself.
//!
//! Inference believes declared types where it has nothing better, so it is shown only those that can be relied on: the inputs
//! of a loop body change their shapes in some models, whatever is declared. A model that contradicts itself is shown without
//! any; if it still does, nothing is known of it.

use std::borrow::Cow;

use super::{Inference, infer};
use crate::error::Result;
use crate::ir::{Graph, Model, ValueId, ValueType};

/// Before it, operators broadcast along an axis that an attribute names.
const PLAIN_BROADCASTING_OPSET: i64 = 7;

/// What inference knows of a model.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) inference: Inference,
    /// Whether what the file declares of computed values goes with that. Where it does not, inference went without it, and
    /// so must whoever asks: exporters declare shapes that no run has.
    pub(crate) agrees: bool,
}

/// What inference knows of a model; `None` where it is not to be relied on.
///
/// # Errors
/// Fails on a graph with a cycle.
pub(crate) fn trusted(model: &Model) -> Result<Option<Trusted>> {
    let leaves_shape_open = |&input: &ValueId| {
        let held = model.graph.value(input);
        // The default tells a shape, but it is the caller's to choose.
        held.initializer().is_some() && !matches!(held.ty(), ValueType::Tensor(tensor) if tensor.shape.is_some())
    };
    if model.opset() < PLAIN_BROADCASTING_OPSET || model.graph.inputs().iter().any(leaves_shape_open) {
        return Ok(None);
    }
    let inference = infer(&*without_untrusted_types(model)?)?;
    if inference.contradictions().is_empty() {
        return Ok(Some(Trusted { inference, agrees: true }));
    }
    tracing::debug!("inferred shapes contradict declared ones, which are not used");
    let mut copy = model.clone();
    copy.edit_graphs(|graph, _| forget_types(graph))?;
    let inference = infer(&copy)?;
    let is_sound = inference.contradictions().is_empty();
    Ok(is_sound.then_some(Trusted { inference, agrees: false }))
}

/// Whether the types declared in an inner graph can be relied on. The inputs of a loop body change their shapes in some
/// models, whatever is declared.
pub(crate) fn trusts_inside(is_outer_trusted: bool, inner: &Graph) -> bool {
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
