//! The graph: storage and queries. Every change is in [`edit`](super::edit).
//!
//! Operators and values are both vertices of one directed graph; an edge is one use or one definition and carries its
//! port. So optional inputs, several outputs, `Add(x, x)`, initializers and values that a subgraph reads need no table
//! beside the graph.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use petgraph::Direction;
use petgraph::stable_graph::NodeIndex;

use super::net::Net;
use super::node::{Node, Rank, Value};
use super::tensor::Tensor;
use crate::error::{Error, Result, Site};
use crate::onnx::proto::{GraphProto, ValueInfoProto};

/// An operator of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) NodeIndex);

/// A value of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) NodeIndex);

/// How an operator touches a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Read at this input slot.
    In(u32),
    /// Written at this output slot.
    Out(u32),
    /// Read by name inside a graph that an attribute of the operator holds.
    Capture,
}

/// One reading of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The operator that reads it.
    pub node: NodeId,
    /// Where: an input slot, or a capture.
    pub port: Port,
}

#[derive(Debug, Clone)]
pub(crate) enum Vertex {
    Node(Box<Node>),
    Value(Box<Value>),
}

/// An output of the graph: the value and what the file declares of it.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) value: ValueId,
    pub(crate) info: ValueInfoProto,
}

/// A graph of operators and values: the main graph, the body of a function, or a graph that an attribute holds.
#[derive(Clone, Default)]
pub struct Graph {
    pub(crate) net: Net,
    pub(crate) names: HashMap<Arc<str>, ValueId>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<Output>,
    /// `value_info` entries of names that the graph does not have, or has twice, with their places.
    pub(crate) stray_infos: Vec<(u64, ValueInfoProto)>,
    /// Every field of the message that is not modelled.
    pub(crate) residue: GraphProto,
    pub(crate) next_serial: u64,
    /// Names in use anywhere in the model, so that a fresh name clashes with no graph inside or outside of this one.
    pub(crate) pool: super::edit::NamePool,
}

// A stale id is a defect of the caller; a release build answers with an empty operator or value rather than abort.
static NO_NODE: LazyLock<Node> = LazyLock::new(Node::default);
static NO_VALUE: LazyLock<Value> = LazyLock::new(Value::default);

impl Graph {
    /// The name of the graph.
    pub fn name(&self) -> &str {
        self.residue.name.as_deref().unwrap_or_default()
    }

    /// The operator with that id, which must not have been removed.
    pub fn node(&self, id: NodeId) -> &Node {
        match self.net.vertex(id.0) {
            Some(Vertex::Node(node)) => node,
            _ => {
                debug_assert!(false, "no operator {id:?}");
                &NO_NODE
            }
        }
    }

    /// The value with that id, which must not have been removed.
    pub fn value(&self, id: ValueId) -> &Value {
        match self.net.vertex(id.0) {
            Some(Vertex::Value(value)) => value,
            _ => {
                debug_assert!(false, "no value {id:?}");
                &NO_VALUE
            }
        }
    }

    /// Whether the operator is still in the graph.
    pub fn contains_node(&self, id: NodeId) -> bool {
        matches!(self.net.vertex(id.0), Some(Vertex::Node(_)))
    }

    /// Whether the value is still in the graph.
    pub fn contains_value(&self, id: ValueId) -> bool {
        matches!(self.net.vertex(id.0), Some(Vertex::Value(_)))
    }

