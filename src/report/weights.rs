//! Weights before and after: which constants stand for a weight of the original now, and what they come to.
//!
//! ```text
//! original   W -----------------------> Conv --> y        one constant
//! result     W8 --> Cast --> Mul(scale) --> Conv --> y    constants, and operators that restore the weight from them
//! ```
//!
//! A weight belongs to the value its operator writes; from the value paired with that, the result is searched backward
//! for what is computed from constants alone. Where nothing is found nothing is said. Integers that an operator reads as they
//! are, such as MatMulInteger, are put on the scale of the original: see [`integers`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::integers;
use crate::backend::{LoadOptions, load};
use crate::data::Samples;
use crate::input::Input;
use crate::ir::{Graph, NodeId, Tensor, ValueId};
use crate::layers::{LayersReport, paired};
use crate::shrink::Comparing;

/// So many weights are listed.
const MOST_WEIGHTS: usize = 20;

/// So many layers get a histogram.
const MOST_HISTOGRAMS: usize = 6;

const BINS: usize = 48;

/// Weights with more elements are left out: their floats would take too much memory.
const MOST_ELEMENTS: usize = 1 << 26;

/// How far to look for the weights of a layer, in operators.
const REACH: usize = 16;

/// What a weight takes in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightSize {
    /// The name of the constant in the original.
    pub name: String,
    /// The operator that reads it.
    pub node: String,
    /// Its type: `float[64,3,7,7]`.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its bytes.
    pub bytes_before: u64,
    /// Bytes of all constants that stand for it now; `null` where they were not found.
    pub bytes_after: Option<u64>,
    /// The type of the largest of them.
    pub type_after: Option<String>,
}

/// How the values of a weight are spread over equal intervals.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The name of the constant in the original.
    pub name: String,
    /// The operator that reads it.
    pub node: String,
    /// Where the first interval starts.
    pub low: f64,
    /// Where the last one ends.
    pub high: f64,
    /// The elements in each interval, zeros left out.
    pub before: Vec<u64>,
    /// The same of the result.
    pub after: Vec<u64>,
    /// The share of zeros.
    pub zeros_before: f64,
    /// The share of zeros in the result.
    pub zeros_after: f64,
}

/// A weight of the original and what stands for it.
pub(super) struct Pair {
    size: WeightSize,
    /// The value that its operator writes.
    output: String,
    tensor: Tensor,
    after: Option<Stored>,
}

/// A value that constants alone are behind.
struct Stored {
    name: String,
    constants: Vec<Tensor>,
    /// Whether it is itself a constant.
    is_plain: bool,
    /// The zero point that its reader takes off, where it is one that reads integers.
    zero_point: Option<Tensor>,
}

/// The weights of the main graph, largest first.
pub(super) fn pairs(before: &Input, after: &Input) -> Vec<Pair> {
    let (ours, theirs) = (&before.model.graph, &after.model.graph);
    let known: BTreeMap<ValueId, ValueId> = paired(ours, theirs).unwrap_or_default().into_iter().collect();
    let borders: BTreeSet<ValueId> = known.values().copied().collect();
    let mut found = Vec::new();
    for node in ours.nodes() {
        let Some(output) = ours.output(node, 0) else { continue };
        let weights = ours.node_inputs(node).into_iter().flatten().filter_map(|value| {
            let tensor = ours.constant(value).filter(|tensor| tensor.rank() >= 2 && tensor.dtype().is_float())?;
            Some((value, tensor))
        });
        let Some((value, tensor)) = weights.max_by_key(|(_, tensor)| tensor.byte_len()) else { continue };
        let after = anchor(ours, output, &known).and_then(|anchor| stored(theirs, anchor, &borders));
        let largest = after.as_ref().and_then(|stored| stored.constants.iter().max_by_key(|t| t.byte_len()));
        let size = WeightSize {
            name: ours.value(value).name().to_owned(),
            node: ours.node_label(node),
            ty: tensor.type_text(),
            bytes_before: tensor.byte_len(),
            bytes_after: after.as_ref().map(|stored| stored.constants.iter().map(Tensor::byte_len).sum()),
            type_after: largest.map(Tensor::type_text),
        };
        found.push(Pair { size, output: ours.value(output).name().to_owned(), tensor, after });
    }
    found.sort_by_key(|pair| std::cmp::Reverse(pair.size.bytes_before));
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for pair in &mut found {
        // A bias that went into the layer before it does not become that layer's weight: that stands for the larger one.
        if pair.after.as_ref().is_some_and(|stored| !taken.insert(stored.name.clone())) {
            (pair.after, pair.size.bytes_after, pair.size.type_after) = (None, None, None);
        }
    }
    found
}

