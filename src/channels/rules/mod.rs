//! What operators do to channels, one file an operator family.
//!
//! A rule reads the labels of the inputs, makes one what must go together, and sets the labels of the outputs. Where it
//! cannot follow the channels it refuses with a reason; then everything the operator reads and writes stays as it is.

mod attention;
mod conv;
mod elementwise;
mod matmul;
mod normalize;
mod quantize;
mod recurrent;
mod reduce;
mod reshape;
mod select;
mod shape;
mod spatial;

use super::sets::Atoms;
use super::walk::{Axis, Outcome, Walk};
use crate::ir::{Node, NodeId, ValueId};

type Rule = fn(&mut Walk<'_>, NodeId) -> Outcome;

/// Labels the outputs of an operator.
pub(super) fn apply(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let held = walk.held(node);
    let families = [
        elementwise::rule,
        conv::rule,
        matmul::rule,
        normalize::rule,
        reshape::rule,
        select::rule,
        spatial::rule,
        reduce::rule,
        recurrent::rule,
        shape::rule,
        quantize::rule,
        attention::rule,
    ];
    let known = held.domain().is_empty() && held.subgraphs().is_empty();
    match families.iter().find_map(|family| family(held.op_type())).filter(|_| known) {
        Some(rule) => rule(walk, node),
        None => Err("may need every one of them".to_owned()),
    }
}

/// The number of channels that each element of an output is, of operators that carry such numbers on unchanged.
pub(super) fn counts(walk: &Walk<'_>, node: NodeId) -> Option<Vec<Option<Atoms>>> {
    shape::counts(walk, node)
}

/// The input slots that an operator divides by, or takes a root or a logarithm of.
pub(super) fn divisor_slots(node: &Node) -> &'static [usize] {
    match node.op_type() {
        "Div" | "Mod" | "Pow" | "DequantizeLinear" | "QuantizeLinear" => &[1],
        "BatchNormalization" => &[3, 4],
        "Log" | "Reciprocal" | "Sqrt" => &[0],
        _ => &[],
    }
}

/// The labels of an input that the operator must have.
fn axes(walk: &mut Walk<'_>, node: NodeId, slot: usize) -> Outcome<Vec<Axis>> {
    let value = walk.input(node, slot)?;
    walk.axes(value)
}

/// Makes the axes of an input with one axis go with another axis; nothing where the input is left out.
fn unify_vector(walk: &mut Walk<'_>, node: NodeId, slot: usize, with: &Axis) -> Outcome {
    let Some(value) = walk.graph.input(node, slot) else { return Ok(()) };
    let axes = walk.axes(value)?;
    match axes.as_slice() {
        [only] => {
            walk.unify(node, only, with);
            Ok(())
        }
        _ => Err(format!("reads `{}`, which is no vector", walk.graph.value(value).name())),
    }
}

/// What the labels of a vector say about zero; true where the input is left out.
fn is_zero_vector(walk: &mut Walk<'_>, node: NodeId, slot: usize) -> bool {
    let value = walk.graph.input(node, slot);
    value.is_none_or(|value| walk.axes(value).is_ok_and(|axes| axes.first().is_some_and(Axis::is_zero)))
}

/// Keeps every channel on the axes from `first` on, and gives the axes that are left.
fn fix_from(walk: &mut Walk<'_>, node: NodeId, axes: &[Axis], first: usize, reason: &str) -> Vec<Axis> {
    let fix = |(place, axis): (usize, &Axis)| if place < first { axis.clone() } else { walk.fix(node, axis, reason) };
    axes.iter().enumerate().map(fix).collect()
}

/// Gives every output the labels of the first input.
fn pass_on(walk: &mut Walk<'_>, node: NodeId, axes: &[Axis]) {
    for slot in 0..walk.held(node).output_slots() {
        walk.set(node, slot, axes.to_vec());
    }
}

/// A list of integers that an attribute or an input slot holds; `None` where it is left out, a refusal where it is not
/// known.
fn list(walk: &Walk<'_>, node: NodeId, name: &str, slot: usize) -> Outcome<Option<Vec<i64>>> {
    if let Some(list) = walk.held(node).attr_ints(name) {
        return Ok(Some(list.to_vec()));
    }
    let Some(value) = walk.graph.input(node, slot) else { return Ok(None) };
    walk.ints(value).map(Some).ok_or_else(|| unknown(walk, value, name))
}

fn unknown(walk: &Walk<'_>, value: ValueId, name: &str) -> String {
    format!("takes its {name} from `{}`, which is computed as it runs", walk.graph.value(value).name())
}
