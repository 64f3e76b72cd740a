//! Keeps one of several constants with equal type, shape and bits.
//!
//! ```text
//! < float[2] a = {1, 2}, float[2] b = {1, 2} >        < float[2] a = {1, 2} >
//! y = Add(x, a)                                 =>    y = Add(x, a)
//! z = Mul(y, b)                                       z = Mul(y, a)
//! ```
//!
//! Constants are initializers and what `Constant` nodes yield. An inner graph reads the constant of an enclosing graph
//! where that saves at least [`MIN_SHARED_BYTES`]; a small copy stays, since a runtime may want it close.
//!
//! Left alone are
//! 1. initializers that are inputs: a caller may replace them;
//! 2. those that are outputs of the graph, whose names are promised;
//! 3. those that parts of the file besides operators name.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Result, Site};
use crate::ir::{DType, Graph, Model, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope, counted};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "dedup-initializers",
    summary: "keeps one of several constants with equal type, shape and bits",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// The smallest constant that an inner graph reads from an enclosing one instead of keeping its own copy.
const MIN_SHARED_BYTES: u64 = 256;

#[derive(Debug)]
struct DedupInitializers;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(DedupInitializers))
}

impl Pass for DedupInitializers {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        for (root, graph) in model.roots_mut() {
            let mut enclosing: Vec<BTreeMap<Contents, String>> = Vec::new();
            graph.edit_outer_first(&root, |graph, path| {
                cx.enter(path);
                enclosing.truncate(path.len() - root.len());
                let (kept, merged) = merge(graph, &enclosing, cx)?;
                enclosing.push(kept);
                changed |= merged;
                Ok(())
            })?;
        }
        Ok(changed)
    }
}

/// Merges the constants of one graph. Returns those that inner graphs may read, and whether anything changed.
fn merge(
    graph: &mut Graph,
    enclosing: &[BTreeMap<Contents, String>],
    cx: &mut Cx<'_>,
) -> Result<(BTreeMap<Contents, String>, Changed)> {
    let mut first: BTreeMap<Contents, ValueId> = BTreeMap::new();
    let (mut count, mut saved_bytes) = (0, 0);
    for (value, tensor) in constants(graph) {
        let size = tensor.byte_len();
        let contents = Contents::of(&tensor);
        let outer = enclosing.iter().find_map(|known| known.get(&contents)).filter(|_| size >= MIN_SHARED_BYTES);
        let twin = match (outer, first.get(&contents)) {
            (None, None) => {
                first.insert(contents, value);
                continue;
            }
            _ if graph.value(value).is_output() => {
                cx.skipped(graph.value_site(value), "a copy of another constant, but an output of the graph");
                continue;
            }
            (Some(name), _) => graph.capture_outer(name)?,
            (None, Some(&twin)) => twin,
        };
        graph.replace_reads(value, twin)?;
        graph.remove_unread_constant(value)?;
        count += 1;
        saved_bytes += size;
    }
    if count > 0 {
        cx.measured(
            Site::default(),
            format!("merged {} into equal ones, {saved_bytes} bytes", counted(count, "constant")),
            &[("constants", count as f64), ("saved_bytes", saved_bytes as f64)],
        );
    }
    let kept = first.into_iter().map(|(contents, value)| (contents, graph.value(value).name().to_owned())).collect();
    Ok((kept, Changed::from(count > 0)))
}

/// The constants of a graph that may be merged, initializers first.
fn constants(graph: &Graph) -> Vec<(ValueId, Tensor)> {
    let yielded = graph.nodes().into_iter().filter(|&node| graph.node(node).is("Constant"));
    let yielded: Vec<ValueId> = yielded.filter_map(|node| graph.output(node, 0)).collect();
    let values = graph.initializers().into_iter().chain(yielded);
    values.filter_map(|value| Some((value, graph.constant(value)?))).collect()
}

/// What makes constants equal. Comparing stops at the first byte that differs, so that in a map only copies are read to
/// the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Contents {
    dtype: DType,
    shape: Vec<u64>,
    data: Bytes,
    strings: Option<Vec<Bytes>>,
}

impl Contents {
    fn of(tensor: &Tensor) -> Self {
        Self {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data: tensor.data().clone(),
            strings: tensor.strings().map(<[Bytes]>::to_vec),
        }
    }
}
