//! Taking classes of channels out of a graph.

use std::collections::BTreeMap;

use super::sets::{Atom, Atoms};
use super::{Channels, Removal};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Dim, Graph, Shape, Tensor, ValueId, ValueType};

/// Which channels stay.
pub(super) struct Kept<'a> {
    channels: &'a Channels,
    removal: &'a Removal,
    pub(super) opset: i64,
}

impl Kept<'_> {
    /// Whether any channel goes.
    pub(super) fn loses(&self, atoms: &[Atom]) -> bool {
        atoms.iter().any(|&atom| !self.channels.is_kept(atom, self.removal))
    }

    /// How many channels stay.
    pub(super) fn count(&self, atoms: &[Atom]) -> usize {
        atoms.iter().filter(|&&atom| self.channels.is_kept(atom, self.removal)).count()
    }

    /// Where each channel is afterwards; `None` for those that go.
    pub(super) fn new_places(&self, atoms: &[Atom]) -> Vec<Option<usize>> {
        let mut next = 0;
        let place = |&atom: &Atom| {
            self.channels.is_kept(atom, self.removal).then(|| {
                next += 1;
                next - 1
            })
        };
        atoms.iter().map(place).collect()
    }

    /// The integers that a computed input is known to hold.
    pub(super) fn ints(&self, value: ValueId) -> Option<Vec<i64>> {
        self.channels.known_ints.get(&value).cloned()
    }
}

/// Takes classes out of the graph that was analyzed.
pub(super) fn remove(channels: &Channels, graph: &mut Graph, removal: &Removal) -> Result<()> {
    let kept = Kept { channels, removal, opset: channels.opset };
    for edit in &channels.edits {
        edit.apply(graph, &kept)?;
    }
    for constant in &channels.constants {
        if !constant.axes.iter().flatten().any(|atoms| kept.loses(atoms)) {
            continue;
        }
        // A list that an edit replaced is gone already.
        if !graph.contains_value(constant.value) {
            continue;
        }
        let tensor = graph.constant(constant.value).ok_or_else(|| stale(graph, constant.value))?;
        let sliced = slice(&tensor, &constant.axes, &kept).ok_or_else(|| stale(graph, constant.value))?;
        graph.set_constant(constant.value, sliced?)?;
    }
    for (value, axes) in &channels.values {
        if graph.contains_value(*value) && axes.iter().flatten().any(|atoms| kept.loses(atoms)) {
            narrow(graph, *value, axes, &kept)?;
        }
    }
    Ok(())
}

fn stale(graph: &Graph, value: ValueId) -> Error {
    Error::new(ErrorKind::BrokenPass, "the channels of another graph were to be removed")
        .at(graph.value_site(value))
        .expected("the constants that were analyzed")
}

/// Keeps the channels that stay on each axis; `None` where the tensor has other extents than those analyzed.
fn slice(tensor: &Tensor, axes: &[Option<Atoms>], kept: &Kept<'_>) -> Option<Result<Tensor>> {
    let extents: Vec<usize> = tensor.shape().iter().map(|&extent| extent as usize).collect();
    if extents.len() != axes.len() {
        return None;
    }
    let mut picks = Vec::with_capacity(axes.len());
    for (extent, atoms) in extents.iter().zip(axes) {
        picks.push(match atoms {
            Some(atoms) if atoms.len() == *extent => {
                let places = kept.new_places(atoms).into_iter().enumerate();
                places.filter_map(|(old, new)| new.map(|_| old)).collect()
            }
            Some(_) => return None,
            None => (0..*extent).collect::<Vec<usize>>(),
        });
    }
    let shape: Vec<u64> = picks.iter().map(|pick| pick.len() as u64).collect();
    let element = (tensor.dtype().bits() / 8) as usize;
    Some(Tensor::new(tensor.dtype(), shape, pick(tensor.data(), &extents, &picks, element)))
}