/// The value of the result that stands for what a layer writes, or for what little is made of that.
fn anchor(graph: &Graph, mut value: ValueId, known: &BTreeMap<ValueId, ValueId>) -> Option<ValueId> {
    for _ in 0..3 {
        if let Some(other) = known.get(&value) {
            return Some(*other);
        }
        let (reader, _) = graph.only_use(value)?;
        value = graph.output(reader, 0)?;
    }
    None
}

/// The weight nearest before a value.
fn stored(graph: &Graph, anchor: ValueId, borders: &BTreeSet<ValueId>) -> Option<Stored> {
    let mut queue = VecDeque::from([anchor]);
    for _ in 0..REACH {
        let value = queue.pop_front()?;
        let Some((node, _)) = graph.producer(value) else { continue };
        let inputs: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
        let constant = inputs.iter().filter_map(|&input| {
            let constants = behind(graph, input)?;
            let largest = constants.iter().filter(|tensor| tensor.rank() >= 2).map(Tensor::byte_len).max()?;
            Some((largest, input, constants))
        });
        if let Some((_, input, constants)) = constant.max_by_key(|(largest, ..)| *largest) {
            let is_plain = graph.constant(input).is_some();
            return Some(Stored {
                name: graph.value(input).name().to_owned(),
                constants,
                is_plain,
                zero_point: zero_point(graph, node, input),
            });
        }
        // Behind a value that stands for one of the original lies another layer.
        queue.extend(inputs.into_iter().filter(|input| !borders.contains(input)));
    }
    None
}

/// The zero point of a weight that an operator reads as integers: two places behind it, in MatMulInteger and ConvInteger as in
/// QLinearConv and QLinearMatMul.
fn zero_point(graph: &Graph, node: NodeId, weight: ValueId) -> Option<Tensor> {
    let place = graph.node_inputs(node).into_iter().position(|input| input == Some(weight))?;
    graph.constant(graph.input(node, place + 2)?)
}

/// The constants a value is computed from; `None` where it is computed from anything else.
fn behind(graph: &Graph, value: ValueId) -> Option<Vec<Tensor>> {
    let (mut open, mut seen, mut found) = (vec![value], BTreeSet::from([value]), Vec::new());
    while let Some(value) = open.pop() {
        if let Some(tensor) = graph.constant(value) {
            found.push(tensor);
            continue;
        }
        let (node, _): (NodeId, usize) = graph.producer(value)?;
        if seen.len() > 4 * REACH || !graph.captures(node).is_empty() {
            return None;
        }
        open.extend(graph.node_inputs(node).into_iter().flatten().filter(|&input| seen.insert(input)));
    }
    (!found.is_empty()).then_some(found)
}

/// What the largest weights take.
pub(super) fn largest(pairs: &[Pair]) -> Vec<WeightSize> {
    pairs.iter().take(MOST_WEIGHTS).map(|pair| pair.size.clone()).collect()
}

