//! Merges neighbours of a kind, and drops pairs that undo each other.
//!
//! ```text
//! a = Transpose<perm = [0, 2, 1]>(x)      =>   y = Relu(x)
//! b = Transpose<perm = [0, 2, 1]>(a)
//! c = Relu(b)
//! y = Relu(c)
//! ```
//!
//! The rules lie in [`layout`] (Transpose, Reshape, Squeeze, Unsqueeze, Slice, Concat, Pad) and [`values`] (Cast, Not, Neg,
//! Relu, Clip, Where, QuantizeLinear). What comes first may have other readers: it stays for them.
//!
//! Left alone are
//! 1. a Reshape to a shape that is computed, or that has a 0: it depends on the shape in between;
//! 2. conversions through a type that does not hold every value of the first one;
//! 3. axes counted from the back where the number of axes changes in between;
//! 4. Concat, Slice and Pad whose input is read elsewhere too: nothing would be saved.

mod layout;
mod values;

use std::collections::BTreeMap;

use super::common::{edit, facts};
use crate::error::{Result, Site};
use crate::ir::{AttrValue, Graph, Model, NodeId, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-chains",
    summary: "merges neighbours of a kind, such as Transpose, Reshape, Slice, Clip, and drops pairs that undo each other",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// What to do with the second of two neighbours.
enum Merge {
    /// It hands on this value.
    HandsOn(ValueId),
    /// It changes.
    Becomes {
        op_type: &'static str,
        /// Its inputs, all of them.
        inputs: Vec<Option<Operand>>,
        /// Attributes that change; `None` for those that go.
        attributes: Vec<(&'static str, Option<AttrValue>)>,
    },
}

/// What an input slot reads.
enum Operand {
    Value(ValueId),
    /// A new constant.
    New(Tensor),
}

/// A rule: an operator, in a version of the operator set, and what to do with it.
type Rule = fn(&Graph, NodeId, i64) -> Option<Merge>;

/// By the pair of operators that remarks name.
const RULES: &[(&str, Rule)] = &[
    ("Transpose of Transpose", layout::transpose_of_transpose),
    ("Reshape of Reshape", layout::reshape_of_reshape),
    ("Squeeze of Unsqueeze", layout::squeeze_of_unsqueeze),
    ("Unsqueeze of Squeeze", layout::unsqueeze_of_squeeze),
    ("Unsqueeze of Unsqueeze", layout::unsqueeze_of_unsqueeze),
    ("Squeeze of Slice", layout::squeeze_of_slice),
    ("Slice of Slice", layout::slice_of_slice),
    ("Concat of Concat", layout::concat_of_concat),
    ("Pad of Pad", layout::pad_of_pad),
    ("Cast of Cast", values::cast_of_cast),
    ("pair that undoes itself", values::involution),
    ("repetition", values::repetition),
    ("Clip of Relu", values::clip_of_relu),
    ("Relu of Clip", values::relu_of_clip),
    ("Where of Not", values::where_of_not),
    ("QuantizeLinear of DequantizeLinear", values::quantize_of_dequantize),
];

#[derive(Debug)]
struct FuseChains;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseChains))
}

impl Pass for FuseChains {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_versioned_graphs(|graph, path, opset| {
            cx.enter(path);
            let mut merged: BTreeMap<String, usize> = BTreeMap::new();
            changed |= rewrite_graph(graph, |graph, node| {
                let held = graph.node(node);
                if !held.domain().is_empty() || facts::depends_on_caller(held) {
                    return Ok(Revisit::Unchanged);
                }
                for (name, rule) in RULES {
                    let Some(merge) = rule(graph, node, opset) else { continue };
                    let site = graph.site(node);
                    if let Err(reason) = merge.apply(graph, node)? {
                        cx.skipped(site, reason);
                        continue;
                    }
                    *merged.entry((*name).to_owned()).or_default() += 1;
                    return Ok(Revisit::Changed(vec![node]));
                }
                Ok(Revisit::Unchanged)
            })?;
            if let Some((text, total)) = tally(&merged) {
                cx.measured(Site::default(), format!("merged {text}"), &[("pairs", total as f64)]);
            }
            Ok(())
        })?;
        Ok(changed)
    }
}

impl Merge {
    /// Does it, and removes what nothing reads any more; or says why it cannot be done.
    fn apply(self, graph: &mut Graph, node: NodeId) -> Result<Result<(), &'static str>> {
        let before: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
        match self {
            Self::HandsOn(value) => {
                if let Err(reason) = edit::bypass(graph, node, value)? {
                    return Ok(Err(reason));
                }
            }
            Self::Becomes { op_type, inputs, attributes } => {
                let label = graph.output(node, 0).map_or_else(String::new, |v| graph.value(v).name().to_owned());
                let slots = graph.node(node).input_slots().max(inputs.len());
                let mut inputs = inputs.into_iter();
                for slot in 0..slots {
                    let value = match inputs.next().flatten() {
                        None => None,
                        Some(Operand::Value(value)) => Some(value),
                        Some(Operand::New(tensor)) => Some(graph.add_initializer(&format!("{label}_operand"), tensor)),
                    };
                    graph.set_input(node, slot, value)?;
                }
                graph.trim_inputs(node)?;
                graph.set_op_type(node, op_type)?;
                for (name, value) in attributes {
                    match value {
                        Some(value) => graph.set_attr(node, name, value)?,
                        None => drop(graph.remove_attr(node, name)?),
                    }
                }
            }
        }
        edit::drop_unread_chain(graph, before)?;
        Ok(Ok(()))
    }
}
