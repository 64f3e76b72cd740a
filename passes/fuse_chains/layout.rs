//! Neighbours that move elements.

use super::super::common::facts::{self, Ints};
use super::super::common::merge::{Merge, Operand};
use super::super::common::pattern;
use crate::ir::{AttrValue, Graph, NodeId, Tensor, ValueId};

/// An end that stands for "to the last element".
const PAST_EVERY_END: i64 = i32::MAX as i64;

/// Two permutations of axes are one.
pub(super) fn transpose_of_transpose(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let first = before(graph, node, "Transpose", "Transpose")?;
    let (inner, outer) = (graph.node(first).attr_ints("perm")?, graph.node(node).attr_ints("perm")?);
    let source = graph.input(first, 0)?;
    let perm =
        outer.iter().map(|&axis| inner.get(usize::try_from(axis).ok()?).copied()).collect::<Option<Vec<i64>>>()?;
    if facts::is_identity(&perm) {
        return Some(Merge::HandsOn(source));
    }
    let attributes = vec![("perm", Some(AttrValue::Ints(perm)))];
    Some(Merge::Becomes { op_type: "Transpose", inputs: vec![Some(Operand::Value(source))], attributes })
}

/// A Reshape to a known shape does not care in which shape it finds the elements.
pub(super) fn reshape_of_reshape(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let first = ["Reshape", "Flatten", "Squeeze", "Unsqueeze"]
        .into_iter()
        .find_map(|op_type| before(graph, node, "Reshape", op_type))?;
    let (source, target) = (graph.input(first, 0)?, graph.input(node, 1)?);
    let wanted = graph.constant(target)?.to_i64()?;
    if !wanted.contains(&0) {
        return Some(Merge::becomes("Reshape", [source, target].map(|value| Some(Operand::Value(value))).into()));
    }
    // An extent of 0 is copied from what lies in between, unless the shapes before and after tell another target.
    if graph.node(node).attr_int("allowzero", 0) != 0 || graph.only_use(graph.input(node, 0)?).is_none() {
        return None;
    }
    let after = facts::shape(graph, graph.output(node, 0)?)?;
    let list = facts::reshape_target(facts::shape(graph, source).as_ref(), &after)?;
    let target = match list == wanted {
        true => Operand::Value(target),
        false => Operand::New(Tensor::from_i64([list.len() as u64], &list).ok()?),
    };
    Some(Merge::becomes("Reshape", vec![Some(Operand::Value(source)), Some(target)]))
}

/// Axes that come and go.
pub(super) fn squeeze_of_unsqueeze(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let first = before(graph, node, "Squeeze", "Unsqueeze")?;
    (axes(graph, node)? == axes(graph, first)?).then_some(Merge::HandsOn(graph.input(first, 0)?))
}

/// Axes that go one after the other go at once.
pub(super) fn squeeze_of_squeeze(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let first = before(graph, node, "Squeeze", "Squeeze")?;
    graph.only_use(graph.input(node, 0)?)?;
    let joint = removed_at_once(&axes(graph, first)?, &axes(graph, node)?);
    let source = Some(Operand::Value(graph.input(first, 0)?));
    listing_axes("Squeeze", source, joint, opset)
}

/// Axes that go and come.
pub(super) fn unsqueeze_of_squeeze(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let first = before(graph, node, "Unsqueeze", "Squeeze")?;
    (axes(graph, node)? == axes(graph, first)?).then_some(Merge::HandsOn(graph.input(first, 0)?))
}

/// Axes that come one after the other come at once.
pub(super) fn unsqueeze_of_unsqueeze(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let first = before(graph, node, "Unsqueeze", "Unsqueeze")?;
    let joint = inserted_at_once(&axes(graph, first)?, &axes(graph, node)?)?;
    let source = Some(Operand::Value(graph.input(first, 0)?));
    listing_axes("Unsqueeze", source, joint, opset)
}

/// A Squeeze or Unsqueeze: its axes are an attribute before operator set 13.
fn listing_axes(op_type: &'static str, source: Option<Operand>, axes: Vec<i64>, opset: i64) -> Option<Merge> {
    let (inputs, attributes) = if opset < 13 {
        (vec![source], vec![("axes", Some(AttrValue::Ints(axes)))])
    } else {
        let list = Tensor::from_i64([axes.len() as u64], &axes).ok()?;
        (vec![source, Some(Operand::New(list))], Vec::new())
    };
    Some(Merge::Becomes { op_type, inputs, attributes })
}

