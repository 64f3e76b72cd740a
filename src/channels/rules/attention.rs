//! Attention as one operator: heads go whole, those of keys and values with all queries they serve.

use super::axes;
use super::conv::grid;
use crate::channels::Edit;
use crate::channels::walk::{Axis, Outcome, Walk, number};
use crate::ir::NodeId;

pub(super) fn rule(op_type: &str) -> Option<super::Rule> {
    Some(match op_type {
        "Attention" => attention,
        _ => return None,
    })
}

/// `q[N, L, Hq*D]`, `k[N, S, Hk*D]`, `v[N, S, Hk*E]` give `y[N, L, Hq*E]`; `Hq` is a multiple of `Hk`.
fn attention(walk: &mut Walk<'_>, node: NodeId) -> Outcome {
    let held = walk.held(node);
    let (q, k, v) = (axes(walk, node, 0)?, axes(walk, node, 1)?, axes(walk, node, 2)?);
    if q.len() != 3 || held.input_slots() > 3 || held.output_slots() > 1 {
        return Err("has heads on an axis of their own, a mask or a past".to_owned());
    }
    let count = |name: &str| usize::try_from(held.attr_int(name, 0)).ok().filter(|&n| n > 0).ok_or("has no heads");
    let (queries, keys) = (count("q_num_heads")?, count("kv_num_heads")?);
    if queries % keys != 0 {
        return Err("has heads that do not fit".to_owned());
    }
    for axis in [&q, &k, &v].into_iter().flat_map(|axes| axes.iter().take(2)) {
        walk.fix(node, axis, "has them as batch or length");
    }
    let head = walk.fresh(keys, true).ok_or("has too many heads to follow")?;
    let query = walk.fresh(queries, true).ok_or("has too many heads to follow")?;
    let whole = walk.made(node, "removes whole heads only");
    grid(walk, node, &query, &[(keys, head.clone()), (queries / keys, whole.clone())]);
    let extent = |slot: usize| -> Outcome<usize> {
        let shape = walk.shape(walk.input(node, slot)?)?;
        shape
            .get(2)
            .and_then(number)
            .and_then(|e| usize::try_from(e).ok())
            .ok_or("has heads of unknown size".to_owned())
    };
    let (q_width, k_width, v_width) = (extent(0)? / queries, extent(1)? / keys, extent(2)? / keys);
    let last = |axes: &[Axis]| axes.last().cloned().ok_or("has too few axes".to_owned());
    let (q_last, k_last, v_last) = (last(&q)?, last(&k)?, last(&v)?);
    grid(walk, node, &q_last, &[(queries, query.clone()), (q_width, whole.clone())]);
    grid(walk, node, &k_last, &[(keys, head.clone()), (k_width, whole.clone())]);
    grid(walk, node, &v_last, &[(keys, head.clone()), (v_width, whole.clone())]);
    let parts = [(queries, query.clone()), (v_width, whole.clone())];
    let out = super::reshape::merged(walk, node, &parts).with_zero(v_last.is_zero());
    for (attribute, axis) in [("q_num_heads", query), ("kv_num_heads", head)] {
        if let Some(atoms) = axis.into_atoms() {
            walk.edits.push(Edit::Count { node, attribute, atoms });
        }
    }
    walk.set(node, 0, vec![whole.clone(), whole, out]);
    Ok(())
}