    /// The value of that name.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Every operator, in the order of the file; new ones beside those they belong to.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<(Rank, NodeId)> = self
            .net
            .vertices()
            .filter_map(|(index, vertex)| match vertex {
                Vertex::Node(node) => Some((node.rank, NodeId(index))),
                Vertex::Value(_) => None,
            })
            .collect();
        nodes.sort_unstable();
        nodes.into_iter().map(|(_, id)| id).collect()
    }

    /// Every value, in a stable order.
    pub fn values(&self) -> Vec<ValueId> {
        self.net
            .vertices()
            .filter(|(_, vertex)| matches!(vertex, Vertex::Value(_)))
            .map(|(index, _)| ValueId(index))
            .collect()
    }

    /// The number of operators, those inside subgraphs not counted.
    pub fn node_count(&self) -> usize {
        self.net.vertices().filter(|(_, v)| matches!(v, Vertex::Node(_))).count()
    }

    /// The number of operators, those inside subgraphs counted.
    pub fn node_count_deep(&self) -> usize {
        self.net
            .vertices()
            .filter_map(|(_, vertex)| match vertex {
                Vertex::Node(node) => Some(1 + node.subgraphs.iter().map(|s| s.graph.node_count_deep()).sum::<usize>()),
                Vertex::Value(_) => None,
            })
            .sum()
    }

    /// The inputs of the graph, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs of the graph, in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = ValueId> + '_ {
        self.outputs.iter().map(|output| output.value)
    }

    /// The values with an initializer, in the order of the file; new ones last.
    pub fn initializers(&self) -> Vec<ValueId> {
        let mut found: Vec<(u64, ValueId)> = self
            .net
            .vertices()
            .filter_map(|(index, vertex)| match vertex {
                Vertex::Value(value) if value.init.is_some() => Some((value.init_rank, ValueId(index))),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// What the input slots of an operator read; `None` for slots left empty.
    pub fn node_inputs(&self, node: NodeId) -> Vec<Option<ValueId>> {
        let mut slots = vec![None; self.node(node).input_slots()];
        for edge in self.net.edges(node.0, Direction::Incoming) {
            if let Port::In(slot) = edge.port
                && let Some(place) = slots.get_mut(slot as usize)
            {
                *place = Some(ValueId(edge.source));
            }
        }
        slots
    }

    /// What the output slots of an operator write; `None` for slots left empty.
    pub fn node_outputs(&self, node: NodeId) -> Vec<Option<ValueId>> {
        let mut slots = vec![None; self.node(node).output_slots()];
        for edge in self.net.edges(node.0, Direction::Outgoing) {
            if let Port::Out(slot) = edge.port
                && let Some(place) = slots.get_mut(slot as usize)
            {
                *place = Some(ValueId(edge.target));
            }
        }
        slots
    }

    /// What one input slot reads.
    pub fn input(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        self.net
            .edges(node.0, Direction::Incoming)
            .find(|edge| edge.port == Port::In(slot as u32))
            .map(|edge| ValueId(edge.source))
    }

    /// What one output slot writes.
    pub fn output(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        self.net
            .edges(node.0, Direction::Outgoing)
            .find(|edge| edge.port == Port::Out(slot as u32))
            .map(|edge| ValueId(edge.target))
    }

    /// The values of this graph that the subgraphs of an operator read, ordered by name.
    pub fn captures(&self, node: NodeId) -> Vec<ValueId> {
        let mut captured: Vec<ValueId> = self
            .net
            .edges(node.0, Direction::Incoming)
            .filter(|edge| edge.port == Port::Capture)
            .map(|edge| ValueId(edge.source))
            .collect();
        captured.sort_unstable_by(|&a, &b| self.value(a).name().cmp(self.value(b).name()));
        captured
    }

    /// The operator that writes a value, and the output slot; `None` for inputs, initializers and outer values.
    pub fn producer(&self, value: ValueId) -> Option<(NodeId, usize)> {
        self.net.edges(value.0, Direction::Incoming).next().and_then(|edge| match edge.port {
            Port::Out(slot) => Some((NodeId(edge.source), slot as usize)),
            _ => None,
        })
    }

    /// Every reading of a value by an operator, in the order of the operators. That the value is an output of the graph
    /// is not among them: see [`Value::is_output`].
    pub fn uses(&self, value: ValueId) -> Vec<Use> {
        let mut uses: Vec<(Rank, Use)> = self
            .net
            .edges(value.0, Direction::Outgoing)
            .map(|edge| {
                let node = NodeId(edge.target);
                (self.node(node).rank, Use { node, port: edge.port })
            })
            .collect();
        uses.sort_unstable();
        uses.into_iter().map(|(_, one)| one).collect()
    }

    /// The number of readings of a value: by operators, subgraphs, as an output of the graph, and by name from parts of
    /// the file that are no operators.
    pub fn use_count(&self, value: ValueId) -> usize {
        let held = self.value(value);
        let by_operators = self.net.edges(value.0, Direction::Outgoing).count();
        by_operators + held.output_uses as usize + usize::from(held.is_pinned)
    }

    /// Whether nothing reads the value; in constant time, unlike [`Graph::use_count`].
    pub fn is_unread(&self, value: ValueId) -> bool {
        let held = self.value(value);
        !held.is_output() && !held.is_pinned && self.net.edges(value.0, Direction::Outgoing).next().is_none()
    }

    /// The one reading of a value, where there is exactly one and it is an input slot of an operator.
    pub fn only_use(&self, value: ValueId) -> Option<(NodeId, usize)> {
        if self.value(value).is_output() || self.value(value).is_pinned {
            return None;
        }
        let mut edges = self.net.edges(value.0, Direction::Outgoing);
        match (edges.next(), edges.next()) {
            (Some(edge), None) => match edge.port {
                Port::In(slot) => Some((NodeId(edge.target), slot as usize)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The contents of a value that never changes: an initializer that is not also an input (a caller could replace it)
    /// and not pinned (training could), or what a `Constant` node yields.
    pub fn constant(&self, value: ValueId) -> Option<Tensor> {
        let held = self.value(value);
        if held.is_pinned {
            return None;
        }
        if let Some(tensor) = &held.init {
            return (!held.is_input).then(|| tensor.clone());
        }
        let (node, _) = self.producer(value)?;
        self.node(node).constant_value()
    }

    /// [`Graph::constant`], also of what lies before a chain of `Identity` operators: exporters write those for
    /// parameters that are equal.
    pub fn constant_behind_identity(&self, value: ValueId) -> Option<Tensor> {
        let mut value = value;
        while let Some((node, _)) = self.producer(value)
            && self.node(node).is("Identity")
        {
            value = self.input(node, 0)?;
        }
        self.constant(value)
    }

    /// Why [`Graph::constant`] does not take a value for a constant; the end of a sentence that begins with its name.
    pub fn why_not_constant(&self, value: ValueId) -> &'static str {
        let held = self.value(value);
        match () {
            () if held.is_kept => "is to be kept",
            () if held.is_pinned => "is named by parts of the file that may change it",
            () if held.is_input && held.init.is_some() => "is an input with a default, which a caller may replace",
            () if held.is_input => "is an input",
            () if held.is_outer => "belongs to an enclosing graph",
            () if held.is_sparse => "is a sparse initializer",
            () => "is not constant",
        }
    }

    /// The operators in an order in which each comes after what it reads; the order of the file where that is one.
    ///
    /// # Errors
    /// Names an operator of a cycle.
    pub fn topological_order(&self) -> Result<Vec<NodeId>> {
        let nodes = self.nodes();
        if self.is_in_order(&nodes) {
            return Ok(nodes);
        }
        let mut waits: HashMap<NodeId, usize> = HashMap::with_capacity(nodes.len());
        let mut ready = BinaryHeap::new();
        for &node in &nodes {
            let count = self
                .net
                .edges(node.0, Direction::Incoming)
                .filter(|edge| self.producer(ValueId(edge.source)).is_some())
                .count();
            waits.insert(node, count);
            if count == 0 {
                ready.push(Reverse((self.node(node).rank, node)));
            }
        }
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push(node);
            for written in self.net.edges(node.0, Direction::Outgoing) {
                for read in self.net.edges(written.target, Direction::Outgoing) {
                    let reader = NodeId(read.target);
                    let Some(count) = waits.get_mut(&reader) else { continue };
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        ready.push(Reverse((self.node(reader).rank, reader)));
                    }
                }
            }
        }
        if order.len() < nodes.len() {
            let done: BTreeSet<NodeId> = order.into_iter().collect();
            let stuck = nodes.into_iter().find(|node| !done.contains(node));
            let site = stuck.map_or_else(Site::default, |node| self.site(node));
            return Err(Error::invalid_model("the graph has a cycle")
                .at(site)
                .expected("every operator to read only what comes before it")
                .found("an operator that depends on its own output"));
        }
        Ok(order)
    }

    /// Whether each operator comes after what it reads, as the specification asks of files.
    fn is_in_order(&self, nodes: &[NodeId]) -> bool {
        let mut seen = vec![false; self.net.index_bound()];
        nodes.iter().all(|node| {
            let mut reads = self.net.edges(node.0, Direction::Incoming);
            let is_ready = reads.all(|edge| {
                self.producer(ValueId(edge.source)).is_none_or(|(writer, _)| seen.get(writer.0.index()) == Some(&true))
            });
            if let Some(place) = seen.get_mut(node.0.index()) {
                *place = true;
            }
            is_ready
        })
    }

    /// The place of an operator, for errors and remarks.
    pub fn site(&self, node: NodeId) -> Site {
        Site::node(self.node(node).op_type(), self.node_label(node))
    }

    /// The place of a value, for errors and remarks.
    pub fn value_site(&self, value: ValueId) -> Site {
        Site::tensor(self.value(value).describe())
    }

    /// The name of an operator, or of its first output where it has none.
    pub fn node_label(&self, node: NodeId) -> String {
        match self.node(node).name() {
            "" => {
                let first = self.node_outputs(node).into_iter().flatten().next();
                first.map_or_else(String::new, |value| self.value(value).name().to_owned())
            }
            name => name.to_owned(),
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph `{}` of {} operators", self.name(), self.node_count())
    }
}
