//! Gives a Reshape with a computed target a constant one, where the types of values tell what the target is.
//!
//! ```text
//! // float[batch,seq,384] x, float[batch,seq,12,32] y
//! s = Shape(x)                =>   y = Reshape(x, {0, 0, 12, 32})
//! b = Gather(s, zero)
//! n = Gather(s, one)
//! t = Concat(b, n, heads, size)
//! y = Reshape(x, t)
//! ```
//!
//! Each extent of the output must be a number, or equal to the extent of the input at the same place, which 0 stands for;
//! if all the others are numbers, one may be anything, which -1 stands for.
//!
//! Left alone are
//! 1. targets that are no Concat, or that something else reads: the file would only get larger;
//! 2. targets with more extents that are not known: of those one could be -1, but not two;
//! 3. -1 beside 0: where an extent were 0 when the model runs, -1 could be anything;
//! 4. an extent of 0 that is known, which would mean "as it is".

use std::collections::BTreeMap;

use super::common::{edit, facts, pattern};
use crate::error::{Result, Site};
use crate::ir::{Dim, Graph, Model, NodeId, Shape, Tensor};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Revisit, Scope, rewrite_graph, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fold-reshape",
    summary: "gives a Reshape whose target is computed a constant one, where the types of values tell it",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

#[derive(Debug)]
struct FoldReshape;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FoldReshape))
}

impl Pass for FoldReshape {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_graphs(|graph, path| {
            cx.enter(path);
            let mut folded: BTreeMap<String, usize> = BTreeMap::new();
            changed |= rewrite_graph(graph, |graph, node| {
                let Some(found) = target(graph, node) else { return Ok(Revisit::Unchanged) };
                let list = match found {
                    Ok(list) => list,
                    Err(reason) => {
                        cx.skipped(graph.site(node), reason);
                        return Ok(Revisit::Unchanged);
                    }
                };
                let computed = graph.input(node, 1);
                let label = computed.map_or_else(String::new, |value| graph.value(value).name().to_owned());
                let constant = graph.add_initializer(&label, Tensor::from_i64([list.len() as u64], &list)?);
                graph.set_input(node, 1, Some(constant))?;
                edit::drop_unread_chain(graph, computed.into_iter().collect())?;
                *folded.entry("Reshape".to_owned()).or_default() += 1;
                Ok(Revisit::Changed(Vec::new()))
            })?;
            if let Some((text, total)) = tally(&folded) {
                cx.measured(
                    Site::default(),
                    format!("made constant the target of {text}"),
                    &[("operators", total as f64)],
                );
            }
            Ok(())
        })?;
        Ok(changed)
    }
}

/// The constant target of a Reshape whose target is computed, or why it has none.
fn target(graph: &Graph, node: NodeId) -> Option<Result<Vec<i64>, &'static str>> {
    let held = graph.node(node);
    if !held.is("Reshape") || facts::depends_on_caller(held) || held.attr_int("allowzero", 0) != 0 {
        return None;
    }
    // The last step of shape arithmetic, which then goes: else a constant would come for nothing.
    let computed = graph.input(node, 1)?;
    graph.only_use(computed)?;
    pattern::written_by(graph, computed, "Concat")?;
    let after = facts::shape(graph, graph.output(node, 0)?)?;
    let before = graph.input(node, 0).and_then(|value| facts::shape(graph, value));
    Some(target_of(before.as_ref(), &after).ok_or("its target depends on more than one extent that is not known"))
}

fn target_of(before: Option<&Shape>, after: &Shape) -> Option<Vec<i64>> {
    let mut list = Vec::with_capacity(after.rank());
    let (mut copies, mut unknown) = (0, 0);
    for (place, dim) in after.0.iter().enumerate() {
        let same = before.and_then(|shape| shape.0.get(place));
        list.push(match dim {
            Dim::Fixed(0) => return None,
            Dim::Fixed(extent) => i64::try_from(*extent).ok()?,
            Dim::Sym(_) if same == Some(dim) => {
                copies += 1;
                0
            }
            _ => {
                unknown += 1;
                -1
            }
        });
    }
    (unknown == 0 || (unknown == 1 && copies == 0)).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[&str]) -> Shape {
        let dim = |text: &&str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) if *text == "?" => Dim::Unknown,
            Err(_) => Dim::Sym((*text).into()),
        };
        Shape(dims.iter().map(dim).collect())
    }

    #[test]
    fn numbers_copies_and_one_remainder() {
        let of = |before: &[&str], after: &[&str]| target_of(Some(&shape(before)), &shape(after));
        assert_eq!(of(&["b", "s", "384"], &["b", "s", "12", "32"]), Some(vec![0, 0, 12, 32]));
        assert_eq!(of(&["b", "8"], &["?", "4"]), Some(vec![-1, 4]));
        assert_eq!(of(&["b", "s", "8"], &["s", "b", "8"]), None);
        assert_eq!(of(&["b", "s", "8"], &["b", "?", "4"]), None);
        assert_eq!(of(&["b", "8"], &["0", "?"]), None);
    }
}
