//! The trunk of a network: the values that everything on the way to the outputs flows through, and the stretches of it
//! that lead from one value to another of the same type.
//!
//! ```text
//! u ─┬─ f ─┐
//!    └──── Add ─ v        a residual block: v takes in all that u leads to, and has u's type
//! ```
//!
//! Which value everything from `u` flows through next is the immediate post-dominator of `u` (Cooper, Harvey, Kennedy
//! 2001, "A Simple, Fast Dominance Algorithm"). A layer is what repeats: one block in a residual net, attention and
//! feed-forward block together in a transformer, with the normalization behind them where there is one.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::dominators::simple_fast;
use petgraph::graph::DiGraph;

use crate::error::Result;
use crate::infer::{Fact, GraphFacts};
use crate::ir::{Graph, NodeId, ValueId};

/// What makes a stretch a layer rather than an activation function that is written out.
const LEARNT: &[&str] = &[
    "Attention",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Einsum",
    "GRU",
    "Gemm",
    "LSTM",
    "MatMul",
    "MatMulInteger",
    "MatMulNBits",
    "MultiHeadAttention",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
];

/// What reads a value for its type alone: a value of the same type does as well.
const TYPE_READERS: &[&str] = &["Shape", "Size"];

/// The most blocks that a repeating layer is looked for in.
const LONGEST_PERIOD: usize = 4;

/// The most values between two blocks.
const LONGEST_GAP: usize = 64;

/// What can be removed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// One residual block.
    Block,
    /// As many blocks as repeat together.
    Layer,
}

/// A stretch of the trunk between two values of the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: ValueId,
    pub(super) end: ValueId,
    /// What goes with it, in topological order.
    pub(super) operators: Vec<NodeId>,
    /// The number of weights among these.
    pub(super) parameters: u64,
}

/// The order of a graph, and where its values lead.
pub(super) struct Trunk<'g> {
    graph: &'g Graph,
    facts: &'g GraphFacts,
    place: BTreeMap<NodeId, usize>,
    /// The value that everything from a value flows through next.
    next: BTreeMap<ValueId, ValueId>,
}

impl<'g> Trunk<'g> {
    /// Follows the values of a graph.
    ///
    /// # Errors
    /// Fails on a graph with a cycle.
    pub(super) fn new(graph: &'g Graph, facts: &'g GraphFacts) -> Result<Self> {
        let place = graph.topological_order()?.into_iter().enumerate().map(|(place, node)| (node, place)).collect();
        Ok(Self { graph, facts, place, next: post_dominators(graph) })
    }

    /// The stretches that can be removed, in topological order.
    pub(super) fn stretches(&self, unit: Unit) -> Vec<Stretch> {
        let blocks = self.blocks();
        let found = match unit {
            Unit::Block => blocks,
            Unit::Layer => self.chains(blocks).iter().flat_map(|chain| self.layers(chain)).collect(),
        };
        let mut found: Vec<Stretch> = found.into_iter().filter(|stretch| self.same_type(stretch)).collect();
        found.sort_by_key(|stretch| self.place_of(stretch.end));
        found
    }

    /// The stretch from a value to a later one that everything from it flows through, where both have one type.
    pub(super) fn stretch(&self, start: ValueId, end: ValueId) -> Option<Stretch> {
        self.path(start, end)?;
        let operators = self.between(start, end);
        let parameters = self.parameters(&operators);
        let stretch = Stretch { start, end, operators, parameters };
        (self.same_type(&stretch) && !self.is_kept(&stretch)).then_some(stretch)
    }

    /// Whether anything in a stretch, or its end, must stay.
    fn is_kept(&self, stretch: &Stretch) -> bool {
        let graph = self.graph;
        stretch.operators.iter().any(|&node| {
            let mut written = graph.node_outputs(node).into_iter().flatten();
            graph.node(node).is_kept() || written.any(|value| graph.value(value).is_pinned())
        })
    }

    /// Residual blocks, in topological order.
    fn blocks(&self) -> Vec<Stretch> {
        let mut blocks: Vec<Stretch> = self.next.iter().filter_map(|(&start, &end)| self.block(start, end)).collect();
        blocks.sort_by_key(|block| self.place_of(block.end));
        blocks
    }

    fn block(&self, start: ValueId, end: ValueId) -> Option<Stretch> {
        let graph = self.graph;
        let (join, _) = graph.producer(end)?;
        let branches = graph.use_count(start) > 1 && graph.constant(start).is_none();
        if !branches || !graph.node(join).is_any(&["Add", "Sum"]) {
            return None;
        }
        let block = self.stretch(start, end)?;
        block.operators.iter().any(|&node| LEARNT.contains(&graph.node(node).op_type())).then_some(block)
    }

