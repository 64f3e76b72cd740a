//! Outlier channels: the few largest inputs of a product are computed in float, beside the integers.
//!
//! ```text
//! y = MatMul(x, w)  =>  y = Add(MatMul(x_dq, w_dq), MatMul(Gather<axis = -1>(x, channels), w_outliers))
//! ```
//!
//! In activations of transformers a few channels are many times larger than the rest, and one scale for all leaves the
//! rest hardly any steps (Dettmers et al. 2022, LLM.int8(), section 3). Rows of the 8-bit weights that the float product
//! takes over are zero, so that it does not matter that the outliers saturate there. Those rows are kept in 16-bit floats:
//! what they are multiplied with is so large that rounding them to 8 bits would cost as much as all the others.

use std::collections::{BTreeMap, BTreeSet};

use super::kernel::Kernel;
use super::levels::{Level, Levels};
use super::plan::Plan;
use super::range::Range;
use crate::error::Result;
use crate::ir::{Graph, NodeSpec, Tensor, ValueId, ValueType};

/// Activations with fewer channels gain nothing: the float product would be no small part of the whole.
const FEWEST_CHANNELS: usize = 64;

/// What one more channel in float costs in time, as a part of the range that it has to take away.
const PRICE_OF_A_CHANNEL: f32 = 0.01;

/// The range has to shrink to this part for a split to pay: half a bit.
const LEAST_GAIN: f32 = 0.7;

/// How the channels of an activation, on its last axis, are divided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split {
    /// Those that are computed in float, ascending.
    pub(super) outliers: Vec<usize>,
    /// The range of the others.
    pub(super) range: Range,
}

impl Split {
    /// Chooses at most `most` outliers by the ranges of the channels; `None` where that gains too little.
    pub(super) fn choose(channels: &[Range], most: usize) -> Option<Self> {
        if channels.len() < FEWEST_CHANNELS {
            return None;
        }
        let size = |range: &Range| range.max.max(-range.min);
        let mut order: Vec<usize> = (0..channels.len()).collect();
        order.sort_by(|&a, &b| size(&channels[b]).total_cmp(&size(&channels[a])).then(a.cmp(&b)));
        let width_without = |count: usize| -> (f32, Range) {
            let kept = order.iter().skip(count).map(|&channel| channels[channel]);
            // Zero is always in the range that is quantized.
            let range = kept.fold(Range { min: 0.0, max: 0.0 }, Range::union);
            (range.max - range.min, range)
        };
        let (whole, _) = width_without(0);
        let (count, width, range) = (1..=most.min(channels.len() / 8))
            .map(|count| {
                let (width, range) = width_without(count);
                (count, width, range)
            })
            .min_by(|a, b| price(a.0, a.1).total_cmp(&price(b.0, b.1)))?;
        let mut outliers = order[..count].to_vec();
        outliers.sort_unstable();
        (width < LEAST_GAIN * whole).then_some(Self { outliers, range })
    }
}

fn price(count: usize, width: f32) -> f32 {
    width * (1.0 + PRICE_OF_A_CHANNEL * count as f32)
}

/// Activations that can be split: float operators write them, and what reads them in integers are products alone, each
/// with weights of its own.
pub(super) fn candidates(graph: &Graph, plan: &Plan) -> Vec<ValueId> {
    let mut readers: BTreeMap<ValueId, Vec<&Kernel>> = BTreeMap::new();
    for kernel in &plan.kernels {
        readers.entry(kernel.input).or_default().push(kernel);
    }
    let is_product =
        |kernel: &&Kernel| graph.node(kernel.node).is_any(&["MatMul", "Gemm"]) && graph.use_count(kernel.weight) == 1;
    let fit = readers.into_iter().filter(|(_, kernels)| kernels.iter().all(is_product));
    fit.map(|(value, _)| value).filter(|&value| !comes_from_integers(graph, plan, value)).collect()
}

/// Whether an integer operator computes the value, be it through operators that only move elements.
fn comes_from_integers(graph: &Graph, plan: &Plan, mut value: ValueId) -> bool {
    let tails: BTreeSet<ValueId> = plan.kernels.iter().map(|kernel| kernel.tail.value).collect();
    while plan.written_by_integers.contains(&value) {
        match graph.producer(value) {
            Some((node, _)) if plan.moves(graph, node) && !tails.contains(&value) => match graph.input(node, 0) {
                Some(input) => value = input,
                None => return true,
            },
            _ => return true,
        }
    }
    false
}

/// What splitting the kernels of a graph has put into it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The outliers of each activation, gathered once for all products that read them.
    gathered: BTreeMap<ValueId, ValueId>,
    /// The weights that outliers are multiplied with.
    weights: Vec<ValueId>,
}

impl Beside {
    /// Levels by which the weights of outliers are kept as they have to be.
    pub(super) fn keep(&self, levels: &Levels) -> Levels {
        self.weights.iter().fold(levels.clone(), |levels, &weights| levels.with(weights, Level::Sixteen))
    }
}

