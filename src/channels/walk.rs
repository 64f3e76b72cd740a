//! The walk over a graph that labels the axes of its values.
//!
//! An axis is `Fixed`, with what keeps it so, or has one atom for each channel. Constants bring new atoms, operators
//! carry atoms from inputs to outputs and make those one that must go together. A convolution is no exception: its
//! weight is a value like others, whose first axis becomes that of the output.

use std::collections::{BTreeMap, BTreeSet};

use super::product::Product;
use super::rules;
use super::sets::{Atom, Atoms, Sets, Why};
use super::{Barrier, Edit, Layer, Reader};
use crate::error::{Result, Site};
use crate::infer::{Extent, Fact, GraphFacts, SymExpr};
use crate::ir::{AttrRef, Graph, Node, NodeId, ValueId};

/// Longer axes keep all of their elements: vocabularies, and image rows that were flattened.
const MAX_EXTENT: i64 = 1 << 16;

/// What is known of one axis of a value.
#[derive(Debug, Clone)]
pub(super) enum Axis {
    /// It keeps all of its elements, for the reason of that number.
    Fixed(Why),
    /// Its channels. `is_zero` says whether a channel whose weights are zero is zero here.
    Channels { atoms: Atoms, is_zero: bool },
}

impl Axis {
    /// The channels, where there are any.
    pub(super) fn atoms(&self) -> Option<&Atoms> {
        match self {
            Self::Fixed(_) => None,
            Self::Channels { atoms, .. } => Some(atoms),
        }
    }

    /// Whether a channel without weights is zero here.
    pub(super) fn is_zero(&self) -> bool {
        matches!(self, Self::Channels { is_zero: true, .. })
    }

    /// The same channels after an operator.
    pub(super) fn with_zero(&self, is_zero: bool) -> Self {
        match self {
            Self::Fixed(why) => Self::Fixed(*why),
            Self::Channels { atoms, .. } => Self::Channels { atoms: atoms.clone(), is_zero },
        }
    }
}

/// Why a rule cannot follow channels through an operator; the end of a sentence that begins with the operator.
pub(super) type Refusal = String;

/// What a rule answers.
pub(super) type Outcome<T = ()> = std::result::Result<T, Refusal>;

/// The state of the walk.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a Graph,
    pub(super) facts: &'a GraphFacts,
    /// Enclosing graphs, the outermost first.
    outer: &'a [(&'a Graph, &'a GraphFacts)],
    /// The version of the default operator set.
    pub(super) opset: i64,
    pub(super) sets: Sets,
    pub(super) values: BTreeMap<ValueId, Vec<Axis>>,
    pub(super) products: Vec<Product>,
    pub(super) edits: Vec<Edit>,
    pub(super) layers: Vec<Layer>,
    pub(super) readers: Vec<Reader>,
    pub(super) barriers: Vec<Barrier>,
    /// Of integer tensors made of extents: the axis whose number of channels each element is.
    pub(super) counts: BTreeMap<ValueId, Vec<Option<Atoms>>>,
    /// Values that only constants go into.
    pub(super) constants: BTreeSet<ValueId>,
    /// Constants that something divides by, so that zero is no way to mask them.
    pub(super) divisors: BTreeSet<ValueId>,
    one: Why,
}

impl<'a> Walk<'a> {
    /// Labels every value of a graph.
    ///
    /// # Errors
    /// Fails on a graph with a cycle.
    pub(super) fn over(
        graph: &'a Graph,
        facts: &'a GraphFacts,
        outer: &'a [(&'a Graph, &'a GraphFacts)],
        opset: i64,
    ) -> Result<Self> {
        let mut walk = Self {
            graph,
            facts,
            outer,
            opset,
            sets: Sets::default(),
            values: BTreeMap::new(),
            products: Vec::new(),
            edits: Vec::new(),
            layers: Vec::new(),
            readers: Vec::new(),
            barriers: Vec::new(),
            counts: BTreeMap::new(),
            constants: BTreeSet::new(),
            divisors: BTreeSet::new(),
            one: 0,
        };
        walk.one = walk.barrier(Site::default(), "the axis has one element");
        let order = graph.topological_order()?;
        for &node in &order {
            let slots = rules::divisor_slots(graph.node(node));
            walk.divisors.extend(slots.iter().filter_map(|&slot| graph.input(node, slot)));
        }
        for node in order {
            walk.node(node);
        }
        for output in graph.outputs().collect::<BTreeSet<_>>() {
            walk.block_value(output, graph.value_site(output), "is an output of the graph");
        }
        walk.pinned();
        Ok(walk)
    }

