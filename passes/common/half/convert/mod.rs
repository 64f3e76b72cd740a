//! Arithmetic in 16 bits, with operators between that go on computing in 32.
//!
//! `rules` says which operators stay float whatever they compute, `decide` finds for every operator of the main graph and
//! the graphs inside of it which of the two it computes in, and `apply` changes types and puts Casts where one meets the
//! other. `measure` knows what the values are on calibration data, and `border` changes the types of inputs and outputs.

mod apply;
mod border;
mod decide;
mod measure;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use super::HalfType;
use crate::error::{Result, Site};
use crate::infer;
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::onnx::{EncodeOptions, encode};
use crate::opset::{AllowedType, Formal, Schema};
use crate::pass::{Changed, Cx, counted};
use crate::passes::common::exclude::Exclude;

/// What one graph is to become.
#[derive(Debug, Default)]
struct GraphPlan {
    /// The values that are 32-bit floats.
    floats: BTreeSet<ValueId>,
    /// What becomes of the operators that touch one of them.
    verdicts: BTreeMap<NodeId, Verdict>,
    /// The graphs inside, by operator and place.
    inner: BTreeMap<(NodeId, usize), GraphPlan>,
}

/// What becomes of an operator that reads or writes 32-bit floats.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It computes in 16 bits.
    Half,
    /// It goes on computing in 32 bits, for a reason that the user may want to know.
    Float(Option<String>),
    /// It reads either type.
    Either,
}

impl GraphPlan {
    fn is_half(&self, node: NodeId) -> bool {
        self.verdicts.get(&node) == Some(&Verdict::Half)
    }

    /// Operators that become half, here and inside.
    fn half_count(&self) -> usize {
        let here = self.verdicts.values().filter(|verdict| **verdict == Verdict::Half).count();
        here + self.inner.values().map(Self::half_count).sum::<usize>()
    }
}

/// Whether what stands in a slot may have the type.
fn allows(schema: &Schema, formal: Option<&Formal>, half: HalfType) -> bool {
    formal.is_some_and(|formal| schema.types(formal).contains(&AllowedType::Tensor(half.dtype())))
}

/// Makes the main graph of a model, and the graphs inside of it, compute in 16 bits where they can. Functions stay float, and
/// inputs and outputs, unless those are to be converted too.
///
/// # Errors
/// Fails where an edit does, which is a defect, or the graph has a cycle.
pub(in crate::passes) fn convert(
    model: &mut Model,
    half: HalfType,
    exclude: &Exclude,
    are_callers_converted: bool,
    cx: &mut Cx<'_>,
) -> Result<Changed> {
    if model.has_training_info() {
        cx.note("the model says how to train it: the arithmetic stays float");
        return Ok(Changed::No);
    }
    if let Some(site) = decide::returns_outer_value(&model.graph) {
        cx.skipped(site, "a graph inside returns a value of the graph around it: the arithmetic stays float");
        return Ok(Changed::No);
    }
    let peaks = match cx.env.calibration {
        None => None,
        Some(samples) => match measure::peaks(model, samples, cx.env) {
            Ok(peaks) => Some(peaks),
            Err(error) if error.kind().is_no_run() => {
                cx.note(format!(
                    "the model could not be run on the calibration data ({}): rules alone decide what stays float",
                    error.what()
                ));
                None
            }
            Err(error) => return Err(error),
        },
    };
    let facts = infer::infer(model)?;
    let surroundings = decide::Surroundings { opset: model.opset(), half, exclude, peaks: peaks.as_ref() };
    let plan = decide::decide(&model.graph, facts.main(), &surroundings);
    let count = plan.half_count();
    remark(&model.graph, &plan, &mut Vec::new(), cx);
    if count == 0 {
        return Ok(Changed::No);
    }
    let mut converted = model.clone();
    let casts = apply::apply(&mut converted.graph, &plan, half, model.opset())?;
    let retyped = if are_callers_converted { border::convert(&mut converted, half)? } else { 0 };
    let len =
        |model: &Model| encode(model, &EncodeOptions::default()).map(|encoded| encoded.len() + encoded.side_len());
    if len(&converted)? > len(model)? {
        cx.note(format!("in {} the file would be larger: the arithmetic stays float", half.dtype()));
        return Ok(Changed::No);
    }
    *model = converted;
    cx.applied(
        Site::default(),
        format!("{} in {}, with {}", counted(count, "operator"), half.dtype(), counted(casts, "Cast")),
    );
    if retyped > 0 {
        cx.note(format!("callers give and get {} where they gave and got float: {retyped} in all", half.dtype()));
    }
    Ok(Changed::Yes)
}

/// Says of every operator that stays float why.
fn remark(graph: &Graph, plan: &GraphPlan, path: &mut Vec<String>, cx: &mut Cx<'_>) {
    cx.enter(path);
    for (&node, verdict) in &plan.verdicts {
        if let Verdict::Float(Some(reason)) = verdict {
            cx.skipped(graph.site(node), reason.clone());
        }
    }
    for (&(node, place), inner) in &plan.inner {
        let Some(subgraph) = graph.node(node).subgraphs().get(place) else { continue };
        path.push(format!("{} `{}`.{}", graph.node(node).op_type(), graph.node_label(node), subgraph.attribute));
        remark(&subgraph.graph, inner, path, cx);
        path.pop();
    }
    cx.enter(&[]);
}
