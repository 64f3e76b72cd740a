//! Folds a `BatchNormalization` with fixed statistics into the weights before it.
//!
//! ```text
//! a = Conv(x, w, b)                                      =>   y = Conv(x, w', b')
//! y = BatchNormalization(a, scale, shift, mean, var)
//!
//! a = MatMul(x, w)                                       =>   y = Gemm(x, w', b')
//! y = BatchNormalization(a, scale, shift, mean, var)
//! ```
//!
//! With `f = scale / sqrt(var + epsilon)` for each channel: `w' = w * f`, `b' = (b - mean) * f + shift`, computed in 64
//! bits and rounded once to the type of the weights. The operator before may be Conv, ConvTranspose, Gemm, or MatMul of
//! matrices; an `Add` of one constant a channel between the two goes into the bias as well.
//!
//! The normalization stays where
//! 1. it trains: `training_mode`, statistics among its outputs, or no `is_test` below operator set 7; `spatial=0`;
//! 2. parameters or weights are not constant, or do not have one entry a channel;
//! 3. something else reads what lies between the two operators, or it is an output of the graph;
//! 4. other operators share the weights, and a copy would be larger than the parameters that go;
//! 5. a MatMul is not known to be one of matrices: then the channel is not the last axis;
//! 6. a folded value would not be finite in the type of the weights.

use super::common::affine::Affine;
use super::common::producer::{Folded, Producer};
use super::common::{facts, inferred};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-bn",
    summary: "folds BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it",
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct FuseBn;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseBn))
}

impl Pass for FuseBn {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |graph, node| graph.node(node).is("BatchNormalization"),
            |graph, path, opset, cx| {
                cx.enter(path);
                changed |= rewrite_graph(graph, |graph, node| {
                    if !graph.node(node).is("BatchNormalization") {
                        return Ok(Revisit::Unchanged);
                    }
                    let site = graph.site(node);
                    match plan(graph, node, opset)? {
                        Ok((producer, folded)) => {
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

/// Works out the new weights, or the reason why there are none.
fn plan(graph: &Graph, node: NodeId, opset: i64) -> Result<Result<(Producer, Folded), String>> {
    let found = parameters(graph, node, opset).and_then(|parameters| {
        let value = graph.input(node, 0).ok_or("it has no input")?;
        Ok((parameters, Producer::find(graph, value, opset, true)?))
    });
    let (parameters, producer) = match found {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let channels = producer.channels();
    if !producer.has_channel_at(1) {
        return Ok(Err("MatMul is not known to be one of two matrices".to_owned()));
    }
    let [scale, bias, mean, variance] = &parameters;
    if parameters.iter().any(|parameter| parameter.len() != channels) {
        return Ok(Err(format!("its parameters do not have one entry for each of {channels} channels")));
    }
    let epsilon = f64::from(graph.node(node).attr_float("epsilon", 1e-5));
    let affine = Affine::of_batch_norm(scale, bias, mean, variance, epsilon);
    let parameters = (1..=4).filter_map(|slot| graph.constant_behind_identity(graph.input(node, slot)?));
    let freed_bytes = parameters.map(|parameter| parameter.byte_len()).sum();
    Ok(producer.fold(graph, affine, freed_bytes)?.map(|folded| (producer, folded)))
}

/// Scale, shift, mean and variance of a normalization that does not train.
fn parameters(graph: &Graph, node: NodeId, opset: i64) -> Result<[Vec<f64>; 4], String> {
    let held = graph.node(node);
    if facts::depends_on_caller(held) {
        return Err("its attributes depend on the caller of the function".to_owned());
    }
    let trains = held.attr_int("training_mode", 0) != 0 || (opset < 7 && held.attr_int("is_test", 0) == 0);
    if trains || graph.node_outputs(node).iter().skip(1).any(Option::is_some) {
        return Err("it is in training form".to_owned());
    }
    if held.attr_int("spatial", 1) == 0 {
        return Err("`spatial=0` normalizes each position on its own".to_owned());
    }
    let mut parameters = [const { Vec::new() }; 4];
    for (slot, parameter) in (1..).zip(&mut parameters) {
        let value = graph.input(node, slot).ok_or("a parameter is missing")?;
        let constant = graph.constant_behind_identity(value).and_then(|tensor| tensor.to_f64());
        *parameter = constant.ok_or_else(|| {
            let (name, why) = (graph.value(value).name(), graph.why_not_constant(value));
            format!("parameter `{name}` {why}")
        })?;
    }
    Ok(parameters)
}
