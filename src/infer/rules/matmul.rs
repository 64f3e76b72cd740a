//! Matrix products.

use crate::infer::cx::{Cx, Rule};
use crate::infer::fact::Extent;
use std::collections::BTreeMap;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MatMul" => matmul,
        "Gemm" => gemm,
        "Einsum" => einsum,
        "Det" => det,
        _ => return None,
    })
}

fn matmul(cx: &mut Cx<'_, '_>) -> Option<()> {
    let (left, right) = (cx.shape(0)?, cx.shape(1)?);
    let shape = product_shape(cx, left, right)?;
    cx.set_shape(0, shape);
    Some(())
}

/// The shape of a product with broadcasting of the axes before the last two.
pub(super) fn product_shape(cx: &mut Cx<'_, '_>, mut left: Vec<Extent>, mut right: Vec<Extent>) -> Option<Vec<Extent>> {
    let one = || crate::infer::cx::fixed(1);
    let (row, column) = (left.len() == 1, right.len() == 1);
    if row {
        left.insert(0, one());
    }
    if column {
        right.push(one());
    }
    let (columns, rows) = (right.pop()?, left.pop());
    let (inner, height) = (right.pop()?, left.pop()?);
    cx.state.merge(&rows?, &inner);
    let mut shape = super::elementwise::broadcast_inputs(cx, &[left, right])?;
    if !row {
        shape.push(height);
    }
    if !column {
        shape.push(columns);
    }
    Some(shape)
}

fn gemm(cx: &mut Cx<'_, '_>) -> Option<()> {
    let transposed = |name| cx.int(name).map(|value| value != 0);
    let (turn_left, turn_right) = (transposed("transA")?, transposed("transB")?);
    let pair = |slot: usize, turned: bool| {
        let [first, second]: [Extent; 2] = cx.shape(slot)?.try_into().ok()?;
        Some(if turned { (second, first) } else { (first, second) })
    };
    let (left, right) = (pair(0, turn_left), pair(1, turn_right));
    if let (Some((_, inner)), Some((other, _))) = (&left, &right) {
        cx.state.merge(inner, other);
    }
    let (height, width) = (left.and_then(|pair| pair.0), right.and_then(|pair| pair.1));
    cx.set_shape(0, vec![height, width]);
    Some(())
}

/// One operand of an equation: its letters, and the place among them where `...` stands.
struct Term {
    letters: Vec<char>,
    dots: Option<usize>,
}

fn term(text: &str) -> Option<Term> {
    let mut letters = Vec::new();
    let mut dots = None;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if dots.replace(letters.len()).is_some() {
                return None;
            }
            rest = after;
        } else if next.is_ascii_alphabetic() {
            letters.push(next);
            rest = rest.get(1..)?;
        } else {
            return None;
        }
    }
    Some(Term { letters, dots })
}

fn einsum(cx: &mut Cx<'_, '_>) -> Option<()> {
    let equation: String = cx.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (operands, result) = match equation.split_once("->") {
        Some((operands, result)) => (operands, Some(result)),
        None => (equation.as_str(), None),
    };
    let operands: Vec<Term> = operands.split(',').map(term).collect::<Option<_>>()?;
    let mut extents: BTreeMap<char, Extent> = BTreeMap::new();
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    let mut batches: Vec<Vec<Extent>> = Vec::new();
    for (slot, operand) in operands.iter().enumerate() {
        let mut shape = cx.shape(slot)?;
        if let Some(at) = operand.dots {
            let width = shape.len().checked_sub(operand.letters.len())?;
            batches.push(shape.splice(at..at.checked_add(width)?, []).collect());
        }
        if shape.len() != operand.letters.len() {
            return None;
        }
        for (letter, extent) in operand.letters.iter().zip(shape) {
            *counts.entry(*letter).or_default() += 1;
            let known = extents.entry(*letter).or_insert_with(|| extent.clone());
            // An extent of 1 is broadcast against the others.
            *known = super::elementwise::broadcast(&[vec![known.clone()], vec![extent]])?.pop()?;
        }
    }
    let batch = if batches.is_empty() { Vec::new() } else { super::elementwise::broadcast(&batches)? };
    let result = match result {
        Some(text) => term(text)?,
        // Letters that stand once, in alphabetical order.
        None => Term {
            letters: counts.into_iter().filter(|(_, count)| *count == 1).map(|(letter, _)| letter).collect(),
            dots: (!batches.is_empty()).then_some(0),
        },
    };
    let mut shape: Vec<Extent> =
        result.letters.iter().map(|letter| extents.get(letter).cloned()).collect::<Option<_>>()?;
    if let Some(at) = result.dots {
        shape.splice(at..at, batch);
    }
    cx.set_shape(0, shape);
    Some(())
}

fn det(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    shape.truncate(shape.len().checked_sub(2)?);
    cx.set_shape(0, shape);
    Some(())
}
