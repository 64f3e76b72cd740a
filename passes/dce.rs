//! Removes what no result depends on: operators, initializers, functions, optional outputs.
//!
//! ```text
//! y, mask = Dropout(x)        =>   y = Dropout(x)
//! dead = Relu(y)
//! ```
//!
//! Works in every graph, inner graphs first, so that what only dead inner operators read goes as well.
//!
//! Left alone are
//! 1. inputs of a graph, with and without a default: they belong to the signature;
//! 2. values that training information, quantization annotations or sharding name;
//! 3. operators without any output: they can only be there for what they do;
//! 4. outputs that the operator's definition does not let be absent, and those of BatchNormalization, whose number
//!    chooses between training and inference in older operator sets;
//! 5. functions of a model with training information, which may call them.
//!
//! ONNX operators have no side effects. A removed random operator without a `seed` may change what the others draw,
//! which such a model leaves open anyway.

use std::collections::BTreeSet;

use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NodeId};
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope, enumerate};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "dce",
    summary: "removes operators, initializers and functions that no output depends on",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// Output slots that may be left empty, by operator.
const OPTIONAL_OUTPUTS: &[(&str, &[usize])] = &[
    ("Dropout", &[1]),
    ("GRU", &[0, 1]),
    ("LSTM", &[0, 1, 2]),
    ("LayerNormalization", &[1, 2]),
    ("MaxPool", &[1]),
    ("RNN", &[0, 1]),
    ("SoftmaxCrossEntropyLoss", &[1]),
    ("Unique", &[1, 2, 3]),
];

#[derive(Debug)]
struct Dce;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(Dce))
}

impl Pass for Dce {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_graphs(|graph, path| {
            cx.enter(path);
            changed |= sweep(graph, cx)?;
            Ok(())
        })?;
        // A call may have been dead.
        cx.enter(&[]);
        changed |= drop_functions(model, cx);
        Ok(changed)
    }
}

/// Drops the functions that neither the main graph nor a function it calls makes use of.
fn drop_functions(model: &mut Model, cx: &mut Cx<'_>) -> Changed {
    if model.functions.is_empty() || model.has_training_info() {
        return Changed::No;
    }
    let mut called = BTreeSet::new();
    let mut unseen = vec![&model.graph];
    while let Some(graph) = unseen.pop() {
        for node in graph.nodes().into_iter().map(|id| graph.node(id)) {
            unseen.extend(node.subgraphs().iter().map(|inner| &inner.graph));
            // Several functions of one name are overloads; which one is meant does not matter here.
            let callees: Vec<_> =
                model.functions.iter().filter(|f| f.name() == node.op_type() && f.domain() == node.domain()).collect();
            if !callees.is_empty() && called.insert((node.domain().to_owned(), node.op_type().to_owned())) {
                unseen.extend(callees.into_iter().map(|function| &function.body));
            }
        }
    }
    let before = model.functions.len();
    model.functions.retain(|function| {
        let keep = called.contains(&(function.domain().to_owned(), function.name().to_owned()))
            || function.body.nodes().into_iter().any(|node| function.body.node(node).is_kept())
            || function.body.values().into_iter().any(|value| function.body.value(value).is_kept());
        if !keep {
            cx.applied(Site::default(), format!("removed function `{}`, which nothing calls", function.name()));
        }
        keep
    });
    Changed::from(model.functions.len() < before)
}

/// Removes what is dead in one graph. Readers come before what they read, so one sweep is enough.
fn sweep(graph: &mut Graph, cx: &mut Cx<'_>) -> Result<Changed> {
    let (mut operators, mut emptied, mut initializers) = (0, 0, 0);
    for node in graph.topological_order()?.into_iter().rev() {
        let outputs = graph.node_outputs(node);
        let mut written = outputs.iter().flatten().peekable();
        if written.peek().is_some() && written.all(|&output| graph.is_unread(output)) {
            graph.remove_node(node)?;
            operators += 1;
        } else {
            emptied += clear_optional_outputs(graph, node)?;
        }
    }
    for value in graph.initializers() {
        initializers += usize::from(graph.remove_unread_constant(value)?);
    }
    let removed = enumerate(&[(operators, "operator"), (initializers, "initializer"), (emptied, "optional output")]);
    let Some(removed) = removed else { return Ok(Changed::No) };
    cx.measured(
        Site::default(),
        format!("removed {removed} that nothing reads"),
        &[("operators", operators as f64), ("initializers", initializers as f64), ("outputs", emptied as f64)],
    );
    Ok(Changed::Yes)
}

fn clear_optional_outputs(graph: &mut Graph, node: NodeId) -> Result<usize> {
    let held = graph.node(node);
    let Some((_, slots)) = OPTIONAL_OUTPUTS.iter().find(|(op_type, _)| held.is(op_type)) else { return Ok(0) };
    let mut cleared = 0;
    for &slot in *slots {
        if graph.output(node, slot).is_some_and(|output| graph.is_unread(output)) {
            graph.clear_output(node, slot)?;
            cleared += 1;
        }
    }
    Ok(cleared)
}
