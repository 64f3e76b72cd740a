//! Convolutions and pools: windows that move over the axes after batch and channels.

use crate::infer::cx::{Cx, Rule, fixed, numbers};
use crate::infer::fact::Extent;
use crate::infer::sym::SymExpr;
use crate::ir::DType;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Conv" => |cx| conv(cx, 0, 1),
        "ConvTranspose" => conv_transpose,
        "AveragePool" | "MaxPool" | "LpPool" => pool,
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => global_pool,
        "MaxUnpool" => max_unpool,
        "MaxRoiPool" => max_roi_pool,
        "RoiAlign" => roi_align,
        "Col2Im" => col2im,
        "DeformConv" => |cx| conv(cx, 0, 1),
        _ => return None,
    })
}

/// How a window moves over the spatial axes.
struct Window {
    kernel: Vec<Extent>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Before each axis, then after each; what `auto_pad` decides is decided by the extents.
    pads: Vec<i64>,
    auto_pad: String,
    ceil_mode: bool,
}

impl Window {
    fn read(cx: &Cx<'_, '_>, kernel: Vec<Extent>) -> Option<Self> {
        let rank = kernel.len();
        let list = |name, length: usize, default: i64| match cx.int_list(name) {
            Some(values) if values.len() == length => Some(values.to_vec()),
            Some(values) if !values.is_empty() => None,
            _ => Some(vec![default; length]),
        };
        let (strides, dilations) = (list("strides", rank, 1)?, list("dilations", rank, 1)?);
        let sound = strides.iter().chain(&dilations).all(|number| *number > 0);
        let pads = list("pads", rank.checked_mul(2)?, 0)?;
        let auto_pad = cx.text("auto_pad").unwrap_or("NOTSET").to_owned();
        let ceil_mode = cx.int("ceil_mode") == Some(1);
        sound.then_some(Self { kernel, strides, dilations, pads, auto_pad, ceil_mode })
    }

    /// How many positions the window takes along an axis.
    fn positions(&self, place: usize, input: &Extent) -> Extent {
        let (input, stride) = (input.as_ref()?, SymExpr::from(*self.strides.get(place)?));
        if self.auto_pad.starts_with("SAME") {
            return input.ceil_div(&stride);
        }
        let reach = self.reach(place)?;
        let padding = if self.auto_pad == "VALID" {
            (0, 0)
        } else {
            (*self.pads.get(place)?, *self.pads.get(place + self.kernel.len())?)
        };
        let span = input.plus(padding.0.checked_add(padding.1)?)?.sub(&reach)?;
        if !self.ceil_mode {
            return span.floor_div(&stride)?.plus(1);
        }
        let positions = span.ceil_div(&stride)?.plus(1)?;
        // A window that would begin in the padding after the end is left out.
        let begins_inside = match (positions.as_int(), input.as_int(), stride.as_int()) {
            (Some(positions), Some(input), Some(stride)) => {
                positions.checked_sub(1)?.checked_mul(stride)? < input.checked_add(padding.0)?
            }
            // The last window begins less than a stride past the last full one; without padding after the end, and
            // a window no shorter than the stride, that is inside.
            _ => {
                let slack = reach.as_int()?.checked_sub(padding.1)?.checked_sub(stride.as_int()?)?;
                if slack < 0 {
                    return None;
                }
                true
            }
        };
        if begins_inside { Some(positions) } else { positions.plus(-1) }
    }

    /// The extent that the window covers along an axis.
    fn reach(&self, place: usize) -> Extent {
        self.kernel.get(place)?.as_ref()?.plus(-1)?.times(*self.dilations.get(place)?)?.plus(1)
    }
}

/// The kernel as the attribute or, where that is left out, the weight says.
fn kernel(cx: &Cx<'_, '_>, weight: usize, rank: usize) -> Option<Vec<Extent>> {
    let kernel: Vec<Extent> = match cx.int_list("kernel_shape") {
        Some(kernel) if !kernel.is_empty() => kernel.iter().map(|&extent| fixed(extent)).collect(),
        _ => cx.shape(weight)?.get(2..)?.to_vec(),
    };
    (kernel.len() == rank).then_some(kernel)
}

/// Convolution of the input in slot `data` with the weight in slot `weight`.
pub(super) fn conv(cx: &mut Cx<'_, '_>, data: usize, weight: usize) -> Option<()> {
    let shape = cx.shape(data)?;
    let channels = cx.shape(weight).and_then(|weight| weight.first().cloned().flatten());
    let group = SymExpr::from(cx.int("group").unwrap_or(1));
    let read = cx.shape(weight).and_then(|weight| weight.get(1)?.as_ref()?.mul(&group));
    cx.state.merge(shape.get(1)?, &read);
    let mut output: Vec<Extent> = vec![None; shape.len()];
    *output.first_mut()? = shape.first()?.clone();
    *output.get_mut(1)? = channels;
    cx.set_shape(0, output.clone());
    let window = Window::read(cx, kernel(cx, weight, shape.len().checked_sub(2)?)?)?;
    for (place, extent) in output.iter_mut().skip(2).enumerate() {
        *extent = window.positions(place, shape.get(place + 2)?);
    }
    cx.set_shape(0, output);
    Some(())
}

