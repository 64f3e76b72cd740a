//! Puts the body of a `Loop` that runs once in the place of the operator, and drops one that never runs.
//!
//! ```text
//! < int64 once = {1} >
//! y = Loop(once, , x) <body = (i, c, a) => (c, b) { b = Relu(a) }>      =>      y = Relu(x)
//! ```
//!
//! It runs once where its trip count is 1, or where the body itself always asks for the end; never where the count is 0 or
//! the condition false. What the body would gather over its steps gets an axis of extent 1 in front.
//!
//! Left alone are
//! 1. loops that run more often: a copy of the body for each step makes the file larger;
//! 2. counts and conditions that are not constant, or inputs with a default;
//! 3. loops that never run and would gather: what they give is empty, of a shape that the body alone knows;
//! 4. bodies with sparse initializers, or with values that parts of the file besides operators name.

use super::common::edit;
use super::common::inline::{self, Spot};
use crate::error::Result;
use crate::ir::{Bound, DType, Graph, Model, NameCount, NodeId, NodeSpec, Tensor, ValueId, ValueType};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "inline-loop",
    summary: "replaces a Loop that always runs once by its body, and drops one that never runs",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// Inputs and outputs of a body in front of the values that it carries: the number of the step, the condition.
const INPUTS_BEFORE_CARRIED: usize = 2;
const OUTPUTS_BEFORE_CARRIED: usize = 1;

/// The first operator set in which Unsqueeze reads its axes as an input.
const AXES_AS_INPUT_OPSET: i64 = 13;

#[derive(Debug)]
struct InlineLoop;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(InlineLoop))
}

impl Pass for InlineLoop {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        inline::run(("Loop operator", "with at most one step"), take_body, model, cx)
    }
}

/// How often a Loop runs.
enum Trips {
    Never,
    Once,
    More,
}

fn take_body(
    graph: &mut Graph,
    node: NodeId,
    spot: &Spot<'_>,
    names: &mut NameCount,
) -> Result<Option<Result<(), &'static str>>> {
    if !graph.node(node).is("Loop") {
        return Ok(None);
    }
    match trips(graph, node, spot) {
        None => Ok(None),
        Some(Trips::More) => Ok(Some(Err("it runs more than once: a copy of the body for each step would be larger"))),
        Some(Trips::Never) => drop_loop(graph, node).map(Some),
        Some(Trips::Once) => inline_body(graph, node, spot, names).map(Some),
    }
}

/// `None` where it is not known.
fn trips(graph: &Graph, node: NodeId, spot: &Spot<'_>) -> Option<Trips> {
    let constant = |slot: usize| graph.input(node, slot).map(|value| spot.around.single(graph, value));
    let first = |tensor: &Tensor| tensor.to_i64()?.first().copied();
    // The outer `None` is an input that is not given.
    let count = constant(0).map(|tensor| tensor.filter(|tensor| tensor.dtype() == DType::I64).as_ref().and_then(first));
    let begins = constant(1).map(|tensor| Some(tensor?.data().first()? != &0));
    if matches!(count, Some(Some(..=0))) || begins == Some(Some(false)) {
        return Some(Trips::Never);
    }
    if begins == Some(None) {
        return None;
    }
    match count {
        Some(Some(1)) => Some(Trips::Once),
        Some(Some(_)) if ends_at_once(graph, node) => Some(Trips::Once),
        None if ends_at_once(graph, node) => Some(Trips::Once),
        Some(Some(_)) => Some(Trips::More),
        _ => None,
    }
}

/// Whether the body always asks for the end.
fn ends_at_once(graph: &Graph, node: NodeId) -> bool {
    let [body] = graph.node(node).subgraphs() else { return false };
    let Some(goes_on) = body.graph.outputs().next() else { return false };
    let tensor = body.graph.constant_behind_identity(goes_on);
    tensor.is_some_and(|tensor| tensor.dtype() == DType::Bool && tensor.data()[..] == [0])
}

