//! Folds arithmetic with constants into the weights and bias of the operator before it.
//!
//! ```text
//! a = Conv(x, w)              =>   y = Conv(x, w', b')
//! c = Mul(a, k)
//! y = Add(c, b)
//!
//! a = MatMul(x, w)            =>   y = Gemm(x, w, b)
//! y = Add(a, b)
//! ```
//!
//! Arithmetic is `Add`, `Sub`, `Mul` and `Div` with one constant a channel or one for all; the operator is Conv,
//! ConvTranspose, Gemm or MatMul. Computed in 64 bits and rounded once to the type of the weights.
//!
//! The arithmetic stays where
//! 1. the constant changes along another axis than the channels, or makes the result larger;
//! 2. something else reads what lies between the two operators, or it is an output of the graph;
//! 3. weights or bias are not constant, or other operators share weights that would change;
//! 4. a MatMul that would get a bias is not known to be one of matrices: then it cannot be a Gemm;
//! 5. a folded value would not be finite in the type of the weights;
//! 6. the operator set is below 7, where operators broadcast in another way.

use super::common::affine::Affine;
use super::common::producer::{Folded, Producer};
use super::common::{inferred, pattern};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, Tensor};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-conv",
    summary: "folds Add, Sub, Mul and Div of constants into the Conv, ConvTranspose, Gemm or MatMul before them",
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct FuseConv;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseConv))
}

impl Pass for FuseConv {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |graph, node| graph.node(node).is("MatMul"),
            |graph, path, opset, cx| {
                cx.enter(path);
                changed |= rewrite_graph(graph, |graph, node| {
                    let Some(Arithmetic { producer, affine, freed_bytes }) = arithmetic(graph, node, opset) else {
                        return Ok(Revisit::Unchanged);
                    };
                    let site = graph.site(node);
                    let folded: Result<Folded, String> = match affine {
                        Ok(affine) => producer.fold(graph, affine, freed_bytes)?,
                        Err(reason) => Err(reason),
                    };
                    match folded {
                        Ok(folded) if producer.is_larger(graph, node, &folded) => {
                            cx.skipped(
                                site,
                                "what others read stays, and new weights beside it are larger than what goes",
                            );
                            Ok(Revisit::Unchanged)
                        }
                        Ok(folded) => {
                            let into = graph.site(producer.node);
                            producer.absorb(graph, node, folded)?;
                            cx.applied(site, format!("folded into {into}"));
                            Ok(Revisit::Changed(Vec::new()))
                        }
                        Err(reason) => {
                            cx.skipped(site, reason);
                            Ok(Revisit::Unchanged)
                        }
                    }
                })?;
                Ok(())
            },
        )?;
        Ok(changed)
    }
}

/// An operator that computes with a constant after one with weights.
struct Arithmetic {
    producer: Producer,
    /// What it does to each channel, or why that cannot be told.
    affine: Result<Affine, String>,
    /// Bytes of the constant, where nothing else reads it.
    freed_bytes: u64,
}

fn arithmetic(graph: &Graph, node: NodeId, opset: i64) -> Option<Arithmetic> {
    if opset < 7 || !graph.node(node).is_any(&["Add", "Sub", "Mul", "Div"]) {
        return None;
    }
    let (value, slot, constant) = pattern::constant_operand(graph, node)?;
    let producer = Producer::find(graph, value, opset, false).ok()?;
    let affine = affine_of(&producer, graph.node(node).op_type(), slot, &constant);
    let is_own = graph.input(node, 1 - slot).is_some_and(|value| graph.use_count(value) == 1);
    let freed_bytes = if is_own { constant.byte_len() } else { 0 };
    Some(Arithmetic { producer, affine, freed_bytes })
}

fn affine_of(producer: &Producer, op_type: &str, slot: usize, constant: &Tensor) -> Result<Affine, String> {
    let numbers = producer
        .per_channel(constant)
        .ok_or_else(|| format!("its constant {} is not one number a channel", constant.type_text()))?;
    let none = Affine::identity(producer.channels());
    match (op_type, slot) {
        ("Add", _) => Ok(Affine { shift: numbers, ..none }),
        ("Sub", 0) => Ok(Affine { shift: numbers.iter().map(|number| -number).collect(), ..none }),
        ("Sub", _) => Ok(Affine { factor: vec![-1.0; numbers.len()], shift: numbers }),
        ("Mul", _) => Ok(Affine { factor: numbers, ..none }),
        ("Div", 0) if numbers.iter().all(|&number| number != 0.0) => {
            Ok(Affine { factor: numbers.iter().map(|number| 1.0 / number).collect(), ..none })
        }
        ("Div", 0) => Err("it divides by zero".to_owned()),
        _ => Err("it divides a constant by the result".to_owned()),
    }
}
