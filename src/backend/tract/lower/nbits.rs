//! MatMulNBits of ONNX Runtime, which tract does not have, as a product of floats.

use super::RUNTIME_DOMAIN;
use super::constants::Constants;
use crate::error::Result;
use crate::ir::{DType, Tensor};
use crate::onnx::proto::{AttributeProto, NodeProto};

/// What stands for an operator with constant weights; `None` for other operators and for variants that are not known here.
///
/// # Errors
/// Fails where a constant does not fit its type and shape.
pub(super) fn product(node: &NodeProto, constants: &mut Constants) -> Result<Option<Vec<NodeProto>>> {
    if node.op_type() != "MatMulNBits" || node.domain() != RUNTIME_DOMAIN {
        return Ok(None);
    }
    let input = |slot: usize| node.input.get(slot).filter(|name| !name.is_empty());
    let (Some(rows), Some(levels), Some(scales), Some(output)) = (input(0), input(1), input(2), node.output.first())
    else {
        return Ok(None);
    };
    // The order of groups, which inputs before the bias may give, is not known here.
    if input(4).is_some() {
        return Ok(None);
    }
    let (Some(levels), Some(scales)) = (constants.get(levels)?, constants.get(scales)?) else { return Ok(None) };
    let zeros = match input(3) {
        Some(name) => match constants.get(name)? {
            Some(zeros) => Some(zeros),
            None => return Ok(None),
        },
        None => None,
    };
    let Some(weights) = weights(node, &levels, &scales, zeros.as_ref()) else { return Ok(None) };
    let held = constants.fresh(&format!("{output}_weights"));
    constants.add(&held, weights);
    let operator = |op_type: &str, inputs: [&String; 2], output: &String| NodeProto {
        op_type: Some(op_type.to_owned()),
        name: node.name.clone().filter(|_| op_type == "MatMul"),
        input: inputs.into_iter().cloned().collect(),
        output: vec![output.clone()],
        ..NodeProto::default()
    };
    Ok(Some(match input(5) {
        Some(bias) => {
            let product = constants.fresh(output);
            vec![operator("MatMul", [rows, &held], &product), operator("Add", [&product, bias], output)]
        }
        None => vec![operator("MatMul", [rows, &held], output)],
    }))
}

/// The weights `[K, N]` that 4-bit levels `[N, blocks, block / 2]` mean.
fn weights(node: &NodeProto, levels: &Tensor, scales: &Tensor, zeros: Option<&Tensor>) -> Option<Tensor> {
    let size = |name: &str| {
        let attribute = node.attribute.iter().find(|attribute| attribute.name() == name).map(AttributeProto::i);
        attribute.and_then(|value| usize::try_from(value).ok()).filter(|&value| value > 0)
    };
    let (depth, columns, block) = (size("K")?, size("N")?, size("block_size")?);
    let blocks = depth.div_ceil(block);
    let is_known = size("bits").unwrap_or(4) == 4
        && levels.dtype() == DType::U8
        && levels.len() * 2 == columns * blocks * block
        && scales.len() == columns * blocks
        && zeros.is_none_or(|zeros| zeros.dtype() == DType::U8 && zeros.len() == columns * blocks.div_ceil(2));
    if !is_known {
        return None;
    }
    let nibble = |bytes: &[u8], index: usize| f32::from((bytes[index / 2] >> (index % 2 * 4)) & 0xf);
    let scale = scales.to_f32()?;
    let mut weights = vec![0.0; depth * columns];
    for column in 0..columns {
        for k in 0..depth {
            let number = column * blocks + k / block;
            // Each column of zeros begins a byte of its own; without any, 8 means 0.
            let zero = zeros.map_or(8.0, |z| nibble(z.data(), column * blocks.next_multiple_of(2) + k / block));
            let level = nibble(levels.data(), column * blocks * block + k);
            weights[k * columns + column] = (level - zero) * scale[number];
        }
    }
    Tensor::from_floats(scales.dtype(), vec![depth as u64, columns as u64], &weights).ok()
}
