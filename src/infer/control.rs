//! Operators that hold graphs, and calls of functions.
//!
//! If: what holds of both branches, or of the one that a known condition takes. Loop and Scan: what is carried is what
//! holds before the first and after every iteration. A symbol born inside of a body means another extent in each
//! iteration, so it stays inside.

use super::cx::{Caller, axis};
use super::engine::{Scope, Surroundings, walk};
use super::fact::{Element, Extent, Fact};
use super::state::State;
use super::sym::Symbol;
use super::{GraphFacts, SymExpr};
use crate::error::Result;
use crate::ir::{DType, Graph, Node, NodeId};
use crate::opset;

/// How often a body is walked until what it carries must be stable; then the rest becomes unknown.
const MAX_ROUNDS: usize = 6;

/// Where an operator with subgraphs stands.
#[derive(Clone, Copy)]
pub(super) struct Inside<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: NodeId,
    pub(super) surroundings: Surroundings<'a>,
}

impl Inside<'_> {
    fn subgraph(&self, attribute: &str) -> Option<(usize, &Graph)> {
        let mut subgraphs = self.graph.node(self.node).subgraphs().iter().enumerate();
        subgraphs.find(|(_, s)| s.attribute == attribute).map(|(index, s)| (index, &s.graph))
    }

    /// Walks a subgraph that sees what is known around it. Outer symbols are not bound inside: it may never run.
    fn walk(&self, state: &mut State<'_>, body: &Graph, inputs: Vec<Fact>, outer: &GraphFacts) -> Result<GraphFacts> {
        let scope = Scope { graph: self.graph, facts: outer, above: self.surroundings.outer };
        let surroundings = Surroundings { outer: Some(&scope), ..self.surroundings };
        let born_inside = state.mark();
        let bindable_from = std::mem::replace(&mut state.bindable_from, born_inside);
        let facts = walk(state, body, inputs, surroundings);
        state.bindable_from = bindable_from;
        facts
    }

    /// What is known of the outputs of a walked subgraph, without the symbols born from `mark` on.
    fn outputs(&self, state: &State<'_>, body: &Graph, facts: &GraphFacts, outer: &GraphFacts, mark: u32) -> Vec<Fact> {
        let scope = Scope { graph: self.graph, facts: outer, above: self.surroundings.outer };
        let output = |value| {
            let here = facts.get(value);
            here.or_else(|| scope.find(body.value(value).name())).map_or_else(Fact::default, |f| state.resolve(f))
        };
        body.outputs().map(|value| without_inner(&output(value), mark)).collect()
    }
}

/// The fact without symbols born from `mark` on.
fn without_inner(fact: &Fact, mark: u32) -> Fact {
    let is_inner = |symbol: &Symbol| matches!(symbol, Symbol::Fresh(number) if *number >= mark);
    fact.map_expressions(&|expression| (!expression.any_symbol(is_inner)).then(|| expression.clone()))
}

/// Infers an operator that holds graphs.
pub(super) fn node(
    state: &mut State<'_>,
    inside: Inside<'_>,
    inputs: Vec<Option<Fact>>,
    outputs: Vec<Fact>,
    facts: &mut GraphFacts,
) -> Result<Vec<Fact>> {
    let node = inside.graph.node(inside.node);
    let found = match (node.domain(), node.op_type()) {
        ("", "If") => conditional(state, inside, &inputs, facts)?,
        ("", "Loop") => repeat(state, inside, &inputs, facts)?,
        ("", "Scan") => scan(state, inside, &inputs, facts)?,
        // SequenceMap and operators of unknown domains: what their graphs mean is not known.
        _ => None,
    };
    Ok(match found {
        Some(mut found) => {
            found.resize(outputs.len(), Fact::default());
            found
        }
        None => outputs,
    })
}

