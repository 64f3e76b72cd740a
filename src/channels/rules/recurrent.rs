//! Recurrent layers: a hidden unit has a row in every gate.

use super::axes;
use super::conv::{add_layer, grid, size};
use crate::channels::Edit;
use crate::channels::walk::{Axis, Outcome, Walk};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "LSTM" => |walk, node| recurrent(walk, node, 4),
        "GRU" => |walk, node| recurrent(walk, node, 3),
        "RNN" => |walk, node| recurrent(walk, node, 1),
        _ => return None,
    })
}

/// `x[T, N, I]`, `w[D, G*H, I]`, `r[D, G*H, H]`, `b[D, 2*G*H]`, initial states `[D, N, H]`, peepholes `[D, 3*H]` give
/// `y[T, D, N, H]` and last states `[D, N, H]`.
fn recurrent(walk: &mut Walk<'_>, node: NodeId, gates: usize) -> Outcome {
    let held = walk.held(node);
    if held.attr_int("layout", 0) != 0 {
        return Err("has its batch in front".to_owned());
    }
    let (x, w, r) = (axes(walk, node, 0)?, axes(walk, node, 1)?, axes(walk, node, 2)?);
    let ([time, batch, input], [w_directions, w_rows, w_input], [r_directions, r_rows, hidden]) =
        (x.as_slice(), w.as_slice(), r.as_slice())
    else {
        return Err("has operands of other ranks than it should".to_owned());
    };
    for axis in [time, w_directions, r_directions] {
        walk.fix(node, axis, "has them as time or direction");
    }
    walk.unify(node, input, w_input);
    let width = hidden.atoms().map_or(1, |atoms| atoms.len());
    let gate = walk.made(node, "has them as gates");
    let rows = |walk: &mut Walk<'_>, axis: &Axis, count: usize| {
        grid(walk, node, axis, &[(count, gate.clone()), (width, hidden.clone())]);
    };
    rows(walk, w_rows, gates);
    rows(walk, r_rows, gates);
    // Biases, states and peepholes; sequence lengths in slot 4 have none of these axes.
    for (slot, count) in [(3, 2 * gates), (5, 1), (6, 1), (7, 3)] {
        let Some(value) = walk.graph.input(node, slot) else { continue };
        let own = walk.axes(value)?;
        if let Some((last, others)) = own.split_last() {
            rows(walk, &last.clone(), count);
            if let (5 | 6, Some(own)) = (slot, others.get(1)) {
                walk.unify(node, batch, own);
            } else {
                for axis in others {
                    walk.fix(node, axis, "has them as directions");
                }
            }
        }
    }
    if let Some(atoms) = hidden.atoms() {
        walk.edits.push(Edit::Count { node, attribute: "hidden_size", atoms: atoms.clone() });
    }
    // With other activations than the usual ones a unit without weights need not be zero.
    let is_zero = held.attr("activations").is_none()
        && [5, 6].iter().all(|&slot| match walk.graph.input(node, slot) {
            Some(value) => walk.axes(value).is_ok_and(|axes| axes.last().is_some_and(Axis::is_zero)),
            None => true,
        });
    let (out, batch) = (hidden.with_zero(is_zero), batch.with_zero(false));
    let fixed = walk.made(node, "has the axis as time or direction");
    walk.set(node, 0, vec![fixed.clone(), fixed.clone(), batch.clone(), out.clone()]);
    for slot in [1, 2] {
        walk.set(node, slot, vec![fixed.clone(), batch.clone(), out.clone()]);
    }
    let (x, w) = (walk.input(node, 0)?, walk.input(node, 1)?);
    let steps = walk.extents(x).map_or(1.0, |extents| size(extents.get(..2).unwrap_or_default()));
    let ways = walk.extents(w).map_or(1.0, |extents| size(extents.get(..1).unwrap_or_default()));
    add_layer(walk, node, &out, &[w_rows.clone(), input.clone()], steps * ways, w);
    if let Some(own) = out.atoms().cloned().filter(|_| walk.is_constant(w)) {
        // The state meets weights of its own.
        let factors = r_rows.atoms().cloned().into_iter().chain([own]).collect();
        walk.layers.push(crate::channels::Layer { node, out: None, factors, rest: steps * ways });
    }
    Ok(())
}
