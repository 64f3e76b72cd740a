//! Where tract computes an operator wrongly, panics on it or lacks a part of it, in spite of honouring its attributes.
//!
//! Facts about tract-onnx 0.23.9; each rule is a test in `tests/backend/gate.rs`.

use super::check_dtype;
use super::scope::NodeView;
use crate::ir::DType;

/// Judges a node; `Err` is the reason to refuse it.
pub(super) type Rule = fn(&NodeView<'_, '_>) -> Verdict;
type Verdict = Result<(), String>;

/// Nothing more to check.
pub(super) fn always(_: &NodeView<'_, '_>) -> Verdict {
    Ok(())
}

/// `Err` with the reason where `wrong`.
fn refuse_if(wrong: bool, reason: &str) -> Verdict {
    if wrong { Err(reason.to_owned()) } else { Ok(()) }
}

pub(super) fn attention(view: &NodeView<'_, '_>) -> Verdict {
    let has_past = view.input(4).is_some() || view.input(5).is_some();
    refuse_if(
        view.int("is_causal").unwrap_or(0) != 0 && has_past,
        "tract places the causal mask wrongly where there is a past",
    )?;
    refuse_if(view.int("qk_matmul_output_mode").unwrap_or(0) != 0, "tract has no other output mode")?;
    refuse_if(view.attribute("softcap").is_some_and(|softcap| softcap.f() != 0.0), "tract has no softcap")
}

pub(super) fn batch_normalization(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.int("training_mode").unwrap_or(0) != 0 || view.outputs() > 1, "tract has no training mode")?;
    refuse_if(view.int("spatial").unwrap_or(1) != 1, "tract normalises whole channels only")?;
    refuse_if((1..5).any(|index| !view.is_fixed(index)), "tract needs scale, bias, mean and variance to be constant")
}

pub(super) fn bit_shift(view: &NodeView<'_, '_>) -> Verdict {
    let (Some(amounts), Some(dtype)) = (view.ints_of(1), view.dtype(1)) else {
        return Err("tract shifts wrongly by the width of the type or more, and the amount is not constant".to_owned());
    };
    let fits = |amount: &i64| u64::try_from(*amount).is_ok_and(|amount| amount < dtype.bits());
    refuse_if(!amounts.iter().all(fits), "tract shifts wrongly by the width of the type or more")
}

pub(super) fn cast(view: &NodeView<'_, '_>) -> Verdict {
    check_dtype(view.int("to").and_then(|to| i32::try_from(to).ok()).unwrap_or(0))
}

pub(super) fn cast_like(view: &NodeView<'_, '_>) -> Verdict {
    view.dtype(1).map_or(Ok(()), |dtype| check_dtype(dtype.to_onnx()))
}

pub(super) fn celu(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.types.contains(DType::F16), "tract computes Celu wrongly on float16")
}

/// Windows that slide: convolutions and pools.
pub(super) fn pool(view: &NodeView<'_, '_>) -> Verdict {
    let pads = view.ints("pads").unwrap_or_default();
    refuse_if(pads.iter().any(|&pad| pad < 0), "tract has no negative pads")
}

pub(super) fn conv_transpose(view: &NodeView<'_, '_>) -> Verdict {
    pool(view)?;
    refuse_if(view.attribute("output_shape").is_some(), "tract pads wrongly to a given output_shape")
}

pub(super) fn depth_to_space(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.text("mode").unwrap_or("DCR") != "DCR", "tract computes mode CRD wrongly")
}

pub(super) fn space_to_depth(view: &NodeView<'_, '_>) -> Verdict {
    depth_to_space(view)
}

pub(super) fn dropout(view: &NodeView<'_, '_>) -> Verdict {
    let off = match (view.input(2), view.constant(2)) {
        (None, _) => true,
        (Some(_), Some(training)) => training.scalar_i64() == Some(0),
        (Some(_), None) => false,
    };
    refuse_if(!off, "tract has no training mode")
}

/// The maximum or minimum over an axis; `distrust` watches over those computed while the model runs.
pub(super) fn extremum(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.dtype(0) == Some(DType::Bool), "tract has no maximum of bool")?;
    let may_be_float = view.dtype(0).is_none_or(DType::is_float);
    refuse_if(view.is_fixed(0) && may_be_float, "tract loses infinity in the maximum or minimum of constants")
}

