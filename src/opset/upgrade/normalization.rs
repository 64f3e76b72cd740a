//! `BatchNormalization` and `GroupNormalization`.

use super::spot::Spot;
use crate::error::Result;
use crate::ir::{NodeSpec, Tensor, ValueId};

/// `BatchNormalization` of opset 9 knows statistics per channel only.
pub(super) fn batch_without_spatial(spot: &mut Spot<'_>) -> Result<bool> {
    if spot.int("spatial", 1)? != 1 {
        return Err(spot.refuse("it normalizes each element of a sample apart (`spatial = 0`)"));
    }
    spot.remove_attr("spatial")
}

/// `BatchNormalization` of opset 14: an attribute says what the number of outputs said before, whether it trains.
pub(super) fn batch_training_mode(spot: &mut Spot<'_>) -> Result<bool> {
    if spot.held().output_slots() <= 1 {
        return Ok(false);
    }
    for slot in [4, 3] {
        match spot.graph.output(spot.node, slot) {
            Some(saved) if !spot.graph.is_unread(saved) => {
                return Err(spot.refuse("its fourth or fifth output is read, which is gone"));
            }
            Some(_) => spot.graph.clear_output(spot.node, slot)?,
            None => {}
        }
    }
    if spot.held().output_slots() > 3 || spot.held().output_slots() <= 1 {
        return Err(spot.refuse("which of its outputs are there does not tell whether it trains"));
    }
    spot.graph.set_attr(spot.node, "training_mode", 1)?;
    Ok(true)
}

/// `GroupNormalization` of opset 21: scale and bias are `[C]`, one for each channel; before, one for each group.
pub(super) fn group_per_channel(spot: &mut Spot<'_>) -> Result<bool> {
    let groups = spot.int("num_groups", 1)?;
    let input = spot.required_input(0)?;
    let channels = spot.graph.value(input).shape().and_then(|shape| shape.0.get(1)?.fixed());
    let repeats = channels.filter(|_| groups > 0).map(|channels| channels / groups as u64);
    for slot in [1, 2] {
        let value = spot.required_input(slot)?;
        let repeated = match (spot.graph.constant(value), repeats) {
            (Some(tensor), Some(repeats)) => {
                let name = format!("{}_per_channel", spot.graph.value(value).name());
                spot.constant(&name, repeat(&tensor, repeats)?)?
            }
            _ => repeat_when_run(spot, value, input, groups)?,
        };
        spot.set_input(slot, Some(repeated))?;
        spot.graph.remove_unread_constant(value)?;
    }
    Ok(true)
}

/// Each element so many times in a row.
fn repeat(tensor: &Tensor, times: u64) -> Result<Tensor> {
    let width = tensor.data().len() / tensor.len().max(1);
    let data: Vec<u8> = tensor
        .data()
        .chunks_exact(width.max(1))
        .flat_map(|element| (0..times).flat_map(move |_| element.iter().copied()))
        .collect();
    Tensor::new(tensor.dtype(), vec![tensor.len() as u64 * times], data)
}

/// The same by operators, for values and channels that are known when the model runs.
fn repeat_when_run(spot: &mut Spot<'_>, value: ValueId, input: ValueId, groups: i64) -> Result<ValueId> {
    let base = spot.graph.value(value).name().to_owned();
    let groups = spot.indices("groups", &[groups])?;
    let (last, flat) = (spot.indices("axes", &[1])?, spot.indices("shape", &[-1])?);
    let channels_of = NodeSpec::new("Shape").attr("start", 1i64).attr("end", 2i64);
    let channels = spot.add_op(channels_of, &[input], &format!("{base}_channels"))?;
    let repeats = spot.add_op(NodeSpec::new("Div"), &[channels, groups], &format!("{base}_repeats"))?;
    let concat = NodeSpec::new("Concat").attr("axis", 0i64);
    let table = spot.add_op(concat, &[groups, repeats], &format!("{base}_table"))?;
    let column = spot.add_op(NodeSpec::new("Unsqueeze"), &[value, last], &format!("{base}_column"))?;
    let repeated = spot.add_op(NodeSpec::new("Expand"), &[column, table], &format!("{base}_repeated"))?;
    spot.add_op(NodeSpec::new("Reshape"), &[repeated, flat], &format!("{base}_per_channel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_repeat_in_a_row() {
        let tensor = Tensor::from_f32(vec![2], &[1.0, 2.0]).unwrap();
        let repeated = repeat(&tensor, 3).unwrap();
        assert_eq!(repeated.shape(), [6]);
        assert_eq!(repeated.to_f32().unwrap(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
