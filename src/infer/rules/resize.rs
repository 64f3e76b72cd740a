//! Operators that move extents between channels and space, or scale them.

use crate::infer::cx::{Cx, Rule, axis};
use crate::infer::fact::{Element, Extent};
use crate::infer::sym::SymExpr;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        "Resize" => resize,
        "Upsample" => upsample,
        "GridSample" => grid_sample,
        "AffineGrid" => affine_grid,
        _ => return None,
    })
}

fn blocks(cx: &Cx<'_, '_>) -> Option<(Vec<Extent>, SymExpr)> {
    let shape = cx.shape(0).filter(|shape| shape.len() == 4)?;
    let block = cx.int("blocksize").filter(|block| *block > 0)?;
    Some((shape, SymExpr::from(block)))
}

fn depth_to_space(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (mut shape, block) = blocks(cx)?;
    let area = block.mul(&block)?;
    for (place, extent) in shape.iter_mut().enumerate().skip(1) {
        *extent = extent.as_ref().and_then(|e| if place == 1 { e.floor_div(&area) } else { e.mul(&block) });
    }
    cx.set_shape(0, shape);
    Some(())
}

fn space_to_depth(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (mut shape, block) = blocks(cx)?;
    let area = block.mul(&block)?;
    for (place, extent) in shape.iter_mut().enumerate().skip(1) {
        *extent = extent.as_ref().and_then(|e| if place == 1 { e.mul(&area) } else { e.floor_div(&block) });
    }
    cx.set_shape(0, shape);
    Some(())
}

/// An extent times a factor, rounded down.
fn scaled(extent: &Extent, factor: f64) -> Extent {
    let extent = extent.as_ref()?;
    if let Some(number) = extent.as_int() {
        let product = number as f64 * f64::from(factor as f32);
        return (0.0..f64::from(i32::MAX)).contains(&product).then(|| SymExpr::from(product.floor() as i64));
    }
    // Of factors that are no fraction with a small denominator the product cannot be written down.
    let denominator = (1..=64).find(|&d| (factor * f64::from(d)).fract() == 0.0)?;
    let numerator = factor * f64::from(denominator);
    let fits = (0.0..f64::from(i32::MAX)).contains(&numerator);
    extent.times(numerator as i64).filter(|_| fits)?.floor_div(&SymExpr::from(i64::from(denominator)))
}

fn upsample(cx: &mut Cx<'_, '_>) -> Option<()> {
    let shape = cx.shape(0)?;
    cx.set_shape(0, vec![None; shape.len()]);
    let factors: Vec<f64> = match cx.float_list("scales") {
        Some(scales) => scales.iter().map(|&scale| f64::from(scale)).collect(),
        None => cx.numbers(1)?,
    };
    if factors.len() != shape.len() {
        return None;
    }
    let output = shape.iter().zip(factors).map(|(extent, factor)| scaled(extent, factor)).collect();
    cx.set_shape(0, output);
    Some(())
}

fn resize(cx: &mut Cx<'_, '_>) -> Option<()> {
    if cx.version < 11 {
        return upsample(cx);
    }
    let shape = cx.shape(0)?;
    let rank = shape.len();
    cx.set_shape(0, vec![None; rank]);
    let axes: Vec<usize> = match cx.int_list("axes") {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?,
        None => (0..rank).collect(),
    };
    let mut output = shape.clone();
    // An empty tensor of scales or sizes counts as left out.
    let is_given =
        |slot: usize| cx.input(slot).is_some_and(|fact| fact.contents.as_ref().is_none_or(|c| !c.is_empty()));
    if is_given(3) {
        let sizes = cx.elements(3).filter(|sizes| sizes.len() == axes.len());
        let policy = cx.text("keep_aspect_ratio_policy").unwrap_or("stretch");
        let factor = sizes.as_ref().and_then(|sizes| common_factor(policy, sizes, &axes, &shape));
        for (place, &at) in axes.iter().enumerate() {
            let extent = output.get_mut(at)?;
            *extent = if policy == "stretch" {
                sizes.as_ref().and_then(|sizes| sizes.get(place)?.int().cloned())
            } else {
                extent.as_ref().and_then(|e| rounded(e.as_int()? as f64 * factor?))
            };
        }
    } else if is_given(2) {
        // What a crop leaves depends on the region of interest.
        let crops = cx.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
        let scales = cx.input(2)?.contents.clone().filter(|scales| scales.len() == axes.len() && !crops);
        for (place, &at) in axes.iter().enumerate() {
            let factor = scales.as_ref().and_then(|scales| scales.get(place)?.number());
            let extent = output.get_mut(at)?;
            *extent = factor.and_then(|factor| scaled(extent, factor));
        }
    } else {
        return None;
    }
    cx.set_shape(0, output);
    Some(())
}

/// The factor for all axes that keeps the proportions of the input: the smallest or the largest of those that the
/// sizes ask for.
fn common_factor(policy: &str, sizes: &[Element], axes: &[usize], shape: &[Extent]) -> Option<f64> {
    let factor = |(size, at): (&Element, &usize)| Some(size.number()? / shape.get(*at)?.as_ref()?.as_int()? as f64);
    let factors: Vec<f64> = sizes.iter().zip(axes).map(factor).collect::<Option<_>>()?;
    match policy {
        "not_larger" => factors.into_iter().reduce(f64::min),
        "not_smaller" => factors.into_iter().reduce(f64::max),
        _ => None,
    }
}

/// The nearest extent, halves rounded up.
fn rounded(value: f64) -> Extent {
    (0.0..f64::from(i32::MAX)).contains(&value).then(|| SymExpr::from((value + 0.5).floor() as i64))
}

fn grid_sample(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (input, grid) = (cx.shape(0)?, cx.shape(1)?);
    let (_, places) = grid.split_last()?;
    let batch = cx.state.merge(input.first()?, places.first()?);
    let shape = [batch, input.get(1)?.clone()].into_iter().chain(places.get(1..)?.iter().cloned()).collect();
    cx.set_shape(0, shape);
    Some(())
}

fn affine_grid(cx: &mut Cx<'_, '_>) -> Option<()> {
    let size = cx.elements(1)?;
    let places = size.get(2..)?;
    let axes = i64::try_from(places.len()).ok()?;
    let extents = size.iter().take(1).chain(places).map(|element| element.int().cloned());
    let shape = extents.chain([Some(SymExpr::from(axes))]).collect();
    cx.set_shape(0, shape);
    Some(())
}
