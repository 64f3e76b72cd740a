//! Which values of two models are the same value.
//!
//! 1. Values with equal names that an operator writes in both.
//! 2. What operators of one kind write that read paired values at the same slots (forward), and what they read where
//!    what they write is paired (backward), until nothing is added. Operators that only store a value in another form
//!    (`QuantizeLinear`, `Cast`, ...) are looked through. A value whose name the other model has, too, is left to rule 1,
//!    and one whose readers do something else is no pair: before a fused operator lies another value than before the
//!    operators it was fused from.
//!
//! 3. Where that stops at operators that were fused, the operators with weights carry on: if both models have as many of a
//!    kind, the first stands for the first and so on. What such an operator writes is compared behind the constants that
//!    are multiplied and added to it, which a fusion takes into its weights.
//!
//! Only values of the main graph are paired, and constants are not.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, ValueId};

/// Operators that hand their first input on in another form.
const FORMS: [&str; 5] = ["Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"];

/// Operators with weights, which other operators are fused into and which are themselves fused into none.
const WEIGHTED: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Operators that a fusion takes into the weights before them, where all else they read is constant.
const AFFINE: [&str; 5] = ["BatchNormalization", "Mul", "Add", "Sub", "Div"];

/// A value of the reference and the value of the candidate that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) reference: ValueId,
    pub(super) candidate: ValueId,
    pub(super) has_equal_name: bool,
}

/// The pairs, in an order in which the reference can compute them.
///
/// # Errors
/// Fails where a graph has a cycle.
pub(super) fn pairs(reference: &Graph, candidate: &Graph) -> Result<Vec<Pair>> {
    let mut known: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for value in reference.values() {
        if let Some(other) = candidate.find_value(reference.value(value).name())
            && is_computed(reference, value) == is_computed(candidate, other)
            && reference.constant(value).is_none()
        {
            known.insert(value, other);
            named.insert(value);
        }
    }
    align(reference, candidate, &mut known)?;
    if anchor(reference, candidate, &mut known)? {
        align(reference, candidate, &mut known)?;
    }
    let mut found = Vec::new();
    for node in reference.topological_order()? {
        for value in reference.node_outputs(node).into_iter().flatten() {
            let Some(&other) = known.get(&value) else { continue };
            if may_be_float(reference, value) && is_computed(candidate, other) {
                found.push(Pair { reference: value, candidate: other, has_equal_name: named.contains(&value) });
            }
        }
    }
    Ok(found)
}

fn is_computed(graph: &Graph, value: ValueId) -> bool {
    graph.producer(value).is_some_and(|(node, _)| !graph.node(node).is("Constant"))
}

/// Whether the value may hold floats; integers are mostly shapes, which must stay computed from what they are of.
fn may_be_float(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).dtype().is_none_or(DType::is_float)
}

/// Adds pairs by what lies around them, forward and backward in turn, until there are no more.
fn align(reference: &Graph, candidate: &Graph, known: &mut BTreeMap<ValueId, ValueId>) -> Result<()> {
    let (ours, theirs) = (reference.topological_order()?, candidate.topological_order()?);
    loop {
        let before = known.len();
        forward(reference, &ours, candidate, &theirs, known);
        backward(reference, &ours, candidate, known);
        if known.len() == before {
            return Ok(());
        }
    }
}

/// Pairs what operators with weights read and write, by their order; says whether that added pairs.
fn anchor(reference: &Graph, candidate: &Graph, known: &mut BTreeMap<ValueId, ValueId>) -> Result<bool> {
    let before = known.len();
    let (ours, theirs) = (reference.topological_order()?, candidate.topological_order()?);
    for kind in WEIGHTED {
        let of_kind = |graph: &Graph, order: &[NodeId]| -> Vec<NodeId> {
            order.iter().copied().filter(|&node| graph.node(node).is(kind)).collect()
        };
        let (ours, theirs) = (of_kind(reference, &ours), of_kind(candidate, &theirs));
        if ours.len() != theirs.len() {
            continue;
        }
        for (node, other) in ours.into_iter().zip(theirs) {
            if let (Some(input), Some(theirs)) = (reference.input(node, 0), candidate.input(other, 0)) {
                pair(reference, original(reference, input), candidate, theirs, known);
            }
            if let (Some(output), Some(theirs)) = (reference.output(node, 0), candidate.output(other, 0)) {
                behind_constants(reference, output)
                    .into_iter()
                    .any(|output| pair(reference, output, candidate, theirs, known));
            }
        }
    }
    Ok(known.len() > before)
}

/// A value, and those that only constants make of it, the first first.
fn behind_constants(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    let mut values = vec![value];
    while let Some((node, _)) = values.last().and_then(|&last| graph.only_use(last)) {
        let computed = graph.node_inputs(node).into_iter().flatten().filter(|&input| graph.constant(input).is_none());
        match graph.output(node, 0) {
            Some(output) if graph.node(node).is_any(&AFFINE) && computed.count() == 1 => values.push(output),
            _ => break,
        }
    }
    values
}

/// What an operator is and reads: operators with equal keys compute the same.
type Key = (String, String, Vec<Option<ValueId>>);

