//! Which operators compute in 16 bits.

use std::collections::{BTreeMap, BTreeSet};

use super::super::HalfType;
use super::super::fit::{Misfit, fit};
use super::{GraphPlan, Verdict, allows, rules};
use crate::error::Site;
use crate::infer::GraphFacts;
use crate::ir::{AttrRef, DType, Graph, NodeId, Tensor, ValueId};
use crate::opset::{self, Schema};
use crate::passes::common::exclude::Exclude;

/// Of the largest number of the type, the part that values may come to on calibration data: it has not seen everything.
const MARGIN: f64 = 0.5;

/// What is the same for every graph.
pub(super) struct Surroundings<'a> {
    pub(super) opset: i64,
    pub(super) half: HalfType,
    pub(super) exclude: &'a Exclude,
    /// What the values of the main graph come to, where they were measured.
    pub(super) peaks: Option<&'a BTreeMap<ValueId, f64>>,
}

/// What is known of the numbers in a value.
#[derive(Debug, Clone, Copy, Default)]
struct Nature {
    /// They may be too large for the type.
    is_large: bool,
    /// They are sizes, positions or numbers of things, and need all of their digits.
    is_count: bool,
}

/// The natures of the 32-bit floats around a graph, by name.
type Natures = BTreeMap<String, Nature>;

/// Plans the main graph and those inside of it.
pub(super) fn decide(graph: &Graph, facts: &GraphFacts, surroundings: &Surroundings<'_>) -> GraphPlan {
    let walk = Walk { graph, facts, around: &Natures::new(), surroundings, natures: BTreeMap::new() };
    walk.run().0
}

/// An operator with a graph inside that returns a value of a graph around it.
pub(super) fn returns_outer_value(graph: &Graph) -> Option<Site> {
    graph.nodes().into_iter().find_map(|node| {
        graph.node(node).subgraphs().iter().find_map(|inner| {
            let returns = inner.graph.outputs().any(|output| inner.graph.value(output).is_outer());
            if returns { Some(graph.site(node)) } else { returns_outer_value(&inner.graph) }
        })
    })
}

struct Walk<'a> {
    graph: &'a Graph,
    facts: &'a GraphFacts,
    around: &'a Natures,
    surroundings: &'a Surroundings<'a>,
    natures: BTreeMap<ValueId, Nature>,
}

