//! The walk over a graph.

use super::control;
use super::cx::{Caller, Cx, small};
use super::fact::Fact;
use super::rules;
use super::state::State;
use super::{Contradiction, GraphFacts, Inference};
use crate::error::Result;
use crate::ir::{DType, Graph, Model, Node, NodeId, ValueId};
use crate::opset::{self, AllowedType, Schema};

/// How deep subgraphs and calls of functions are followed.
const MAX_DEPTH: usize = 32;

/// A model that is wrong throughout needs no longer list than this.
const MAX_CONTRADICTIONS: usize = 256;

/// What surrounds the graph that is walked.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The graph around it, whose values it may read.
    pub(super) outer: Option<&'a Scope<'a>>,
    /// The call, inside of a function.
    pub(super) caller: Option<&'a Caller<'a>>,
    /// The function, inside of one: it has operator sets of its own.
    pub(super) function: Option<usize>,
}

/// A graph with what is known of it so far, seen from inside of its subgraphs.
pub(super) struct Scope<'a> {
    pub(super) graph: &'a Graph,
    pub(super) facts: &'a GraphFacts,
    pub(super) above: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    /// What is known of the value of that name, here or further out.
    pub(super) fn find(&self, name: &str) -> Option<&Fact> {
        let here = self.graph.find_value(name).and_then(|value| self.facts.get(value));
        here.or_else(|| self.above?.find(name))
    }
}

/// Infers a whole model.
pub(super) fn run(model: &Model) -> Result<Inference> {
    let mut state = State::new(model);
    let graph = &model.graph;
    let inputs: Vec<Fact> = graph.inputs().iter().map(|&input| declared(&mut state, graph, input)).collect();
    let surroundings = Surroundings { outer: None, caller: None, function: None };
    let mut main = walk(&mut state, graph, inputs, surroundings)?;
    let mut functions = std::mem::take(&mut state.functions);
    main.map_expressions(&|expression| state.resolve_expression(expression));
    for facts in functions.values_mut() {
        facts.map_expressions(&|expression| state.resolve_expression(expression));
    }
    let mut contradictions: Vec<Contradiction> = Vec::new();
    for contradiction in std::mem::take(&mut state.contradictions) {
        if contradictions.len() < MAX_CONTRADICTIONS && !contradictions.contains(&contradiction) {
            contradictions.push(contradiction);
        }
    }
    let demands = std::mem::take(&mut state.demands).into_named(&|expression| state.resolve_expression(expression));
    Ok(Inference { main, functions, contradictions, conflicts: state.conflicts, demands })
}

/// What the file declares of a value.
fn declared(state: &mut State<'_>, graph: &Graph, value: ValueId) -> Fact {
    let held = graph.value(value);
    let names = std::cell::RefCell::new(state);
    Fact::declared(held.ty(), |text| names.borrow_mut().read_name(text))
}

/// Walks one graph, given what is known of its inputs.
pub(super) fn walk(
    state: &mut State<'_>,
    graph: &Graph,
    inputs: Vec<Fact>,
    surroundings: Surroundings<'_>,
) -> Result<GraphFacts> {
    let mut facts = GraphFacts::default();
    if state.depth >= MAX_DEPTH {
        return Ok(facts);
    }
    state.depth += 1;
    for (&value, mut fact) in graph.inputs().iter().zip(inputs) {
        if let Some(default) = graph.value(value).initializer()
            && fact.shape.is_none()
        {
            fact = Fact { contents: None, ..Fact::constant(default) };
        }
        state.name_extents(&mut fact);
        facts.values.insert(value, fact);
    }
    for value in graph.initializers() {
        if let Some(tensor) = graph.value(value).initializer() {
            let constant = || Fact::constant(tensor);
            // A pinned value may change between runs; an input may be replaced by the caller.
            let fact = if graph.value(value).is_pinned() { Fact { contents: None, ..constant() } } else { constant() };
            facts.values.entry(value).or_insert(fact);
        }
    }
    let result = walk_nodes(state, graph, &mut facts, surroundings);
    state.depth -= 1;
    result.map(|()| facts)
}