    fn node(&mut self, node: NodeId) {
        let held = self.graph.node(node);
        if held.is("Constant") {
            return;
        }
        let inputs: Vec<ValueId> = self.graph.node_inputs(node).into_iter().flatten().collect();
        if !inputs.is_empty() && held.subgraphs().is_empty() && inputs.iter().all(|&input| self.is_constant(input)) {
            self.constants.extend(self.graph.node_outputs(node).into_iter().flatten());
        }
        for captured in self.graph.captures(node) {
            let reason = format!("reads `{}` inside a graph of its own", self.graph.value(captured).name());
            self.block_value(captured, self.graph.site(node), &reason);
        }
        let outcome = match held.attributes().iter().any(|a| matches!(a.value(), AttrRef::Reference(_))) {
            true => Err("takes an attribute from the caller of its function".to_owned()),
            false => rules::apply(self, node),
        };
        self.spread_counts(node, &inputs);
        if let Err(refusal) = outcome {
            self.refuse(node, &inputs, &refusal);
        }
    }

    /// Keeps everything an operator reads as it is, and what it writes too.
    fn refuse(&mut self, node: NodeId, inputs: &[ValueId], refusal: &str) {
        let site = self.graph.site(node);
        for &input in inputs {
            // A constant that nothing has labelled yet only matters to other readers; those see the barrier then.
            self.block_value(input, site.clone(), refusal);
        }
        let why = self.barrier(site, refusal);
        for output in self.graph.node_outputs(node).into_iter().flatten() {
            let rank = self.extents(output).map_or(0, <[Extent]>::len);
            self.values.insert(output, vec![Axis::Fixed(why); rank]);
        }
    }

    /// Values that other parts of the file name keep their shapes.
    fn pinned(&mut self) {
        let pinned: Vec<ValueId> = self.values.keys().copied().filter(|&v| self.graph.value(v).is_pinned()).collect();
        for value in pinned {
            self.block_value(value, self.graph.value_site(value), "other parts of the file name it");
        }
    }

    /// Whether only constants go into a value.
    pub(super) fn is_constant(&self, value: ValueId) -> bool {
        self.constants.contains(&value) || self.graph.constant(value).is_some()
    }

    /// A new barrier.
    pub(super) fn barrier(&mut self, site: Site, reason: &str) -> Why {
        if let Some(last) = self.barriers.last()
            && last.reason == reason
            && last.site == site
        {
            return self.barriers.len() as Why - 1;
        }
        self.barriers.push(Barrier { site, reason: reason.to_owned() });
        self.barriers.len() as Why - 1
    }

    /// The barrier of axes with one element, which nothing can be taken from.
    pub(super) fn one(&self) -> Axis {
        Axis::Fixed(self.one)
    }

