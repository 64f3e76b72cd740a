//! A value and the same times a HardSigmoid: `x + x HardSigmoid(z) = x Clip(alpha z + beta + 1, 1, 2)`.

use super::super::common::affine::Affine;
use super::super::common::facts;
use super::super::common::merge::Merge;
use super::super::common::pattern::{self, Match};
use super::super::common::producer::Producer;
use crate::ir::{DType, Graph, NodeId, NodeSpec, Tensor, ValueId};

/// Where the operator that writes `z` has weights and a bias: those take factor and shift.
pub(super) fn gate(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    if !graph.node(node).is("Add") || opset < 7 {
        return None;
    }
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let gate = Gate::of(graph, a, b).or_else(|| Gate::of(graph, b, a))?;
    if facts::dtype(graph, gate.input) != Some(DType::F32) {
        return None;
    }
    if growth_bytes(graph, &gate) > 0 {
        return None;
    }
    let sigmoid = graph.node(gate.sigmoid);
    let (alpha, beta) = (sigmoid.attr_float("alpha", 0.2), sigmoid.attr_float("beta", 0.5));
    let producer = Producer::find(graph, graph.input(gate.sigmoid, 0)?, opset, false).ok()?;
    // Another bias beside one that stays would cost bytes.
    graph.input(producer.node, 2).filter(|&bias| graph.use_count(bias) == 1)?;
    let channels = producer.channels();
    let affine = Affine { factor: vec![f64::from(alpha); channels], shift: vec![f64::from(beta) + 1.0; channels] };
    let folded = producer.fold(graph, affine, 0).ok()?.ok()?;
    let bounds = [1.0, 2.0].map(|bound| Tensor::from_f32(Vec::new(), &[bound]));
    let [Ok(lower), Ok(upper)] = bounds else { return None };
    let Gate { input, product, sigmoid, between } = gate;
    Some(Merge::By(Box::new(move |graph, node| {
        let label = graph.output(product, 0).map_or_else(String::new, |value| graph.value(value).name().to_owned());
        producer.absorb(graph, sigmoid, folded)?;
        let mut operands = vec![between];
        let mut spec = NodeSpec::new("Clip");
        if opset < 11 {
            spec = spec.attr("min", 1.0f32).attr("max", 2.0f32);
        } else {
            operands.push(graph.add_initializer("min", lower));
            operands.push(graph.add_initializer("max", upper));
        }
        let clipped = graph.add_op(spec, &operands, &label, node)?;
        let found = Match::new(NodeSpec::new("Mul"), vec![input, clipped], vec![product]);
        found.apply(graph, node)
    })))
}

/// Bytes by which the file grows. An Add goes, and a HardSigmoid for a shorter name; the names of two values and what the
/// HardSigmoid has besides go too. Two bounds come, 15 bytes each, as initializers or as attributes.
fn growth_bytes(graph: &Graph, gate: &Gate) -> i64 {
    const BOUNDS_AND_OPERATORS: usize = 24;
    const ATTRIBUTE: usize = 12;
    let value = |value: ValueId| graph.value(value).name().len();
    let before = graph.input(gate.sigmoid, 0).map_or(0, value);
    let nodes: usize = [gate.sigmoid, gate.product].map(|node| graph.node(node).name().len()).iter().sum();
    let attributes = graph.node(gate.sigmoid).attributes().iter().map(|attribute| ATTRIBUTE + attribute.name().len());
    let freed = 2 * before + value(gate.input) + nodes + attributes.sum::<usize>();
    BOUNDS_AND_OPERATORS as i64 - i64::try_from(freed).unwrap_or(i64::MAX)
}

struct Gate {
    /// `x`.
    input: ValueId,
    product: NodeId,
    sigmoid: NodeId,
    /// What the HardSigmoid writes.
    between: ValueId,
}

impl Gate {
    /// `input + added`, where `added` is `input HardSigmoid(z)`, and nothing else reads what lies between.
    fn of(graph: &Graph, input: ValueId, added: ValueId) -> Option<Self> {
        graph.only_use(added)?;
        let product = pattern::written_by(graph, added, "Mul")?;
        let between = match (graph.input(product, 0)?, graph.input(product, 1)?) {
            (x, other) if x == input => other,
            (other, x) if x == input => other,
            _ => return None,
        };
        graph.only_use(between)?;
        let sigmoid = pattern::written_by(graph, between, "HardSigmoid")?;
        Some(Self { input, product, sigmoid, between })
    }
}
