//! Sequences, as far as the type of their elements goes.

use crate::infer::cx::{Cx, Rule, axis};
use crate::infer::fact::Fact;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "SequenceConstruct" => construct,
        "SequenceEmpty" => empty,
        "SequenceInsert" => insert,
        "SequenceErase" => erase,
        "SequenceAt" => at,
        "SequenceLength" => length,
        "SplitToSequence" => split,
        "ConcatFromSequence" => concat,
        _ => return None,
    })
}

fn set_element(cx: &mut Cx<'_, '_>, element: Fact) -> Option<()> {
    let element = Some(Box::new(Fact { contents: None, ..element }));
    *cx.outputs.first_mut()? = Fact { element, ..Fact::default() };
    Some(())
}

fn construct(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut elements = cx.inputs.iter().flatten();
    let first = elements.next()?.clone();
    let joined = elements.fold(first, |all, one| all.join(one));
    set_element(cx, joined)
}

fn empty(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype_attr("dtype");
    set_element(cx, Fact { dtype, ..Fact::default() })
}

fn insert(cx: &mut Cx<'_, '_>) -> Option<()> {
    let joined = cx.input(0)?.element.as_ref()?.join(cx.input(1)?);
    set_element(cx, joined)
}

fn erase(cx: &mut Cx<'_, '_>) -> Option<()> {
    let element = cx.input(0)?.element.as_ref()?.as_ref().clone();
    set_element(cx, element)
}

fn at(cx: &mut Cx<'_, '_>) -> Option<()> {
    *cx.outputs.first_mut()? = cx.input(0)?.element.as_ref()?.as_ref().clone();
    Some(())
}

fn length(cx: &mut Cx<'_, '_>) -> Option<()> {
    cx.set_shape(0, Vec::new());
    Some(())
}

fn split(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = cx.dtype(0);
    let shape = cx.shape(0).and_then(|mut shape| {
        let along = axis(cx.int("axis")?, shape.len())?;
        if !cx.has(1) && cx.int("keepdims") == Some(0) {
            shape.remove(along);
        } else {
            *shape.get_mut(along)? = None;
        }
        Some(shape)
    });
    set_element(cx, Fact { dtype, shape, ..Fact::default() })
}

fn concat(cx: &mut Cx<'_, '_>) -> Option<()> {
    let element = cx.input(0)?.element.clone()?;
    cx.set_dtype(0, element.dtype);
    let mut shape = element.shape?;
    if cx.int("new_axis") == Some(1) {
        let along = axis(cx.int("axis")?, shape.len() + 1)?;
        shape.insert(along, None);
    } else {
        let along = axis(cx.int("axis")?, shape.len())?;
        *shape.get_mut(along)? = None;
    }
    cx.set_shape(0, shape);
    Some(())
}
