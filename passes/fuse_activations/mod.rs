//! Puts one operator in the place of several that write out an activation or a normalization.
//!
//! ```text
//! a = Add(x, three)           =>   s = HardSigmoid<alpha = 0.1666667, beta = 0.5>(x)
//! b = Clip(a, zero, six)           y = Mul(x, s)
//! c = Mul(x, b)
//! y = Div(c, six)
//! ```
//!
//! Always: HardSigmoid, and the form of HardSwish above. From the operator set on that has them: LayerNormalization (17),
//! HardSwish (14), Mish (18), Gelu (20), RMSNormalization (23). The operator set is never raised for them.
//!
//! Left alone are
//! 1. groups of operators of which something inside is read elsewhere, or is an output of the graph;
//! 2. numbers that are not those of the definition, or are computed;
//! 3. `x Sigmoid(x)`: ONNX Runtime 1.32 has no kernel for Swish;
//! 4. normalizations over other axes than the last one, and those with a scale or bias that is no vector.

mod gated;
mod hard;
mod norm;

use std::collections::BTreeMap;

use super::common::inferred;
use super::common::pattern::Match;
use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-activations",
    summary: "puts HardSigmoid, HardSwish, Gelu, Mish, LayerNormalization and RMSNormalization in the place of the operators that write them out, where the model's opset has them",
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// A rule: the operators that end in this one, and what can take their place in that version of the operator set.
type Rule = fn(&Graph, NodeId, i64) -> Option<Match>;

/// By the name of what is put in place. A rule for more operators comes before one for a part of them.
const RULES: &[(&str, Rule)] = &[
    ("HardSwish", hard::hard_swish),
    ("gated HardSigmoid", hard::gated_hard_sigmoid),
    ("HardSigmoid", hard::hard_sigmoid),
    ("Gelu", gated::gelu),
    ("Mish", gated::mish),
    ("LayerNormalization", norm::layer_norm),
    ("RMSNormalization", norm::rms_norm),
];

#[derive(Debug)]
struct FuseActivations;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseActivations))
}

impl Pass for FuseActivations {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        inferred::edit_graphs(
            model,
            cx,
            |graph, node| graph.node(node).is("ReduceMean"),
            |graph, path, opset, cx| {
                cx.enter(path);
                let mut made: BTreeMap<String, usize> = BTreeMap::new();
                changed |= rewrite_graph(graph, |graph, node| {
                    for (name, rule) in RULES {
                        let Some(found) = rule(graph, node, opset) else { continue };
                        if !found.is_closed(graph, node) {
                            cx.skipped(
                                graph.site(node),
                                format!("a part of what could be a {name} is read elsewhere too"),
                            );
                            continue;
                        }
                        let readers = graph.output(node, 0).map(|output| graph.uses(output)).unwrap_or_default();
                        let new = found.apply(graph, node)?;
                        *made.entry((*name).to_owned()).or_default() += 1;
                        return Ok(Revisit::Changed(
                            new.into_iter().chain(readers.iter().map(|one| one.node)).collect(),
                        ));
                    }
                    Ok(Revisit::Unchanged)
                })?;
                if let Some((text, total)) = tally(&made) {
                    cx.measured(Site::default(), format!("made {text}"), &[("groups", total as f64)]);
                }
                Ok(())
            },
        )?;
        Ok(changed)
    }
}
