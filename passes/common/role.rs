//! What a constant is to the operators that read it: weights, and along which axis their channels lie.
//!
//! A reading may be indirect: through operators that only move elements or cast between floats, which runtimes fold into
//! the constant, and by name from inside the branches of If and the bodies of loops.

use std::ops::Range;

use crate::ir::{AttrRef, DType, Graph, NodeId, Port, Tensor, ValueId};

/// Tables with shorter rows than this share scales along their last axis: a scale for each row would cost too much.
const SHORTEST_ROW: u64 = 32;

/// Operators between the numbers of a generator of weights and its last product.
const GENERATOR_STEPS: usize = 6;

/// Operators that multiply by their weights, and do nothing else with them.
const PRODUCTS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"];

/// How weights are used by everything that reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::passes) struct Role {
    /// Axes of the constant that together number the channels; empty for one scale in all.
    pub(in crate::passes) kept: Range<usize>,
    /// Whether runtimes have a kernel that multiplies by the 8-bit weights behind a DequantizeLinear.
    pub(in crate::passes) has_dq_kernel: bool,
    /// Whether all of them multiply by it and do nothing else with it: Conv, ConvTranspose, Gemm, MatMul or Einsum.
    pub(in crate::passes) is_factor: bool,
}

/// Which axis of the constant each axis of something made of it is; `None` for an axis that was added.
type Axes = Vec<Option<usize>>;

/// A float constant, initializer or `Constant`, with the first operator that reads it.
pub(in crate::passes) fn float_constant(graph: &Graph, value: ValueId) -> Option<(NodeId, Tensor)> {
    let held = graph.value(value);
    let tensor = match held.initializer() {
        Some(tensor) => tensor.clone(),
        None => graph.constant(value)?,
    };
    let reader = graph.uses(value).first()?.node;
    tensor.dtype().is_float().then_some((reader, tensor))
}

/// The role of a constant of that shape; the reason why not where something reads it as other than weights.
pub(in crate::passes) fn role_of(graph: &Graph, value: ValueId, shape: &[u64]) -> Result<Role, String> {
    let axes: Axes = (0..shape.len()).map(Some).collect();
    let mut roles = Vec::new();
    collect(graph, value, shape, &axes, &mut roles)?;
    let has_dq_kernel = roles.iter().all(|role| role.has_dq_kernel);
    let is_factor = roles.iter().all(|role| role.is_factor);
    // Any axis restores the same tensor for everybody; only kernels insist on theirs. So the first reader chooses.
    let first = roles.into_iter().next().ok_or_else(|| "nothing reads it".to_owned())?;
    Ok(Role { has_dq_kernel, is_factor, ..first })
}

/// Follows a value to its readers.
fn collect(
    graph: &Graph,
    value: ValueId,
    shape: &[u64],
    axes: &[Option<usize>],
    roles: &mut Vec<Role>,
) -> Result<(), String> {
    if graph.value(value).is_output() {
        return Err("it is an output of its graph".to_owned());
    }
    for one in graph.uses(value) {
        match one.port {
            Port::In(slot) => match through(graph, one.node, slot, axes) {
                Some(axes) => {
                    for output in graph.node_outputs(one.node).into_iter().flatten() {
                        collect(graph, output, shape, &axes, roles)?;
                    }
                }
                None => {
                    let role = direct_role(graph, one.node, slot, shape, axes);
                    roles.push(role.ok_or_else(|| format!("{} reads it, but not as weights", graph.site(one.node)))?);
                }
            },
            Port::Capture => {
                let name = graph.value(value).name();
                for subgraph in graph.node(one.node).subgraphs() {
                    let captured = subgraph.graph.find_value(name).filter(|&v| subgraph.graph.value(v).is_outer());
                    if let Some(captured) = captured {
                        collect(&subgraph.graph, captured, shape, axes, roles)?;
                    }
                }
            }
            Port::Out(_) => {}
        }
    }
    Ok(())
}