    /// Blocks that follow each other on the trunk.
    fn chains(&self, blocks: Vec<Stretch>) -> Vec<Vec<Stretch>> {
        let by_start: BTreeMap<ValueId, usize> =
            blocks.iter().enumerate().map(|(index, block)| (block.start, index)).collect();
        let followers: Vec<Option<usize>> =
            blocks.iter().map(|block| self.onward(block.end).find_map(|value| by_start.get(&value).copied())).collect();
        let mut leads: BTreeSet<usize> = (0..blocks.len()).collect();
        followers.iter().flatten().for_each(|follower| {
            leads.remove(follower);
        });
        let chain = |lead: usize| std::iter::successors(Some(lead), |&at| followers[at]).map(|at| blocks[at].clone());
        leads.into_iter().map(|lead| chain(lead).collect()).collect()
    }

    /// The layers of a chain of blocks: of so many blocks as repeat best.
    fn layers(&self, chain: &[Stretch]) -> Vec<Stretch> {
        let kinds: Vec<Vec<String>> = chain.iter().map(|block| self.kinds(&block.operators)).collect();
        let repeats = |period: usize| -> Vec<usize> {
            (0..chain.len() - period).filter(|&at| kinds[at] == kinds[at + period]).collect()
        };
        let periods = 1..=LONGEST_PERIOD.min(chain.len() / 2);
        let counted = periods.map(|period| (repeats(period).len(), period));
        let best = counted.max_by_key(|&(count, period)| (count, usize::MAX - period));
        let period = best.filter(|(count, _)| *count > 0).map_or(1, |(_, period)| period);
        let starts: Vec<usize> = match period {
            1 => (0..chain.len()).collect(),
            _ => {
                let repeated: BTreeSet<usize> = repeats(period).into_iter().flat_map(|at| [at, at + period]).collect();
                let first = repeated.iter().next().copied().unwrap_or(0);
                repeated.into_iter().filter(|at| (at - first) % period == 0).collect()
            }
        };
        let starts: Vec<usize> = starts.into_iter().filter(|at| at + period <= chain.len()).collect();
        let tail = self.usual_gap(chain, &starts, period);
        let layer = |&at: &usize| {
            let last = chain[at + period - 1].end;
            let advanced = self.advance(last, &tail);
            self.stretch(chain[at].start, advanced).or_else(|| self.stretch(chain[at].start, last))
        };
        starts.iter().filter_map(layer).collect()
    }

    /// The operators that most often lie between one layer and the next.
    fn usual_gap(&self, chain: &[Stretch], starts: &[usize], period: usize) -> Vec<String> {
        let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for at in starts {
            if let (Some(last), Some(next)) = (chain.get(at + period - 1), chain.get(at + period)) {
                let gap = self.path(last.end, next.start).unwrap_or_default();
                *counts.entry(gap.into_iter().map(|value| self.kind_of(value)).collect()).or_default() += 1;
            }
        }
        counts
            .into_iter()
            .max_by_key(|(gap, count)| (*count, usize::MAX - gap.len()))
            .map_or_else(Vec::new, |(gap, _)| gap)
    }

    /// The value behind those operators; the same value where others follow.
    fn advance(&self, value: ValueId, operators: &[String]) -> ValueId {
        let passed: Vec<ValueId> = self.onward(value).skip(1).take(operators.len()).collect();
        let is_same = passed.len() == operators.len()
            && passed.iter().zip(operators).all(|(&value, kind)| self.kind_of(value) == *kind);
        if is_same { passed.last().copied().unwrap_or(value) } else { value }
    }

    /// The values from behind `from` up to `to`, where everything flows through that.
    fn path(&self, from: ValueId, to: ValueId) -> Option<Vec<ValueId>> {
        let mut path = Vec::new();
        let mut value = from;
        while value != to {
            value = *self.next.get(&value)?;
            path.push(value);
        }
        Some(path)
    }

    /// A value and those that everything from it flows through after it.
    fn onward(&self, value: ValueId) -> impl Iterator<Item = ValueId> + '_ {
        std::iter::successors(Some(value), |value| self.next.get(value).copied()).take(LONGEST_GAP)
    }

    fn kind_of(&self, value: ValueId) -> String {
        let producer = self.graph.producer(value).map(|(node, _)| node);
        self.kinds(producer.as_slice()).concat()
    }

    /// What tells operators of one sort from those of another: their type, and the types of their weights.
    fn kinds(&self, operators: &[NodeId]) -> Vec<String> {
        let kind = |&node: &NodeId| {
            let inputs = self.graph.node_inputs(node).into_iter().flatten();
            let weights = inputs.filter_map(|input| self.graph.constant(input)).filter(|tensor| tensor.rank() > 0);
            weights.fold(self.graph.node(node).op_type().to_owned(), |kind, tensor| kind + " " + &tensor.type_text())
        };
        operators.iter().map(kind).collect()
    }

    /// The operators that are reached from `start` without going through `end`, which all lead there.
    fn between(&self, start: ValueId, end: ValueId) -> Vec<NodeId> {
        let mut found: BTreeSet<(usize, NodeId)> = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(value) = waiting.pop() {
            for reading in self.graph.uses(value) {
                let place = self.place.get(&reading.node).copied().unwrap_or(0);
                let reads_a_type = self.graph.node(reading.node).is_any(TYPE_READERS);
                if !reads_a_type && found.insert((place, reading.node)) {
                    let written = self.graph.node_outputs(reading.node).into_iter().flatten();
                    waiting.extend(written.filter(|&value| value != end));
                }
            }
        }
        found.into_iter().map(|(_, node)| node).collect()
    }

    fn parameters(&self, operators: &[NodeId]) -> u64 {
        let read = operators.iter().flat_map(|&node| self.graph.node_inputs(node)).flatten();
        let values: BTreeSet<ValueId> = read.collect();
        values.into_iter().filter_map(|value| self.graph.constant(value)).map(|tensor| tensor.len() as u64).sum()
    }

    /// Whether start and end have the same type for certain.
    fn same_type(&self, stretch: &Stretch) -> bool {
        let fact = |value| self.facts.get(value).filter(|fact| is_known(fact));
        match (fact(stretch.start), fact(stretch.end)) {
            (Some(start), Some(end)) => start.dtype == end.dtype && start.shape == end.shape,
            _ => false,
        }
    }

    fn place_of(&self, value: ValueId) -> usize {
        self.graph.producer(value).and_then(|(node, _)| self.place.get(&node).copied()).unwrap_or(0)
    }
}