/// The axes, sorted and counted from the front, that a Squeeze or Unsqueeze names.
fn axes(graph: &Graph, node: NodeId) -> Option<Vec<i64>> {
    let mut axes = facts::ints(graph, node, "axes", 1).known()?;
    if axes.iter().any(|&axis| axis < 0) {
        let rank = facts::rank(graph, graph.input(node, 0))?;
        let rank = if graph.node(node).is("Unsqueeze") { rank + axes.len() } else { rank };
        return facts::axes_from_front(&axes, rank);
    }
    axes.sort_unstable();
    Some(axes)
}

/// The axes of the first input that are removed at `first`, and then, of what is left, at `second`; both sorted.
fn removed_at_once(first: &[i64], second: &[i64]) -> Vec<i64> {
    let mut all = first.to_vec();
    for &axis in second {
        let mut place = axis;
        for &earlier in first {
            if earlier <= place {
                place += 1;
            }
        }
        all.push(place);
    }
    all.sort_unstable();
    all
}

/// The places, in the result, of axes inserted at `first` and then, into that, at `second`; both sorted.
fn inserted_at_once(first: &[i64], second: &[i64]) -> Option<Vec<i64>> {
    let mut all = second.to_vec();
    for &axis in first {
        // The place of an earlier axis moves back by the later ones before it.
        let mut place = axis;
        for &later in second {
            if later <= place {
                place += 1;
            }
        }
        all.push(place);
    }
    all.sort_unstable();
    all.windows(2).all(|pair| pair[0] != pair[1]).then_some(all)
}

/// A Slice of one index along an axis that a Squeeze removes is a Gather of that index.
pub(super) fn squeeze_of_slice(graph: &Graph, node: NodeId, _: i64) -> Option<Merge> {
    let first = before(graph, node, "Squeeze", "Slice")?;
    graph.only_use(graph.input(node, 0)?)?;
    let [axis] = facts::ints(graph, node, "axes", 1).known()?[..] else { return None };
    let slice = Slice::of(graph, first)?;
    let [(start, end, step)] = slice.ranges[..] else { return None };
    let is_one = if start == -1 { end >= PAST_EVERY_END } else { end.checked_sub(start) == Some(1) };
    if slice.axes != [axis] || step != 1 || !is_one {
        return None;
    }
    // Before operator set 11 an index must not be negative.
    let index = Tensor::from_i64(Vec::new(), &[start]).ok().filter(|_| start >= 0)?;
    let inputs = vec![Some(Operand::Value(graph.input(first, 0)?)), Some(Operand::New(index))];
    let attributes = vec![("axes", None), ("axis", Some(AttrValue::Int(axis)))];
    Some(Merge::Becomes { op_type: "Gather", inputs, attributes })
}

/// Slices in turn are one: along different axes, or along the same one in steps of 1 that are counted from the front.
pub(super) fn slice_of_slice(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let first = before(graph, node, "Slice", "Slice")?;
    graph.only_use(graph.input(node, 0)?)?;
    let (mut joint, outer) = (Slice::of(graph, first)?, Slice::of(graph, node)?);
    // Lists that other operators share stay: new ones beside them could make the file larger.
    let lists = |node: NodeId| graph.node_inputs(node).into_iter().skip(1).flatten().collect::<Vec<ValueId>>();
    let is_own = |value: ValueId| graph.only_use(value).is_some();
    if opset < 10 || !lists(first).into_iter().chain(lists(node)).all(is_own) {
        return None;
    }
    if joint.axes.iter().chain(&outer.axes).any(|&axis| axis < 0) {
        return None;
    }
    for (&axis, &range) in outer.axes.iter().zip(&outer.ranges) {
        match joint.axes.iter().position(|&present| present == axis) {
            Some(place) => joint.ranges[place] = range_of_range(joint.ranges[place], range)?,
            None => {
                joint.axes.push(axis);
                joint.ranges.push(range);
            }
        }
    }
    let Slice { axes, ranges } = joint;
    let list = |values: Vec<i64>| Tensor::from_i64([values.len() as u64], &values).ok().map(Operand::New);
    let steps = ranges.iter().map(|range| range.2).collect::<Vec<_>>();
    let inputs = vec![
        Some(Operand::Value(graph.input(first, 0)?)),
        Some(list(ranges.iter().map(|range| range.0).collect())?),
        Some(list(ranges.iter().map(|range| range.1).collect())?),
        Some(list(axes)?),
        if steps.iter().all(|&step| step == 1) { None } else { Some(list(steps)?) },
    ];
    Some(Merge::becomes("Slice", inputs))
}

/// Start, end and step of a part of a part, where both go in steps of 1 and are counted from the front. Wherever the last
/// element lies, what is beyond it is empty in both ways.
fn range_of_range(inner: (i64, i64, i64), outer: (i64, i64, i64)) -> Option<(i64, i64, i64)> {
    let is_plain = |(start, end, step): (i64, i64, i64)| start >= 0 && end >= 0 && step == 1;
    if !is_plain(inner) || !is_plain(outer) {
        return None;
    }
    Some((inner.0.checked_add(outer.0)?, inner.1.min(inner.0.saturating_add(outer.1)), 1))
}

