//! Visits every operator of a graph and of the graphs inside it, and takes each from definition to definition.

use std::collections::BTreeMap;

use super::known::{Facts, Outer};
use super::spot::{Constants, Spot};
use super::steps::{self, Step};
use crate::error::{Error, Result, Site};
use crate::ir::{Graph, NodeId};
use crate::opset::table::versions;

/// Where a graph lies, which decides how constants are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The main graph: initializers.
    MainGraph,
    /// A graph in an attribute, or the body of a function, which can have no initializers: `Constant` nodes.
    Inner,
}

/// Raises a graph of the main model or of a function with everything inside it, and counts what changed by operator.
pub(super) fn raise(
    graph: &mut Graph,
    path: &[String],
    place: Place,
    range: (i64, i64),
    adapted: &mut BTreeMap<String, usize>,
) -> Result<()> {
    raise_below(graph, &mut path.to_vec(), place, range, &Outer::default(), adapted)
}

fn raise_below(
    graph: &mut Graph,
    path: &mut Vec<String>,
    place: Place,
    (from, to): (i64, i64),
    outer: &Outer,
    adapted: &mut BTreeMap<String, usize>,
) -> Result<()> {
    let facts = Facts::of(graph, from, outer).map_err(|e| e.or_at(|| Site::default().in_path(path)))?;
    for node in graph.nodes() {
        let held = graph.node(node);
        if held.domain().is_empty() && versions("", held.op_type()).len() == 0 {
            return Err(unknown_operator(graph, node, path, from));
        }
        if held.subgraphs().is_empty() {
            continue;
        }
        let around = facts.captured(graph, node);
        let label = format!("{} `{}`", held.op_type(), graph.node_label(node));
        graph.edit_subgraphs(node, |subgraphs| {
            subgraphs.iter_mut().try_for_each(|subgraph| {
                path.push(format!("{label}.{}", subgraph.attribute));
                let result = raise_below(&mut subgraph.graph, path, Place::Inner, (from, to), &around, adapted);
                path.pop();
                result
            })
        })?;
    }
    let mut constants = Constants::new(place);
    // By what they were first: a node may change in several versions, and its kind with it.
    let mut changed: BTreeMap<NodeId, String> = BTreeMap::new();
    for version in from + 1..=to {
        for node in graph.nodes() {
            let held = graph.node(node);
            let Some(step) = held.domain().is_empty().then(|| steps::at(held.op_type(), version)).flatten() else {
                continue;
            };
            let op_type = held.op_type().to_owned();
            let mut spot = Spot { graph, node, version, target: to, path, facts: &facts, constants: &mut constants };
            match step {
                Step::Same => {}
                Step::Adapt(adapt) => {
                    if adapt(&mut spot)? {
                        changed.entry(node).or_insert(op_type);
                    }
                }
                Step::Refuse(reason) => return Err(spot.refuse(reason)),
                Step::Missing => return Err(spot.refuse("onnx-shrink does not know what changed in this version")),
            }
        }
    }
    for op_type in changed.into_values() {
        *adapted.entry(op_type).or_default() += 1;
    }
    Ok(())
}

fn unknown_operator(graph: &Graph, node: NodeId, path: &[String], version: i64) -> Error {
    Error::unsupported(format!("`{}` is no operator of ONNX", graph.node(node).op_type()))
        .at(graph.site(node).in_path(path))
        .expected(format!("operators that opset {version} defines, whose changes in later ones are known"))
        .help("keep the operator set of this model, or export it again with a newer one")
}