    /// The extents of a value.
    pub(super) fn extents(&self, value: ValueId) -> Option<&'a [Extent]> {
        self.fact(value)?.shape.as_deref()
    }

    /// What is known of a value, which may be one of an enclosing graph.
    fn fact(&self, value: ValueId) -> Option<&'a Fact> {
        let held = self.graph.value(value);
        self.facts.get(value).or_else(|| {
            let mut outer = self.outer.iter().rev().filter(|_| held.is_outer());
            outer.find_map(|(graph, facts)| facts.get(graph.find_value(held.name())?))
        })
    }

    /// The extents of a value, which a rule needs.
    pub(super) fn shape(&self, value: ValueId) -> Outcome<&'a [Extent]> {
        self.extents(value).ok_or_else(|| format!("works with `{}` of unknown rank", self.graph.value(value).name()))
    }

    /// The elements of a small integer tensor, where all are known numbers.
    pub(super) fn ints(&self, value: ValueId) -> Option<Vec<i64>> {
        let elements = self.fact(value)?.contents.as_ref()?;
        elements.iter().map(|e| e.int()?.as_int()).collect()
    }

    /// The labels of a value.
    pub(super) fn axes(&mut self, value: ValueId) -> Outcome<Vec<Axis>> {
        if let Some(axes) = self.values.get(&value) {
            return Ok(axes.clone());
        }
        let extents = self.shape(value)?;
        let axes: Vec<Axis> = match self.graph.constant(value) {
            Some(tensor) if tensor.dtype().bits() % 8 == 0 => {
                let is_zero = tensor.dtype().is_float() && !self.divisors.contains(&value);
                extents.iter().map(|extent| self.new_axis(value, extent, is_zero)).collect()
            }
            Some(_) => {
                let why = self.barrier(self.graph.value_site(value), "its elements are smaller than a byte");
                vec![Axis::Fixed(why); extents.len()]
            }
            None => {
                let why = self.barrier(self.graph.value_site(value), self.graph.why_not_constant(value));
                vec![Axis::Fixed(why); extents.len()]
            }
        };
        self.values.insert(value, axes.clone());
        Ok(axes)
    }

    fn new_axis(&mut self, value: ValueId, extent: &Extent, is_zero: bool) -> Axis {
        match extent.as_ref().and_then(SymExpr::as_int) {
            Some(0 | 1) => self.one(),
            Some(extent) if extent <= MAX_EXTENT => Axis::Channels { atoms: self.sets.fresh(extent as usize), is_zero },
            _ => Axis::Fixed(self.barrier(self.graph.value_site(value), "the axis is too long to follow")),
        }
    }

    /// New channels that a rule ties to others; `None` where the axis is too long.
    pub(super) fn fresh(&mut self, count: usize, is_zero: bool) -> Option<Axis> {
        match count {
            0 | 1 => Some(self.one()),
            count if count as i64 <= MAX_EXTENT => Some(Axis::Channels { atoms: self.sets.fresh(count), is_zero }),
            _ => None,
        }
    }

    /// Sets the labels of an output.
    pub(super) fn set(&mut self, node: NodeId, slot: usize, axes: Vec<Axis>) {
        if let Some(output) = self.graph.output(node, slot) {
            self.values.insert(output, axes);
        }
    }

    /// Makes the channels of two axes go together.
    pub(super) fn unify(&mut self, node: NodeId, a: &Axis, b: &Axis) {
        match (a, b) {
            (Axis::Fixed(_), Axis::Fixed(_)) => {}
            (Axis::Fixed(why), other) | (other, Axis::Fixed(why)) => self.block_axis(other, *why),
            (Axis::Channels { atoms: a, .. }, Axis::Channels { atoms: b, .. }) => {
                if std::sync::Arc::ptr_eq(a, b) {
                    return;
                }
                if a.len() != b.len() {
                    let why = self.barrier(self.graph.site(node), "its operands have different numbers of channels");
                    a.iter().chain(b.iter()).for_each(|&atom| {
                        self.sets.block(atom, why);
                    });
                    return;
                }
                for (&a, &b) in a.iter().zip(b.iter()) {
                    self.sets.union(a, b);
                }
            }
        }
    }

    /// Keeps every channel of an axis, for the reason of that number.
    pub(super) fn block_axis(&mut self, axis: &Axis, why: Why) {
        for &atom in axis.atoms().iter().flat_map(|atoms| atoms.iter()) {
            self.sets.block(atom, why);
        }
    }

    /// Keeps every channel of an axis because of what an operator does, and answers with the axis that is left.
    pub(super) fn fix(&mut self, node: NodeId, axis: &Axis, reason: &str) -> Axis {
        match axis {
            Axis::Fixed(why) => Axis::Fixed(*why),
            Axis::Channels { .. } => {
                let why = self.barrier(self.graph.site(node), reason);
                self.block_axis(axis, why);
                Axis::Fixed(why)
            }
        }
    }

    /// An axis that an operator makes, of elements that nobody removes.
    pub(super) fn made(&mut self, node: NodeId, reason: &str) -> Axis {
        Axis::Fixed(self.barrier(self.graph.site(node), reason))
    }

    fn block_value(&mut self, value: ValueId, site: Site, reason: &str) {
        let Ok(axes) = self.axes(value) else { return };
        if axes.iter().all(|axis| axis.atoms().is_none()) {
            return;
        }
        let why = self.barrier(site, reason);
        axes.iter().for_each(|axis| self.block_axis(axis, why));
        if let Some(counts) = self.counts.get(&value).cloned() {
            self.block_counts(&counts, why);
        }
    }

    fn block_counts(&mut self, counts: &[Option<Atoms>], why: Why) {
        for &atom in counts.iter().flatten().flat_map(|atoms| atoms.iter()) {
            self.sets.block(atom, why);
        }
    }

    /// Follows numbers of channels through the arithmetic of shapes. Where an operator computes with one, the channels
    /// stay: the result would be another.
    fn spread_counts(&mut self, node: NodeId, inputs: &[ValueId]) {
        if !inputs.iter().any(|input| self.counts.contains_key(input)) {
            return;
        }
        if let Some(spread) = rules::counts(self, node) {
            if let Some(output) = self.graph.output(node, 0)
                && spread.iter().any(Option::is_some)
            {
                self.counts.insert(output, spread);
            }
            return;
        }
        let counted: Vec<Vec<Option<Atoms>>> =
            inputs.iter().filter_map(|input| self.counts.get(input).cloned()).collect();
        let why = self.barrier(self.graph.site(node), "computes with the number of channels");
        counted.iter().for_each(|counts| self.block_counts(counts, why));
    }

    /// The atoms of an axis, with blocked ones for an axis that is fixed.
    pub(super) fn atoms_or_blocked(&mut self, axis: &Axis, extent: &Extent) -> Option<Vec<Atom>> {
        match axis {
            Axis::Channels { atoms, .. } => Some(atoms.to_vec()),
            Axis::Fixed(why) => {
                let extent = extent.as_ref()?.as_int().filter(|extent| (0..=MAX_EXTENT).contains(extent))?;
                let atom = self.sets.blocked(*why);
                Some(vec![atom; extent as usize])
            }
        }
    }

    /// Notes a weight in `slots.1` whose axis `axes.1` meets the axis `axes.0` of the value in `slots.0`, where it is a
    /// constant that nothing else reads.
    pub(super) fn note_reader(&mut self, node: NodeId, slots: (usize, usize), axes: (usize, usize)) {
        let (Some(input), Some(weight)) = (self.graph.input(node, slots.0), self.graph.input(node, slots.1)) else {
            return;
        };
        let is_own = self.graph.constant(weight).is_some() && self.graph.use_count(weight) == 1;
        if is_own && !self.is_constant(input) {
            self.readers.push(Reader { node, input, axis: axes.0, weight, weight_axis: axes.1 });
        }
    }

    /// The operator, which rules read attributes of.
    pub(super) fn held(&self, node: NodeId) -> &'a Node {
        self.graph.node(node)
    }

    /// An input that the operator must have.
    pub(super) fn input(&self, node: NodeId, slot: usize) -> Outcome<ValueId> {
        self.graph.input(node, slot).ok_or_else(|| format!("has no input {slot}"))
    }

    /// Whether the value in a slot is a number of channels, or made of some.
    pub(super) fn has_counts(&self, value: ValueId) -> bool {
        self.counts.contains_key(&value)
    }
}

/// The number an extent is.
pub(super) fn number(extent: &Extent) -> Option<i64> {
    extent.as_ref().and_then(SymExpr::as_int)
}

/// An axis counted from the end where it is negative.
pub(super) fn axis_of(axis: i64, rank: usize) -> Outcome<usize> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|&axis| axis < rank).ok_or_else(|| format!("has no axis {axis}"))
}
