//! Activation functions and normalizations in parts, which runtimes merge where all their parts read one value.
//!
//! ```text
//! Mul(x, Sigmoid(x));  x * (1 + Erf(x / sqrt(2))) / 2;  x - ReduceMean(x)
//! ```
//!
//! ONNX Runtime gives every reader of a DequantizeLinear one of its own, so that the parts no longer read the same: Gelu
//! then runs as five operators, each of which goes through the whole activation. One more operator behind
//! DequantizeLinear, which hands on what it reads, keeps them together (measured on two networks for text in images:
//! x1.13 -> x1.35 and x3.75 -> x4.30 of the float model's speed).

use crate::error::Result;
use crate::ir::{Graph, NodeId, NodeSpec, Port, ValueId};

/// What the gate of an activation function is computed by.
const GATES: &[&str] = &["Erf", "Sigmoid"];

/// Puts an operator that hands on its input between a restored value and the float operators that read it, where runtimes
/// merge these into one.
///
/// # Errors
/// Fails where an edit does, which is a defect.
pub(super) fn keep_together(
    graph: &mut Graph,
    restored: ValueId,
    name: &str,
    reads_integers: impl Fn(NodeId) -> bool,
) -> Result<()> {
    let mut readers: Vec<(NodeId, usize)> = Vec::new();
    for one in graph.uses(restored) {
        match one.port {
            Port::In(slot) if !reads_integers(one.node) => readers.push((one.node, slot as usize)),
            _ => {}
        }
    }
    if !are_parts(graph, &readers) {
        return Ok(());
    }
    let Some(&(near, _)) = readers.first() else { return Ok(()) };
    // Simplifiers take Identity out again, ONNX Runtime's own too.
    let together = graph.add_op(NodeSpec::new("Max"), &[restored], &format!("{name}_together"), near)?;
    readers.into_iter().try_for_each(|(node, slot)| graph.set_input(node, slot, Some(together)))
}

/// Whether operators that read the same value are parts of what runtimes know as a whole.
fn are_parts(graph: &Graph, readers: &[(NodeId, usize)]) -> bool {
    let has = |op: &str| readers.iter().any(|&(node, _)| graph.node(node).is(op));
    let is_gate = |node: NodeId| graph.node(node).is_any(GATES);
    let leads_to_gate = |node: NodeId| {
        let next = graph.output(node, 0).and_then(|output| graph.only_use(output));
        graph.node(node).is_any(&["Mul", "Div"]) && next.is_some_and(|(next, _)| is_gate(next))
    };
    let is_gated = readers.iter().any(|&(node, _)| is_gate(node) || leads_to_gate(node)) && has("Mul");
    readers.len() > 1 && (is_gated || (has("ReduceMean") && has("Sub")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;

    /// The operators after the readers of `x` were kept together, where `MatMul` reads integers.
    fn operators(body: &str) -> Vec<String> {
        let source = format!(
            "<ir_version: 8, opset_import: [\"\" : 13]> g (float[4,4] x) => (float[4,4] y) <float[4,4] w = rand(1)> {{
               root = Constant<value = float {{1.4142135}}>()
               one = Constant<value = float {{1.0}}>()
               {body}
             }}"
        );
        let mut graph = text::parse(&source).unwrap().graph;
        let x = graph.find_value("x").unwrap();
        let products: Vec<NodeId> = graph.nodes().into_iter().filter(|&node| graph.node(node).is("MatMul")).collect();
        keep_together(&mut graph, x, "x", |node| products.contains(&node)).unwrap();
        let reads = graph.uses(x).into_iter().map(|one| graph.node(one.node).op_type().to_owned());
        reads.collect()
    }

    #[test]
    fn parts_of_an_activation_read_one_value() {
        assert_eq!(operators("s = Sigmoid(x) y = Mul(x, s)"), ["Max"]);
        let gelu = "d = Div(x, root) e = Erf(d) a = Add(e, one) y = Mul(x, a)";
        assert_eq!(operators(gelu), ["Max"]);
        assert_eq!(operators(&format!("{gelu} z = MatMul(x, w)")), ["Max", "MatMul"]);
        assert_eq!(operators("m = ReduceMean<axes = [-1]>(x) y = Sub(x, m)"), ["Max"]);
    }

    #[test]
    fn others_read_what_they_did() {
        assert_eq!(operators("y = Sigmoid(x)"), ["Sigmoid"]);
        assert_eq!(operators("a = Neg(x) y = Mul(a, x)"), ["Neg", "Mul"]);
        assert_eq!(operators("s = Sigmoid(x) z = MatMul(x, w) y = Mul(z, s)"), ["Sigmoid", "MatMul"]);
    }
}
