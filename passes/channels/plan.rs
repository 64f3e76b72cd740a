//! Which layers are fitted to make up for channels lost, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::fit::{Form, Layer, Part};
use crate::channels::{Channels, Reader, Removal};
use crate::error::Result;
use crate::ir::{Graph, NodeId, ValueId};

/// The most unknowns of one output; the time grows with their cube.
const MAX_UNKNOWNS: usize = 1024;

/// The most channels of a value that are told as sums of others.
const MAX_CHANNELS: usize = 2048;

/// A layer to fit.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// All weights of an output at once.
    Whole {
        layer: Box<Layer>,
        form: Form,
        /// The channels that it reads.
        kept: Vec<usize>,
        /// Which of its outputs stay.
        stays: Vec<bool>,
        /// The outputs of each group.
        parts: Vec<Part>,
    },
    /// The channels that go as sums of those that stay.
    Columns { reader: Reader, extent: usize, kept: Vec<usize> },
}

impl Work {
    /// What it reads.
    pub(super) fn input(&self) -> ValueId {
        match self {
            Self::Whole { layer, .. } => layer.input,
            Self::Columns { reader, .. } => reader.input,
        }
    }

    pub(super) fn weight(&self) -> ValueId {
        match self {
            Self::Whole { layer, .. } => layer.weight,
            Self::Columns { reader, .. } => reader.weight,
        }
    }

    /// The value of the model as it was that it aims at.
    pub(super) fn target(&self) -> ValueId {
        match self {
            Self::Whole { layer, .. } => layer.tail.sum.map_or(layer.tail.output, |sum| sum.output),
            Self::Columns { reader, .. } => reader.input,
        }
    }

    /// What is added to its output before that.
    pub(super) fn other(&self) -> Option<ValueId> {
        match self {
            Self::Whole { layer, .. } => layer.tail.sum.map(|sum| sum.other),
            Self::Columns { .. } => None,
        }
    }

    /// The axis of the target with its channels.
    pub(super) fn axis(&self) -> usize {
        match self {
            Self::Whole { layer, .. } => layer.out_axis,
            Self::Columns { reader, .. } => reader.axis,
        }
    }

    /// How many channels the target has.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Whole { form, .. } => form.outputs,
            Self::Columns { extent, .. } => *extent,
        }
    }

    /// How many numbers each output is told from.
    pub(super) fn unknowns(&self) -> usize {
        match self {
            Self::Whole { layer, form, parts, .. } => parts.first().map_or(0, |part| layer.unknowns(*form, part)),
            Self::Columns { kept, .. } => kept.len(),
        }
    }

    /// How many outputs are told from the same numbers, for each of the systems of equations.
    pub(super) fn systems(&self) -> Vec<usize> {
        match self {
            Self::Whole { parts, .. } => parts.iter().map(|part| part.outputs.len()).collect(),
            Self::Columns { extent, .. } => vec![*extent],
        }
    }
}

/// What to fit, in stages: what is in one does not depend on each other, and reads only what earlier ones have fitted.
///
/// # Errors
/// Fails on a graph with a cycle.
pub(super) fn stages(graph: &Graph, channels: &Channels, removal: &Removal) -> Result<Vec<Vec<Work>>> {
    let mut readers: BTreeMap<NodeId, Vec<&Reader>> = BTreeMap::new();
    channels.readers().iter().for_each(|reader| readers.entry(reader.node).or_default().push(reader));
    // After how many stages a value is final.
    let mut level: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut found: Vec<(usize, Work)> = Vec::new();
    for node in graph.topological_order()? {
        let read: BTreeSet<ValueId> =
            graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node)).collect();
        let stage = read.iter().filter_map(|value| level.get(value)).max().copied().unwrap_or(0);
        let works = readers.get(&node).into_iter().flatten();
        let works: Vec<Work> = works.filter_map(|reader| work(graph, channels, removal, reader, stage > 0)).collect();
        let after = stage + usize::from(!works.is_empty());
        for output in graph.node_outputs(node).into_iter().flatten().filter(|_| after > 0) {
            level.insert(output, after);
        }
        found.extend(works.into_iter().map(|work| (stage, work)));
    }
    let count = found.iter().map(|(stage, _)| stage + 1).max().unwrap_or(0);
    let mut stages: Vec<Vec<Work>> = vec![Vec::new(); count];
    for (stage, mut work) in found {
        // The branch that a sum is completed by makes up for the other, once that is final.
        if let Work::Whole { layer, .. } = &mut work {
            layer.tail.sum = layer.tail.sum.filter(|sum| level.get(&sum.other).copied().unwrap_or(0) <= stage);
        }
        if let Some(works) = stages.get_mut(stage) {
            works.push(work);
        }
    }
    stages.retain(|works| !works.is_empty());
    Ok(stages)
}

