//! Quantized operators of the default domain.

use super::conv;
use super::matmul::product_shape;
use crate::infer::cx::{Cx, Rule};
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "QuantizeLinear" => quantize,
        "DequantizeLinear" => dequantize,
        "DynamicQuantizeLinear" => dynamic_quantize,
        "QLinearConv" => |cx| conv::conv(cx, 0, 3),
        "ConvInteger" => |cx| conv::conv(cx, 0, 1),
        "QLinearMatMul" => |cx| matmul(cx, 0, 3),
        "MatMulInteger" => |cx| matmul(cx, 0, 1),
        _ => return None,
    })
}

pub(super) fn quantize(cx: &mut Cx<'_, '_>) -> Option<()> {
    let said = cx.dtype_attr("output_dtype");
    let dtype = if cx.has(2) { cx.dtype(2) } else { said.or(Some(DType::U8)) };
    cx.set_dtype(0, dtype);
    super::elementwise::same_shape(cx)
}

pub(super) fn dequantize(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("output_dtype").or_else(|| cx.dtype(1));
    cx.set_dtype(0, dtype);
    super::elementwise::same_shape(cx)
}

fn dynamic_quantize(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_shape(1, Vec::new());
    cx.set_shape(2, Vec::new());
    super::elementwise::same_shape(cx)
}

/// The product of two inputs.
pub(super) fn matmul(cx: &mut Cx<'_, '_>, left: usize, right: usize) -> Option<()> {
    let (left, right) = (cx.shape(left)?, cx.shape(right)?);
    let shape = product_shape(cx, left, right)?;
    cx.set_shape(0, shape);
    Some(())
}