/// Copies the elements at the picked places of each axis, in row-major order; elements have `element` bytes.
fn pick(data: &[u8], extents: &[usize], picks: &[Vec<usize>], element: usize) -> Vec<u8> {
    // Axes at the end that stay whole are copied in one piece.
    let whole = |axis: usize| picks.get(axis).map(Vec::len) == extents.get(axis).copied();
    let mut last = extents.len();
    while last > 0 && whole(last - 1) {
        last -= 1;
    }
    let piece = extents.iter().skip(last).product::<usize>() * element;
    let mut offsets = vec![0usize];
    for (extent, pick) in extents.iter().zip(picks).take(last) {
        offsets = offsets.iter().flat_map(|&offset| pick.iter().map(move |&place| offset * extent + place)).collect();
    }
    let pieces = offsets.iter().filter_map(|&offset| data.get(offset * piece..(offset + 1) * piece));
    pieces.flat_map(|piece| piece.iter().copied()).collect()
}

/// Makes the declared type of a value say how many channels it has left.
fn narrow(graph: &mut Graph, value: ValueId, axes: &[Option<Atoms>], kept: &Kept<'_>) -> Result<()> {
    let ValueType::Tensor(mut ty) = graph.value(value).ty().clone() else { return Ok(()) };
    let Some(Shape(dims)) = &mut ty.shape else { return Ok(()) };
    for (dim, atoms) in dims.iter_mut().zip(axes) {
        if let Some(atoms) = atoms.as_ref().filter(|atoms| kept.loses(atoms)) {
            *dim = Dim::Fixed(kept.count(atoms) as u64);
        }
    }
    graph.set_type(value, ValueType::Tensor(ty))
}

/// The elements of a constant that zeroing its channels sets to zero.
impl Channels {
    /// Sets the weights of classes to zero instead of removing them: what a removal is equal to.
    ///
    /// # Errors
    /// Fails where the graph is another one.
    pub fn mask(&self, graph: &mut Graph, removal: &Removal) -> Result<()> {
        let mut masked: BTreeMap<ValueId, Tensor> = BTreeMap::new();
        for constant in self.constants.iter().filter(|constant| constant.is_maskable) {
            let tensor = graph.constant(constant.value).ok_or_else(|| stale(graph, constant.value))?;
            let extents: Vec<usize> = tensor.shape().iter().map(|&extent| extent as usize).collect();
            let element = (tensor.dtype().bits() / 8) as usize;
            let mut data = tensor.data().to_vec();
            let mut any = false;
            for (axis, atoms) in constant.axes.iter().enumerate() {
                let Some(atoms) = atoms else { continue };
                let inner = extents.iter().skip(axis + 1).product::<usize>() * element;
                for (row, piece) in data.chunks_mut(inner.max(1)).enumerate() {
                    let goes = atoms.get(row % atoms.len()).is_some_and(|&atom| !self.is_kept(atom, removal));
                    if goes {
                        piece.fill(0);
                        any = true;
                    }
                }
            }
            if any {
                masked.insert(constant.value, Tensor::new(tensor.dtype(), tensor.shape(), data)?);
            }
        }
        masked.into_iter().try_for_each(|(value, tensor)| graph.set_constant(value, tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_places_of_several_axes() {
        // [2, 3, 2], elements of one byte: 0..12.
        let data: Vec<u8> = (0..12).collect();
        assert_eq!(pick(&data, &[2, 3, 2], &[vec![0, 1], vec![2], vec![0, 1]], 1), [4, 5, 10, 11]);
        assert_eq!(pick(&data, &[2, 3, 2], &[vec![1], vec![0, 2], vec![1]], 1), [7, 11]);
        assert_eq!(pick(&data, &[3, 2], &[vec![2], vec![0, 1]], 2), [8, 9, 10, 11]);
        assert_eq!(pick(&data, &[2, 3, 2], &[vec![0, 1], vec![0, 1, 2], vec![0, 1]], 1), data);
    }
}