impl Walk<'_> {
    /// The plan of the graph, and what is known of its outputs.
    fn run(mut self) -> (GraphPlan, Vec<Nature>) {
        let graph = self.graph;
        let mut plan = GraphPlan {
            floats: graph.values().into_iter().filter(|&value| self.is_float(value)).collect(),
            ..GraphPlan::default()
        };
        for value in graph.values() {
            let held = graph.value(value);
            if held.is_outer()
                && let Some(nature) = self.around.get(held.name())
            {
                self.natures.insert(value, *nature);
            }
        }
        for node in graph.topological_order().unwrap_or_else(|_| graph.nodes()) {
            let inner = self.inner(node, &mut plan);
            if let Some(verdict) = self.judge(node, &plan.floats, &inner) {
                plan.verdicts.insert(node, verdict);
            }
        }
        let outputs = graph.outputs().map(|output| self.nature(output)).collect();
        (plan, outputs)
    }

    fn is_float(&self, value: ValueId) -> bool {
        if self.graph.value(value).is_outer() {
            return self.around.contains_key(self.graph.value(value).name());
        }
        let known = self.facts.get(value).and_then(|fact| fact.dtype);
        let declared = || self.graph.value(value).dtype();
        let constant = || self.graph.constant(value).map(|tensor| tensor.dtype());
        known.or_else(declared).or_else(constant) == Some(DType::F32)
    }

    fn nature(&self, value: ValueId) -> Nature {
        self.natures.get(&value).copied().unwrap_or_default()
    }

    /// Plans the graphs inside of an operator; gives what is known of their outputs.
    fn inner(&self, node: NodeId, plan: &mut GraphPlan) -> Vec<Vec<Nature>> {
        let nothing = GraphFacts::default();
        let mut around = self.around.clone();
        let subgraphs = self.graph.node(node).subgraphs();
        if !subgraphs.is_empty() {
            let named = |&value: &ValueId| (self.graph.value(value).name().to_owned(), self.nature(value));
            around.extend(plan.floats.iter().map(named));
        }
        let surroundings = Surroundings { peaks: None, ..*self.surroundings };
        let mut outputs = Vec::new();
        for (place, subgraph) in subgraphs.iter().enumerate() {
            let walk = Walk {
                graph: &subgraph.graph,
                facts: self.facts.subgraph(node, place).unwrap_or(&nothing),
                around: &around,
                surroundings: &surroundings,
                natures: BTreeMap::new(),
            };
            let (inner, natures) = walk.run();
            plan.inner.insert((node, place), inner);
            outputs.push(natures);
        }
        outputs
    }

    /// The verdict on an operator, `None` where it touches no float; learns what its outputs are.
    fn judge(&mut self, node: NodeId, floats: &BTreeSet<ValueId>, inner: &[Vec<Nature>]) -> Option<Verdict> {
        let graph = self.graph;
        let held = graph.node(node);
        if held.is("Constant") {
            return None;
        }
        let is_float = |value: &Option<ValueId>| value.is_some_and(|value| floats.contains(&value));
        let inputs = graph.node_inputs(node);
        let outputs = graph.node_outputs(node);
        if !inputs.iter().chain(&outputs).any(is_float) {
            return None;
        }
        let float_inputs: Vec<ValueId> = inputs.iter().copied().filter(|i| is_float(i)).flatten().collect();
        let computed: Vec<Nature> = float_inputs
            .iter()
            .filter(|&&value| graph.constant(value).is_none())
            .map(|&value| self.nature(value))
            .collect();
        let mut nature = Nature {
            is_large: computed.iter().any(|nature| nature.is_large) && !rules::is_bounded(held.op_type()),
            is_count: !computed.is_empty()
                && computed.iter().all(|nature| nature.is_count)
                && rules::counts_on(held.op_type()),
        };
        let verdict = if held.is_any(&["Shape", "Size"]) {
            Verdict::Either
        } else if held.is("Cast") {
            self.judge_cast(node, &mut nature)
        } else if held.is("If") {
            nature = Nature {
                is_large: inner.iter().flatten().any(|nature| nature.is_large),
                is_count: inner.iter().flatten().any(|nature| nature.is_count),
            };
            self.judge_branches(node, nature)
        } else {
            match self.why_float(node, &inputs, &outputs, floats, &mut nature) {
                Some(Reason::Untouched) => return None,
                Some(Reason::Because(reason)) => Verdict::Float(Some(reason)),
                None => Verdict::Half,
            }
        };
        for output in outputs.into_iter().flatten().filter(|output| floats.contains(output)) {
            let measured = self.surroundings.peaks.and_then(|peaks| peaks.get(&output));
            let is_large = measured.map_or(nature.is_large, |&peak| peak > self.limit());
            self.natures.insert(output, Nature { is_large, ..nature });
        }
        Some(verdict)
    }

    fn limit(&self) -> f64 {
        self.surroundings.half.largest() * MARGIN
    }

    /// Numbers made of bools and bytes are few; those made of wider integers are counts.
    fn judge_cast(&self, node: NodeId, nature: &mut Nature) -> Verdict {
        let graph = self.graph;
        let target = crate::passes::common::facts::cast_target(graph.node(node));
        let source = graph.input(node, 0).and_then(|input| {
            let known = self.facts.get(input).and_then(|fact| fact.dtype);
            known.or_else(|| crate::passes::common::facts::dtype(graph, input))
        });
        if target != Some(DType::F32) {
            return Verdict::Either;
        }
        match source {
            Some(DType::F32) if !nature.is_large && !nature.is_count => Verdict::Half,
            Some(DType::Bool | DType::U8 | DType::I8) => Verdict::Half,
            Some(source) if source.is_integer() => {
                nature.is_count = true;
                Verdict::Float(None)
            }
            _ => Verdict::Float(None),
        }
    }

    /// Branches give 16 bits where nothing that either of them gives must stay float.
    fn judge_branches(&self, node: NodeId, nature: Nature) -> Verdict {
        let misfit = self.graph.node(node).subgraphs().iter().any(|branch| {
            let graph = &branch.graph;
            graph.outputs().any(|output| graph.constant(output).is_some_and(|tensor| self.misfit(&tensor).is_some()))
        });
        match () {
            () if self.surroundings.exclude.has_node(self.graph, node) => Verdict::Float(Some("excluded".to_owned())),
            () if nature.is_large || misfit => {
                Verdict::Float(Some("what a branch gives may be too large for 16 bits".to_owned()))
            }
            () if nature.is_count => Verdict::Float(Some("what a branch gives are counts".to_owned())),
            () => Verdict::Half,
        }
    }

    /// Why an operator goes on computing in 32 bits.
    fn why_float(
        &self,
        node: NodeId,
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
        floats: &BTreeSet<ValueId>,
        nature: &mut Nature,
    ) -> Option<Reason> {
        let (graph, half) = (self.graph, self.surroundings.half);
        let held = graph.node(node);
        let because = |reason: &str| Some(Reason::Because(reason.to_owned()));
        if !held.domain().is_empty() {
            return because("it is no operator of ONNX itself");
        }
        if outputs.iter().flatten().any(|&output| graph.value(output).is_pinned()) {
            return because("other parts of the file refer to its output by name");
        }
        if let Some(reason) = rules::always_float(held.op_type()) {
            return because(reason);
        }
        if self.surroundings.exclude.has_node(graph, node) {
            return because("excluded");
        }
        let Some(schema) = opset::schema("", held.op_type(), self.surroundings.opset) else {
            return because("it is not known which types it takes");
        };
        let converted = |formal_of: fn(&Schema, usize) -> Option<&opset::Formal>, values: &[Option<ValueId>]| {
            let converts = |(slot, value): (usize, &Option<ValueId>)| {
                value.filter(|value| floats.contains(value) && allows(schema, formal_of(schema, slot), half))
            };
            values.iter().enumerate().filter_map(converts).collect::<Vec<ValueId>>()
        };
        let reads = converted(Schema::input, inputs);
        let writes = converted(Schema::output, outputs);
        if reads.is_empty() && writes.is_empty() {
            // Slots that are float by definition, of an operator that computes in whatever else it reads.
            let other_floats = inputs.iter().chain(outputs).flatten().any(|value| floats.contains(value));
            let is_half_already = inputs.iter().flatten().any(|&value| self.is_half(value));
            return if other_floats && !is_half_already {
                Some(Reason::Because(format!("it takes no {}", half.dtype())))
            } else {
                Some(Reason::Untouched)
            };
        }
        let is_quantized = |&value: &ValueId| {
            let producer = graph.producer(value);
            producer.is_some_and(|(producer, _)| graph.node(producer).is("DequantizeLinear"))
        };
        if inputs.iter().flatten().any(is_quantized) {
            return because("it belongs to quantized arithmetic");
        }
        if held.is("Mul") && inputs.first() == inputs.get(1) {
            return because("it squares");
        }
        for &value in &reads {
            if self.surroundings.exclude.has_value(graph, value) {
                return Some(Reason::Because(format!("`{}` is excluded", graph.value(value).name())));
            }
            let Some(tensor) = graph.constant(value) else { continue };
            if let Some(misfit) = self.misfit(&tensor) {
                nature.is_large |= matches!(misfit, Misfit::TooLarge(_)) && !rules::is_bounded(held.op_type());
                return Some(Reason::Because(format!("`{}` {}", graph.value(value).name(), misfit.reason(half))));
            }
        }
        if let Some(AttrRef::Tensor(value)) = held.attr("value")
            && let Some(misfit) = self.misfit(value)
        {
            nature.is_large |= matches!(misfit, Misfit::TooLarge(_));
            return Some(Reason::Because(format!("its value {}", misfit.reason(half))));
        }
        let peak = |value: &ValueId| self.surroundings.peaks.and_then(|peaks| peaks.get(value)).copied();
        if let Some((value, peak)) = writes.iter().find_map(|v| Some((*v, peak(v).filter(|p| *p > self.limit())?))) {
            let name = graph.value(value).name();
            return Some(Reason::Because(format!("`{name}` comes to {peak:.2e} on the calibration data")));
        }
        if let Some(&large) = reads.iter().find(|value| self.nature(**value).is_large) {
            return Some(Reason::Because(format!("`{}` may be too large for 16 bits", graph.value(large).name())));
        }
        nature.is_count.then(|| Reason::Because("it computes sizes or positions".to_owned()))
    }

    fn is_half(&self, value: ValueId) -> bool {
        let known = self.facts.get(value).and_then(|fact| fact.dtype);
        known.or_else(|| self.graph.value(value).dtype()) == Some(self.surroundings.half.dtype())
    }

    /// Why a constant cannot be one of 16 bits as it is.
    fn misfit(&self, tensor: &Tensor) -> Option<Misfit> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        match fit(tensor, self.surroundings.half) {
            Ok(0) => None,
            Ok(_) => Some(Misfit::TooLossy { snr_db: super::super::fit::plain_snr_db(tensor, self.surroundings.half) }),
            Err(misfit) => Some(misfit),
        }
    }
}

/// What keeps an operator as it is.
enum Reason {
    /// Nothing that it reads or writes could change.
    Untouched,
    /// A reason for the user.
    Because(String),
}