/// How to fit a reader; `None` where it loses nothing and nothing before it does, or its weights cannot be fitted.
fn work(graph: &Graph, channels: &Channels, removal: &Removal, reader: &Reader, is_behind: bool) -> Option<Work> {
    let weight = graph.constant(reader.weight).filter(|tensor| tensor.dtype().is_float())?;
    let constant = channels.constants().iter().find(|constant| constant.value == reader.weight);
    let stays = |axis: usize| {
        let classes = channels.axis_classes(constant?, axis)?;
        Some(classes.iter().map(|class| class.is_none_or(|class| !removal.contains(class))).collect::<Vec<bool>>())
    };
    let extent = usize::try_from(*weight.shape().get(reader.weight_axis)?).ok()?;
    let columns = stays(reader.weight_axis).unwrap_or_else(|| vec![true; extent]);
    let kept: Vec<usize> = (0..extent).filter(|&place| columns.get(place) == Some(&true)).collect();
    let is_lossy = kept.len() < extent;
    if kept.is_empty() || !(is_lossy || is_behind) {
        return None;
    }
    let whole = Layer::of(graph, reader).and_then(|layer| {
        let form = layer.form(&weight)?;
        let stays = stays(layer.weight_out_axis()).unwrap_or_else(|| vec![true; form.outputs]);
        let kept = layer.of_all_groups(form, &kept);
        let mut parts = layer.parts(form, &kept);
        parts.retain(|part| part.outputs.clone().any(|output| stays.get(output) == Some(&true)));
        let work = Work::Whole { layer: Box::new(layer), form, kept, stays, parts };
        (work.unknowns() <= MAX_UNKNOWNS).then_some(work)
    });
    let is_grouped = graph.node(reader.node).attr_int("group", 1) != 1;
    whole.or_else(|| {
        (is_lossy && !is_grouped && extent <= MAX_CHANNELS).then(|| Work::Columns {
            reader: reader.clone(),
            extent,
            kept,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer;
    use crate::ir::text;

    fn planned(source: &str, gone: usize) -> Vec<Vec<(String, bool)>> {
        let model = text::parse(source).unwrap();
        let facts = infer::infer(&model).unwrap();
        let channels = Channels::analyze(&model.graph, facts.main(), 17).unwrap();
        let mut removal = Removal::new(&channels);
        channels.groups()[gone].classes.iter().take(1).for_each(|&class| removal.insert(class));
        let name = |work: &Work| (model.graph.value(work.weight()).name().to_owned(), work.other().is_some());
        let stages = stages(&model.graph, &channels, &removal).unwrap();
        stages.iter().map(|works| works.iter().map(name).collect()).collect()
    }

    #[test]
    fn the_longer_branch_makes_up_for_the_shorter() {
        let source = "g (float[1,1,4,4] x) => (float[1,1,4,4] y) <
            float[2,1,1,1] u = rand(1), float[3,2,1,1] a = rand(2), float[2,3,1,1] b = rand(3),
            float[2,2,1,1] c = rand(4), float[1,2,1,1] d = rand(5)
        > { t = Conv(x, u) s = Conv(t, c) i = Conv(t, a) o = Conv(i, b) m = Add(o, s) y = Conv(m, d) }";
        let expected = |rows: &[&[(&str, bool)]]| -> Vec<Vec<(String, bool)>> {
            rows.iter().map(|row| row.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect()).collect()
        };
        // The channels of t go: both readers of t, then the rest of the branch, then what reads the sum.
        assert_eq!(planned(source, 0), expected(&[&[("c", false), ("a", false)], &[("b", true)], &[("d", false)]]));
    }

    #[test]
    fn convolutions_with_groups_are_fitted_too() {
        let source = "g (float[1,1,4,4] x) => (float[1,1,4,4] y) <
            float[4,1,1,1] u = rand(1), float[4,4,1,1] a = rand(2), float[4,1,3,3] d = rand(3), float[4,2,1,1] w = rand(4),
            float[1,4,1,1] b = rand(5)
        > { t = Conv(x, u) i = Conv(t, a) s = Conv<group = 4, pads = [1, 1, 1, 1]>(i, d) m = Conv<group = 2>(s, w)
            y = Conv(m, b) }";
        let names: Vec<String> = planned(source, 0).concat().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "d", "w", "b"]);
    }

    #[test]
    fn what_lies_before_stays_as_it_is() {
        let source = "g (float[1,1,4,4] x) => (float[1,1,4,4] y) <
            float[2,1,1,1] u = rand(1), float[3,2,1,1] a = rand(2), float[1,3,1,1] b = rand(3)
        > { t = Conv(x, u) i = Conv(t, a) y = Conv(i, b) }";
        assert_eq!(planned(source, 1), [[("b".to_owned(), false)]]);
    }
}
