//! Which values of a graph have to be scaled together, channel by channel, for what the model computes to stay the same.
//!
//! ```text
//! Conv -> Relu -> Conv:  the outputs of the first Conv and of Relu are one group; the first Conv divides its weights by
//!                        the scales, the second multiplies its by them
//! ```
//!
//! Operators that commute with a positive factor for each channel put what they read and write into one group. A group
//! ends where constants can take the factors up: at the weights of Conv and ConvTranspose, and at a constant that
//! something is multiplied by. A group that reaches anything else, an output of the graph for one, stays as it is.

use std::collections::BTreeMap;

use crate::ir::{DType, Graph, NodeId, Port, Tensor, ValueId};
use crate::passes::common::facts;

/// Operators of one input that commute with a positive factor for each channel.
const COMMUTING: &[&str] =
    &["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu"];

/// What writes the gate that something is multiplied by: such a factor stays as it is.
const GATES: &[&str] = &["Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Clip"];

/// A constant that takes factors up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The weights of an operator that reads a value of the group.
    Reader(NodeId),
    /// The weights and the bias of an operator that writes one.
    Writer(NodeId),
    /// The constant operand of an Add or Sub inside the group, by its slot.
    Term(NodeId, usize),
    /// The constant factor of an operator that reads a value of the group, by its slot.
    FactorBehind(NodeId, usize),
    /// The constant factor of an operator that writes one.
    FactorBefore(NodeId, usize),
    /// Behind an operator that writes one, for a factor that is not there yet. The single number that it multiplies by
    /// belongs to an activation function as a rule, such as the half of a Gelu, which runtimes would no longer recognise.
    Behind(NodeId),
}

/// Values that have to be scaled together.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// In the order of the graph.
    pub(super) values: Vec<ValueId>,
    pub(super) places: Vec<Place>,
    pub(super) channels: usize,
    /// Axes of every value, of which the second is that of the channels.
    pub(super) rank: usize,
}

/// The groups of a graph that can be scaled, in topological order of where they begin.
pub(super) fn groups(graph: &Graph, order: &[NodeId]) -> Vec<Group> {
    let mut finder = Finder { graph, sets: BTreeMap::new(), fixed: Vec::new(), places: Vec::new() };
    for &input in graph.inputs() {
        finder.fix(Some(input));
    }
    graph.outputs().for_each(|output| finder.fix(Some(output)));
    for &node in order {
        finder.visit(node);
    }
    finder.finish(order)
}

/// The weights of an operator where it alone reads them.
pub(super) fn own_weights(graph: &Graph, node: NodeId) -> Option<(ValueId, Tensor)> {
    let weight = graph.input(node, 1)?;
    let tensor = graph.constant(weight).filter(|tensor| tensor.dtype() == DType::F32 && tensor.rank() >= 3)?;
    let held = graph.value(weight);
    (graph.use_count(weight) == 1 && !held.is_output() && !held.is_input()).then_some((weight, tensor))
}

/// The number for each channel that a constant stands for next to a value; `None` where it varies along other axes.
pub(super) fn per_channel(constant: &Tensor, channels: usize, rank: usize) -> Option<Vec<f32>> {
    let values = constant.to_f32().filter(|_| constant.dtype() == DType::F32 && constant.rank() <= rank)?;
    if let [one] = values[..] {
        return Some(vec![one; channels]);
    }
    let first = rank - constant.rank();
    let fits = constant.shape().iter().enumerate().all(|(axis, &extent)| {
        let expected = if first + axis == 1 { channels as u64 } else { 1 };
        extent == expected
    });
    (fits && values.len() == channels).then_some(values)
}

/// Whether an operand is a constant of one element.
fn is_single(graph: &Graph, node: NodeId, slot: usize) -> bool {
    graph.input(node, slot).and_then(|value| graph.constant(value)).is_some_and(|constant| constant.len() == 1)
}

struct Finder<'a> {
    graph: &'a Graph,
    /// Leads from each value towards the one that stands for its set.
    sets: BTreeMap<ValueId, ValueId>,
    /// Values that have to stay as they are.
    fixed: Vec<ValueId>,
    places: Vec<(ValueId, Place)>,
}