fn conditional(
    state: &mut State<'_>,
    inside: Inside<'_>,
    inputs: &[Option<Fact>],
    facts: &mut GraphFacts,
) -> Result<Option<Vec<Fact>>> {
    let (Some(then_branch), Some(else_branch)) = (inside.subgraph("then_branch"), inside.subgraph("else_branch"))
    else {
        return Ok(None);
    };
    let condition = inputs.first().and_then(Option::as_ref).and_then(known_bool);
    let mut found = Vec::new();
    for (index, branch) in [then_branch, else_branch] {
        let mark = state.mark();
        let inner = inside.walk(state, branch, Vec::new(), facts)?;
        // What runs always has extents of its own right.
        let mark = if condition.is_some() { u32::MAX } else { mark };
        found.push(inside.outputs(state, branch, &inner, facts, mark));
        facts.subgraphs.insert((inside.node, index), inner);
    }
    let (Some(otherwise), Some(then)) = (found.pop(), found.pop()) else { return Ok(None) };
    Ok(Some(match condition {
        Some(true) => then,
        Some(false) => otherwise,
        None => then.iter().zip(&otherwise).map(|(left, right)| left.join(right)).collect(),
    }))
}

fn known_bool(fact: &Fact) -> Option<bool> {
    match fact.contents.as_ref()?.as_slice() {
        [Element::Int(value)] => value.as_int().map(|value| value != 0),
        _ => None,
    }
}

/// Loop: inputs are trip count, condition and what is carried; the body takes iteration, condition and what is carried.
fn repeat(
    state: &mut State<'_>,
    inside: Inside<'_>,
    inputs: &[Option<Fact>],
    facts: &mut GraphFacts,
) -> Result<Option<Vec<Fact>>> {
    let Some((index, body)) = inside.subgraph("body") else { return Ok(None) };
    let given = |slot: usize| inputs.get(slot).and_then(Option::as_ref);
    let carried: Vec<Fact> = inputs.iter().skip(2).map(|fact| fact.clone().unwrap_or_default()).collect();
    let count = carried.len();
    let leading = || vec![Fact::tensor(DType::I64, Vec::new()), Fact::tensor(DType::Bool, Vec::new())];
    let enter = |carried: &[Fact]| leading().into_iter().chain(carried.iter().cloned()).collect();
    let (carried, inner, results) = until_stable(state, inside, body, carried, &enter, 1, facts)?;
    // The trip count is that of the input where the condition never ends the loop.
    let goes_on = results.first().and_then(known_bool) == Some(true) || keeps_condition(body);
    let starts = given(1).is_none_or(|fact| known_bool(fact) == Some(true));
    let trips = given(0).filter(|_| goes_on && starts).and_then(|fact| match fact.contents.as_ref()?.as_slice() {
        [Element::Int(value)] => value.larger(&SymExpr::from(0)),
        _ => None,
    });
    let scanned = results.into_iter().skip(1 + count).map(|fact| stacked(fact, &trips, 0));
    let found = carried.into_iter().chain(scanned).collect();
    facts.subgraphs.insert((inside.node, index), inner);
    Ok(Some(found))
}

/// Whether a body of Loop hands on the condition it was given.
fn keeps_condition(body: &Graph) -> bool {
    let Some(mut value) = body.outputs().next() else { return false };
    while let Some((node, _)) = body.producer(value)
        && body.node(node).does_any(&["Identity"])
        && let Some(input) = body.input(node, 0)
    {
        value = input;
    }
    body.inputs().get(1) == Some(&value)
}