/// A Loop that never runs gives the values that it would carry.
fn drop_loop(graph: &mut Graph, node: NodeId) -> Result<Result<(), &'static str>> {
    let carried: Vec<Option<ValueId>> = graph.node_inputs(node).into_iter().skip(INPUTS_BEFORE_CARRIED).collect();
    let outputs = graph.node_outputs(node);
    if outputs.iter().skip(carried.len()).any(Option::is_some) {
        return Ok(Err("it never runs, and what it would gather has a shape that only its body knows"));
    }
    if outputs.iter().zip(&carried).any(|(output, value)| output.is_some() && value.is_none()) {
        return Ok(Err("it lacks an input"));
    }
    let pairs = outputs.into_iter().zip(carried).filter_map(|(output, value)| Some((output?, value?)));
    let pairs: Vec<(ValueId, ValueId)> = pairs.collect();
    let mut copies = Vec::new();
    for (output, value) in pairs {
        let own = graph.add_value("dropped", ValueType::Unknown);
        copies.push((graph.add_node(NodeSpec::new("Identity"), &[Some(value)], &[own], node)?, own, output));
    }
    let read: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
    let captured = graph.captures(node);
    graph.detach_node(node)?;
    for value in captured {
        if graph.value(value).is_outer() && graph.is_unread(value) {
            graph.remove_value(value)?;
        }
    }
    for (copy, own, output) in copies {
        graph.set_output(copy, 0, output)?;
        graph.remove_value(own)?;
    }
    edit::drop_unread_constants(graph, read)?;
    Ok(Ok(()))
}

fn inline_body(
    graph: &mut Graph,
    node: NodeId,
    spot: &Spot<'_>,
    names: &mut NameCount,
) -> Result<Result<(), &'static str>> {
    let carried: Vec<Option<ValueId>> = graph.node_inputs(node).into_iter().skip(INPUTS_BEFORE_CARRIED).collect();
    let Some(carried) = carried.into_iter().collect::<Option<Vec<ValueId>>>() else {
        return Ok(Err("it lacks an input"));
    };
    let outputs = graph.node_outputs(node);
    let [body] = graph.node(node).subgraphs() else { return Ok(Err("it does not have one body")) };
    let (takes, gives) = (body.graph.inputs().len(), body.graph.outputs().len());
    if takes != INPUTS_BEFORE_CARRIED + carried.len() || gives != OUTPUTS_BEFORE_CARRIED + outputs.len() {
        return Ok(Err("its body has another number of inputs or outputs than the operator"));
    }
    if body.graph.inputs().iter().any(|&input| body.graph.value(input).initializer().is_some()) {
        return Ok(Err("its body has inputs with defaults"));
    }
    if carried.iter().any(|&value| inline::defines(&body.graph, graph.value(value).name())) {
        return Ok(Err("its body has a value of the same name as one that it is given"));
    }
    if let Some(reason) = body.graph.why_not_inlined() {
        return Ok(Err(reason));
    }
    // Runtimes give these two the rank that the body declares.
    let extents = |slot: usize| vec![1; declared_rank(&body.graph, slot)];
    let mut bound = vec![
        Some(Bound::Constant(Tensor::from_i64(extents(0), &[0])?)),
        Some(Bound::Constant(Tensor::new(DType::Bool, extents(1), vec![1])?)),
    ];
    bound.extend(carried.iter().map(|&value| Some(Bound::Outer(graph.value(value).name().to_owned()))));
    graph.edit_subgraphs(node, |subgraphs| {
        for body in subgraphs {
            body.graph.bind_inputs(&bound)?;
            let results: Vec<ValueId> = body.graph.outputs().skip(OUTPUTS_BEFORE_CARRIED).collect();
            body.graph.cut(&results)?;
        }
        Ok(())
    })?;
    for output in outputs.into_iter().skip(carried.len()).flatten() {
        gather(graph, node, output, spot.opset)?;
    }
    let read: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
    let inlined = graph.inline(node, "body", names, spot.has_initializers)?;
    edit::drop_unread_constants(graph, read)?;
    Ok(inlined)
}

fn declared_rank(body: &Graph, slot: usize) -> usize {
    let shape = body.inputs().get(slot).and_then(|&input| body.value(input).shape());
    shape.map_or(0, |shape| shape.rank())
}

/// Lets an output be what the body gives with an axis in front: what was gathered over one step.
fn gather(graph: &mut Graph, node: NodeId, output: ValueId, opset: i64) -> Result<()> {
    let base = format!("{}_step", graph.value(output).name());
    let step = graph.add_value(&base, ValueType::Unknown);
    let Some((_, slot)) = graph.producer(output) else { return Ok(()) };
    let (spec, axes) = if opset < AXES_AS_INPUT_OPSET {
        (NodeSpec::new("Unsqueeze").attr("axes", vec![0i64]), None)
    } else {
        let constant = NodeSpec::new("Constant").attr("value_ints", vec![0i64]);
        (NodeSpec::new("Unsqueeze"), Some(graph.add_op(constant, &[], "axes", node)?))
    };
    let own = graph.add_value("gathered", ValueType::Unknown);
    let inputs: Vec<Option<ValueId>> = std::iter::once(Some(step)).chain(axes.map(Some)).collect();
    let unsqueeze = graph.add_node(spec, &inputs, &[own], node)?;
    graph.set_output(node, slot, step)?;
    graph.set_output(unsqueeze, 0, output)?;
    graph.remove_value(own)
}