impl Finder<'_> {
    fn visit(&mut self, node: NodeId) {
        let held = self.graph.node(node);
        let is_standard = held.domain().is_empty();
        let inputs = self.graph.node_inputs(node);
        for value in self.graph.captures(node) {
            self.fix(Some(value));
        }
        match held.op_type() {
            "Constant" => {}
            "Conv" if is_standard => self.visit_conv(node),
            "ConvTranspose" if is_standard && own_weights(self.graph, node).is_some() => {
                self.put(self.graph.input(node, 0), Place::Reader(node));
                self.fix(self.graph.output(node, 0));
            }
            "Add" | "Sub" if is_standard => self.visit_sum(node),
            "Mul" if is_standard => self.visit_product(node),
            "ReduceMean" if is_standard && self.averages_images(node) => self.tie_through(node),
            // Whatever the mode, each element is an average of others of its channel.
            "Resize" if is_standard && held.attr_str("coordinate_transformation_mode", "") != "tf_crop_and_resize" => {
                self.tie_through(node);
            }
            _ if is_standard && held.is_any(COMMUTING) => self.tie_through(node),
            _ => {
                let outputs = self.graph.node_outputs(node);
                inputs.into_iter().chain(outputs).for_each(|value| self.fix(value));
            }
        }
    }

    fn visit_conv(&mut self, node: NodeId) {
        let bias = self.graph.input(node, 2).map(|bias| self.graph.constant(bias).is_some());
        let can_write = bias.unwrap_or(true);
        match own_weights(self.graph, node) {
            Some(_) => {
                self.put(self.graph.input(node, 0), Place::Reader(node));
                match can_write {
                    true => self.put(self.graph.output(node, 0), Place::Writer(node)),
                    false => self.fix(self.graph.output(node, 0)),
                }
            }
            None => {
                self.fix(self.graph.input(node, 0));
                self.fix(self.graph.output(node, 0));
            }
        }
    }

    fn visit_sum(&mut self, node: NodeId) {
        let Some((left, right, output)) = self.operands(node) else { return };
        match (self.is_constant(left), self.is_constant(right)) {
            (false, false) => {
                self.tie(left, right);
                self.tie(left, output);
            }
            (left_is_constant, _) => {
                let (data, slot) = if left_is_constant { (right, 0) } else { (left, 1) };
                self.tie(data, output);
                self.put(Some(output), Place::Term(node, slot));
            }
        }
    }

    fn visit_product(&mut self, node: NodeId) {
        let Some((left, right, output)) = self.operands(node) else { return };
        let is_gate =
            |value: ValueId| self.graph.producer(value).is_some_and(|(node, _)| self.graph.node(node).is_any(GATES));
        match (self.is_constant(left), self.is_constant(right)) {
            (false, false) => match (is_gate(left), is_gate(right)) {
                (true, false) => self.tie(right, output),
                (false, true) => self.tie(left, output),
                _ => [left, right, output].into_iter().for_each(|value| self.fix(Some(value))),
            },
            (left_is_constant, _) => {
                let (data, slot) = if left_is_constant { (right, 0) } else { (left, 1) };
                match is_single(self.graph, node, slot) {
                    true => {
                        self.fix(Some(data));
                        self.put(Some(output), Place::Behind(node));
                    }
                    false => {
                        self.put(Some(data), Place::FactorBehind(node, slot));
                        self.put(Some(output), Place::FactorBefore(node, slot));
                    }
                }
            }
        }
    }

    /// Whether a ReduceMean gives one number for each channel and keeps the axes.
    fn averages_images(&self, node: NodeId) -> bool {
        let keeps = self.graph.node(node).attr_int("keepdims", 1) != 0;
        let axes = facts::ints(self.graph, node, "axes", 1).known();
        // Which axis a negative number means depends on the rank, which is only known for the whole group.
        keeps && axes.is_some_and(|axes| !axes.is_empty() && axes.iter().all(|&axis| axis >= 2))
    }

    fn operands(&self, node: NodeId) -> Option<(ValueId, ValueId, ValueId)> {
        Some((self.graph.input(node, 0)?, self.graph.input(node, 1)?, self.graph.output(node, 0)?))
    }

    fn is_constant(&self, value: ValueId) -> bool {
        self.graph.constant(value).is_some()
    }

    /// Ties what an operator reads first to what it writes first; the other outputs are something else.
    fn tie_through(&mut self, node: NodeId) {
        let mut outputs = self.graph.node_outputs(node).into_iter();
        if let (Some(input), Some(Some(output))) = (self.graph.input(node, 0), outputs.next()) {
            self.tie(input, output);
        }
        outputs.for_each(|other| self.fix(other));
    }

    fn fix(&mut self, value: Option<ValueId>) {
        self.fixed.extend(value);
    }

    fn put(&mut self, value: Option<ValueId>, place: Place) {
        self.places.extend(value.map(|value| (value, place)));
    }

    fn tie(&mut self, one: ValueId, other: ValueId) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.sets.insert(other, one);
        }
    }

    fn root(&mut self, mut value: ValueId) -> ValueId {
        while let Some(&next) = self.sets.get(&value) {
            if let Some(&beyond) = self.sets.get(&next) {
                self.sets.insert(value, beyond);
            }
            value = next;
        }
        value
    }

    fn finish(mut self, order: &[NodeId]) -> Vec<Group> {
        let mut found: BTreeMap<ValueId, (Vec<ValueId>, Vec<Place>)> = BTreeMap::new();
        let mut begun = Vec::new();
        for value in order.iter().flat_map(|&node| self.graph.node_outputs(node)).flatten() {
            if self.is_constant(value) {
                continue;
            }
            let root = self.root(value);
            let (values, _) = found.entry(root).or_insert_with(|| {
                begun.push(root);
                Default::default()
            });
            values.push(value);
        }
        for (value, place) in std::mem::take(&mut self.places) {
            let root = self.root(value);
            if let Some((_, places)) = found.get_mut(&root) {
                places.push(place);
            }
        }
        for value in std::mem::take(&mut self.fixed) {
            let root = self.root(value);
            found.remove(&root);
        }
        let groups = begun.into_iter().filter_map(|root| {
            let (values, places) = found.remove(&root)?;
            // Outputs of the graph, what inner graphs read, and what is to be kept.
            let is_promised = |&value: &ValueId| {
                let uses = self.graph.uses(value);
                self.graph.use_count(value) > uses.len() || uses.iter().any(|one| one.port == Port::Capture)
            };
            (!values.iter().any(is_promised)).then(|| self.complete(values, places)).flatten()
        });
        groups.collect()
    }

    /// The group, where all places agree on the number of channels and of axes, and something of it reads and writes.
    fn complete(&self, values: Vec<ValueId>, places: Vec<Place>) -> Option<Group> {
        let shapes = places.iter().filter_map(|place| {
            let (node, is_reader) = match *place {
                Place::Reader(node) => (node, true),
                Place::Writer(node) => (node, false),
                _ => return None,
            };
            let (_, weights) = own_weights(self.graph, node)?;
            let groups = self.graph.node(node).attr_int("group", 1).max(1) as u64;
            let (first, second) = (weights.shape()[0], weights.shape()[1]);
            let channels = match (is_reader, self.graph.node(node).is("ConvTranspose")) {
                (true, false) => second * groups,
                _ => first,
            };
            Some((channels as usize, weights.rank()))
        });
        let shapes: Vec<(usize, usize)> = shapes.collect();
        let &(channels, rank) = shapes.first()?;
        let constants_fit = places.iter().all(|place| match *place {
            Place::Term(node, slot) | Place::FactorBehind(node, slot) | Place::FactorBefore(node, slot) => {
                let constant = self.graph.input(node, slot).and_then(|value| self.graph.constant(value));
                constant.is_some_and(|tensor| per_channel(&tensor, channels, rank).is_some())
            }
            _ => true,
        });
        let agree = shapes.iter().all(|&shape| shape == (channels, rank)) && channels > 1;
        (agree && constants_fit).then_some(Group { values, places, channels, rank })
    }
}
