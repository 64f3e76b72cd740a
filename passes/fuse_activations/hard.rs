//! HardSigmoid, `max(0, min(1, alpha x + beta))`, and HardSwish, `x HardSigmoid(x)` with alpha 1/6 and beta 1/2.

use super::super::common::pattern::{self, Match};
use crate::ir::{AttrRef, Graph, Node, NodeId, NodeSpec, ValueId};

const HARD_SWISH_ALPHA: f64 = 1.0 / 6.0;
const HARD_SWISH_BETA: f64 = 0.5;

/// `Clip(x + c, 0, m) / m`.
pub(super) fn hard_sigmoid(graph: &Graph, node: NodeId, _: i64) -> Option<Match> {
    let (clipped, factor) = scaled(graph, node)?;
    let clip = Clip::behind(graph, clipped)?;
    if !pattern::is_about(factor * clip.upper, 1.0) {
        return None;
    }
    let (spec, inputs) = hard_sigmoid_of((factor as f32, (factor * clip.added) as f32), clip.input);
    Some(Match::new(spec, inputs, clip.nodes))
}

/// `x Clip(x + 3, 0, 6) / 6` as a `HardSwish`; also a HardSigmoid of these numbers times its input.
pub(super) fn hard_swish(graph: &Graph, node: NodeId, opset: i64) -> Option<Match> {
    if opset < 14 {
        return None;
    }
    let spec = NodeSpec::new("HardSwish");
    if let Some((input, inner)) = clipped_product(graph, node) {
        return Some(Match::new(spec, vec![input], inner));
    }
    let (a, b) = factors(graph, node)?;
    let of = |x: ValueId, sigmoid: ValueId| {
        let found = pattern::written_by(graph, sigmoid, "HardSigmoid")?;
        let held = graph.node(found);
        let is_swish = pattern::is_about(f64::from(held.attr_float("alpha", 0.2)), HARD_SWISH_ALPHA)
            && pattern::is_about(f64::from(held.attr_float("beta", 0.5)), HARD_SWISH_BETA);
        (is_swish && graph.input(found, 0) == Some(x)).then_some((x, found))
    };
    let (input, sigmoid) = of(a, b).or_else(|| of(b, a))?;
    Some(Match::new(spec, vec![input], vec![sigmoid]))
}

/// `x Clip(x + 3, 0, 6) / 6` as a `HardSigmoid` times its input.
pub(super) fn gated_hard_sigmoid(graph: &Graph, node: NodeId, _: i64) -> Option<Match> {
    let (input, inner) = clipped_product(graph, node)?;
    let alpha_beta = (HARD_SWISH_ALPHA as f32, HARD_SWISH_BETA as f32);
    let before = hard_sigmoid_of(alpha_beta, input);
    Some(Match { before: Some(before), spec: NodeSpec::new("Mul"), inputs: vec![input], inner })
}

fn hard_sigmoid_of((alpha, beta): (f32, f32), input: ValueId) -> (NodeSpec, Vec<ValueId>) {
    (NodeSpec::new("HardSigmoid").attr("alpha", alpha).attr("beta", beta), vec![input])
}

/// What lies before a factor, and the factor: a division by a number or a multiplication with one.
fn scaled(graph: &Graph, node: NodeId) -> Option<(ValueId, f64)> {
    let held = graph.node(node);
    if !held.is_any(&["Div", "Mul"]) {
        return None;
    }
    let (value, number) = pattern::number_behind(graph, node)?;
    Some((value, if held.is("Div") { 1.0 / number } else { number }))
}

/// The two sides of a multiplication.
fn factors(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    if !graph.node(node).is("Mul") {
        return None;
    }
    Some((graph.input(node, 0)?, graph.input(node, 1)?))
}

/// `x` of `x Clip(x + 3, 0, 6) / 6`, and the operators before the division.
fn clipped_product(graph: &Graph, node: NodeId) -> Option<(ValueId, Vec<NodeId>)> {
    let (product, factor) = scaled(graph, node)?;
    let product = pattern::written_by(graph, product, "Mul")?;
    let (a, b) = factors(graph, product)?;
    let of = |x: ValueId, clipped: ValueId| Clip::behind(graph, clipped).filter(|clip| clip.input == x);
    let clip = of(a, b).or_else(|| of(b, a))?;
    let is_swish = pattern::is_about(factor * clip.upper, 1.0)
        && pattern::is_about(factor, HARD_SWISH_ALPHA)
        && pattern::is_about(factor * clip.added, HARD_SWISH_BETA);
    is_swish.then(|| (clip.input, std::iter::once(product).chain(clip.nodes).collect()))
}

/// `Clip(input + added, 0, upper)`.
struct Clip {
    input: ValueId,
    added: f64,
    upper: f64,
    nodes: Vec<NodeId>,
}

impl Clip {
    fn behind(graph: &Graph, value: ValueId) -> Option<Self> {
        let clip = pattern::written_by(graph, value, "Clip")?;
        let held = graph.node(clip);
        if bound(graph, clip, held, "min", 1)? != 0.0 {
            return None;
        }
        let upper = bound(graph, clip, held, "max", 2)?;
        let add = pattern::written_by(graph, graph.input(clip, 0)?, "Add")?;
        let (input, added) = pattern::number_behind(graph, add)?;
        Some(Self { input, added, upper, nodes: vec![clip, add] })
    }
}

/// A bound of a Clip: an attribute before operator set 11, an input since.
fn bound(graph: &Graph, clip: NodeId, held: &Node, name: &str, slot: usize) -> Option<f64> {
    match held.attr(name) {
        Some(AttrRef::Float(value)) => Some(f64::from(value)),
        _ => pattern::number_in(&graph.constant(graph.input(clip, slot)?)?),
    }
}