/// A Slice with known parameters.
pub(super) struct Slice {
    pub(super) axes: Vec<i64>,
    /// Start, end and step along each axis.
    pub(super) ranges: Vec<(i64, i64, i64)>,
}

impl Slice {
    pub(super) fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let list = |attribute, slot| facts::ints(graph, node, attribute, slot);
        let (starts, ends) = (list("starts", 1).known()?, list("ends", 2).known()?);
        let axes = match list("axes", 3) {
            Ints::Absent => (0..i64::try_from(starts.len()).ok()?).collect(),
            axes => axes.known()?,
        };
        let steps = match list("steps", 4) {
            Ints::Absent => vec![1; starts.len()],
            steps => steps.known()?,
        };
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return None;
        }
        let ranges = starts.into_iter().zip(ends).zip(steps).map(|((start, end), step)| (start, end, step)).collect();
        Some(Self { axes, ranges })
    }
}

/// Two Pads with the same constant are one.
pub(super) fn pad_of_pad(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let first = before(graph, node, "Pad", "Pad")?;
    graph.only_use(graph.input(node, 0)?)?;
    let is_plain =
        |pad: NodeId| graph.node(pad).attr_str("mode", "constant") == "constant" && graph.input(pad, 3).is_none();
    let value_of = |pad: NodeId| match graph.input(pad, 2) {
        None => Some(f64::from(graph.node(pad).attr_float("value", 0.0))),
        Some(value) => pattern::number_in(&graph.constant(value)?),
    };
    let pads = |pad: NodeId| facts::ints(graph, pad, "pads", 1).known();
    let (inner, outer) = (pads(first)?, pads(node)?);
    let grows = inner.iter().chain(&outer).all(|&extent| extent >= 0);
    if !is_plain(first)
        || !is_plain(node)
        || !grows
        || inner.len() != outer.len()
        || value_of(first)? != value_of(node)?
    {
        return None;
    }
    let sums = inner.iter().zip(&outer).map(|(a, b)| a.checked_add(*b)).collect::<Option<Vec<i64>>>()?;
    let source = Some(Operand::Value(graph.input(first, 0)?));
    let (inputs, attributes) = if opset < 11 {
        (vec![source], vec![("pads", Some(AttrValue::Ints(sums)))])
    } else {
        let list = Tensor::from_i64([sums.len() as u64], &sums).ok()?;
        (vec![source, Some(Operand::New(list)), graph.input(node, 2).map(Operand::Value)], Vec::new())
    };
    Some(Merge::Becomes { op_type: "Pad", inputs, attributes })
}

/// The operator of one type that writes what an operator of another type reads first.
fn before(graph: &Graph, node: NodeId, op_type: &str, earlier: &str) -> Option<NodeId> {
    if !graph.node(node).is(op_type) {
        return None;
    }
    pattern::written_by(graph, graph.input(node, 0)?, earlier)
}

#[cfg(test)]
mod tests {
    use super::{inserted_at_once, range_of_range, removed_at_once};

    #[test]
    fn a_part_of_a_part_is_a_part() {
        assert_eq!(range_of_range((2, 8, 1), (1, 3, 1)), Some((3, 5, 1)));
        assert_eq!(range_of_range((2, 8, 1), (1, i64::MAX, 1)), Some((3, 8, 1)));
        assert_eq!(range_of_range((2, 8, 2), (1, 3, 1)), None);
        assert_eq!(range_of_range((-2, 8, 1), (1, 3, 1)), None);
    }

    #[test]
    fn axes_inserted_in_turn_are_found_in_the_result() {
        // [2, 3] -> [1, 2, 3] -> [1, 2, 1, 3]; and an earlier axis moved back by a later one.
        assert_eq!(inserted_at_once(&[0], &[2]), Some(vec![0, 2]));
        assert_eq!(inserted_at_once(&[1], &[0]), Some(vec![0, 2]));
        assert_eq!(inserted_at_once(&[0], &[0, 1]), Some(vec![0, 1, 2]));
        assert_eq!(inserted_at_once(&[2], &[2]), Some(vec![2, 3]));
    }

    #[test]
    fn axes_removed_in_turn_are_found_in_the_first_input() {
        // [1, 2, 1, 3] -> [2, 1, 3] -> [2, 3]; and [2, 1, 1] -> [2, 1] -> [2].
        assert_eq!(removed_at_once(&[0], &[1]), [0, 2]);
        assert_eq!(removed_at_once(&[1], &[1]), [1, 2]);
        assert_eq!(removed_at_once(&[2], &[0]), [0, 2]);
    }
}