/// The axes of what an operator makes of the constant where it only moves elements; `None` for every other operator.
fn through(graph: &Graph, node: NodeId, slot: u32, axes: &[Option<usize>]) -> Option<Axes> {
    let held = graph.node(node);
    let is_data = slot == 0 || held.is("Concat");
    if !is_data || !held.domain().is_empty() {
        return None;
    }
    match held.op_type() {
        "Identity" | "Slice" | "Split" | "Concat" => Some(axes.to_vec()),
        "Cast" => {
            let to = i32::try_from(held.attr_int("to", 0)).ok().and_then(DType::from_onnx)?;
            to.is_float().then(|| axes.to_vec())
        }
        "Transpose" => match held.attr("perm") {
            None => Some(axes.iter().rev().copied().collect()),
            Some(AttrRef::Ints(perm)) => {
                perm.iter().map(|&axis| axes.get(usize::try_from(axis).ok()?).copied()).collect()
            }
            Some(_) => None,
        },
        "Unsqueeze" => {
            let added = axes_argument(graph, node)?;
            let added = normalized(&added, axes.len() + added.len())?;
            let mut result = axes.to_vec();
            for axis in added {
                (axis <= result.len()).then(|| result.insert(axis, None))?;
            }
            Some(result)
        }
        "Squeeze" => {
            let dropped = normalized(&axes_argument(graph, node)?, axes.len())?;
            Some((0..axes.len()).filter(|axis| !dropped.contains(axis)).map(|axis| axes[axis]).collect())
        }
        _ => None,
    }
}

/// The `axes` of Squeeze and Unsqueeze: an attribute, from operator set 13 on an input.
fn axes_argument(graph: &Graph, node: NodeId) -> Option<Vec<i64>> {
    match graph.node(node).attr_ints("axes") {
        Some(axes) => Some(axes.to_vec()),
        None => graph.constant(graph.input(node, 1)?)?.to_i64(),
    }
}

/// Axes counted from the front, in ascending order.
fn normalized(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let rank = i64::try_from(rank).ok()?;
    let mut found: Vec<usize> = axes
        .iter()
        .map(|&axis| usize::try_from(if axis < 0 { axis + rank } else { axis }).ok())
        .collect::<Option<_>>()?;
    found.sort_unstable();
    Some(found)
}

/// The role at an operator that computes with the constant.
fn direct_role(graph: &Graph, node: NodeId, slot: u32, shape: &[u64], axes: &[Option<usize>]) -> Option<Role> {
    let held = graph.node(node);
    let rank = axes.len();
    let is_plain = axes.iter().copied().eq((0..rank).map(Some));
    let one_axis = |axis: usize| axis..axis + 1;
    let mut has_dq_kernel = false;
    let kept = match (held.op_type(), slot) {
        _ if !held.domain().is_empty() => return None,
        ("Conv", 1) if rank >= 3 => one_axis(0),
        // [C_in, C_out / groups, ...]: with groups, a scale along axis 1 would be shared by all of them, so each input
        // channel gets its own instead.
        ("ConvTranspose", 1) if rank >= 3 => one_axis(usize::from(held.attr_int("group", 1) == 1)),
        // What a generator of weights computes of its own.
        ("MatMul", 0 | 1) if graph.input(node, 1 - slot as usize).is_some_and(|other| is_known(graph, other)) => {
            return None;
        }
        ("Gemm", 1) if rank == 2 => {
            let is_transposed = held.attr_int("transB", 0) != 0;
            let is_plain_product = held.attr_int("transA", 0) == 0
                && held.attr_float("alpha", 1.0) == 1.0
                && held.attr_float("beta", 1.0) == 1.0;
            has_dq_kernel = is_plain && !is_transposed && is_plain_product;
            one_axis(usize::from(!is_transposed))
        }
        ("Gemm", 0) if rank == 2 => one_axis(usize::from(held.attr_int("transA", 0) != 0)),
        ("MatMul", 1) if rank >= 2 => {
            has_dq_kernel = is_plain && rank == 2;
            one_axis(rank - 1)
        }
        ("MatMul", 0) if rank >= 2 => one_axis(rank - 2),
        ("Einsum", slot) => einsum_axes(held.attr_str("equation", ""), slot as usize, rank)?,
        // [directions, gates * hidden, ...]: a scale for each row of each direction.
        ("LSTM" | "GRU" | "RNN", 1 | 2) if rank == 3 => 0..2,
        ("Gather", 0) if rank >= 1 && !is_decoder(graph, node) => {
            one_axis(gathered_axis(held.attr_int("axis", 0), shape, axes)?)
        }
        _ => return None,
    };
    Some(Role { kept: original_axes(&kept, axes), has_dq_kernel, is_factor: held.is_any(PRODUCTS) })
}

