//! A strided look at the elements of a tensor: what Transpose, Slice, Expand and Tile have in common.

use bytes::Bytes;

use super::{Answer, Call, Decline};
use crate::ir::{DType, Tensor};

/// The elements of a tensor in another order, some of them left out or repeated. Counts are in elements.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pub(super) tensor: &'a Tensor,
    pub(super) dims: Vec<u64>,
    pub(super) strides: Vec<i64>,
    pub(super) offset: i64,
}

impl<'a> View<'a> {
    /// The tensor as it is.
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        let dims = tensor.shape().to_vec();
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for (place, &dim) in dims.iter().enumerate().rev() {
            strides[place] = stride;
            stride *= dim as i64;
        }
        Self { tensor, dims, strides, offset: 0 }
    }

    /// The tensor repeated to a shape that its own broadcasts to.
    pub(super) fn broadcast(tensor: &'a Tensor, dims: &[u64]) -> Option<Self> {
        let own = Self::of(tensor);
        let added = dims.len().checked_sub(own.dims.len())?;
        let mut strides = vec![0; added];
        for ((&have, &want), &stride) in own.dims.iter().zip(&dims[added..]).zip(&own.strides) {
            match have {
                1 => strides.push(0),
                _ if have == want => strides.push(stride),
                _ => return None,
            }
        }
        Some(Self { dims: dims.to_vec(), strides, ..own })
    }

    /// Where each element of the view lies in the tensor, in order.
    pub(super) fn places(&self) -> Places<'_> {
        let left = self.dims.iter().product::<u64>();
        Places { view: self, at: vec![0; self.dims.len()], place: self.offset, left }
    }

    /// The view of the first element of each row, and the length of rows: elements beside each other here and there, so
    /// that they can be moved at once.
    fn rows(&self) -> (Self, usize) {
        let mut first = self.clone();
        let mut length = 1;
        while let (Some(&dim), Some(&stride)) = (first.dims.last(), first.strides.last())
            && (stride == length || dim == 1)
            && dim > 0
        {
            length *= dim as i64;
            first.dims.pop();
            first.strides.pop();
        }
        (first, length as usize)
    }

    /// The elements as a tensor of their own, with the given shape.
    pub(super) fn collect(&self, call: &Call<'_>, shape: Vec<u64>) -> Answer<Tensor> {
        let dtype = self.tensor.dtype();
        call.allowed(dtype, &self.dims)?;
        let made = if let Some(strings) = self.tensor.strings() {
            let strings = self.places().map(|place| strings.get(place).cloned()).collect::<Option<Vec<Bytes>>>();
            Tensor::from_strings(shape, strings.ok_or(Decline::NotHere)?)
        } else {
            let width = element_bytes(dtype).ok_or(Decline::NotHere)?;
            let data = self.tensor.data();
            let mut moved = Vec::with_capacity(self.dims.iter().product::<u64>() as usize * width);
            let (rows, length) = self.rows();
            for place in rows.places() {
                moved.extend_from_slice(data.get(place * width..(place + length) * width).ok_or(Decline::NotHere)?);
            }
            Tensor::new(dtype, shape, moved)
        };
        made.map_err(|_| Decline::NotHere)
    }
}

/// Walks a view like an odometer.
pub(super) struct Places<'a> {
    view: &'a View<'a>,
    at: Vec<u64>,
    place: i64,
    left: u64,
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place as usize;
        for axis in (0..self.at.len()).rev() {
            self.at[axis] += 1;
            self.place += self.view.strides[axis];
            if self.at[axis] < self.view.dims[axis] {
                break;
            }
            self.place -= self.view.strides[axis] * self.view.dims[axis] as i64;
            self.at[axis] = 0;
        }
        Some(place)
    }
}

/// Bytes of one element; `None` for elements that share a byte, and for strings.
pub(super) fn element_bytes(dtype: DType) -> Option<usize> {
    let bits = dtype.bits() as usize;
    (bits > 0 && bits.is_multiple_of(8)).then_some(bits / 8)
}
