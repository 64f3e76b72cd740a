//! Every graph of a model with its channels, always in the same order: each before the graphs inside of it.

use crate::backend::NamedTensors;
use crate::channels::Channels;
use crate::data::Samples;
use crate::error::Result;
use crate::infer::{self, GraphFacts};
use crate::ir::{Dim, Graph, Model, Shape, ValueId, ValueType};

/// A graph of the model.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) channels: Channels,
}

/// Finds the channels of every graph. Where the extents of an input are open, multiplications are counted for those of a
/// sample.
///
/// # Errors
/// Fails on a graph with a cycle, or where the sample cannot be read.
pub(super) fn analyze(model: &Model, samples: Option<&dyn Samples>) -> Result<Vec<Piece>> {
    let mut pieces = pieces(model)?;
    let is_open =
        |&input: &ValueId| !matches!(shape(&model.graph, input), Some(Shape(dims)) if dims.iter().all(is_fixed));
    if let Some(samples) = samples.filter(|_| model.graph.inputs().iter().any(is_open)) {
        let sized = sized(model, &samples.get(0)?)?;
        for (piece, sized) in pieces.iter_mut().zip(self::pieces(&sized)?) {
            piece.channels.take_sizes(&sized.channels);
        }
    }
    Ok(pieces)
}

fn shape(graph: &Graph, value: ValueId) -> Option<&Shape> {
    match graph.value(value).ty() {
        ValueType::Tensor(tensor) => tensor.shape.as_ref(),
        _ => None,
    }
}

fn is_fixed(dim: &Dim) -> bool {
    matches!(dim, Dim::Fixed(_))
}

/// The model with the extents of a sample.
fn sized(model: &Model, sample: &NamedTensors) -> Result<Model> {
    let mut sized = model.clone();
    for input in sized.graph.inputs().to_vec() {
        let held = sized.graph.value(input);
        let given = sample.iter().find(|(name, _)| name == held.name());
        if let (Some((_, given)), ValueType::Tensor(mut ty)) = (given, held.ty().clone()) {
            ty.shape = Some(Shape(given.shape().iter().map(|&extent| Dim::Fixed(extent)).collect()));
            sized.graph.set_type(input, ValueType::Tensor(ty))?;
        }
    }
    Ok(sized)
}

fn pieces(model: &Model) -> Result<Vec<Piece>> {
    let facts = infer::infer(model)?;
    let mut pieces = Vec::new();
    below(&model.graph, Some(facts.main()), &[], model.opset(), &mut pieces)?;
    for (index, function) in model.functions.iter().enumerate() {
        below(&function.body, facts.function(index), &[], function.opset(), &mut pieces)?;
    }
    Ok(pieces)
}

fn below(
    graph: &Graph,
    facts: Option<&GraphFacts>,
    outer: &[(&Graph, &GraphFacts)],
    opset: i64,
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    // Of a graph that nothing was found out about, everything stays.
    let nothing = GraphFacts::default();
    let facts = facts.unwrap_or(&nothing);
    pieces.push(Piece { channels: Channels::analyze_inner(graph, facts, outer, opset)? });
    let around = [outer, &[(graph, facts)]].concat();
    for node in graph.nodes() {
        for (index, inner) in graph.node(node).subgraphs().iter().enumerate() {
            below(&inner.graph, facts.subgraph(node, index), &around, opset, pieces)?;
        }
    }
    Ok(())
}

/// Lets `visit` see every graph with its place among the pieces and the path of operators that leads to it.
pub(super) fn visit_each(model: &Model, visit: &mut dyn FnMut(usize, &Graph, &[String])) {
    let mut place = 0;
    let mut each = |graph: &Graph, path: &[String]| {
        visit(place, graph, path);
        place += 1;
        Ok(())
    };
    // The visit itself never fails.
    let _ = model.visit_graphs(&mut each);
}

/// Lets `edit` change every graph, in the order of [`visit_each`].
///
/// # Errors
/// Passes on what `edit` returns.
pub(super) fn edit_each(model: &mut Model, edit: &mut dyn FnMut(usize, &mut Graph) -> Result<()>) -> Result<()> {
    let mut place = 0;
    for (root, graph) in model.roots_mut() {
        graph.edit_outer_first(&root, |graph, _| {
            edit(place, graph)?;
            place += 1;
            Ok(())
        })?;
    }
    Ok(())
}