fn is_known(fact: &Fact) -> bool {
    let is_float = fact.dtype.is_some_and(crate::ir::DType::is_float);
    is_float && fact.shape.as_ref().is_some_and(|shape| shape.iter().all(Option::is_some))
}

/// For each value that an output depends on, the next one that every way from it to the outputs goes through.
fn post_dominators(graph: &Graph) -> BTreeMap<ValueId, ValueId> {
    let mut reversed: DiGraph<Option<ValueId>, ()> = DiGraph::new();
    let sink = reversed.add_node(None);
    let at: BTreeMap<ValueId, _> =
        graph.values().into_iter().map(|value| (value, reversed.add_node(Some(value)))).collect();
    for output in graph.outputs() {
        reversed.add_edge(sink, at[&output], ());
    }
    for node in graph.nodes() {
        let operator = reversed.add_node(None);
        for output in graph.node_outputs(node).into_iter().flatten() {
            reversed.add_edge(at[&output], operator, ());
        }
        // Only the type of what these read matters, and that stays.
        let reads_a_type = graph.node(node).is_any(TYPE_READERS);
        let read = graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node));
        read.filter(|_| !reads_a_type).for_each(|input| {
            reversed.add_edge(operator, at[&input], ());
        });
    }
    let dominators = simple_fast(&reversed, sink);
    let next = |value: &ValueId| {
        let mut vertex = dominators.immediate_dominator(at[value])?;
        loop {
            if let Some(next) = reversed[vertex] {
                return Some((*value, next));
            }
            vertex = dominators.immediate_dominator(vertex)?;
        }
    };
    at.keys().filter_map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer;
    use crate::ir::text;

    /// The ends of the stretches of a graph.
    fn ends(body: &str, unit: Unit) -> Vec<String> {
        let source = format!(
            "<ir_version: 8, opset_import: [\"\" : 17]> g (float[N,4] x) => (float[N,4] y) \
             <float[4,4] w = rand(1), float[4,4] v = rand(2), float[4] s = rand(3)> {{ {body} }}"
        );
        let model = text::parse(&source).unwrap();
        let facts = infer::infer(&model).unwrap();
        let trunk = Trunk::new(&model.graph, facts.main()).unwrap();
        trunk.stretches(unit).iter().map(|stretch| model.graph.value(stretch.end).name().to_owned()).collect()
    }

    #[test]
    fn residual_blocks_are_found_and_what_is_written_out_is_not() {
        let body = "a = MatMul(x, w) b = Add(a, x) t = Tanh(b) c = Add(b, t) d = MatMul(c, v) y = Add(c, d)";
        assert_eq!(ends(body, Unit::Block), ["b", "y"]);
    }

    #[test]
    fn a_branch_that_leaves_the_block_makes_it_no_block() {
        let body = "a = MatMul(x, w) b = Add(a, x) c = Mul(a, s) y = Add(b, c)";
        assert_eq!(ends(body, Unit::Block), ["y"]);
    }

    #[test]
    fn blocks_that_repeat_together_are_a_layer() {
        let layer = |from: &str, to: &str| {
            format!(
                "{to}a = MatMul({from}, w) {to}b = Add({to}a, {from}) {to}n = Mul({to}b, s) \
                 {to}c = MatMul({to}n, v) {to}d = Relu({to}c) {to}e = Add({to}n, {to}d) {to} = Mul({to}e, s) "
            )
        };
        let body = layer("x", "p") + &layer("p", "q") + &layer("q", "y");
        assert_eq!(ends(&body, Unit::Block), ["pb", "pe", "qb", "qe", "yb", "ye"]);
        assert_eq!(ends(&body, Unit::Layer), ["p", "q", "y"]);
    }
}
