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
        let label = graph.value(between).name().to_owned();
        producer.absorb(graph, sigmoid, folded)?;
        graph.rename_internal(between, &format!("{label}_scaled"))?;
        let mut operands = vec![between];
        let mut spec = NodeSpec::new("Clip");
        if opset < 11 {
            spec = spec.attr("min", 1.0f32).attr("max", 2.0f32);
        } else {
            operands.push(graph.add_initializer(&format!("{label}_min"), lower));
            operands.push(graph.add_initializer(&format!("{label}_max"), upper));
        }
        let clipped = graph.add_op(spec, &operands, &label, node)?;
        let found = Match::new(NodeSpec::new("Mul"), vec![input, clipped], vec![product]);
        Ok(found.apply(graph, node)?.into_iter().collect())
    })))
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
