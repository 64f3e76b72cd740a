//! What shape inference knows of the main graph and of the graphs inside of it, by the names of values: those outlive the
//! edits of the pass, which ids do not.

use std::collections::BTreeMap;

use crate::infer::{Element, Fact, GraphFacts, SymExpr, Trusted};
use crate::ir::{DType, Dim, Graph, Model, Shape, Tensor};

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

/// What is known of the main graph and of the graphs inside of it, in the order of [`Graph::edit_outer_first`]; and whether
/// what the file declares can be relied on as well. Nothing is known where inference is not to be relied on.
pub(super) fn main_graphs(model: &Model, trusted: Option<&Trusted>) -> (Vec<Known>, bool) {
    let mut found = Vec::new();
    let Some(trusted) = trusted else { return (found, true) };
    collect(&model.graph, Some(trusted.inference.main()), &mut found);
    (found, trusted.agrees)
}

fn collect(graph: &Graph, facts: Option<&GraphFacts>, found: &mut Vec<Known>) {
    found.push(facts.map_or_else(Known::default, |facts| Known::of(graph, facts)));
    for node in graph.nodes() {
        for (index, subgraph) in graph.node(node).subgraphs().iter().enumerate() {
            collect(&subgraph.graph, facts.and_then(|facts| facts.subgraph(node, index)), found);
        }
    }
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
