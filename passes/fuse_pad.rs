//! Lets a Conv or pool pad by itself what a Pad pads before it.
//!
//! ```text
//! a = Pad(x, {0, 0, 1, 1, 0, 0, 1, 1})        =>   y = Conv<pads = [1, 1, 1, 1]>(x, w)
//! y = Conv(a, w)
//! ```
//!
//! A Conv and an AveragePool pad with 0, a MaxPool with what is smaller than everything.
//!
//! The Pad stays where
//! 1. it pads with something else, cuts off, or pads the batch or the channels;
//! 2. its output is read elsewhere too, or it names its axes;
//! 3. the operator computes its padding itself, or rounds its extent up;
//! 4. the window of a pool could lie in the padding as a whole;
//! 5. an AveragePool pads already and does not count what it pads.

use super::common::{edit, facts, inferred, pattern};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-pad",
    summary: "lets Conv, AveragePool and MaxPool pad by themselves what a Pad pads before them",
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct FusePad;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FusePad))
}

impl Pass for FusePad {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |graph, node| graph.node(node).is("Pad"),
            |graph, path, opset, cx| {
                cx.enter(path);
                changed |= rewrite_graph(graph, |graph, node| {
                    let Some((pad, source)) = pad_before(graph, node) else { return Ok(Revisit::Unchanged) };
                    let site = graph.site(pad);
                    match joint_pads(graph, node, pad, opset) {
                        Ok(pads) => {
                            cx.applied(site, format!("folded into {}", graph.site(node)));
                            graph.set_input(node, 0, Some(source))?;
                            graph.set_attr(node, "pads", pads)?;
                            graph.remove_attr(node, "auto_pad")?;
                            if graph.node(node).is("AveragePool") {
                                graph.set_attr(node, "count_include_pad", 1)?;
                            }
                            edit::remove(graph, pad)?;
                            Ok(Revisit::Changed(vec![node]))
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

/// The Pad before an operator that can pad by itself, and what it pads.
fn pad_before(graph: &Graph, node: NodeId) -> Option<(NodeId, ValueId)> {
    let held = graph.node(node);
    if !held.is_any(&["Conv", "AveragePool", "MaxPool"]) || facts::depends_on_caller(held) {
        return None;
    }
    let pad = pattern::written_by(graph, graph.input(node, 0)?, "Pad")?;
    Some((pad, graph.input(pad, 0)?))
}

/// The padding of operator and Pad together, or why the Pad stays.
fn joint_pads(graph: &Graph, node: NodeId, pad: NodeId, opset: i64) -> Result<Vec<i64>, &'static str> {
    let (held, padding) = (graph.node(node), graph.node(pad));
    if graph.output(pad, 0).and_then(|value| graph.only_use(value)).is_none() {
        return Err("its output is read elsewhere too, or is an output");
    }
    if padding.attr_str("mode", "constant") != "constant" || graph.input(pad, 3).is_some() || opset < 2 {
        return Err("it does not pad all axes with a constant");
    }
    let number = match graph.input(pad, 2) {
        None => Some(f64::from(padding.attr_float("value", 0.0))),
        Some(value) => graph.constant(value).and_then(|tensor| pattern::number_in(&tensor)),
    };
    let is_neutral = match held.op_type() {
        "MaxPool" => number == Some(f64::NEG_INFINITY),
        _ => number == Some(0.0),
    };
    if !is_neutral {
        return Err("it pads with something else than what the operator behind it pads with");
    }
    if !matches!(held.attr_str("auto_pad", "NOTSET"), "NOTSET" | "VALID") || held.attr_int("ceil_mode", 0) != 0 {
        return Err("the operator behind it computes its padding itself, or rounds its extent up");
    }
    let (added, axes) =
        spatial(graph, pad).ok_or("it pads batch or channels, cuts off, or by how much is not known")?;
    let own = held.attr_ints("pads").map_or_else(|| vec![0; 2 * axes], <[i64]>::to_vec);
    if own.len() != added.len() {
        return Err("the operator behind it has another number of axes");
    }
    let pads: Vec<i64> = added.iter().zip(&own).map(|(a, b)| a.saturating_add(*b)).collect();
    if !held.is("Conv") {
        let kernel = held.attr_ints("kernel_shape").unwrap_or_default();
        let is_inside =
            |(place, &extent): (usize, &i64)| kernel.get(place % axes).is_some_and(|&kernel| extent < kernel);
        if !pads.iter().enumerate().all(is_inside) || held.output_slots() > 1 {
            return Err("a window of the pool behind it could lie in the padding, or its indices would change");
        }
        let counts_own = held.attr_int("count_include_pad", 0) != 0 || own.iter().all(|&extent| extent == 0);
        if held.is("AveragePool") && (!counts_own || opset < 7) {
            return Err("the AveragePool behind it does not count what it pads");
        }
    }
    Ok(pads)
}

/// By how much a Pad pads the axes after batch and channels, in the order of the `pads` of a Conv, and how many there are.
fn spatial(graph: &Graph, pad: NodeId) -> Option<(Vec<i64>, usize)> {
    let all = facts::ints(graph, pad, "pads", 1).known()?;
    let rank = all.len() / 2;
    let axes = rank.checked_sub(2).filter(|&axes| axes > 0 && all.len() == 2 * rank)?;
    let is_spatial = |place: usize| place % rank >= 2;
    let is_plain = all.iter().enumerate().all(|(place, &extent)| extent == 0 || (extent > 0 && is_spatial(place)));
    let kept = all.iter().enumerate().filter(|&(place, _)| is_spatial(place)).map(|(_, &extent)| extent).collect();
    is_plain.then_some((kept, axes))
}