fn forward(
    reference: &Graph,
    ours: &[NodeId],
    candidate: &Graph,
    theirs: &[NodeId],
    known: &mut BTreeMap<ValueId, ValueId>,
) {
    let mut by_key: BTreeMap<Key, Vec<NodeId>> = BTreeMap::new();
    for &node in theirs {
        by_key.entry(key(candidate, node, &Some)).or_default().push(node);
    }
    let mut stored: BTreeMap<ValueId, ValueId> =
        known.iter().map(|(ours, theirs)| (original(reference, *ours), original(candidate, *theirs))).collect();
    for &node in ours {
        let wanted = key(reference, node, &|value| stored.get(&value).copied());
        let reads_something = wanted.2.iter().any(Option::is_some);
        let Some([other]) = by_key.get(&wanted).map(Vec::as_slice).filter(|_| reads_something) else { continue };
        for (output, theirs) in reference.node_outputs(node).into_iter().zip(candidate.node_outputs(*other)) {
            if let (Some(output), Some(theirs)) = (output, theirs)
                && pair(reference, output, candidate, theirs, known)
            {
                stored.insert(original(reference, output), original(candidate, theirs));
            }
        }
    }
}

/// The key of an operator of one graph, with what it reads translated; constants read count as nothing.
fn key(graph: &Graph, node: NodeId, translate: &dyn Fn(ValueId) -> Option<ValueId>) -> Key {
    let held = graph.node(node);
    let inputs = graph.node_inputs(node).into_iter().flatten().filter(|&value| graph.constant(value).is_none());
    let read = inputs.map(|value| translate(original(graph, value)));
    (held.domain().to_owned(), held.op_type().to_owned(), read.collect())
}

fn backward(reference: &Graph, ours: &[NodeId], candidate: &Graph, known: &mut BTreeMap<ValueId, ValueId>) {
    for &node in ours.iter().rev() {
        let Some(output) = reference.output(node, 0) else { continue };
        let Some(other) = known.get(&output).and_then(|&theirs| candidate.producer(original(candidate, theirs))) else {
            continue;
        };
        let (held, other_held) = (reference.node(node), candidate.node(other.0));
        if (held.domain(), held.op_type()) != (other_held.domain(), other_held.op_type()) {
            continue;
        }
        for (input, theirs) in reference.node_inputs(node).into_iter().zip(candidate.node_inputs(other.0)) {
            let (Some(input), Some(theirs)) = (input, theirs) else { continue };
            pair(reference, original(reference, input), candidate, theirs, known);
        }
    }
}

/// Adds a pair, unless one of the two is known otherwise; says whether it did.
fn pair(
    reference: &Graph,
    ours: ValueId,
    candidate: &Graph,
    theirs: ValueId,
    known: &mut BTreeMap<ValueId, ValueId>,
) -> bool {
    let is_elsewhere = candidate.find_value(reference.value(ours).name()).is_some()
        || reference.find_value(candidate.value(theirs).name()).is_some();
    if known.contains_key(&ours)
        || is_elsewhere
        || !is_computed(reference, ours)
        || !is_computed(candidate, theirs)
        || readers(reference, ours) != readers(candidate, theirs)
    {
        return false;
    }
    known.insert(ours, theirs);
    true
}

/// The kinds of operators that read a value, in whatever form.
fn readers(graph: &Graph, value: ValueId) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        for read in graph.uses(value) {
            let held = graph.node(read.node);
            if held.is_any(&FORMS) {
                open.extend(graph.output(read.node, 0));
            } else {
                kinds.insert(held.op_type().to_owned());
            }
        }
    }
    kinds
}

/// The value that another one is only another form of.
fn original(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some((node, 0)) = graph.producer(value)
        && graph.node(node).is_any(&FORMS)
        && let Some(input) = graph.input(node, 0)
        && graph.constant(input).is_none()
    {
        value = input;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;

    fn paired(reference: &str, candidate: &str) -> Vec<(String, String)> {
        let (reference, candidate) = (text::parse(reference).unwrap(), text::parse(candidate).unwrap());
        let name = |graph: &Graph, value| graph.value(value).name().to_owned();
        let found = pairs(&reference.graph, &candidate.graph).unwrap();
        let names = |pair: &Pair| (name(&reference.graph, pair.reference), name(&candidate.graph, pair.candidate));
        found.iter().map(names).collect()
    }

    const NET: &str = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota > {
        a = MatMul(x, w)
        b = Relu(a)
        c = MatMul(b, w)
        y = Sigmoid(c)
    }";

    #[test]
    fn names_count_first() {
        let same = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(paired(NET, NET), ["a", "b", "c", "y"].map(same));
    }

    #[test]
    fn renamed_values_are_found_and_forms_looked_through() {
        let renamed = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota, float s = {1.0}, uint8 z = {0} > {
            p = MatMul(x, w)
            q = Relu(p)
            r = QuantizeLinear(q, s, z)
            t = DequantizeLinear(r, s, z)
            u = MatMul(t, w)
            y = Sigmoid(u)
        }";
        let pairs = paired(NET, renamed);
        let expected = [("a", "p"), ("b", "q"), ("c", "u"), ("y", "y")];
        assert_eq!(pairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn weights_that_took_in_constants_are_found_behind_those() {
        let before = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota, float[2] k = {1, 2} > {
            a = MatMul(x, w)
            b = Mul(a, k)
            c = Relu(b)
            y = Sigmoid(c)
        }";
        let after = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota > {
            p = MatMul(x, w)
            q = Relu(p)
            y = Sigmoid(q)
        }";
        let expected = [("b", "p"), ("c", "q"), ("y", "y")];
        assert_eq!(paired(before, after), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn the_value_before_what_was_fused_is_no_pair() {
        let fused = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota > {
            p = MatMul(x, w)
            y = Sigmoid(p)
        }";
        let before = "g (float[2,2] x) => (float[2,2] y) < float[2,2] w = iota, float[2] k = {1, 2} > {
            a = MatMul(x, w)
            b = Mul(a, k)
            y = Sigmoid(b)
        }";
        // `a` is read by Mul and `p` by Sigmoid: not the same value. `b` is.
        let expected = [("b", "p"), ("y", "y")];
        assert_eq!(paired(before, fused), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
