//! The petgraph that a graph is stored in, with removal in constant time.
//!
//! petgraph unlinks an edge by walking the list of edges of its vertex: to remove the readers of a value that 100,000
//! operators read, one after the other, would take minutes. So what is removed is only emptied, and swept out once there is
//! more of it than of what is left.

use petgraph::Direction;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::{EdgeRef, IntoNodeReferences, NodeIndexable};

use super::graph::{Port, Vertex};

/// Fewer removed vertices and edges than this are not worth a sweep.
const SWEEP_FROM: usize = 1024;

/// Vertices and edges; those that were removed are `None` until they are swept out.
#[derive(Clone, Default)]
pub(crate) struct Net {
    inner: StableDiGraph<Option<Vertex>, Option<Port>>,
    removed: usize,
    /// Values that lost a reader since somebody asked to be told.
    lost: Option<Vec<NodeIndex>>,
}

/// One use or definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) id: EdgeIndex,
    pub(crate) source: NodeIndex,
    pub(crate) target: NodeIndex,
    pub(crate) port: Port,
}

impl Net {
    pub(crate) fn add_vertex(&mut self, vertex: Vertex) -> NodeIndex {
        self.inner.add_node(Some(vertex))
    }

    pub(crate) fn add_edge(&mut self, source: NodeIndex, target: NodeIndex, port: Port) {
        self.inner.add_edge(source, target, Some(port));
    }

    pub(crate) fn vertex(&self, index: NodeIndex) -> Option<&Vertex> {
        self.inner.node_weight(index)?.as_ref()
    }

    pub(crate) fn vertex_mut(&mut self, index: NodeIndex) -> Option<&mut Vertex> {
        self.inner.node_weight_mut(index)?.as_mut()
    }

    /// Every vertex, in the order of indices.
    pub(crate) fn vertices(&self) -> impl Iterator<Item = (NodeIndex, &Vertex)> {
        self.inner.node_references().filter_map(|(index, vertex)| Some((index, vertex.as_ref()?)))
    }

    /// Every vertex, to change it, in the order of indices.
    pub(crate) fn vertices_mut(&mut self) -> impl Iterator<Item = &mut Vertex> {
        self.inner.node_weights_mut().filter_map(Option::as_mut)
    }

    /// Indices are below.
    pub(crate) fn index_bound(&self) -> usize {
        self.inner.node_bound()
    }

    /// The edges of a vertex, in no particular order.
    pub(crate) fn edges(&self, index: NodeIndex, direction: Direction) -> impl Iterator<Item = Edge> + '_ {
        self.inner.edges_directed(index, direction).filter_map(|edge| {
            let port = (*edge.weight())?;
            Some(Edge { id: edge.id(), source: edge.source(), target: edge.target(), port })
        })
    }

    pub(crate) fn remove_edge(&mut self, id: EdgeIndex) {
        self.empty_edge(id);
        self.sweep_if_due();
    }

    /// Removes a vertex and its edges.
    pub(crate) fn remove_vertex(&mut self, index: NodeIndex) {
        for direction in [Direction::Incoming, Direction::Outgoing] {
            let edges: Vec<EdgeIndex> = self.edges(index, direction).map(|edge| edge.id).collect();
            edges.into_iter().for_each(|edge| self.empty_edge(edge));
        }
        if self.inner.node_weight_mut(index).is_some_and(|vertex| vertex.take().is_some()) {
            self.removed += 1;
        }
        self.sweep_if_due();
    }

    /// Begins to note which values lose readers, or stops.
    pub(crate) fn note_losses(&mut self, notes: bool) {
        self.lost = notes.then(Vec::new);
    }

    /// The values that lost a reader since the last call; some may be gone.
    pub(crate) fn take_losses(&mut self) -> Vec<NodeIndex> {
        self.lost.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn empty_edge(&mut self, id: EdgeIndex) {
        let Some(port) = self.inner.edge_weight_mut(id).and_then(Option::take) else { return };
        self.removed += 1;
        if let (Some(lost), Some((source, _))) = (&mut self.lost, self.inner.edge_endpoints(id))
            && !matches!(port, Port::Out(_))
        {
            lost.push(source);
        }
    }

    /// Sweeping takes time in proportion to the graph, and is due only after as many removals: constant time each. Indices
    /// of what is left stay as they are.
    fn sweep_if_due(&mut self) {
        if self.removed >= SWEEP_FROM && self.removed * 2 >= self.inner.node_count() + self.inner.edge_count() {
            let full = std::mem::take(&mut self.inner);
            self.inner = full.filter_map_owned(|_, vertex| vertex.map(Some), |_, port| port.map(Some));
            self.removed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Vertex {
        Vertex::Value(Box::default())
    }

    #[test]
    fn indices_survive_a_sweep() {
        let mut net = Net::default();
        let hub = net.add_vertex(value());
        let rim: Vec<NodeIndex> = (0..2 * SWEEP_FROM).map(|_| net.add_vertex(value())).collect();
        for (slot, &one) in rim.iter().enumerate() {
            net.add_edge(hub, one, Port::In(slot as u32));
        }
        let (gone, kept) = rim.split_at(rim.len() - 3);
        gone.iter().for_each(|&one| net.remove_vertex(one));
        assert!(net.inner.node_count() < rim.len(), "nothing was swept out");
        let mut found: Vec<(NodeIndex, Port)> =
            net.edges(hub, Direction::Outgoing).map(|edge| (edge.target, edge.port)).collect();
        found.sort();
        let slots = gone.len()..rim.len();
        let expected: Vec<(NodeIndex, Port)> =
            kept.iter().zip(slots).map(|(&one, slot)| (one, Port::In(slot as u32))).collect();
        assert_eq!(found, expected);
        assert!(gone.iter().all(|&one| net.vertex(one).is_none()));
        assert_eq!(net.vertices().count(), 4);
    }

    #[test]
    fn what_was_removed_is_not_seen_before_the_sweep_either() {
        let mut net = Net::default();
        let (a, b) = (net.add_vertex(value()), net.add_vertex(value()));
        net.add_edge(a, b, Port::Capture);
        net.remove_vertex(b);
        net.remove_vertex(b);
        assert_eq!(net.edges(a, Direction::Outgoing).count(), 0);
        assert!(net.vertex(b).is_none());
        assert_eq!((net.vertices().count(), net.removed), (1, 2));
    }
}
