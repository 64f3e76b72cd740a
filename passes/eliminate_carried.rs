//! Takes values that the body of a `Loop` hands on as they are out of what it carries from step to step.
//!
//! ```text
//! h, w = Loop(n, , x, k) <body = (i, c, a, b) => (c, d, b) { d = MatMul(a, b) }>
//!     =>     h = Loop(n, , x) <body = (i, c, a) => (c, d) { d = MatMul(a, k) }>     and k in the place of w
//! ```
//!
//! Exporters of recurrent networks (tf2onnx) carry weights that way, which runtimes copy at every step, and which no other
//! pass knows as weights. The body reads them from the graph around it instead.
//!
//! Left alone are
//! 1. values that the body changes, or hands on in another place;
//! 2. values whose declared type in the body is another than outside: a body may be made for an optional input;
//! 3. the last of the carried values of a loop without a condition: ONNX Runtime takes none with a count alone;
//! 4. outputs that are to be kept, or that other parts of the file refer to by name.

use std::collections::BTreeMap;

use super::common::{inline, pattern};
use crate::error::{Result, Site};
use crate::ir::{Bound, Graph, Model, NodeId, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, counted, rewrite_graph};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "eliminate-carried",
    summary: "lets the body of a Loop read what it hands on unchanged from around it, weights above all",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// Inputs of a Loop, and of its body, in front of the values that it carries; and outputs of the body.
const INPUTS_BEFORE: usize = 2;
const OUTPUTS_BEFORE: usize = 1;

#[derive(Debug)]
struct EliminateCarried;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(EliminateCarried))
}

impl Pass for EliminateCarried {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_graphs(|graph, path| {
            cx.enter(path);
            let mut taken = 0;
            changed |= rewrite_graph(graph, |graph, node| {
                let unchanged = unchanged(graph, node);
                if unchanged.is_empty() {
                    return Ok(Revisit::Unchanged);
                }
                taken += unchanged.len();
                take_out(graph, node, &unchanged)?;
                Ok(Revisit::Changed(Vec::new()))
            })?;
            if taken > 0 {
                let text = format!("took {} out of the state of loops", counted(taken, "unchanged value"));
                cx.measured(Site::default(), text, &[("values", taken as f64)]);
            }
            Ok(())
        })?;
        cx.enter(&[]);
        Ok(changed)
    }
}

/// The places among the carried values of those that the body hands on unchanged.
fn unchanged(graph: &Graph, node: NodeId) -> Vec<usize> {
    let held = graph.node(node);
    let [body] = held.subgraphs() else { return Vec::new() };
    if !held.is("Loop") || held.is_kept() {
        return Vec::new();
    }
    let body = &body.graph;
    let carried = held.input_slots().saturating_sub(INPUTS_BEFORE);
    let takes_all = body.inputs().len() == INPUTS_BEFORE + carried;
    if !takes_all || body.outputs().len() < OUTPUTS_BEFORE + carried {
        return Vec::new();
    }
    let is_unchanged = |&place: &usize| {
        let Some(given) = graph.input(node, INPUTS_BEFORE + place) else { return false };
        let formal = body.inputs()[INPUTS_BEFORE + place];
        let returned = body.outputs().nth(OUTPUTS_BEFORE + place);
        let is_free = |output: ValueId| {
            let held = graph.value(output);
            !held.is_output() && !held.is_pinned() && !held.is_kept()
        };
        let (inside, outside) = (body.value(formal), graph.value(given));
        returned.is_some_and(|returned| source(body, returned) == formal)
            && inside.initializer().is_none()
            && !inside.is_pinned()
            && inside.dtype().zip(outside.dtype()).is_none_or(|(inside, outside)| inside == outside)
            && graph.output(node, place).is_none_or(is_free)
            && !inline::defines(body, outside.name())
    };
    let mut unchanged: Vec<usize> = (0..carried).filter(is_unchanged).collect();
    if unchanged.len() == carried && graph.input(node, 1).is_none() {
        unchanged.pop();
    }
    unchanged
}

/// What a value is, behind Identity operators.
fn source(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some(input) = pattern::written_by(graph, value, "Identity").and_then(|node| graph.input(node, 0)) {
        value = input;
    }
    value
}

fn take_out(graph: &mut Graph, node: NodeId, places: &[usize]) -> Result<()> {
    let given: BTreeMap<usize, ValueId> =
        places.iter().filter_map(|&place| Some((place, graph.input(node, INPUTS_BEFORE + place)?))).collect();
    for (&place, &value) in &given {
        if let Some(output) = graph.output(node, place) {
            graph.replace_reads(output, value)?;
        }
    }
    let carried = graph.node(node).input_slots() - INPUTS_BEFORE;
    let name = |place: usize| given.get(&place).map(|&value| Bound::Outer(graph.value(value).name().to_owned()));
    let bound: Vec<Option<Bound>> = (0..INPUTS_BEFORE).map(|_| None).chain((0..carried).map(name)).collect();
    graph.edit_subgraphs(node, |subgraphs| {
        for body in subgraphs {
            let is_left = |(slot, _): &(usize, ValueId)| {
                slot.checked_sub(OUTPUTS_BEFORE).is_none_or(|place| !given.contains_key(&place))
            };
            let left: Vec<ValueId> = body.graph.outputs().enumerate().filter(is_left).map(|(_, value)| value).collect();
            body.graph.cut(&left)?;
            body.graph.bind_inputs(&bound)?;
        }
        Ok(())
    })?;
    let inputs: Vec<usize> = given.keys().map(|place| INPUTS_BEFORE + place).collect();
    let outputs: Vec<usize> = given.keys().copied().collect();
    graph.remove_slots(node, &inputs, &outputs)
}