/// Whether a Gather looks up codes that are constants of one or two bytes each: then its table is no embedding, but what
/// weights that were compressed before are restored from.
fn is_decoder(graph: &Graph, node: NodeId) -> bool {
    let cast = graph.input(node, 1).and_then(|places| graph.producer(places));
    let Some((cast, _)) = cast.filter(|(cast, _)| graph.node(*cast).is("Cast")) else { return false };
    let codes = graph.input(cast, 0).and_then(|codes| graph.constant(codes));
    codes.is_some_and(|codes| matches!(codes.dtype(), DType::U8 | DType::U16))
}

/// Whether a value hangs on constants alone, as far back as the operators of a generator go.
fn is_known(graph: &Graph, value: ValueId) -> bool {
    let mut left = vec![(value, 0)];
    while let Some((value, steps)) = left.pop() {
        if graph.constant(value).is_some() {
            continue;
        }
        match graph.producer(value) {
            Some((node, _)) if steps < GENERATOR_STEPS => {
                left.extend(graph.node_inputs(node).into_iter().flatten().map(|input| (input, steps + 1)));
            }
            _ => return false,
        }
    }
    true
}

/// The axes of one of two operands that the other does not have and the result does: the columns of a product of matrices,
/// however it is written. `None` where the equation says other than products and sums over axes of their own.
fn einsum_axes(equation: &str, slot: usize, rank: usize) -> Option<Range<usize>> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (terms, result) = equation.split_once("->")?;
    let terms: Vec<&str> = terms.split(',').collect();
    let [own, other] = match (terms.as_slice(), slot) {
        ([first, second], 0) => [*first, *second],
        ([first, second], 1) => [*second, *first],
        _ => return None,
    };
    let labels: Vec<char> = own.chars().collect();
    let is_plain = labels.iter().enumerate().all(|(i, c)| c.is_ascii_alphabetic() && !labels[..i].contains(c));
    if labels.len() != rank || !is_plain {
        return None;
    }
    let is_free = |label: &char| result.contains(*label) && !other.contains(*label);
    let first = labels.iter().position(is_free)?;
    let count = labels[first..].iter().take_while(|label| is_free(label)).count();
    Some(first..first + count)
}

/// The axis of a table that gets the scales: the one whose entries are looked up, unless they are short.
fn gathered_axis(axis: i64, shape: &[u64], axes: &[Option<usize>]) -> Option<usize> {
    let rank = axes.len();
    let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?;
    let entries = shape.get((*axes.get(axis)?)?).copied()?.max(1);
    let entry_len = shape.iter().product::<u64>() / entries;
    Some(if entry_len >= SHORTEST_ROW { axis } else { rank - 1 })
}

/// The axes of the constant that the given axes of what is read are; none where they do not lie together.
fn original_axes(kept: &Range<usize>, axes: &[Option<usize>]) -> Range<usize> {
    let mut found: Vec<usize> = axes.get(kept.clone()).unwrap_or_default().iter().flatten().copied().collect();
    found.sort_unstable();
    match (found.first(), found.last()) {
        (Some(&first), Some(&last)) if last - first + 1 == found.len() => first..last + 1,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn einsum_keeps_the_axes_that_only_the_weights_have() {
        assert_eq!(einsum_axes("bsd, dh -> bsh", 1, 2), Some(1..2));
        assert_eq!(einsum_axes("hd,bsd->bsh", 0, 2), Some(0..1));
        assert_eq!(einsum_axes("...d,dnh->...nh", 1, 3), Some(1..3));
        for refused in ["bsd,dd->bs", "bsd,d...->bs...", "bsd,dh,hk->bsk", "bsd,dh", "bsd,dh->bs", "bsd,dhk->bsk"] {
            assert_eq!(einsum_axes(refused, 1, 2), None, "{refused}");
        }
    }
}
