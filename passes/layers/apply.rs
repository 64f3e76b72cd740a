//! Cutting stretches out of a model.

use std::collections::BTreeMap;

use super::trunk::Stretch;
use crate::error::Result;
use crate::ir::{Graph, Model, NodeSpec, Tensor, ValueId};
use crate::passes::common::edit;

/// One or more stretches that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    start: ValueId,
    end: ValueId,
    /// A factor a channel that takes their place.
    pub(super) scales: Option<Tensor>,
}

impl Cut {
    /// What is cut out, without what lies in it.
    pub(super) fn span(&self) -> Stretch {
        Stretch { start: self.start, end: self.end, operators: Vec::new(), parameters: 0 }
    }
}

/// Stretches as cuts: those that follow each other are one.
pub(super) fn cuts<'s>(graph: &Graph, stretches: impl Iterator<Item = &'s Stretch>) -> Vec<Cut> {
    let mut ends: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for stretch in stretches {
        ends.insert(stretch.start, stretch.end);
    }
    let followers: Vec<ValueId> = ends.values().copied().collect();
    let mut cuts: Vec<Cut> = Vec::new();
    for &start in ends.keys().filter(|start| !followers.contains(start)) {
        let mut end = start;
        while let Some(&next) = ends.get(&end) {
            end = next;
        }
        cuts.push(Cut { start, end, scales: None });
    }
    // In the order of the file, so that new names come out the same.
    cuts.sort_by_key(|cut| graph.producer(cut.end).map(|(node, _)| node));
    cuts
}

/// A copy of the model without what lies between; the reason where that cannot be.
///
/// # Errors
/// Fails where an edit does, which is a defect.
pub(super) fn without(model: &Model, cuts: &[Cut]) -> Result<std::result::Result<Model, String>> {
    let mut copy = model.clone();
    let graph = &mut copy.graph;
    for cut in cuts {
        // What lies inside of another cut went with it.
        if !graph.contains_value(cut.start) || !graph.contains_value(cut.end) {
            continue;
        }
        let from = match &cut.scales {
            Some(scales) => scaled(graph, cut, scales)?,
            None => cut.start,
        };
        let names_an_output = graph.value(cut.end).is_output();
        if let Err(reason) = graph.replace_value(cut.end, from)? {
            return Ok(Err(reason.to_owned()));
        }
        if names_an_output {
            // The list of outputs tells the type now.
            graph.drop_value_info(from)?;
        }
        edit::drop_unread_chain(graph, vec![cut.end])?;
    }
    Ok(Ok(copy))
}

/// The start of a cut times a factor a channel.
fn scaled(graph: &mut Graph, cut: &Cut, scales: &Tensor) -> Result<ValueId> {
    let Some((near, _)) = graph.producer(cut.end) else { return Ok(cut.start) };
    let name = graph.value(cut.end).name().to_owned();
    let factors = graph.add_initializer(&format!("{name}_factors"), scales.clone());
    graph.add_op(NodeSpec::new("Mul"), &[cut.start, factors], &format!("{name}_scaled"), near)
}
