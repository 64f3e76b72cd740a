//! Bounds beyond which what follows a value does not change: its quantized range need not reach further.
//!
//! ```text
//! Mul(x, HardSigmoid(x))  is 0 for every x below -3: a range of -80..20 becomes -3..20
//! ```
//!
//! What saturates in 8 bits then saturates in the activation function too. Seen of HardSigmoid, Sigmoid and Tanh, of what
//! is multiplied by those of itself (HardSwish, SiLU), and of Gelu, written out or not. Left alone: values that anything
//! else reads.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::range::Range;
use crate::ir::{Graph, NodeId, Port, ValueId};

/// Sigmoid is within 2e-4 of its limits beyond this.
const SIGMOID_END: f32 = 9.0;

/// Tanh is within 1e-4 of its limits beyond this.
const TANH_END: f32 = 5.0;

/// Erf is within 3e-5 of its limits beyond this.
const ERF_END: f32 = 3.0;

/// All that matters of the values that share each source, where that is not everything.
pub(super) fn bounds(graph: &Graph, plan: &Plan) -> BTreeMap<ValueId, Range> {
    let mut found: BTreeMap<ValueId, Option<Range>> = BTreeMap::new();
    for (&value, &source) in &plan.values {
        let bounds = if plan.written_by_integers.contains(&value) { of_value(graph, plan, value) } else { None };
        let all = found.entry(source).or_insert(Some(Range::EMPTY));
        *all = all.zip(bounds).map(|(all, one)| all.union(one));
    }
    let known = found.into_iter().filter_map(|(source, bounds)| Some((source, bounds?)));
    known.filter(|(_, bounds)| bounds.min <= bounds.max).collect()
}

/// What the readers of a value make a difference of; `None` where that is everything.
fn of_value(graph: &Graph, plan: &Plan, value: ValueId) -> Option<Range> {
    if graph.value(value).is_output() {
        return None;
    }
    let mut readers = Vec::new();
    for one in graph.uses(value) {
        match one.port {
            // What it hands on shares the parameters, and has readers of its own.
            Port::In(0) if plan.moves(graph, one.node) => {}
            Port::In(_) => readers.push(one.node),
            _ => return None,
        }
    }
    let gates: Vec<Gate> = readers.iter().filter_map(|&node| gate(graph, node, value)).collect();
    let mut bounds = gates.iter().fold(Range::EMPTY, |all, gate| all.union(gate.bounds));
    for &reader in readers.iter().filter(|&&reader| !gates.iter().any(|gate| gate.node == reader)) {
        multiplies_by_gate(graph, reader, value, &gates)?;
        bounds.max = f32::INFINITY;
    }
    Some(bounds)
}

/// An activation function that does not change beyond its bounds.
struct Gate {
    /// The operator that reads the value.
    node: NodeId,
    output: ValueId,
    bounds: Range,
}

fn gate(graph: &Graph, node: NodeId, value: ValueId) -> Option<Gate> {
    let held = graph.node(node);
    if !held.domain().is_empty() {
        return None;
    }
    let (mut output, mut max) = (graph.output(node, 0)?, f32::INFINITY);
    let min = match held.op_type() {
        "HardSigmoid" => {
            let (alpha, beta) = (held.attr_float("alpha", 0.2), held.attr_float("beta", 0.5));
            max = (1.0 - beta) / alpha;
            (alpha > 0.0).then_some(-beta / alpha)?
        }
        "Sigmoid" => {
            max = SIGMOID_END;
            -SIGMOID_END
        }
        "Tanh" => {
            max = TANH_END;
            -TANH_END
        }
        "HardSwish" => -3.0,
        "Gelu" if held.attr_str("approximate", "none") == "none" => -ERF_END * std::f32::consts::SQRT_2,
        "Div" | "Mul" => {
            let factor = graph.input(node, 1).and_then(|factor| graph.constant(factor)?.scalar_f32());
            let factor = factor.filter(|&factor| factor > 0.0 && graph.input(node, 0) == Some(value))?;
            output = one_plus_erf(graph, output)?;
            if held.is("Div") { -ERF_END * factor } else { -ERF_END / factor }
        }
        _ => return None,
    };
    (min.is_finite() && !max.is_nan()).then_some(Gate { node, output, bounds: Range { min, max } })
}

/// `Add(Erf(value), 1)`, where that is all that is made of the value.
fn one_plus_erf(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let follows = |value: ValueId, op_type: &str| {
        let (node, slot) = graph.only_use(value)?;
        graph.node(node).is(op_type).then_some((node, slot, graph.output(node, 0)?))
    };
    let (_, _, erf) = follows(value, "Erf")?;
    let (sum, slot, output) = follows(erf, "Add")?;
    let one = graph.constant(graph.input(sum, 1 - slot.min(1))?)?;
    (one.scalar_f32() == Some(1.0)).then_some(output)
}

/// Makes sure that a reader multiplies a value by a gate of itself, or by a constant first.
fn multiplies_by_gate(graph: &Graph, reader: NodeId, value: ValueId, gates: &[Gate]) -> Option<()> {
    let other = |node: NodeId, value: ValueId| -> Option<ValueId> {
        let (left, right) = (graph.input(node, 0)?, graph.input(node, 1)?);
        (graph.node(node).is("Mul") && left != right).then_some(if left == value { right } else { left })
    };
    let is_gate = |value: ValueId| gates.iter().any(|gate| gate.output == value);
    let factor = other(reader, value)?;
    if is_gate(factor) {
        return Some(());
    }
    graph.constant(factor)?;
    let product = graph.output(reader, 0)?;
    let (next, _) = graph.only_use(product)?;
    is_gate(other(next, product)?).then_some(())
}