pub(super) fn gather_nd(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.int("batch_dims").unwrap_or(0) != 0, "tract panics on batch_dims")
}

pub(super) fn group_normalization(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.opset < 21, "below operator set 21 scale and bias are per group, tract takes them per channel")?;
    single_precision_stash(view)
}

pub(super) fn rms_normalization(view: &NodeView<'_, '_>) -> Verdict {
    single_precision_stash(view)
}

fn single_precision_stash(view: &NodeView<'_, '_>) -> Verdict {
    let float = i64::from(DType::F32.to_onnx());
    refuse_if(view.int("stash_type").unwrap_or(float) != float, "tract normalises in float only")
}

pub(super) fn one_hot(_: &NodeView<'_, '_>) -> Verdict {
    Err("tract panics on OneHot".to_owned())
}

pub(super) fn pad(view: &NodeView<'_, '_>) -> Verdict {
    let mode = view.text("mode").unwrap_or("constant");
    refuse_if(!["constant", "edge", "reflect"].contains(&mode), "tract has no such mode")?;
    let pads = match view.ints("pads") {
        Some(pads) => pads.to_vec(),
        None => view.ints_of(1).ok_or("tract needs constant pads")?,
    };
    refuse_if(pads.iter().any(|&pad| pad < 0), "tract panics on negative pads")
}

pub(super) fn quantization(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.int("block_size").unwrap_or(0) != 0, "tract has no blocked quantization")?;
    refuse_if(!view.is_fixed(1) || !view.is_fixed(2), "tract needs scale and zero point to be constant")?;
    refuse_if(view.node.input.len() == 3 && view.input(2).is_none(), "tract takes an empty zero point for one")?;
    let stored = view.int("output_dtype").and_then(|number| DType::from_onnx(number as i32));
    let types = match view.node.op_type() {
        "QuantizeLinear" => [stored, view.dtype(2)],
        _ => [view.dtype(0), view.dtype(2)],
    };
    let narrow = |dtype: &DType| matches!(dtype, DType::U8 | DType::I8 | DType::I32);
    match types.iter().flatten().find(|dtype| !narrow(dtype)) {
        Some(dtype) => Err(format!("tract does not quantize to `{dtype}`")),
        None => Ok(()),
    }
}

pub(super) fn resize(view: &NodeView<'_, '_>) -> Verdict {
    let transform = view.text("coordinate_transformation_mode").unwrap_or("half_pixel");
    refuse_if(transform == "align_corners", "tract computes align_corners wrongly")?;
    if view.opset > 10 || view.text("mode").unwrap_or("nearest") != "nearest" {
        return Ok(());
    }
    // Operator set 10 rounds positions down, tract to the nearest with halves down: the same on whole and half positions.
    let scales = view.constant(1).and_then(|scales| scales.to_f32()).unwrap_or_default();
    let same = |scale: &f32| (2.0 / scale).fract() == 0.0;
    refuse_if(scales.is_empty() || !scales.iter().all(same), "tract rounds positions as later operator sets do")
}

pub(super) fn lstm(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.int("input_forget").unwrap_or(0) != 0, "tract ignores input_forget")?;
    recurrent(view, &["Sigmoid", "Tanh", "Tanh"])
}

pub(super) fn gru(view: &NodeView<'_, '_>) -> Verdict {
    recurrent(view, &["Sigmoid", "Tanh"])
}

pub(super) fn rnn(view: &NodeView<'_, '_>) -> Verdict {
    recurrent(view, &["Tanh"])
}

/// `defaults` are the activations of one direction.
fn recurrent(view: &NodeView<'_, '_>, defaults: &[&str]) -> Verdict {
    refuse_if(view.text("direction") == Some("reverse"), "tract runs direction=reverse forward")?;
    let Some(activations) = view.attribute("activations") else { return Ok(()) };
    let usual = (activations.strings.iter().zip(defaults.iter().cycle()))
        .all(|(name, default)| name.eq_ignore_ascii_case(default.as_bytes()));
    refuse_if(!usual, "tract ignores the choice of activations")
}

pub(super) fn swish(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.attribute("alpha").is_some_and(|alpha| alpha.f() != 1.0), "tract ignores alpha")
}

pub(super) fn skip_layer_normalization(view: &NodeView<'_, '_>) -> Verdict {
    refuse_if(view.outputs() > 1, "only the first output is known to be right in tract")
}