/// Adds the float product of the outliers to what a kernel writes, and returns its weights without them.
///
/// # Errors
/// Fails where an edit does, which is a defect.
pub(super) fn apply(graph: &mut Graph, kernel: &Kernel, beside: &mut Beside) -> Result<Tensor> {
    let is_transposed = kernel.axis.start == 0;
    let (rest, taken) = divide(&kernel.tensor, is_transposed, &kernel.outliers)?;
    let Some(output) = graph.output(kernel.node, 0) else { return Ok(rest) };
    let inputs = match beside.gathered.get(&kernel.input) {
        Some(&inputs) => inputs,
        None => {
            let inputs = gather(graph, kernel)?;
            beside.gathered.insert(kernel.input, inputs);
            inputs
        }
    };
    let name = graph.value(kernel.weight).name().to_owned();
    let weights = graph.add_initializer(&format!("{name}_outliers"), taken);
    beside.weights.push(weights);
    let product = NodeSpec::new("MatMul");
    let product = graph.add_op(product, &[inputs, weights], &format!("{name}_outlier_product"), kernel.node)?;
    let integers = graph.add_value(&format!("{}_integers", graph.value(output).name()), ValueType::Unknown);
    graph.set_output(kernel.node, 0, integers)?;
    graph.add_node(NodeSpec::new("Add"), &[Some(integers), Some(product)], &[output], kernel.node)?;
    Ok(rest)
}

/// Picks the outliers of what a kernel reads.
fn gather(graph: &mut Graph, kernel: &Kernel) -> Result<ValueId> {
    let name = graph.value(kernel.input).name().to_owned();
    let channels: Vec<i64> = kernel.outliers.iter().map(|&channel| channel as i64).collect();
    let channels = Tensor::from_i64([channels.len() as u64], &channels)?;
    let channels = graph.add_initializer(&format!("{name}_outlier_channels"), channels);
    let gather = NodeSpec::new("Gather").attr("axis", -1);
    graph.add_op(gather, &[kernel.input, channels], &format!("{name}_outliers"), kernel.node)
}

/// The weights with the rows of the outliers zero, and those rows, as a matrix of a row an outlier.
fn divide(weights: &Tensor, is_transposed: bool, outliers: &[usize]) -> Result<(Tensor, Tensor)> {
    let shape = weights.shape().to_vec();
    let (rows, columns) = match is_transposed {
        true => (shape[1] as usize, shape[0] as usize),
        false => (shape[0] as usize, shape[1] as usize),
    };
    let place = |row: usize, column: usize| if is_transposed { column * rows + row } else { row * columns + column };
    let mut values = weights.to_f32().unwrap_or_default();
    let mut taken = Vec::with_capacity(outliers.len() * columns);
    for &row in outliers {
        for column in 0..columns {
            taken.push(std::mem::take(&mut values[place(row, column)]));
        }
    }
    let taken = Tensor::from_f32([outliers.len() as u64, columns as u64], &taken)?;
    Ok((Tensor::from_f32(shape, &values)?, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(sizes: &[f32]) -> Vec<Range> {
        let mut channels = vec![Range { min: -1.0, max: 1.0 }; FEWEST_CHANNELS];
        for (channel, &size) in channels.iter_mut().zip(sizes) {
            *channel = Range { min: -size / 2.0, max: size };
        }
        channels
    }

    #[test]
    fn the_few_largest_channels_are_taken_out() {
        let split = Split::choose(&channels(&[1.0, 40.0, 1.0, 90.0]), 8).unwrap();
        assert_eq!(split, Split { outliers: vec![1, 3], range: Range { min: -1.0, max: 1.0 } });
        let only_one = Split::choose(&channels(&[1.0, 40.0, 1.0, 90.0]), 1).unwrap();
        assert_eq!(only_one.outliers, [3]);
        assert_eq!(only_one.range, Range { min: -20.0, max: 40.0 });
    }

    #[test]
    fn channels_of_one_size_stay_together() {
        assert_eq!(Split::choose(&channels(&[1.1, 1.2]), 8), None);
        assert_eq!(Split::choose(&channels(&[5.0; FEWEST_CHANNELS]), 8), None);
        assert_eq!(Split::choose(&channels(&[90.0])[..32], 8), None);
        assert_eq!(Split::choose(&channels(&[90.0]), 0), None);
    }

    #[test]
    fn rows_are_divided_whichever_way_the_matrix_lies() {
        let plain = Tensor::from_f32([3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let (rest, taken) = divide(&plain, false, &[0, 2]).unwrap();
        assert_eq!(rest.to_f32().unwrap(), [0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
        assert_eq!((taken.shape(), taken.to_f32().unwrap()), (&[2, 2][..], vec![1.0, 2.0, 5.0, 6.0]));
        let transposed = Tensor::from_f32([2, 3], &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]).unwrap();
        let (rest, taken) = divide(&transposed, true, &[1]).unwrap();
        assert_eq!(rest.to_f32().unwrap(), [1.0, 0.0, 5.0, 2.0, 0.0, 6.0]);
        assert_eq!(taken.to_f32().unwrap(), [3.0, 4.0]);
    }
}
