//! Operators whose attributes became inputs, got other names, or need one that says what was always meant.

use super::spot::Spot;
use crate::error::Result;
use crate::ir::{NodeSpec, Tensor};

/// `Clip` of opset 11: the bounds are scalars of the type of the data.
pub(super) fn clip(spot: &mut Spot<'_>) -> Result<bool> {
    // The defaults were the largest numbers a float can hold, and so are those of the inputs.
    let bound = |value: Option<f32>| value.filter(|bound| bound.abs() < f32::MAX || bound.is_nan());
    let bounds = [("min", 1, bound(spot.float("min")?)), ("max", 2, bound(spot.float("max")?))];
    let mut changed = false;
    for (name, slot, value) in bounds {
        if let Some(value) = value {
            let tensor = spot.scalar(value)?;
            let input = spot.constant(name, tensor)?;
            spot.set_input(slot, Some(input))?;
        }
        changed |= spot.remove_attr(name)?;
    }
    Ok(changed)
}

/// `Slice` of opset 10: starts, ends and axes are inputs.
pub(super) fn slice(spot: &mut Spot<'_>) -> Result<bool> {
    let starts = spot.ints_to_input("starts", 1)?;
    let ends = spot.ints_to_input("ends", 2)?;
    let axes = spot.ints_to_input("axes", 3)?;
    Ok(starts | ends | axes)
}

/// `Pad` of opset 11: pads and the value that fills them are inputs.
pub(super) fn pad(spot: &mut Spot<'_>) -> Result<bool> {
    let value = spot.float("value")?.filter(|value| value.to_bits() != 0);
    let changed = spot.ints_to_input("pads", 1)?;
    if let Some(value) = value {
        let tensor = spot.scalar(value)?;
        let input = spot.constant("pad_value", tensor)?;
        spot.set_input(2, Some(input))?;
    }
    Ok(spot.remove_attr("value")? | changed)
}

/// `TopK` of opset 10: the count is an input, `[1]`.
pub(super) fn top_k(spot: &mut Spot<'_>) -> Result<bool> {
    let count = spot.int("k", 0)?;
    let input = spot.indices("k", &[count])?;
    spot.set_input(1, Some(input))?;
    spot.remove_attr("k")
}

/// `ReduceSum`, `Squeeze` and `Unsqueeze` of opset 13, the other reductions of opset 18: the axes are an input.
pub(super) fn axes(spot: &mut Spot<'_>) -> Result<bool> {
    spot.ints_to_input("axes", 1)
}

/// `Split` of opset 13: the lengths are an input.
pub(super) fn split(spot: &mut Spot<'_>) -> Result<bool> {
    spot.ints_to_input("split", 1)
}

/// `Split` of opset 18: where no lengths are given, an attribute says into how many parts.
pub(super) fn split_count(spot: &mut Spot<'_>) -> Result<bool> {
    if spot.input(1).is_some() {
        return Ok(false);
    }
    let parts = spot.held().output_slots() as i64;
    spot.graph.set_attr(spot.node, "num_outputs", parts)?;
    Ok(true)
}

/// `Dropout` of opset 10: the mask is boolean, where it had the type of the data.
pub(super) fn dropout_mask(spot: &mut Spot<'_>) -> Result<bool> {
    match spot.graph.output(spot.node, 1) {
        Some(mask) if !spot.graph.is_unread(mask) => {
            Err(spot.refuse("its mask is read, which had the type of the data and is boolean now"))
        }
        Some(_) => spot.graph.clear_output(spot.node, 1).map(|()| true),
        None => Ok(false),
    }
}

/// `Dropout` of opset 12: the ratio is an input. It says nothing about inference; half was and is the default.
pub(super) fn dropout_ratio(spot: &mut Spot<'_>) -> Result<bool> {
    if let Some(ratio) = spot.float("ratio")?.filter(|ratio| ratio.to_bits() != 0.5f32.to_bits()) {
        let input = spot.constant("dropout_ratio", Tensor::from_f32(vec![], &[ratio])?)?;
        spot.set_input(1, Some(input))?;
    }
    spot.remove_attr("ratio")
}

/// `Scatter` is `ScatterElements` from opset 11 on.
pub(super) fn scatter(spot: &mut Spot<'_>) -> Result<bool> {
    spot.graph.set_op_type(spot.node, "ScatterElements")?;
    Ok(true)
}

/// `RoiAlign` of opset 16 shifts by half a pixel unless told not to; before, it never did.
pub(super) fn roi_align(spot: &mut Spot<'_>) -> Result<bool> {
    spot.graph.set_attr(spot.node, "coordinate_transformation_mode", "output_half_pixel")?;
    Ok(true)
}

/// `DFT` of opset 20: the axis is a scalar input, and its default another one.
pub(super) fn dft(spot: &mut Spot<'_>) -> Result<bool> {
    let axis = spot.int("axis", 1)?;
    let input = spot.constant("axis", Tensor::from_i64(vec![], &[axis])?)?;
    spot.set_input(2, Some(input))?;
    spot.remove_attr("axis")?;
    Ok(true)
}

/// `GridSample` of opset 20: the modes have names that fit any number of dimensions.
pub(super) fn grid_sample(spot: &mut Spot<'_>) -> Result<bool> {
    let renamed = match spot.string("mode", "bilinear")?.as_str() {
        "bilinear" => "linear",
        "bicubic" => "cubic",
        _ => return Ok(false),
    };
    let is_default = spot.held().attr("mode").is_none();
    if !is_default {
        spot.graph.set_attr(spot.node, "mode", renamed)?;
    }
    Ok(!is_default)
}

/// An operator with one integer attribute.
pub(super) fn with_axis(op_type: &str, axis: i64) -> NodeSpec {
    NodeSpec::new(op_type).attr("axis", axis)
}
