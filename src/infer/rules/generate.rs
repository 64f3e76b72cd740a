//! Operators that make tensors: from nothing, from a shape, or from the shape of another tensor.

use crate::infer::cx::{Cx, Rule, axis, fixed, product, small};
use crate::infer::fact::{Element, Extent, Fact};
use crate::infer::sym::SymExpr;
use crate::ir::{AttrRef, DType, Tensor};

/// How many elements a Range may have whose values are followed.
const MAX_RANGE: i64 = crate::infer::fact::MAX_ELEMENTS as i64;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Constant" => constant,
        "ConstantOfShape" => constant_of_shape,
        "Shape" => shape,
        "Size" => size,
        "Range" => range,
        "OneHot" => one_hot,
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => like,
        "RandomNormal" | "RandomUniform" => random,
        "Multinomial" => multinomial,
        "BlackmanWindow" | "HannWindow" | "HammingWindow" => window,
        _ => return None,
    })
}

fn constant(cx: &mut Cx<'_, '_>) -> Option<()> {
    let tensor = match cx.node.constant_value() {
        Some(tensor) => tensor,
        // Inside of a function the value may be an attribute of the caller's.
        None => match cx.attr(cx.node.attributes().first()?.name())? {
            AttrRef::Tensor(tensor) => tensor.clone(),
            AttrRef::Int(value) => Tensor::from_i64(vec![], &[value]).ok()?,
            AttrRef::Ints(values) => Tensor::from_i64(vec![values.len() as u64], values).ok()?,
            AttrRef::Float(value) => Tensor::from_f32(vec![], &[value]).ok()?,
            AttrRef::Floats(values) => Tensor::from_f32(vec![values.len() as u64], values).ok()?,
            _ => return None,
        },
    };
    *cx.outputs.first_mut()? = Fact::constant(&tensor);
    Some(())
}

fn constant_of_shape(cx: &mut Cx<'_, '_>) -> Option<()> {
    let value = match cx.attr("value") {
        Some(AttrRef::Tensor(tensor)) => Some(tensor),
        _ => None,
    };
    cx.set_dtype(0, Some(value.map_or(DType::F32, |tensor| tensor.dtype())));
    shape_from(cx, 0)?;
    let count: usize = small(cx.outputs.first()?.shape.as_ref()?)?.iter().product();
    let element = match value {
        Some(tensor) => Fact::constant(tensor).contents?.first()?.clone(),
        None => Element::Int(SymExpr::from(0)),
    };
    cx.set_contents(0, vec![element; count]);
    Some(())
}

/// Gives the first output the shape that an input spells out.
fn shape_from(cx: &mut Cx<'_, '_>, slot: usize) -> Option<()> {
    let extents: Vec<Extent> = match cx.elements(slot) {
        Some(elements) => elements.iter().map(|element| element.int().cloned()).collect(),
        None => {
            let rank = usize::try_from(cx.shape(slot)?.first()?.as_ref()?.as_int()?).ok().filter(|rank| *rank <= 64)?;
            vec![None; rank]
        }
    };
    cx.set_shape(0, extents);
    Some(())
}

fn shape(cx: &mut Cx<'_, '_>) -> Option<()> {
    let Some(shape) = cx.shape(0) else {
        cx.set_shape(0, vec![None]);
        return None;
    };
    let rank = i64::try_from(shape.len()).ok()?;
    let bound = |value: i64| if value < 0 { value.saturating_add(rank) } else { value }.clamp(0, rank) as usize;
    let start = bound(cx.int("start").unwrap_or(0));
    let end = bound(cx.int("end").unwrap_or(rank)).max(start);
    let part = shape.get(start..end)?;
    cx.set_shape(0, vec![fixed(i64::try_from(part.len()).ok()?)]);
    let elements = part.iter().map(|extent| extent.clone().map_or(Element::Unknown, Element::Int));
    cx.set_contents(0, elements.collect());
    Some(())
}

fn size(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_shape(0, Vec::new());
    let count = product(&cx.shape(0)?)?;
    cx.set_contents(0, vec![Element::Int(count)]);
    Some(())
}

fn range(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_shape(0, vec![None]);
    if cx.dtype(0).is_some_and(DType::is_float) {
        let one = |slot| <[f64; 1]>::try_from(cx.numbers(slot)?).ok().map(|[number]| number);
        let count = ((one(1)? - one(0)?) / one(2)?).ceil().max(0.0);
        let limit = f64::from(i32::MAX);
        cx.set_shape(0, vec![(count < limit).then(|| SymExpr::from(count as i64))]);
        return Some(());
    }
    let (start, limit, step) = (cx.scalar(0)?, cx.scalar(1)?, cx.scalar(2)?);
    let count = limit.sub(&start)?.ceil_div(&step)?.larger(&SymExpr::from(0))?;
    let number = count.as_int();
    cx.set_shape(0, vec![Some(count)]);
    let number = number.filter(|number| *number <= MAX_RANGE)?;
    let element = |index: i64| Some(Element::Int(start.add(&step.times(index)?)?));
    let elements = (0..number).map(element).collect::<Option<Vec<_>>>()?;
    cx.set_contents(0, elements);
    Some(())
}

fn one_hot(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let along = axis(cx.int("axis")?, shape.len() + 1)?;
    let depth = cx.scalar(1).filter(|depth| depth.lower_bound().is_some_and(|bound| bound >= 0));
    shape.insert(along, depth);
    cx.set_shape(0, shape);
    Some(())
}

fn like(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("dtype").or_else(|| cx.dtype(0));
    cx.set_dtype(0, dtype);
    let shape = cx.shape(0)?;
    cx.set_shape(0, shape);
    Some(())
}

fn random(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("dtype");
    cx.set_dtype(0, dtype);
    let shape = cx.int_list("shape")?.iter().map(|&extent| fixed(extent)).collect();
    cx.set_shape(0, shape);
    Some(())
}

fn multinomial(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("dtype");
    cx.set_dtype(0, dtype);
    let batch = cx.shape(0)?.first()?.clone();
    let samples = fixed(cx.int("sample_size")?);
    cx.set_shape(0, vec![batch, samples]);
    Some(())
}

fn window(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("output_datatype");
    cx.set_dtype(0, dtype);
    let length = cx.scalar(0);
    cx.set_shape(0, vec![length]);
    Some(())
}
