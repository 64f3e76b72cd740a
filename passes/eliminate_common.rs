//! Computes once what several operators of a graph compute alike.
//!
//! ```text
//! a = Shape(x)                =>   a = Shape(x)
//! b = Shape(x)                     y = Gather(a, i)
//! y = Gather(a, i)                 z = Gather(a, j)
//! z = Gather(b, j)
//! ```
//!
//! Alike are operators of the same type that read the same values and have the same attributes; where the order of two
//! operands does not matter, in either order.
//!
//! Left alone are
//! 1. operators that draw random numbers or may do so, and those with graphs inside;
//! 2. operators of domains other than ONNX's own, and calls of functions;
//! 3. constants, of which `dedup-initializers` takes care;
//! 4. operators of which an output is an output of the graph, as is that of its twin: both names are promised.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use crate::error::{Result, Site};
use crate::ir::{Attribute, Graph, Model, NodeId, ValueId};
use crate::opset;
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope, tally};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "eliminate-common",
    summary: "computes once what several operators compute alike",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// Operators that give the same bits with their two operands exchanged.
const COMMUTATIVE: &[&str] = &["Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"];

/// Operators that are left alone though their definition does not call them random.
const LEFT_ALONE: &[&str] = &["Constant", "Dropout"];

#[derive(Debug)]
struct EliminateCommon;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(EliminateCommon))
}

impl Pass for EliminateCommon {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_versioned_graphs(|graph, path, version| {
            cx.enter(path);
            changed |= merge(graph, version, cx)?;
            Ok(())
        })?;
        Ok(changed)
    }
}

/// Merges the twins of one graph. Each comes after what it reads, so that what merging makes equal is seen in one sweep.
fn merge(graph: &mut Graph, version: i64, cx: &mut Cx<'_>) -> Result<Changed> {
    let mut first: HashMap<Work, NodeId> = HashMap::new();
    let mut merged: BTreeMap<String, usize> = BTreeMap::new();
    for node in graph.topological_order()? {
        let Some(work) = Work::of(graph, node, version) else { continue };
        let Some(&twin) = first.get(&work) else {
            first.insert(work, node);
            continue;
        };
        if let Err(reason) = replace(graph, node, twin)? {
            cx.skipped(graph.site(node), reason);
            continue;
        }
        *merged.entry(work.op_type).or_default() += 1;
    }
    if let Some((text, total)) = tally(&merged) {
        cx.measured(Site::default(), format!("merged {text} with equal ones"), &[("operators", total as f64)]);
    }
    Ok(Changed::from(!merged.is_empty()))
}

/// Lets everything that reads an operator read its twin, and removes it.
fn replace(graph: &mut Graph, node: NodeId, twin: NodeId) -> Result<Result<(), &'static str>> {
    let (outputs, twins) = (graph.node_outputs(node), graph.node_outputs(twin));
    let pairs: Vec<(ValueId, Option<ValueId>)> = outputs
        .into_iter()
        .enumerate()
        .filter_map(|(slot, output)| Some((output?, twins.get(slot).copied().flatten())))
        .collect();
    let promised = |value: ValueId| graph.value(value).is_output() || graph.value(value).is_pinned();
    for &(output, twin) in &pairs {
        match twin {
            None => return Ok(Err("its twin does not write all that it writes")),
            Some(twin) if promised(output) && promised(twin) => {
                return Ok(Err("its name and that of its twin are both promised"));
            }
            Some(_) if graph.value(output).is_pinned() => {
                return Ok(Err("other parts of the file refer to its output by name"));
            }
            Some(_) => {}
        }
    }
    for (output, twin) in pairs {
        let Some(twin) = twin else { continue };
        let names_an_output = graph.value(output).is_output();
        if let Err(reason) = graph.replace_value(output, twin)? {
            return Ok(Err(reason));
        }
        if names_an_output {
            graph.drop_value_info(twin)?;
        }
    }
    graph.remove_node(node)?;
    Ok(Ok(()))
}

/// What an operator does, so that equal work gives equal bits.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Work {
    op_type: String,
    domain: String,
    inputs: Vec<Option<ValueId>>,
    attributes: Vec<Vec<u8>>,
}

impl Work {
    /// `None` for operators that are left alone.
    fn of(graph: &Graph, node: NodeId, version: i64) -> Option<Self> {
        let held = graph.node(node);
        // Only the default domain has one version per graph; that of others does not matter for what is asked here.
        let version = if held.domain().is_empty() { version } else { i64::MAX };
        let is_known = held.domain().is_empty() || held.domain().starts_with("ai.onnx");
        let schema = opset::schema(held.domain(), held.op_type(), version).filter(|_| is_known)?;
        if schema.nondeterministic || !held.subgraphs().is_empty() || held.is_any(LEFT_ALONE) {
            return None;
        }
        let mut inputs = graph.node_inputs(node);
        if held.is_any(COMMUTATIVE) {
            inputs.sort_unstable();
        }
        let mut attributes: Vec<Vec<u8>> = held.attributes().iter().map(bits_of).collect();
        attributes.sort_unstable();
        Some(Self { op_type: held.op_type().to_owned(), domain: held.domain().to_owned(), inputs, attributes })
    }
}

/// An attribute as bytes: its message, and the tensors that lie beside it.
fn bits_of(attribute: &Attribute) -> Vec<u8> {
    let mut bits = attribute.proto().encode_to_vec();
    for tensor in attribute.tensors() {
        bits.extend_from_slice(tensor.type_text().as_bytes());
        bits.extend_from_slice(tensor.data());
        bits.extend(
            tensor
                .strings()
                .into_iter()
                .flatten()
                .flat_map(|text| [text.len().to_le_bytes().as_slice(), text].concat()),
        );
    }
    bits
}