/// How the weights of the layers that add most drift are spread; of the largest weights where no layer was measured.
/// Weights that are restored by operators are what the runtime makes of them; without a run they are left out.
pub(super) fn histograms(
    pairs: &[Pair],
    after: &Input,
    layers: Option<&LayersReport>,
    samples: Option<&dyn Samples>,
    how: &Comparing<'_>,
) -> Vec<Histogram> {
    let worst: BTreeMap<&str, usize> = layers.map_or_else(BTreeMap::new, |layers| {
        layers.layers.iter().enumerate().map(|(rank, layer)| (layer.value.as_str(), rank)).collect()
    });
    let mut chosen: Vec<(&Pair, &Stored)> = pairs
        .iter()
        .filter(|pair| pair.tensor.len() <= MOST_ELEMENTS)
        .filter_map(|pair| Some((pair, pair.after.as_ref()?)))
        .collect();
    chosen.sort_by_key(|(pair, _)| worst.get(pair.output.as_str()).copied().unwrap_or(usize::MAX));
    chosen.truncate(MOST_HISTOGRAMS);
    let restored = restored(&chosen, after, samples, how);
    let histogram = |(pair, stored): &(&Pair, &Stored)| {
        let after = match stored.constants.first() {
            Some(constant) if stored.is_plain && constant.dtype().is_float() => constant.to_f32(),
            Some(codes) if stored.is_plain => integers::restored(&pair.tensor, codes, stored.zero_point.as_ref()),
            _ => restored.get(&stored.name).and_then(Tensor::to_f32),
        };
        spread(&pair.size, &pair.tensor.to_f32()?, &after?)
    };
    chosen.iter().filter_map(histogram).collect()
}

/// What operators make of constants; empty where the result does not run.
fn restored(
    chosen: &[(&Pair, &Stored)],
    after: &Input,
    samples: Option<&dyn Samples>,
    how: &Comparing<'_>,
) -> BTreeMap<String, Tensor> {
    let taps: Vec<String> =
        chosen.iter().filter(|(_, stored)| !stored.is_plain).map(|(_, stored)| stored.name.clone()).collect();
    let run = |samples: &dyn Samples| {
        let options = LoadOptions { taps, threads: 0, ..LoadOptions::default() };
        load(how.backend, &after.file, &options)?.run(&samples.get(0)?)
    };
    match samples {
        Some(samples) if chosen.iter().any(|(_, stored)| !stored.is_plain) => {
            run(samples).unwrap_or_default().into_iter().collect()
        }
        _ => BTreeMap::new(),
    }
}

/// Counts values before and after in equal intervals.
fn spread(size: &WeightSize, before: &[f32], after: &[f32]) -> Option<Histogram> {
    let finite = || before.iter().chain(after).copied().filter(|value| value.is_finite()).map(f64::from);
    let (low, high) = (finite().min_by(f64::total_cmp)?, finite().max_by(f64::total_cmp)?);
    if low >= high {
        return None;
    }
    let count = |values: &[f32]| {
        let (mut bins, mut zeros) = (vec![0_u64; BINS], 0_u64);
        for &value in values.iter().filter(|value| value.is_finite()) {
            if value == 0.0 {
                zeros += 1;
                continue;
            }
            let place = (f64::from(value) - low) / (high - low) * BINS as f64;
            if let Some(bin) = bins.get_mut((place as usize).min(BINS - 1)) {
                *bin += 1;
            }
        }
        (bins, zeros as f64 / values.len().max(1) as f64)
    };
    let ((before, zeros_before), (after, zeros_after)) = (count(before), count(after));
    let (name, node) = (size.name.clone(), size.node.clone());
    Some(Histogram { name, node, low, high, before, after, zeros_before, zeros_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_apart() {
        let size = WeightSize {
            name: "w".into(),
            node: "n".into(),
            ty: "float[4]".into(),
            bytes_before: 16,
            bytes_after: None,
            type_after: None,
        };
        let histogram = spread(&size, &[-1.0, 0.5, 1.0, f32::NAN], &[0.0, 0.0, 1.0, -0.0]).unwrap();
        assert_eq!((histogram.low, histogram.high, histogram.zeros_after), (-1.0, 1.0, 0.75));
        assert_eq!((histogram.before[0], histogram.before[36], histogram.before[47]), (1, 1, 1));
        assert_eq!(histogram.after.iter().sum::<u64>(), 1);
        assert_eq!(spread(&size, &[1.0], &[1.0]), None, "one value is no spread");
    }
}