pub(super) fn pool(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_dtype(1, Some(DType::I64));
    let shape = cx.shape(0)?;
    let kernel: Vec<Extent> = cx.int_list("kernel_shape")?.iter().map(|&extent| fixed(extent)).collect();
    if kernel.len().checked_add(2)? != shape.len() {
        return None;
    }
    let window = Window::read(cx, kernel)?;
    let mut output = shape.clone();
    for (place, extent) in output.iter_mut().skip(2).enumerate() {
        *extent = window.positions(place, shape.get(place + 2)?);
    }
    cx.set_shape(0, output.clone());
    cx.set_shape(1, output);
    Some(())
}

pub(super) fn global_pool(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let pooled = shape.into_iter().enumerate().map(|(place, extent)| if place < 2 { extent } else { fixed(1) });
    let pooled = pooled.collect();
    cx.set_shape(0, pooled);
    Some(())
}

fn conv_transpose(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let rank = shape.len().checked_sub(2)?;
    let group = SymExpr::from(cx.int("group")?);
    let channels = cx.shape(1).and_then(|weight| weight.get(1)?.as_ref()?.mul(&group));
    let read = cx.shape(1).and_then(|weight| weight.first().cloned().flatten());
    cx.state.merge(shape.get(1)?, &read);
    let mut output: Vec<Extent> = vec![None; shape.len()];
    *output.first_mut()? = shape.first()?.clone();
    *output.get_mut(1)? = channels;
    cx.set_shape(0, output.clone());
    if let Some(wanted) = cx.int_list("output_shape").filter(|wanted| !wanted.is_empty()) {
        let spatial = wanted.get(wanted.len().checked_sub(rank)?..)?;
        for (extent, &wanted) in output.iter_mut().skip(2).zip(spatial) {
            *extent = fixed(wanted);
        }
        cx.set_shape(0, output);
        return Some(());
    }
    let window = Window::read(cx, kernel(cx, 1, rank)?)?;
    let extra = cx.int_list("output_padding").unwrap_or_default();
    for (place, extent) in output.iter_mut().skip(2).enumerate() {
        let input = shape.get(place + 2)?.as_ref();
        let stride = *window.strides.get(place)?;
        let extra = extra.get(place).copied().unwrap_or(0);
        let full = || input?.plus(-1)?.times(stride)?.add(&window.reach(place)?)?.plus(extra);
        *extent = match window.auto_pad.as_str() {
            "SAME_UPPER" | "SAME_LOWER" => input.and_then(|input| input.times(stride)),
            "VALID" => full(),
            _ => {
                let padding = window.pads.get(place)?.checked_add(*window.pads.get(place + rank)?)?;
                full().and_then(|full| full.plus(padding.checked_neg()?))
            }
        };
    }
    cx.set_shape(0, output);
    Some(())
}

fn max_unpool(cx: &mut Cx<'_, '_>) -> Option<()> {
    if cx.has(2) {
        let wanted = cx.elements(2)?;
        let extents = wanted.iter().map(|element| element.int().cloned()).collect();
        cx.set_shape(0, extents);
        return Some(());
    }
    let shape = cx.shape(0)?;
    let kernel = cx.int_list("kernel_shape")?.iter().map(|&extent| fixed(extent)).collect();
    let window = Window::read(cx, kernel)?;
    let rank = window.kernel.len();
    let mut output = shape.clone();
    for (place, extent) in output.iter_mut().skip(2).enumerate() {
        let padding = window.pads.get(place)?.checked_add(*window.pads.get(place + rank)?)?.checked_neg()?;
        let input = shape.get(place + 2)?.as_ref();
        let full = || input?.plus(-1)?.times(*window.strides.get(place)?)?.add(&window.reach(place)?);
        *extent = full().and_then(|full| full.plus(padding));
    }
    cx.set_shape(0, output);
    Some(())
}

fn max_roi_pool(cx: &mut Cx<'_, '_>) -> Option<()> {
    let channels = cx.shape(0)?.get(1)?.clone();
    let regions = cx.shape(1)?.first()?.clone();
    let pooled = cx.int_list("pooled_shape")?.iter().map(|&extent| fixed(extent));
    let shape = [regions, channels].into_iter().chain(pooled).collect();
    cx.set_shape(0, shape);
    Some(())
}

fn roi_align(cx: &mut Cx<'_, '_>) -> Option<()> {
    let channels = cx.shape(0)?.get(1)?.clone();
    let regions = cx.shape(1)?.first()?.clone();
    let (height, width) = (fixed(cx.int("output_height")?), fixed(cx.int("output_width")?));
    cx.set_shape(0, vec![regions, channels, height, width]);
    Some(())
}

fn col2im(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    let image: Vec<Extent> = cx.elements(1)?.iter().map(|element| element.int().cloned()).collect();
    let block: Vec<Extent> = cx.ints(2)?.into_iter().map(fixed).collect();
    let area = numbers(&block)?.into_iter().try_fold(1i64, i64::checked_mul)?;
    let channels = shape.get(1)?.as_ref().and_then(|columns| columns.exact_div(&SymExpr::from(area)));
    let output = [shape.first()?.clone(), channels].into_iter().chain(image).collect();
    cx.set_shape(0, output);
    Some(())
}
