//! Operators of `com.microsoft`: what ONNX Runtime's optimizer and quantizers write.

use super::matmul::product_shape;
use super::{conv, elementwise, normalize, quantize, recurrent};
use crate::infer::cx::{Cx, Rule, axis, fixed};
use crate::infer::fact::Extent;
use crate::infer::sym::SymExpr;
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" | "BiasAdd" | "BiasSoftmax" | "BiasDropout" | "Inverse"
        | "Trilu" | "GroupNorm" | "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" | "RotaryEmbedding" => {
            elementwise::same_shape
        }
        "CDist" => cdist,
        "BiasSplitGelu" => bias_split_gelu,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        "SimplifiedLayerNormalization" | "LayerNormalization" => normalize::layer,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_layer,
        "EmbedLayerNormalization" | "QEmbedLayerNormalization" => embed_layer,
        "FusedConv" => |cx| conv::conv(cx, 0, 1),
        "QLinearConv" => |cx| if cx.int("channels_last") == Some(1) { None } else { conv::conv(cx, 0, 3) },
        "QLinearAveragePool" => |cx| if cx.int("channels_last") == Some(1) { None } else { conv::pool(cx) },
        "QLinearGlobalAveragePool" => {
            |cx| if cx.int("channels_last") == Some(1) { None } else { conv::global_pool(cx) }
        }
        "QLinearAdd" | "QLinearMul" => |cx| broadcast(cx, &[0, 3]),
        "QLinearWhere" => |cx| broadcast(cx, &[0, 1, 4]),
        "QLinearConcat" => qlinear_concat,
        "FusedMatMul" | "TransposeMatMul" | "FusedMatMulActivation" => fused_matmul,
        "FusedGemm" => |cx| gemm(cx, 1),
        "QGemm" => qgemm,
        "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" | "MatMulInteger16" => |cx| quantize::matmul(cx, 0, 1),
        "MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4" => matmul_bits,
        "DynamicQuantizeLSTM" => recurrent::recurrent,
        "Attention" | "QAttention" => attention,
        "MultiHeadAttention" | "DecoderMaskedMultiHeadAttention" => multi_head,
        "GroupQueryAttention" => group_query,
        _ => return None,
    })
}

fn broadcast(cx: &mut Cx<'_, '_>, slots: &[usize]) -> Option<()> {
    let shapes = slots.iter().map(|slot| cx.shape(*slot)).collect::<Option<Vec<_>>>()?;
    cx.set_shape(0, elementwise::broadcast(&shapes)?);
    Some(())
}

fn cdist(cx: &mut Cx<'_, '_>) -> Option<()> {
    let rows = [cx.shape(0)?.first()?.clone(), cx.shape(1)?.first()?.clone()];
    cx.set_shape(0, rows.to_vec());
    Some(())
}

fn bias_split_gelu(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let last = shape.last_mut()?;
    *last = last.as_ref().and_then(|last| last.exact_div(&SymExpr::from(2)));
    cx.set_shape(0, shape);
    Some(())
}

fn skip_layer(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let mut reduced = shape.clone();
    *reduced.last_mut()? = fixed(1);
    cx.set_shape(0, shape.clone());
    for slot in 1..3 {
        cx.set_dtype(slot, Some(DType::F32));
        cx.set_shape(slot, reduced.clone());
    }
    cx.set_shape(3, shape);
    Some(())
}

/// Token numbers `[B, S]` to embeddings `[B, S, H]` and the lengths that the mask gives, `[B]`.
fn embed_layer(cx: &mut Cx<'_, '_>) -> Option<()> {
    let tokens: [Extent; 2] = cx.shape(0)?.try_into().ok()?;
    let hidden = cx.shape(2)?.get(1)?.clone();
    let [batch, length] = tokens;
    let shape = vec![batch.clone(), length, hidden];
    cx.set_shape(0, shape.clone());
    cx.set_shape(1, vec![batch]);
    cx.set_shape(2, shape);
    Some(())
}

/// Output scale and zero point, then tensor, scale and zero point of each part.
fn qlinear_concat(cx: &mut Cx<'_, '_>) -> Option<()> {
    let parts: Vec<Vec<Extent>> = (2..cx.inputs.len()).step_by(3).map(|slot| cx.shape(slot)).collect::<Option<_>>()?;
    let mut shape = parts.first()?.clone();
    let along = axis(cx.int("axis")?, shape.len())?;
    for part in parts.get(1..)? {
        let longer = shape.get(along)?.as_ref().zip(part.get(along)?.as_ref()).and_then(|(a, b)| a.add(b));
        *shape.get_mut(along)? = longer;
    }
    cx.set_shape(0, shape);
    Some(())
}

