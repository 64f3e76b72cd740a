//! Values that lost readers: what asks for values with one reader may match for them.

use petgraph::Direction;

use super::graph::{Graph, NodeId, Port, ValueId};

impl Graph {
    /// Begins to note which values lose readers, or stops.
    pub(crate) fn note_losses(&mut self, notes: bool) {
        self.net.note_losses(notes);
    }

    /// The computed values that lost a reader since the last call and are still there.
    pub(crate) fn take_losses(&mut self) -> Vec<ValueId> {
        let mut lost: Vec<ValueId> = self.net.take_losses().into_iter().map(ValueId).collect();
        lost.sort_unstable();
        lost.dedup();
        lost.retain(|&value| self.contains_value(value) && self.producer(value).is_some());
        lost
    }

    /// The operators that read a value, in their order; none where there are more than `most`, which is told without looking
    /// at all of them.
    pub(crate) fn readers_up_to(&self, value: ValueId, most: usize) -> Vec<NodeId> {
        let edges = self.net.edges(value.0, Direction::Outgoing).filter(|edge| !matches!(edge.port, Port::Out(_)));
        let mut readers: Vec<NodeId> = edges.take(most + 1).map(|edge| NodeId(edge.target)).collect();
        if readers.len() > most {
            readers.clear();
        }
        readers.sort_unstable_by_key(|&reader| self.node(reader).rank);
        readers.dedup();
        readers
    }
}
