//! Attention, signal transforms, losses and other operators of the default domain that stand alone.

use crate::infer::cx::{Cx, Rule, axis, fixed};
use crate::infer::fact::Extent;
use crate::infer::sym::SymExpr;
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Attention" => attention,
        "LinearAttention" => linear_attention,
        "CausalConvWithState" => causal_conv,
        "DFT" => dft,
        "STFT" => stft,
        "MelWeightMatrix" => mel_weights,
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => loss,
        "NonMaxSuppression" => non_max_suppression,
        "StringConcat" => string_concat,
        "BitCast" => bit_cast,
        "RegexFullMatch" => super::elementwise::same_shape,
        // Written by ONNX Runtime into the default domain.
        "SimplifiedLayerNormalization" => super::normalize::layer,
        _ => return None,
    })
}

/// Heads, length and width of queries, keys or values, which lie apart in rank 4 and in the last axis in rank 3.
fn heads(cx: &Cx<'_, '_>, slot: usize, count: &str) -> Option<[Extent; 4]> {
    let shape = cx.shape(slot)?;
    match shape.as_slice() {
        [_, _, _, _] => shape.try_into().ok(),
        [batch, length, width] => {
            let heads = SymExpr::from(cx.int(count)?);
            let each = width.as_ref().and_then(|width| width.exact_div(&heads));
            Some([batch.clone(), Some(heads), length.clone(), each])
        }
        _ => None,
    }
}

fn attention(cx: &mut Cx<'_, '_>) -> Option<()> {
    let [batch, query_heads, length, _] = heads(cx, 0, "q_num_heads")?;
    let [_, key_heads, key_length, key_width] = heads(cx, 1, "kv_num_heads")?;
    let [_, _, _, value_width] = heads(cx, 2, "kv_num_heads")?;
    let output = if cx.rank(0) == Some(4) {
        vec![batch.clone(), query_heads.clone(), length.clone(), value_width.clone()]
    } else {
        let width = query_heads.as_ref().zip(value_width.as_ref()).and_then(|(heads, width)| heads.mul(width));
        vec![batch.clone(), length.clone(), width]
    };
    cx.set_shape(0, output);
    let total = if cx.has(4) {
        let past = cx.shape(4).and_then(|past| past.get(2).cloned().flatten());
        past.zip(key_length).and_then(|(past, new)| past.add(&new))
    } else {
        key_length
    };
    cx.set_shape(1, vec![batch.clone(), key_heads.clone(), total.clone(), key_width]);
    cx.set_shape(2, vec![batch.clone(), key_heads, total.clone(), value_width]);
    cx.set_shape(3, vec![batch, query_heads, length, total]);
    Some(())
}

/// `[B, T, heads * width]`, with a state `[B, heads, key width, value width]`.
fn linear_attention(cx: &mut Cx<'_, '_>) -> Option<()> {
    let [batch, _, key_width]: [Extent; 3] = cx.shape(1)?.try_into().ok()?;
    let [_, length, value_width]: [Extent; 3] = cx.shape(2)?.try_into().ok()?;
    let heads = SymExpr::from(cx.int("kv_num_heads")?);
    let each = |width: Extent| width.and_then(|width| width.exact_div(&heads));
    let (key_width, value_width) = (each(key_width), each(value_width));
    let hidden = value_width.as_ref().and_then(|width| width.times(cx.int("q_num_heads")?));
    cx.set_shape(0, vec![batch.clone(), length, hidden]);
    cx.set_shape(1, vec![batch, Some(heads), key_width, value_width]);
    Some(())
}

/// `[B, C, L]` with a kernel `[C, 1, K]`; the state holds the last `K - 1` positions.
fn causal_conv(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let kept = cx.shape(1).and_then(|kernel| kernel.get(2)?.as_ref()?.plus(-1));
    let state = vec![shape.first()?.clone(), shape.get(1)?.clone(), kept];
    cx.set_shape(0, shape);
    cx.set_shape(1, state);
    Some(())
}

fn dft(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let (one_sided, inverse) = (cx.int("onesided") == Some(1), cx.int("inverse") == Some(1));
    let along = if cx.version >= 20 { if cx.has(2) { cx.scalar(2)?.as_int()? } else { -2 } } else { cx.int("axis")? };
    let along = axis(along, shape.len())?;
    let length = if cx.has(1) { cx.scalar(1) } else { shape.get(along)?.clone() };
    *shape.get_mut(along)? = match (one_sided, inverse) {
        (false, _) => length,
        (true, false) => length.and_then(|length| length.floor_div(&SymExpr::from(2))?.plus(1)),
        (true, true) if cx.has(1) => length,
        (true, true) => None,
    };
    *shape.last_mut()? = if one_sided && inverse { None } else { fixed(2) };
    cx.set_shape(0, shape);
    Some(())
}

fn stft(cx: &mut Cx<'_, '_>) -> Option<()> {
    let signal = cx.shape(0)?;
    let step = cx.scalar(1);
    let frame = if cx.has(3) { cx.scalar(3) } else { cx.shape(2).and_then(|window| window.first().cloned().flatten()) };
    let span = signal.get(1)?.as_ref().zip(frame.as_ref()).and_then(|(signal, frame)| signal.sub(frame));
    let frames = span.zip(step).and_then(|(span, step)| span.floor_div(&step)?.plus(1));
    let bins = if cx.int("onesided") == Some(0) { frame } else { frame?.floor_div(&SymExpr::from(2))?.plus(1) };
    cx.set_shape(0, vec![signal.first()?.clone(), frames, bins, fixed(2)]);
    Some(())
}

fn mel_weights(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("output_datatype");
    cx.set_dtype(0, dtype);
    let bins = cx.scalar(0);
    let length = cx.scalar(1).and_then(|length| length.floor_div(&SymExpr::from(2))?.plus(1));
    cx.set_shape(0, vec![length, bins]);
    Some(())
}

fn loss(cx: &mut Cx<'_, '_>) -> Option<()> {
    if let Some(scores) = cx.shape(0) {
        cx.set_shape(1, scores);
    }
    let shape = if cx.text("reduction") == Some("none") { cx.shape(1)? } else { Vec::new() };
    cx.set_shape(0, shape);
    Some(())
}

fn non_max_suppression(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_shape(0, vec![None, fixed(3)]);
    Some(())
}

fn string_concat(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shapes = [cx.shape(0)?, cx.shape(1)?];
    cx.set_shape(0, super::elementwise::broadcast(&shapes)?);
    Some(())
}

fn bit_cast(cx: &mut Cx<'_, '_>) -> Option<()> {
    let to = cx.dtype_attr("to");
    cx.set_dtype(0, to);
    let bits = |dtype: DType| dtype.bits();
    (cx.dtype(0).map(bits) == to.map(bits)).then_some(())?;
    super::elementwise::same_shape(cx)
}
