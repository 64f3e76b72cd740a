//! What besides constants holds a number of channels, and how it is corrected.

use super::apply::Kept;
use super::sets::Atoms;
use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, Tensor};

/// A correction of one operator, made where one of its axes loses channels.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// An attribute is the number of these channels.
    Count { node: NodeId, attribute: &'static str, atoms: Atoms },
    /// The sizes of the parts of Split.
    Sizes { node: NodeId, parts: Vec<Atoms> },
    /// The bounds of Slice on the entry of its lists: channels `start..end` of the axis.
    Bounds { node: NodeId, entry: usize, atoms: Atoms, start: usize, end: usize },
    /// The indices of Gather into an axis.
    Indices { node: NodeId, atoms: Atoms, indices: Vec<usize> },
    /// The shape that an input slot says.
    Target { node: NodeId, slot: usize, entries: Vec<Entry> },
}

/// One entry of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A number that stays.
    Number(i64),
    /// The number of these channels.
    Count(Atoms),
    /// 1 once any of these channels is gone: the axis keeps the extent it has.
    One(Atoms),
}

impl Edit {
    /// Makes the correction, where one is needed.
    pub(super) fn apply(&self, graph: &mut Graph, kept: &Kept<'_>) -> Result<()> {
        match self {
            Self::Count { node, attribute, atoms } if kept.loses(atoms) => {
                graph.set_attr(*node, attribute, kept.count(atoms) as i64)
            }
            Self::Sizes { node, parts } if parts.iter().any(|part| kept.loses(part)) => {
                let sizes: Vec<i64> = parts.iter().map(|part| kept.count(part) as i64).collect();
                let is_told = graph.node(*node).attr("split").is_some() || graph.input(*node, 1).is_some();
                if !is_told && sizes.iter().all(|size| sizes.first() == Some(size)) {
                    return Ok(());
                }
                set_ints(graph, *node, "split", 1, &sizes, kept.opset >= 13)?;
                graph.remove_attr(*node, "num_outputs").map(|_| ())
            }
            Self::Bounds { node, entry, atoms, start, end } if kept.loses(atoms) => {
                let before = kept.count(atoms.get(..*start).unwrap_or_default());
                let within = kept.count(atoms.get(*start..*end).unwrap_or_default());
                let bounds = [("starts", 1, before), ("ends", 2, before + within)];
                bounds.into_iter().try_for_each(|(name, slot, bound)| {
                    let mut list = ints(graph, *node, name, slot, kept).unwrap_or_default();
                    if let Some(place) = list.get_mut(*entry) {
                        *place = bound as i64;
                    }
                    set_ints(graph, *node, name, slot, &list, kept.opset >= 10)
                })
            }
            Self::Indices { node, atoms, indices } if kept.loses(atoms) => {
                let places = kept.new_places(atoms);
                let moved = indices.iter().filter_map(|&index| places.get(index).copied().flatten());
                let moved: Vec<i64> = moved.map(|place| place as i64).collect();
                set_ints(graph, *node, "indices", 1, &moved, true)
            }
            Self::Target { node, slot, entries } if entries.iter().any(|entry| entry.loses(kept)) => {
                let entries: Vec<i64> = entries.iter().map(|entry| entry.value(kept)).collect();
                set_ints(graph, *node, "shape", *slot, &entries, true)
            }
            _ => Ok(()),
        }
    }
}

impl Entry {
    fn loses(&self, kept: &Kept<'_>) -> bool {
        matches!(self, Self::Count(atoms) | Self::One(atoms) if kept.loses(atoms))
    }

    fn value(&self, kept: &Kept<'_>) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Count(atoms) => kept.count(atoms) as i64,
            Self::One(_) => 1,
        }
    }
}

/// A list of integers that an attribute or an input holds; of an input, what it is known to be now or was before.
fn ints(graph: &Graph, node: NodeId, name: &str, slot: usize, kept: &Kept<'_>) -> Option<Vec<i64>> {
    if let Some(list) = graph.node(node).attr_ints(name) {
        return Some(list.to_vec());
    }
    let input = graph.input(node, slot)?;
    graph.constant(input).and_then(|tensor| tensor.to_i64()).or_else(|| kept.ints(input))
}

/// Writes a list of integers, as an input of its own where the operator takes one.
fn set_ints(graph: &mut Graph, node: NodeId, name: &str, slot: usize, list: &[i64], is_input: bool) -> Result<()> {
    if !is_input {
        return graph.set_attr(node, name, list.to_vec());
    }
    let old = graph.input(node, slot);
    let dtype = old.and_then(|old| graph.constant(old)).map(|tensor| tensor.dtype());
    let shape = vec![list.len() as u64];
    let tensor = match dtype {
        Some(DType::I32) => {
            let narrow: Vec<i32> = list.iter().map(|&v| i32::try_from(v).unwrap_or(i32::MAX)).collect();
            Tensor::from_i32(shape, &narrow)?
        }
        _ => Tensor::from_i64(shape, list)?,
    };
    let base = match old {
        Some(old) => graph.value(old).name().to_owned(),
        None => format!("{}_{name}", graph.node_label(node)),
    };
    let new = graph.add_initializer(&base, tensor);
    graph.set_input(node, slot, Some(new))?;
    match old {
        Some(old) => graph.remove_unread_constant(old).map(|_| ()),
        None => Ok(()),
    }
}