fn fused_matmul(cx: &mut Cx<'_, '_>) -> Option<()> {
    // Turned batch axes are a rarity that is left unknown.
    if cx.int("transBatchA") == Some(1) || cx.int("transBatchB") == Some(1) {
        return None;
    }
    let turned = |cx: &Cx<'_, '_>, slot: usize, name: &str| {
        let mut shape = cx.shape(slot)?;
        let rank = shape.len();
        if cx.int(name) == Some(1) && rank >= 2 {
            shape.swap(rank - 1, rank - 2);
        }
        Some(shape)
    };
    let (left, right) = (turned(cx, 0, "transA")?, turned(cx, 1, "transB")?);
    let shape = product_shape(cx, left, right)?;
    cx.set_shape(0, shape);
    Some(())
}

/// The product of the matrices in slot 0 and slot `right`, either turned.
fn gemm(cx: &mut Cx<'_, '_>, right: usize) -> Option<()> {
    let [rows, turned_rows]: [Extent; 2] = cx.shape(0)?.try_into().ok()?;
    let [turned_columns, columns]: [Extent; 2] = cx.shape(right)?.try_into().ok()?;
    let height = if cx.int("transA") == Some(1) { turned_rows } else { rows };
    let width = if cx.int("transB") == Some(1) { turned_columns } else { columns };
    cx.set_shape(0, vec![height, width]);
    Some(())
}

fn qgemm(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = if cx.has(8) { cx.dtype(8) } else { Some(DType::F32) };
    cx.set_dtype(0, dtype);
    gemm(cx, 3)
}

fn matmul_bits(cx: &mut Cx<'_, '_>) -> Option<()> {
    // Weights that are not turned: the specification says little of what N means then.
    if cx.int("transB") == Some(0) && cx.node.op_type() == "MatMulBnb4" {
        return None;
    }
    let mut shape = cx.shape(0)?;
    *shape.last_mut()? = fixed(cx.int("N")?);
    cx.set_shape(0, shape);
    Some(())
}

/// `[B, S, I]` with weights `[I, 3*H]` to `[B, S, H]`.
fn attention(cx: &mut Cx<'_, '_>) -> Option<()> {
    let [batch, length, _]: [Extent; 3] = cx.shape(0)?.try_into().ok()?;
    let width = match cx.int_list("qkv_hidden_sizes") {
        Some(sizes) if !sizes.is_empty() => fixed(*sizes.get(2)?),
        _ => cx.shape(1).and_then(|weights| weights.get(1)?.as_ref()?.exact_div(&SymExpr::from(3))),
    };
    cx.set_shape(0, vec![batch, length, width]);
    Some(())
}

fn multi_head(cx: &mut Cx<'_, '_>) -> Option<()> {
    let query = cx.shape(0)?;
    let shape = match (query.as_slice(), cx.rank(1), cx.shape(2)) {
        // Queries, keys and values in one tensor: [B, S, heads, 3, width].
        ([batch, length, heads, _, width], _, _) => {
            let hidden = heads.as_ref().zip(width.as_ref()).and_then(|(heads, width)| heads.mul(width));
            vec![batch.clone(), length.clone(), hidden]
        }
        ([batch, length, _], _, Some(value)) => match value.as_slice() {
            [_, _, width] => vec![batch.clone(), length.clone(), width.clone()],
            [_, heads, _, width] => {
                let hidden = heads.as_ref().zip(width.as_ref()).and_then(|(heads, width)| heads.mul(width));
                vec![batch.clone(), length.clone(), hidden]
            }
            _ => return None,
        },
        // Keys and values in one tensor have the width of the queries.
        ([_, _, _], Some(5), None) => query.clone(),
        _ => return None,
    };
    cx.set_shape(0, shape);
    Some(())
}

fn group_query(cx: &mut Cx<'_, '_>) -> Option<()> {
    // Without keys the queries hold all three, split by a ratio of heads.
    let mut shape = cx.shape(0)?;
    if !cx.has(1) {
        let (heads, pairs) = (cx.int("num_heads")?, cx.int("kv_num_heads")?);
        let all = heads.checked_add(pairs.checked_mul(2)?)?;
        let last = shape.last_mut()?;
        let each = last.as_ref().and_then(|last| last.exact_div(&SymExpr::from(all)));
        *last = each.and_then(|each| each.times(heads));
    }
    cx.set_shape(0, shape);
    Some(())
}
