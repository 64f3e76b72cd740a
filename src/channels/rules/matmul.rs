//! Matrix products.

use super::axes;
use super::conv::{add_layer, size};
use super::elementwise::spread;
use crate::channels::walk::{Axis, Outcome, Walk, number};
use crate::infer::Extent;
use crate::ir::{NodeId, ValueId};

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "MatMul" => matmul,
        "Gemm" => gemm,
        _ => return None,
    })
}

/// `a[.., M, K]`, `b[.., K, N]` gives `y[.., M, N]`.
fn matmul(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let (a, b) = (walk.input(node, 0)?, walk.input(node, 1)?);
    let (a_axes, b_axes) = (walk.axes(a)?, walk.axes(b)?);
    let ([a_batch @ .., m, k], [b_batch @ .., k2, n]) = (a_axes.as_slice(), b_axes.as_slice()) else {
        return Err("multiplies a vector".to_owned());
    };
    contract(walk, node, k, k2);
    if b_batch.is_empty() {
        walk.note_reader(node, (0, 1), (a_batch.len() + 1, 0));
    }
    let is_product_of_activations = !walk.is_constant(a) && !walk.is_constant(b);
    if is_product_of_activations {
        // Heads of attention stand where both operands have several matrices.
        let heads = a_batch.iter().chain(b_batch).filter_map(|axis| axis.atoms().cloned());
        for atoms in heads.collect::<Vec<_>>() {
            atoms.iter().for_each(|&atom| walk.sets.mark_head(atom));
        }
    }
    let mut result = spread(walk, node, &[a, b], 2, &|zeros| zeros.contains(&true))?;
    let batch = result.clone();
    result.push(m.clone());
    result.push(n.clone());
    walk.set(node, 0, result);
    let inner = walk.shape(a)?.last().cloned().flatten();
    layer(walk, node, [a, b], &batch, [m, k, n], inner)
}

fn layer(
    walk: &mut Walk<'_>,
    node: NodeId,
    [a, b]: [ValueId; 2],
    batch: &[Axis],
    [m, k, n]: [&Axis; 3],
    inner: Extent,
) -> Outcome {
    let (weight, out) = if walk.is_constant(b) { (b, n) } else { (a, m) };
    let Some(output) = walk.graph.output(node, 0) else { return Ok(()) };
    let mut extents = walk.shape(output)?.to_vec();
    extents.push(inner);
    let factors: Vec<Axis> = batch.iter().chain([m, n, k]).cloned().collect();
    let fixed: Vec<_> =
        factors.iter().zip(extents).filter(|(axis, _)| axis.atoms().is_none()).map(|(_, extent)| extent).collect();
    add_layer(walk, node, out, &factors, size(&fixed), weight);
    Ok(())
}

/// `a[M, K]`, `b[K, N]` and `c` that broadcasts gives `y[M, N]`.
fn gemm(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let turned = |axes: Vec<Axis>, is_turned: bool| match <[Axis; 2]>::try_from(axes) {
        Ok([first, second]) if is_turned => Ok([second, first]),
        Ok(axes) => Ok(axes),
        Err(_) => Err("multiplies what is no matrix".to_owned()),
    };
    let held = walk.held(node);
    let [m, k] = turned(axes(walk, node, 0)?, held.attr_int("transA", 0) != 0)?;
    let [k2, n] = turned(axes(walk, node, 1)?, held.attr_int("transB", 0) != 0)?;
    contract(walk, node, &k, &k2);
    let (a_axis, b_axis) = (held.attr_int("transA", 0) == 0, held.attr_int("transB", 0) != 0);
    walk.note_reader(node, (0, 1), (usize::from(a_axis), usize::from(b_axis)));
    let mut result = vec![m.clone(), n.clone()];
    if let Some(c) = walk.graph.input(node, 2) {
        let (c_axes, c_extents) = (walk.axes(c)?, walk.shape(c)?);
        for (place, axis) in result.iter_mut().enumerate() {
            let own = (place + c_axes.len()).checked_sub(2);
            let found = own.and_then(|own| Some((c_axes.get(own)?, c_extents.get(own)?)));
            match found.filter(|(_, extent)| number(extent) != Some(1)) {
                Some((added, _)) => {
                    walk.unify(node, axis, added);
                    *axis = axis.with_zero(axis.is_zero() && added.is_zero());
                }
                None => *axis = axis.with_zero(false),
            }
        }
    }
    walk.set(node, 0, result);
    let (a, b) = (walk.input(node, 0)?, walk.input(node, 1)?);
    let place = usize::from(held.attr_int("transA", 0) == 0);
    let inner = walk.shape(a)?.get(place).cloned().flatten();
    layer(walk, node, [a, b], &[], [&m, &k, &n], inner)
}

/// Sums over an axis of both operands. A channel may only go where it adds nothing to the sum.
pub(super) fn contract(walk: &mut Walk<'_>, node: NodeId, a: &Axis, b: &Axis) {
    walk.unify(node, a, b);
    if a.atoms().is_some() && b.atoms().is_some() && !a.is_zero() && !b.is_zero() {
        walk.fix(node, a, "sums over them, and they need not be zero there");
    }
}
