//! Which values of a graph are quantized, and which of them share their parameters.
//!
//! Runtimes compute an operator in integers where its inputs come from DequantizeLinear and its output goes to
//! QuantizeLinear. Starting from the kernels, the plan grows over what lies between them:
//!
//! - the input of each kernel is quantized, and the output of each Conv, behind a Relu that is merged into it;
//! - operators that only move elements stay in integers where what they write is quantized, with the parameters of what
//!   they read; MaxPool does behind a kernel, alone it would be slower than in float;
//! - Concat does with one set of parameters for all it joins and writes: with several it would be slower than in float;
//! - Add of two quantized values, and global pooling, do where integer operators write what they read, or what they write
//!   is quantized.

use std::collections::{BTreeMap, BTreeSet};

use super::kernel::{Kernel, Tail, tail};
use crate::ir::{DType, Graph, NodeId, ValueId};

/// Operators that move elements and keep them as they are.
const MOVERS: &[&str] =
    &["Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "MaxPool", "Resize"];

/// What is quantized.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) kernels: Vec<Kernel>,
    /// Operators without weights that compute in integers.
    pub(super) integer_nodes: BTreeSet<NodeId>,
    /// The quantized values, each with the value whose parameters it shares.
    pub(super) values: BTreeMap<ValueId, ValueId>,
    /// Values whose ranges the parameters they share have to cover, besides those that parameters are named after.
    pub(super) joined: BTreeSet<ValueId>,
    /// Values that an operator in integers writes: everybody reads them dequantized.
    pub(super) written_by_integers: BTreeSet<ValueId>,
    /// Upper bounds that parameters must not exceed, by value that gives them.
    pub(super) bounds: BTreeMap<ValueId, f32>,
}

impl Plan {
    /// Whether an operator only moves the elements of its first input.
    pub(super) fn moves(&self, graph: &Graph, node: NodeId) -> bool {
        self.integer_nodes.contains(&node) && graph.node(node).is_any(MOVERS)
    }

    /// The values that are integers, or can be handed on as such: what integer operators write, and what only moves it.
    pub(super) fn integers(&self, graph: &Graph, order: &[NodeId]) -> BTreeSet<ValueId> {
        let mut found = self.written_by_integers.clone();
        for &node in order {
            let moves = graph.node(node).is_any(MOVERS) && !graph.node(node).is("MaxPool");
            if moves && graph.input(node, 0).is_some_and(|input| found.contains(&input)) {
                found.extend(graph.node_outputs(node).into_iter().flatten());
            }
        }
        found
    }

    /// Values whose ranges have to be known, each with the one whose parameters they go into.
    pub(super) fn sources(&self) -> BTreeMap<ValueId, ValueId> {
        let measured = self.values.values().chain(&self.joined);
        measured.filter_map(|value| Some((*value, self.values.get(value).copied()?))).collect()
    }
}

/// Plans the quantization of a graph around kernels; `order` is topological.
///
/// What feeds kernels with outliers is quantized for them alone, and what they write is float.
pub(super) fn plan(graph: &Graph, order: &[NodeId], kernels: Vec<Kernel>, barred: &BTreeSet<ValueId>) -> Plan {
    let split = kernels.iter().filter(|kernel| kernel.is_split()).map(|kernel| kernel.input).collect();
    let mut builder = Builder { graph, barred, split, plan: Plan::default(), outputs: BTreeMap::new() };
    for kernel in &kernels {
        builder.quantize(kernel.input);
        if kernel.is_split() {
            continue;
        }
        if kernel.needs_quantized_output {
            builder.quantize(kernel.tail.value);
        }
        builder.outputs.insert(kernel.tail.value, kernel.tail);
    }
    loop {
        // Backwards first: what a kernel reads decides about the operators in front of it. Concat waits for what is in
        // front of it: that tells which parameters can be shared.
        let backwards = order.iter().rev().filter(|&&node| !graph.node(node).is("Concat"));
        let grew = backwards.chain(order).filter(|&&node| builder.visit(node)).count() > 0;
        if !grew {
            break;
        }
    }
    builder.finish(kernels)
}

struct Builder<'a> {
    graph: &'a Graph,
    barred: &'a BTreeSet<ValueId>,
    /// Inputs of kernels with outliers.
    split: BTreeSet<ValueId>,
    plan: Plan,
    /// What kernels and integer operators may write, quantized or not.
    outputs: BTreeMap<ValueId, Tail>,
}

