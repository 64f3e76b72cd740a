//! Operators that make tensors from shapes and bounds.

use super::movement::extents;
use super::numbers::Numbers;
use super::{Answer, Call, Decline};
use crate::ir::{AttrRef, DType, Dim, Shape, Tensor};

pub(super) fn shape(call: &Call<'_>) -> Answer<Tensor> {
    let shape = Shape::fixed(call.input(0)?.shape().iter().copied());
    let (start, end) = (call.node.attr_int("start", 0), call.node.attr_int("end", i64::MAX));
    shape_of(shape.between(start, end)).ok_or(Decline::NotHere)
}

/// What `Shape` gives for those dimensions.
pub(in crate::passes::fold_constants) fn shape_of(dims: &[Dim]) -> Option<Tensor> {
    let extents = dims.iter().map(|dim| i64::try_from(dim.fixed()?).ok()).collect::<Option<Vec<i64>>>()?;
    Tensor::from_i64(vec![extents.len() as u64], &extents).ok()
}

pub(super) fn size(call: &Call<'_>) -> Answer<Tensor> {
    size_of(call.input(0)?.shape()).ok_or(Decline::NotHere)
}

/// What `Size` gives for a value of that shape.
pub(in crate::passes::fold_constants) fn size_of(dims: &[u64]) -> Option<Tensor> {
    let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    Tensor::from_i64(vec![], &[i64::try_from(elements?).ok()?]).ok()
}

pub(super) fn constant_of_shape(call: &Call<'_>) -> Answer<Tensor> {
    let dims = extents(&call.integers(0)?)?;
    let zero;
    let value = match call.node.attr("value") {
        Some(AttrRef::Tensor(value)) if value.len() == 1 => value,
        None => {
            zero = Tensor::from_f32(vec![1], &[0.0]).map_err(|_| Decline::NotHere)?;
            &zero
        }
        Some(_) => return Err(Decline::NotHere),
    };
    let count = call.allowed(value.dtype(), &dims)?;
    super::view::element_bytes(value.dtype()).ok_or(Decline::NotHere)?;
    Tensor::new(value.dtype(), dims, value.data().repeat(count)).map_err(|_| Decline::NotHere)
}

/// `Range` of integers. Runtimes differ in how they step through floats.
pub(super) fn range(call: &Call<'_>) -> Answer<Tensor> {
    let dtype = call.input(0)?.dtype();
    let bound = |slot| {
        let tensor = call.input(slot)?;
        let is_alike = dtype.is_integer() && tensor.dtype() == dtype;
        tensor.scalar_i64().filter(|_| is_alike).map(i128::from).ok_or(Decline::NotHere)
    };
    let (start, limit, delta) = (bound(0)?, bound(1)?, bound(2)?);
    let length = if delta > 0 { limit - start } else { start - limit };
    let count = match delta.unsigned_abs() {
        0 => return Err(Decline::NotHere),
        _ if length <= 0 => 0,
        width => length.unsigned_abs().div_ceil(width),
    };
    let count = u64::try_from(count).map_err(|_| Decline::TooLarge)?;
    call.allowed(DType::I64, &[count])?;
    let values = (0..i128::from(count)).map(|step| start + step * delta).collect();
    Numbers::Int(values).into_tensor(dtype, vec![count]).ok_or(Decline::NotHere)
}