/// Scan: the first inputs are carried, the others are taken apart along an axis.
fn scan(
    state: &mut State<'_>,
    inside: Inside<'_>,
    inputs: &[Option<Fact>],
    facts: &mut GraphFacts,
) -> Result<Option<Vec<Fact>>> {
    let node = inside.graph.node(inside.node);
    let version = state.model.opset();
    // Before opset 9 there was a batch axis around everything.
    let Some((index, body)) = inside.subgraph("body").filter(|_| version >= 9) else { return Ok(None) };
    let scanned = usize::try_from(node.attr_int("num_scan_inputs", 0)).unwrap_or(usize::MAX);
    let Some(count) = inputs.len().checked_sub(scanned) else { return Ok(None) };
    let mut length: Extent = None;
    let mut slices = Vec::new();
    for (place, fact) in inputs.iter().skip(count).enumerate() {
        let mut slice = Fact { contents: None, ..fact.clone().unwrap_or_default() };
        let wanted = opset::ints(node, "scan_input_axes", version).and_then(|axes| axes.get(place)).copied();
        if let Some(shape) = &mut slice.shape
            && let Some(axis) = axis(wanted.unwrap_or(0), shape.len())
        {
            length = length.or(shape.remove(axis));
        } else {
            slice.shape = None;
        }
        slices.push(slice);
    }
    let carried: Vec<Fact> = inputs.iter().take(count).map(|fact| fact.clone().unwrap_or_default()).collect();
    let enter = |carried: &[Fact]| carried.iter().chain(&slices).cloned().collect();
    let (carried, inner, results) = until_stable(state, inside, body, carried, &enter, 0, facts)?;
    let stacks = results.into_iter().skip(count).enumerate().map(|(place, fact)| {
        let axes = opset::ints(node, "scan_output_axes", version);
        stacked(fact, &length, axes.and_then(|axes| axes.get(place)).copied().unwrap_or(0))
    });
    let found = carried.into_iter().chain(stacks).collect();
    facts.subgraphs.insert((inside.node, index), inner);
    Ok(Some(found))
}

/// What a body yields at each iteration, stacked along an axis.
fn stacked(fact: Fact, length: &Extent, along: i64) -> Fact {
    let shape = fact.shape.and_then(|mut shape| {
        let place = axis(along, shape.len() + 1)?;
        shape.insert(place, length.clone());
        Some(shape)
    });
    Fact { dtype: fact.dtype, shape, ..Fact::default() }
}

/// Walks a body until what it carries changes no more. Yields that, the last walk, and the body's outputs.
/// The outputs from `first` on are what is carried.
fn until_stable(
    state: &mut State<'_>,
    inside: Inside<'_>,
    body: &Graph,
    mut carried: Vec<Fact>,
    enter: &dyn Fn(&[Fact]) -> Vec<Fact>,
    first: usize,
    facts: &GraphFacts,
) -> Result<(Vec<Fact>, GraphFacts, Vec<Fact>)> {
    let mut round = 0;
    let known_contradictions = state.contradictions.len();
    loop {
        // Only the last round shows what is true of every iteration.
        state.contradictions.truncate(known_contradictions);
        let mark = state.mark();
        let inner = inside.walk(state, body, enter(&carried), facts)?;
        let results = inside.outputs(state, body, &inner, facts, mark);
        let after = results.iter().skip(first);
        let joined: Vec<Fact> = carried.iter().zip(after).map(|(before, after)| before.join(after)).collect();
        if joined == carried {
            return Ok((joined, inner, results));
        }
        round += 1;
        carried = match round {
            1..MAX_ROUNDS => joined,
            // The types alone are carried; they differ only in a model that does not run.
            MAX_ROUNDS => joined.into_iter().map(|fact| Fact { dtype: fact.dtype, ..Fact::default() }).collect(),
            _ => vec![Fact::default(); carried.len()],
        };
    }
}

/// A call of a function of the model: its body is walked with what is known of the arguments.
pub(super) fn call(
    state: &mut State<'_>,
    function: usize,
    node: &Node,
    inputs: Vec<Option<Fact>>,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Fact>> {
    let model = state.model;
    let Some(callee) = model.functions.get(function) else { return Ok(vec![Fact::default(); node.output_slots()]) };
    let caller = Caller { node, above: surroundings.caller };
    let inner = Surroundings { outer: None, caller: Some(&caller), function: Some(function) };
    let arguments = (0..callee.body.inputs().len()).map(|slot| inputs.get(slot).cloned().flatten().unwrap_or_default());
    let facts = walk(state, &callee.body, arguments.collect(), inner)?;
    let output = |value| facts.get(value).map_or_else(Fact::default, |fact| state.resolve(fact));
    let mut found: Vec<Fact> = callee.body.outputs().map(output).collect();
    found.resize(node.output_slots(), Fact::default());
    let joined = state.functions.get(&function).map(|before| before.join(&facts)).unwrap_or(facts);
    state.functions.insert(function, joined);
    Ok(found)
}
