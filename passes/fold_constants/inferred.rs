//! What shape inference knows of the main graph and of the graphs inside of it, by the names of values: those outlive the
//! edits of the pass, which ids do not.
//!
//! Inference believes declared types where it has nothing better, so it sees only those that the pass itself relies on.
//! A model that contradicts itself gets no inference, nor do functions: what holds at the calls that are there today is
//! not what their signature says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::facts::trusts_inside;
use crate::error::Result;
use crate::infer::{self, Element, Fact, GraphFacts, SymExpr};
use crate::ir::{DType, Dim, Graph, Model, Shape, Tensor, ValueId, ValueType};

/// Before it, operators broadcast along an axis that an attribute names.
const PLAIN_BROADCASTING_OPSET: i64 = 7;

/// What is known of the values of one graph.
#[derive(Debug, Default)]
pub(super) struct Known {
    shapes: BTreeMap<String, Shape>,
    contents: BTreeMap<String, Tensor>,
}

impl Known {
    /// The shape, where the rank is known; extents that are no numbers are unknown.
    pub(super) fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }

    /// The contents of a small tensor that an operator writes.
    pub(super) fn contents(&self, name: &str) -> Option<&Tensor> {
        self.contents.get(name)
    }

    fn of(graph: &Graph, facts: &GraphFacts) -> Self {
        let mut known = Self::default();
        for (value, fact) in facts.iter() {
            let held = graph.value(value);
            if let Some(shape) = &fact.shape {
                let dim = |extent: &Option<SymExpr>| number(extent).map_or(Dim::Unknown, Dim::Fixed);
                known.shapes.insert(held.name().to_owned(), Shape(shape.iter().map(dim).collect()));
            }
            if graph.producer(value).is_some()
                && let Some(tensor) = contents(fact)
            {
                known.contents.insert(held.name().to_owned(), tensor);
            }
        }
        known
    }
}

/// What is known of the main graph and of the graphs inside of it, in the order of
/// [`Graph::edit_outer_first`]. Nothing, where inference is not to be relied on.
///
/// # Errors
/// Fails on a graph with a cycle.
pub(super) fn main_graphs(model: &Model) -> Result<Vec<Known>> {
    let leaves_shape_open = |&input: &ValueId| {
        let held = model.graph.value(input);
        // The default tells a shape, but it is the caller's to choose.
        held.initializer().is_some() && !matches!(held.ty(), ValueType::Tensor(tensor) if tensor.shape.is_some())
    };
    if model.opset() < PLAIN_BROADCASTING_OPSET || model.graph.inputs().iter().any(leaves_shape_open) {
        return Ok(Vec::new());
    }
    let believed = without_untrusted_types(model)?;
    let inference = infer::infer(&believed)?;
    if !inference.contradictions().is_empty() {
        tracing::debug!("inferred shapes contradict declared ones: only the declared ones are used");
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    collect(&model.graph, Some(inference.main()), &mut found);
    Ok(found)
}

fn collect(graph: &Graph, facts: Option<&GraphFacts>, found: &mut Vec<Known>) {
    found.push(facts.map_or_else(Known::default, |facts| Known::of(graph, facts)));
    for node in graph.nodes() {
        for (index, subgraph) in graph.node(node).subgraphs().iter().enumerate() {
            collect(&subgraph.graph, facts.and_then(|facts| facts.subgraph(node, index)), found);
        }
    }
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

fn number(extent: &Option<SymExpr>) -> Option<u64> {
    extent.as_ref()?.as_int().and_then(|number| u64::try_from(number).ok())
}

/// The tensor, where every element is a known number. Only types whose arithmetic inference follows to the bit.
fn contents(fact: &Fact) -> Option<Tensor> {
    let shape: Vec<u64> = fact.shape.as_ref()?.iter().map(number).collect::<Option<_>>()?;
    let integer = |element: &Element| element.int().and_then(SymExpr::as_int);
    let elements: Vec<i64> = fact.contents.as_ref()?.iter().map(integer).collect::<Option<_>>()?;
    match fact.dtype? {
        DType::I64 => Tensor::from_i64(shape, &elements).ok(),
        DType::I32 => {
            let narrow = elements.iter().map(|&element| i32::try_from(element).ok()).collect::<Option<Vec<i32>>>()?;
            Tensor::from_i32(shape, &narrow).ok()
        }
        DType::Bool => {
            let truth = elements.iter().map(|&element| u8::from(element != 0)).collect::<Vec<u8>>();
            Tensor::new(DType::Bool, shape, truth).ok()
        }
        _ => None,
    }
}