impl Builder<'_> {
    fn is_quantized(&self, value: ValueId) -> bool {
        self.plan.values.contains_key(&value)
    }

    /// Quantizes a value, with parameters of its own unless it has some.
    fn quantize(&mut self, value: ValueId) {
        self.plan.values.entry(value).or_insert(value);
    }

    fn may_quantize(&self, value: ValueId) -> bool {
        let dtype = self.graph.value(value).dtype();
        dtype.is_none_or(|dtype| dtype == DType::F32)
            && !self.barred.contains(&value)
            && self.graph.constant(value).is_none()
    }

    /// Whether to quantize what only floats read: not what the model returns, which would lose accuracy for nothing.
    fn is_worth(&self, value: ValueId) -> bool {
        self.may_quantize(value) && !self.graph.value(value).is_output()
    }

    /// Lets an operator take part where it can; says whether the plan grew.
    fn visit(&mut self, node: NodeId) -> bool {
        let around = self.graph.node_inputs(node).into_iter().chain(self.graph.node_outputs(node));
        if self.plan.integer_nodes.contains(&node) || around.flatten().any(|value| self.split.contains(&value)) {
            return false;
        }
        let held = self.graph.node(node);
        let joined = match () {
            () if held.is_any(MOVERS) => self.visit_mover(node),
            () if held.is("Concat") => self.visit_concat(node),
            () if held.is("Add") => self.visit_add(node),
            () if held.is("GlobalAveragePool") => self.visit_pool(node),
            () => None,
        };
        if joined.is_some() {
            self.plan.integer_nodes.insert(node);
        }
        joined.is_some()
    }

    fn visit_mover(&mut self, node: NodeId) -> Option<()> {
        let held = self.graph.node(node);
        let input = self.graph.input(node, 0)?;
        let outputs: Vec<ValueId> = self.graph.node_outputs(node).into_iter().flatten().collect();
        if held.is("MaxPool") {
            // A second output, the indices, is not made of the same elements.
            if outputs.len() != 1 || !self.is_quantized(input) || !self.outputs.contains_key(&input) {
                return None;
            }
        } else if !outputs.iter().any(|&output| self.is_quantized(output))
            || !(self.is_quantized(input) || self.may_quantize(input))
            || (held.is("Resize") && held.attr_str("mode", "nearest") != "nearest")
        {
            return None;
        }
        self.quantize(input);
        for output in outputs {
            self.share(input, output);
        }
        Some(())
    }

    fn visit_concat(&mut self, node: NodeId) -> Option<()> {
        let inputs: Vec<ValueId> = self.graph.node_inputs(node).into_iter().flatten().collect();
        let output = self.graph.output(node, 0)?;
        if !self.is_quantized(output) || !inputs.iter().all(|&input| self.is_quantized(input)) {
            return None;
        }
        // A range that covers negative values, or more than the bound of a Clip, would undo what is merged into another.
        let (first, rest) = inputs.split_first()?;
        if rest.iter().any(|value| self.bound(*value) != self.bound(*first)) {
            return None;
        }
        let source = self.source(*first);
        for &other in rest {
            let old = self.source(other);
            if old != source {
                self.share(*first, other);
                self.plan.joined.insert(old);
            }
        }
        self.share(*first, output);
        Some(())
    }

    fn visit_add(&mut self, node: NodeId) -> Option<()> {
        let (left, right) = (self.graph.input(node, 0)?, self.graph.input(node, 1)?);
        let tail = tail(self.graph, node)?;
        let are_integers = self.is_quantized(left) && self.is_quantized(right);
        let both_written = self.outputs.contains_key(&left) && self.outputs.contains_key(&right);
        let is_wanted = self.is_quantized(tail.value) || (both_written && self.is_worth(tail.value));
        if !(are_integers && is_wanted) {
            return None;
        }
        self.quantize(tail.value);
        self.outputs.insert(tail.value, tail);
        Some(())
    }

    fn visit_pool(&mut self, node: NodeId) -> Option<()> {
        let (input, output) = (self.graph.input(node, 0)?, self.graph.output(node, 0)?);
        let comes_from_integers =
            self.is_quantized(input) && self.outputs.contains_key(&input) && self.is_worth(output);
        let goes_to_integers = self.is_quantized(output) && self.may_quantize(input);
        if !(comes_from_integers || goes_to_integers) {
            return None;
        }
        self.quantize(input);
        self.quantize(output);
        self.outputs.insert(output, Tail { value: output, bound: None });
        Some(())
    }

    /// Gives a value, and all that share with it, the parameters of another.
    fn share(&mut self, from: ValueId, to: ValueId) {
        self.quantize(to);
        let (source, old) = (self.source(from), self.source(to));
        self.plan.values.insert(old, source);
    }

    /// The value that gives a value its parameters. Until the plan is finished, `values` leads to it in steps, of which
    /// every second is dropped on the way.
    fn source(&mut self, mut value: ValueId) -> ValueId {
        let next = |values: &BTreeMap<ValueId, ValueId>, value: ValueId| values.get(&value).copied().unwrap_or(value);
        loop {
            let step = next(&self.plan.values, value);
            if step == value {
                return value;
            }
            let beyond = next(&self.plan.values, step);
            self.plan.values.insert(value, beyond);
            value = beyond;
        }
    }

    /// The bound of the Relu or Clip that is merged into the operator a value has its parameters from.
    fn bound(&mut self, value: ValueId) -> Option<f32> {
        let source = self.source(value);
        self.outputs.get(&source).and_then(|tail| tail.bound)
    }

    fn finish(mut self, kernels: Vec<Kernel>) -> Plan {
        let movers = self.plan.integer_nodes.iter().flat_map(|&node| self.graph.node_outputs(node)).flatten();
        let written: BTreeSet<ValueId> = movers.chain(self.outputs.keys().copied()).collect();
        self.plan.written_by_integers = written.into_iter().filter(|&value| self.is_quantized(value)).collect();
        for value in self.plan.values.keys().copied().collect::<Vec<_>>() {
            let source = self.source(value);
            self.plan.values.insert(value, source);
            if let Some(bound) = self.outputs.get(&value).and_then(|tail| tail.bound) {
                let tightest = self.plan.bounds.get(&source).copied().unwrap_or(bound).min(bound);
                self.plan.bounds.insert(source, tightest);
            }
        }
        self.plan.kernels = kernels;
        self.plan
    }
}
