//! Computes shape arithmetic and the movement of elements, exactly as the specification has it.
//!
//! Only what has one right answer is computed here: integers and bools without overflow, single operations on 32-bit
//! floats that IEEE 754 rounds in one way, and elements of any type that merely change their place. Everything else is
//! declined. The size of a result is known and checked before anything is allocated for it.

mod arithmetic;
mod create;
mod movement;
mod numbers;
mod reduce;
mod view;

pub(super) use create::{shape_of, size_of};

use crate::ir::{DType, Node, Tensor};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decline {
    /// The result would be larger than the limit.
    TooLarge,
    /// Not something that is computed here.
    NotHere,
}

type Answer<T> = Result<T, Decline>;

/// An operator with constant inputs.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    /// The version of the default operator set.
    pub(super) opset: i64,
    /// What the input slots read; `None` for slots left empty.
    pub(super) inputs: &'a [Option<Tensor>],
    /// The largest result.
    pub(super) max_bytes: u64,
}

/// The results, in the order of the output slots.
///
/// # Errors
/// Says why there are none.
pub(super) fn evaluate(call: &Call<'_>) -> Answer<Vec<Tensor>> {
    let one = |result: Answer<Tensor>| result.map(|tensor| vec![tensor]);
    match call.node.op_type() {
        "Identity" => one(call.input(0).cloned()),
        "Transpose" => one(movement::transpose(call)),
        "Reshape" => one(movement::reshape(call)),
        "Flatten" => one(movement::flatten(call)),
        "Squeeze" => one(movement::squeeze(call)),
        "Unsqueeze" => one(movement::unsqueeze(call)),
        "Expand" => one(movement::expand(call)),
        "Tile" => one(movement::tile(call)),
        "Slice" => one(movement::slice(call)),
        "Split" => movement::split(call),
        "Concat" => one(movement::concat(call)),
        "Gather" => one(movement::gather(call)),
        "Where" => one(movement::choose(call)),
        "Shape" => one(create::shape(call)),
        "Size" => one(create::size(call)),
        "ConstantOfShape" => one(create::constant_of_shape(call)),
        "Range" => one(create::range(call)),
        "Cast" | "CastLike" => one(arithmetic::cast(call)),
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => one(reduce::reduce(call)),
        _ => one(arithmetic::elementwise(call)),
    }
}

impl Call<'_> {
    /// What an input slot reads.
    fn input(&self, slot: usize) -> Answer<&Tensor> {
        self.optional(slot).ok_or(Decline::NotHere)
    }

    /// What an input slot reads that may be empty.
    fn optional(&self, slot: usize) -> Option<&Tensor> {
        self.inputs.get(slot).and_then(Option::as_ref)
    }

    /// The integers of an input slot: axes, extents, indices.
    fn integers(&self, slot: usize) -> Answer<Vec<i64>> {
        self.input(slot)?.to_i64().ok_or(Decline::NotHere)
    }

    /// A list that was an attribute up to the operator set before `input_since`, and is an input from then on.
    fn attribute_or_input(&self, name: &str, slot: usize, input_since: i64) -> Answer<Option<Vec<i64>>> {
        if self.opset < input_since {
            return Ok(self.node.attr_ints(name).map(<[i64]>::to_vec));
        }
        self.optional(slot).map(|_| self.integers(slot)).transpose()
    }

    /// The number of elements of a result, if it is within the limit.
    fn allowed(&self, dtype: DType, dims: &[u64]) -> Answer<usize> {
        let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim)).ok_or(Decline::TooLarge)?;
        // A string takes at least the two bytes that delimit it.
        let bytes = if dtype == DType::String { elements.checked_mul(2) } else { dtype.byte_len(elements) };
        match bytes {
            Some(bytes) if bytes <= self.max_bytes => Ok(elements as usize),
            _ => Err(Decline::TooLarge),
        }
    }
}

/// The axis as a place from 0 up; `None` where there is no such axis.
fn normal_axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + rank } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}

/// The shape that two shapes broadcast to.
fn broadcast(left: &[u64], right: &[u64]) -> Option<Vec<u64>> {
    let rank = left.len().max(right.len());
    let extent = |dims: &[u64], place: usize| (place + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    (0..rank)
        .map(|place| match (extent(left, place), extent(right, place)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
