//! `Upsample` and `Resize`.

use super::spot::Spot;
use crate::error::Result;
use crate::ir::Tensor;

/// `Upsample` of opset 9: the scales are an input.
pub(super) fn upsample_scales(spot: &mut Spot<'_>) -> Result<bool> {
    let scales = spot.floats("scales")?.unwrap_or_default();
    let input = spot.constant("scales", Tensor::from_f32(vec![scales.len() as u64], &scales)?)?;
    spot.set_input(1, Some(input))?;
    spot.remove_attr("scales")
}

/// `Upsample` is `Resize` from opset 10 on.
pub(super) fn upsample_to_resize(spot: &mut Spot<'_>) -> Result<bool> {
    spot.graph.set_op_type(spot.node, "Resize")?;
    if spot.target > spot.version && spot.string("mode", "nearest")? == "nearest" {
        // For the next step to see: an Upsample never makes an image smaller, whatever its scales will be.
        spot.graph.set_attr(spot.node, "nearest_mode", "floor")?;
    }
    Ok(true)
}

/// `Resize` of opset 11 chooses how coordinates of the output map to the input; before, there was one way only. There is
/// an input for a region of interest, which that way does not use.
pub(super) fn state_coordinates(spot: &mut Spot<'_>) -> Result<bool> {
    let scales = spot.required_input(1)?;
    let is_open = spot.string("mode", "nearest")? == "nearest" && spot.held().attr("nearest_mode").is_none();
    if is_open {
        let rounding = nearest_rounding(spot)?;
        spot.graph.set_attr(spot.node, "nearest_mode", rounding)?;
    }
    spot.graph.set_attr(spot.node, "coordinate_transformation_mode", "asymmetric")?;
    let is_required = spot.target < OPTIONAL_REGION;
    let region = if is_required { Some(spot.constant("roi", Tensor::from_f32(vec![0], &[])?)?) } else { None };
    spot.set_input(1, region)?;
    spot.set_input(2, Some(scales))?;
    Ok(true)
}

/// The operator set that lets the region of interest be left out.
const OPTIONAL_REGION: i64 = 13;

/// Which neighbour a coordinate was rounded to: the lower one, but the upper one where the image gets smaller. That is
/// what the operator's own tests show and what runtimes do.
fn nearest_rounding(spot: &Spot<'_>) -> Result<&'static str> {
    let scales = spot.required_input(1)?;
    let Some(scales) = spot.graph.constant_behind_identity(scales).and_then(|scales| scales.to_f32()) else {
        return Err(spot.refuse("its scales are computed, and how it picks the nearest element depends on them"));
    };
    match (scales.iter().any(|&scale| scale < 1.0), scales.iter().any(|&scale| scale > 1.0)) {
        (false, _) => Ok("floor"),
        (true, false) => Ok("ceil"),
        (true, true) => Err(spot.refuse("it enlarges one axis and reduces another, which round in different ways")),
    }
}

/// `Resize` of opset 13: what is not used is left out rather than an empty tensor, and one mode is gone.
pub(super) fn optional_inputs(spot: &mut Spot<'_>) -> Result<bool> {
    let mut changed = false;
    let transformation = spot.string("coordinate_transformation_mode", "half_pixel")?;
    if transformation == "tf_half_pixel_for_nn" {
        if spot.string("mode", "nearest")? != "nearest" {
            return Err(spot.refuse("its coordinate mode `tf_half_pixel_for_nn` is gone, with no equal for this mode"));
        }
        // `half_pixel` is half an element less, so that the same element is another rounding of it.
        let rounding = match spot.string("nearest_mode", "round_prefer_floor")?.as_str() {
            "floor" => "round_prefer_ceil",
            "round_prefer_floor" => "ceil",
            _ => return Err(spot.refuse("its coordinate mode `tf_half_pixel_for_nn` is gone, with no equal rounding")),
        };
        spot.graph.set_attr(spot.node, "coordinate_transformation_mode", "half_pixel")?;
        spot.graph.set_attr(spot.node, "nearest_mode", rounding)?;
        changed = true;
    }
    if transformation != "tf_crop_and_resize" {
        changed |= leave_out(spot, 1)?;
    }
    if spot.input(3).is_some() && is_empty(spot, 2) {
        changed |= leave_out(spot, 2)?;
    }
    Ok(changed)
}

fn is_empty(spot: &Spot<'_>, slot: usize) -> bool {
    let constant = spot.input(slot).and_then(|value| spot.graph.constant(value));
    constant.is_some_and(|tensor| tensor.is_empty())
}

fn leave_out(spot: &mut Spot<'_>, slot: usize) -> Result<bool> {
    let Some(value) = spot.input(slot) else { return Ok(false) };
    spot.set_input(slot, None)?;
    spot.graph.remove_unread_constant(value)?;
    Ok(true)
}
