//! Values on which tract computes an operator wrongly: what the gate cannot see before the model runs.

use std::fmt;

use tract_onnx::prelude::{DatumType, TValue, TVec, f16};
use tract_onnx::tract_core::internal::{TractResult, TypedNode};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

/// A refusal in the middle of a run.
#[derive(Debug)]
pub(super) struct Distrust(&'static str);

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Distrust {}

/// Looks at the inputs of a node before tract evaluates it.
///
/// # Errors
/// A [`Distrust`] where the result would be wrong.
pub(super) fn inputs(node: &TypedNode, inputs: &TVec<TValue>) -> TractResult<()> {
    // tract starts from the lowest finite number and keeps it against NaN.
    let wrong = is_extremum(node) && any(inputs, f32::is_nan)?;
    if wrong { Err(Distrust("tract loses NaN in a maximum or minimum over an axis").into()) } else { Ok(()) }
}

/// Looks at the results of a node.
///
/// # Errors
/// A [`Distrust`] where they are wrong.
pub(super) fn outputs(node: &TypedNode, outputs: &TVec<TValue>) -> TractResult<()> {
    // The number tract starts from is left over where there was nothing but infinity.
    let is_start = |value: f32| [f32::MAX, f16::MAX.to_f32()].contains(&value.abs());
    let wrong = is_extremum(node) && any(outputs, is_start)?;
    if wrong { Err(Distrust("tract loses infinity in a maximum or minimum over an axis").into()) } else { Ok(()) }
}

fn is_extremum(node: &TypedNode) -> bool {
    node.op_as::<Reduce>().is_some_and(|reduce| matches!(reduce.reducer, Reducer::Max | Reducer::Min))
}

/// Whether any number of the first value, seen as `f32`, is as given.
fn any(values: &TVec<TValue>, is: impl Fn(f32) -> bool) -> TractResult<bool> {
    let Some(tensor) = values.first() else { return Ok(false) };
    Ok(match tensor.datum_type() {
        DatumType::F32 => tensor.to_plain_array_view::<f32>()?.iter().any(|&value| is(value)),
        DatumType::F16 => tensor.to_plain_array_view::<f16>()?.iter().any(|value| is(value.to_f32())),
        // The extremes of 64 bits become infinite in 32.
        DatumType::F64 => {
            let narrow = |value: f64| if value.abs() == f64::MAX { f32::MAX } else { value as f32 };
            tensor.to_plain_array_view::<f64>()?.iter().any(|&value| is(narrow(value)))
        }
        _ => false,
    })
}