fn walk_nodes(
    state: &mut State<'_>,
    graph: &Graph,
    facts: &mut GraphFacts,
    surroundings: Surroundings<'_>,
) -> Result<()> {
    for id in graph.topological_order()? {
        // The main graph is walked once and to its end; what lies inside may multiply.
        if state.depth > 1 {
            let Some(budget) = state.budget.checked_sub(1) else { return Ok(()) };
            state.budget = budget;
        }
        let inputs = graph.node_inputs(id).into_iter().map(|input| {
            let value = input?;
            let known = facts.get(value).or_else(|| surroundings.outer?.find(graph.value(value).name()));
            Some(known.map_or_else(Fact::default, |fact| state.resolve(fact)))
        });
        let inputs = inputs.collect();
        let found = infer_node(state, graph, id, inputs, facts, surroundings)?;
        state.settle_misfit(|| graph.site(id));
        for (value, mut fact) in graph.node_outputs(id).into_iter().zip(found) {
            let Some(value) = value else { continue };
            let said = declared(state, graph, value);
            state.complete(&mut fact, &said, || graph.value_site(value));
            check(&mut fact, state);
            state.settle_misfit(|| graph.site(id));
            state.name_extents(&mut fact);
            facts.values.insert(value, fact);
        }
    }
    Ok(())
}

/// Drops what only an invalid model leads to: negative extents, and contents that do not fit the shape.
fn check(fact: &mut Fact, state: &mut State<'_>) {
    for extent in fact.shape.iter_mut().flatten() {
        let Some(known) = extent else { continue };
        if let Some(number) = known.as_int().filter(|number| *number < 0) {
            state.misfit(|| format!("an input too small: an extent of the result would be {number}"));
            *extent = None;
        } else {
            state.demands.positive(known);
        }
    }
    let Some(contents) = &fact.contents else { return };
    let count = fact.shape.as_ref().and_then(|shape| small(shape)).map(|extents| extents.iter().product::<usize>());
    if count != Some(contents.len()) {
        fact.contents = None;
    }
}

fn infer_node(
    state: &mut State<'_>,
    graph: &Graph,
    id: NodeId,
    inputs: Vec<Option<Fact>>,
    facts: &mut GraphFacts,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Fact>> {
    let node = graph.node(id);
    let call = state.model.functions.iter().position(|f| f.name() == node.op_type() && same_domain(f.domain(), node));
    if let Some(function) = call {
        return control::call(state, function, node, inputs, surroundings);
    }
    let version = version(state.model, surroundings.function, node.domain());
    let schema = opset::schema(node.domain(), node.op_type(), version);
    let outputs =
        (0..node.output_slots()).map(|slot| Fact { dtype: output_dtype(schema, slot, &inputs), ..Fact::default() });
    let outputs: Vec<Fact> = outputs.collect();
    if !node.subgraphs().is_empty() {
        let inside = control::Inside { graph, node: id, surroundings };
        return control::node(state, inside, inputs, outputs, facts);
    }
    let mut cx = Cx { node, version, caller: surroundings.caller, inputs, outputs, state };
    if let Some(rule) = rules::of(node.domain(), node.op_type()) {
        let _ = rule(&mut cx);
    }
    Ok(cx.outputs)
}

fn same_domain(domain: &str, node: &Node) -> bool {
    (if domain == "ai.onnx" { "" } else { domain }) == node.domain()
}

/// The version of a domain's operator set, in a function the one that the function imports.
fn version(model: &Model, function: Option<usize>, domain: &str) -> i64 {
    let imports = match function.and_then(|index| model.functions.get(index)) {
        Some(function) => &function.proto.opset_import,
        None => &model.proto.opset_import,
    };
    let canonical = |d: &str| if d == "ai.onnx" { String::new() } else { d.to_owned() };
    imports.iter().find(|import| canonical(import.domain()) == domain).map_or(1, |import| import.version())
}

/// The element type that the specification alone tells: the one that is allowed, or that of the inputs which share the
/// output's type variable.
fn output_dtype(schema: Option<&Schema>, slot: usize, inputs: &[Option<Fact>]) -> Option<DType> {
    let schema = schema?;
    let output = schema.output(slot)?;
    let tensor = |ty: &AllowedType| match ty {
        AllowedType::Tensor(dtype) => Some(*dtype),
        _ => None,
    };
    if let [only] = schema.types(output) {
        return tensor(only);
    }
    if let Some(dtype) = concrete(output.type_name) {
        return Some(dtype);
    }
    if !schema.types(output).iter().all(|ty| tensor(ty).is_some()) {
        // Where sequences are allowed too, sharing a variable says nothing of the element type.
        return None;
    }
    inputs.iter().enumerate().find_map(|(index, fact)| {
        let formal = schema.input(index)?;
        (formal.type_name == output.type_name && formal.homogeneous).then(|| fact.as_ref()?.dtype)?
    })
}

/// The type in `tensor(float)` and `float`.
fn concrete(type_name: &str) -> Option<DType> {
    let inner = type_name.strip_prefix("tensor(").and_then(|rest| rest.strip_suffix(')'));
    DType::from_name(inner.unwrap_or(type_name))
}
