//! Activations that multiply a value with a function of it: Gelu and Mish.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::super::common::pattern::{self, Match};
use crate::ir::{Graph, NodeId, NodeSpec, ValueId};

/// How many multiplications a product may be written with.
const MAX_PRODUCTS: usize = 3;

/// `x 0.5 (1 + erf(x / sqrt 2))`, or with `tanh(sqrt(2 / pi) (x + 0.044715 x^3))` in the place of erf; in any order.
pub(super) fn gelu(graph: &Graph, node: NodeId, opset: i64) -> Option<Match> {
    if opset < 20 || !graph.node(node).is("Mul") {
        return None;
    }
    let product = Product::ending_in(graph, node);
    let [a, b] = product.factors.as_slice() else { return None };
    if !pattern::is_about(product.number, 0.5) {
        return None;
    }
    let of = |x: ValueId, gate: ValueId| {
        let plus_one = pattern::written_by(graph, gate, "Add")?;
        let (function, one) = pattern::number_behind(graph, plus_one)?;
        if one != 1.0 {
            return None;
        }
        let mut inner = product.inner.clone();
        inner.push(plus_one);
        let form = if is_erf(graph, function, x, &mut inner).is_some() {
            "none"
        } else {
            inner.truncate(product.inner.len() + 1);
            is_tanh(graph, function, x, &mut inner)?;
            "tanh"
        };
        let spec = NodeSpec::new("Gelu");
        let spec = if form == "none" { spec } else { spec.attr("approximate", form) };
        Some(Match::new(spec, vec![x], inner))
    };
    of(*a, *b).or_else(|| of(*b, *a))
}

/// `erf(x / sqrt 2)`.
fn is_erf(graph: &Graph, value: ValueId, x: ValueId, inner: &mut Vec<NodeId>) -> Option<()> {
    let erf = pattern::written_by(graph, value, "Erf")?;
    let scaled = graph.input(erf, 0)?;
    let (scale, factor) = scaling(graph, scaled)?;
    let (input, ..) = pattern::number_behind(graph, scale)?;
    inner.extend([erf, scale]);
    (input == x && pattern::is_about(factor, FRAC_1_SQRT_2)).then_some(())
}

/// `tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
fn is_tanh(graph: &Graph, value: ValueId, x: ValueId, inner: &mut Vec<NodeId>) -> Option<()> {
    let tanh = pattern::written_by(graph, value, "Tanh")?;
    let (scale, factor) = scaling(graph, graph.input(tanh, 0)?)?;
    let (sum, ..) = pattern::number_behind(graph, scale)?;
    let sum = pattern::written_by(graph, sum, "Add")?;
    let (a, b) = (graph.input(sum, 0)?, graph.input(sum, 1)?);
    let cubic = if a == x { b } else { a };
    if (a != x && b != x) || !pattern::is_about(factor, (2.0 / PI).sqrt()) {
        return None;
    }
    inner.extend([tanh, scale, sum]);
    let last = pattern::written_by(graph, cubic, "Mul")?;
    inner.push(last);
    let product = Product::ending_in(graph, last);
    inner.extend(&product.inner);
    let is_cube = match product.factors.as_slice() {
        [a, b, c] => [a, b, c].into_iter().all(|&factor| factor == x),
        [power] => {
            let pow = pattern::written_by(graph, *power, "Pow")?;
            inner.push(pow);
            let (base, slot, exponent) = pattern::number_operand(graph, pow)?;
            base == x && slot == 0 && exponent == 3.0
        }
        _ => false,
    };
    (is_cube && pattern::is_about(product.number, 0.044_715)).then_some(())
}

/// The operator that multiplies with a number or divides by one, and the factor.
fn scaling(graph: &Graph, value: ValueId) -> Option<(NodeId, f64)> {
    if let Some(mul) = pattern::written_by(graph, value, "Mul") {
        return Some((mul, pattern::number_behind(graph, mul)?.1));
    }
    let div = pattern::written_by(graph, value, "Div")?;
    Some((div, 1.0 / pattern::number_behind(graph, div)?.1))
}

/// `x tanh(softplus(x))`.
pub(super) fn mish(graph: &Graph, node: NodeId, opset: i64) -> Option<Match> {
    if opset < 18 {
        return None;
    }
    if !graph.node(node).is("Mul") {
        return None;
    }
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let of = |x: ValueId, gate: ValueId| {
        let tanh = pattern::written_by(graph, gate, "Tanh")?;
        let softplus = pattern::written_by(graph, graph.input(tanh, 0)?, "Softplus")?;
        (graph.input(softplus, 0) == Some(x)).then(|| Match::new(NodeSpec::new("Mish"), vec![x], vec![tanh, softplus]))
    };
    of(a, b).or_else(|| of(b, a))
}

/// What a few multiplications multiply: a number and values.
struct Product {
    number: f64,
    factors: Vec<ValueId>,
    /// The multiplications but for the last.
    inner: Vec<NodeId>,
}

impl Product {
    fn ending_in(graph: &Graph, last: NodeId) -> Self {
        let mut product = Self { number: 1.0, factors: Vec::new(), inner: Vec::new() };
        let mut unseen = vec![last];
        while let Some(mul) = unseen.pop() {
            let number = pattern::number_behind(graph, mul);
            if let Some((_, number)) = number {
                product.number *= number;
            }
            let sides: Vec<ValueId> = match number {
                Some((value, _)) => vec![value],
                None => graph.node_inputs(mul).into_iter().flatten().collect(),
            };
            for side in sides {
                let before = graph.only_use(side).and_then(|_| pattern::written_by(graph, side, "Mul"));
                match before.filter(|_| product.inner.len() < MAX_PRODUCTS) {
                    Some(before) => {
                        product.inner.push(before);
                        unseen.push(before);
                    }
                    None => product.factors.push(side),
                }
            }
        }
        product
    }
}
