//! How much a class of channels matters, told from its weights alone; what stands in where nothing reads data of it.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

use crate::channels::{Channels, Class, Constant, Group};
use crate::ir::{Graph, Tensor};

/// What says how much a channel matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Criterion {
    /// The mean magnitude of its weights.
    L1,
    /// The root of the mean square of its weights.
    L2,
    /// The scale of the batch normalization behind it.
    BatchNorm,
    /// How far its weights are from those of the other channels of the layer.
    Median,
    /// Its square against those of all larger ones.
    Lamp,
    /// The seed of the run.
    Random,
    /// What it adds to the layers that read it, on data.
    Energy,
    /// What is lost of that once the others make up for it, on data.
    Error,
    /// The same where there are data, else the mean magnitude of its weights.
    Auto,
}

impl Criterion {
    pub(super) fn new(word: &str) -> Self {
        match word {
            "l2" => Self::L2,
            "bn" => Self::BatchNorm,
            "fpgm" => Self::Median,
            "lamp" => Self::Lamp,
            "random" => Self::Random,
            "energy" => Self::Energy,
            "error" => Self::Error,
            "l1" => Self::L1,
            _ => Self::Auto,
        }
    }

    /// Whether data say it.
    pub(super) fn needs_data(self) -> bool {
        matches!(self, Self::Energy | Self::Error)
    }
}

/// The scores of classes, by class; 0 for those without weights.
#[derive(Debug)]
pub(super) struct Scores {
    by_class: BTreeMap<Class, f64>,
    scales: BTreeMap<Class, f64>,
}

/// What one axis of one constant says of each of its classes.
struct Part {
    is_scale: bool,
    scores: BTreeMap<Class, f64>,
}

impl Scores {
    /// Scores every class of a graph by the magnitude of its weights.
    pub(super) fn of(channels: &Channels, graph: &Graph, criterion: Criterion) -> Self {
        let parts: Vec<Part> =
            channels.constants().par_iter().flat_map_iter(|c| parts(channels, graph, c, criterion)).collect();
        let mut sums: BTreeMap<Class, (f64, usize)> = BTreeMap::new();
        let mut scales: BTreeMap<Class, f64> = BTreeMap::new();
        for part in parts {
            for (class, score) in part.scores {
                if part.is_scale {
                    *scales.entry(class).or_default() += score;
                } else {
                    let (sum, count) = sums.entry(class).or_default();
                    *sum += score;
                    *count += 1;
                }
            }
        }
        let by_class = sums.into_iter().map(|(class, (sum, count))| (class, sum / count.max(1) as f64)).collect();
        Self { by_class, scales }
    }

    /// The scores of the classes of a group, in their order. `name` is the group's, for what is random.
    pub(super) fn group(
        &self,
        channels: &Channels,
        graph: &Graph,
        group: &Group,
        criterion: Criterion,
        random: (u64, &str),
    ) -> Vec<f64> {
        let magnitude = |class: &Class| self.by_class.get(class).copied().unwrap_or_default();
        let magnitudes: Vec<f64> = group.classes.iter().map(magnitude).collect();
        match criterion {
            Criterion::L1 | Criterion::L2 | Criterion::Energy | Criterion::Error | Criterion::Auto => magnitudes,
            Criterion::BatchNorm => {
                let scales: Option<Vec<f64>> = group.classes.iter().map(|c| self.scales.get(c).copied()).collect();
                // Layers without a batch normalization have no other scale than that of their weights.
                scales.unwrap_or(magnitudes)
            }
            Criterion::Median => distances(&rows(channels, graph, group)).unwrap_or(magnitudes),
            Criterion::Lamp => lamp(&magnitudes),
            Criterion::Random => {
                let (seed, name) = random;
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                }));
                magnitudes.iter().map(|_| random.next_u64() as f64).collect()
            }
        }
    }
}

/// What each axis of a constant says. Of vectors only scales of batch normalizations say something.
fn parts(channels: &Channels, graph: &Graph, constant: &Constant, criterion: Criterion) -> Vec<Part> {
    let Some(tensor) = graph.constant(constant.value).filter(|tensor| tensor.dtype().is_float()) else {
        return Vec::new();
    };
    let uses = graph.uses(constant.value);
    let is_scale =
        uses.iter().any(|one| graph.node(one.node).is("BatchNormalization") && one.port == crate::ir::Port::In(1));
    if tensor.rank() < 2 && !is_scale {
        return Vec::new();
    }
    let axes: Vec<(usize, Vec<Option<Class>>)> =
        (0..tensor.rank()).filter_map(|axis| Some((axis, channels.axis_classes(constant, axis)?))).collect();
    if axes.is_empty() {
        return Vec::new();
    }
    let is_square = matches!(criterion, Criterion::L2 | Criterion::Lamp);
    let of = |(axis, classes): (usize, Vec<Option<Class>>)| {
        let mut scores: BTreeMap<Class, f64> = BTreeMap::new();
        let sums = sums(&tensor, axis, is_square).unwrap_or_default();
        let mut total = 0.0;
        for (class, sum) in classes.iter().zip(sums) {
            let Some(class) = class else { continue };
            *scores.entry(*class).or_default() += sum;
        }
        for score in scores.values_mut() {
            *score = if is_square { score.sqrt() } else { *score };
            total += *score;
        }
        // Layers differ in scale; what counts is how a channel stands among its neighbours.
        let mean = total / scores.len().max(1) as f64;
        if mean > 0.0 {
            scores.values_mut().for_each(|score| *score /= mean);
        }
        Part { is_scale, scores }
    };
    axes.into_iter().map(of).collect()
}

/// The sum of magnitudes, or of squares, at each place of an axis.
fn sums(tensor: &Tensor, axis: usize, is_square: bool) -> Option<Vec<f64>> {
    let extent = usize::try_from(*tensor.shape().get(axis)?).ok()?;
    let inner = tensor.shape().get(axis + 1..)?.iter().product::<u64>() as usize;
    Some(axis_sums(&tensor.to_f32()?, extent, inner, is_square))
}

/// The sum of magnitudes, or of squares, at each place of the axis of `extent` elements with `inner` elements in each.
fn axis_sums(values: &[f32], extent: usize, inner: usize, is_square: bool) -> Vec<f64> {
    let mut sums = vec![0.0; extent];
    let one = |value: &f32| f64::from(if is_square { value * value } else { value.abs() });
    for (row, values) in values.chunks(inner.max(1)).enumerate() {
        if let Some(sum) = sums.get_mut(row % extent.max(1)) {
            *sum += values.iter().map(one).sum::<f64>();
        }
    }
    sums
}

/// The weights of each class of a group in the first layer that has them as rows.
fn rows(channels: &Channels, graph: &Graph, group: &Group) -> Vec<Vec<f32>> {
    for constant in channels.constants() {
        let is_of_layer = graph.uses(constant.value).iter().any(|one| group.layers.contains(&one.node));
        let Some(tensor) = graph.constant(constant.value).filter(|t| is_of_layer && t.rank() >= 2) else { continue };
        let Some(values) = tensor.to_f32() else { continue };
        for axis in 0..tensor.rank() {
            let Some(classes) = channels.axis_classes(constant, axis) else { continue };
            let mut found: BTreeMap<Class, Vec<f32>> = BTreeMap::new();
            let inner = tensor.shape().iter().skip(axis + 1).product::<u64>().max(1) as usize;
            for (row, values) in values.chunks(inner).enumerate() {
                if let Some(Some(class)) = classes.get(row % classes.len()) {
                    found.entry(*class).or_default().extend_from_slice(values);
                }
            }
            if group.classes.iter().all(|class| found.contains_key(class)) {
                return group.classes.iter().filter_map(|class| found.remove(class)).collect();
            }
        }
    }
    Vec::new()
}

/// The sum of distances of each row to all others; `None` where there are no rows, or of different lengths.
fn distances(rows: &[Vec<f32>]) -> Option<Vec<f64>> {
    let len = rows.first()?.len();
    if rows.iter().any(|row| row.len() != len) {
        return None;
    }
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    Some(rows.par_iter().map(|row| rows.iter().map(|other| distance(row, other)).sum()).collect())
}

/// The square of each score against the sum of its own and those of all larger ones.
fn lamp(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let at = |place: usize| scores.get(place).copied().unwrap_or_default();
    order.sort_by(|&a, &b| at(b).total_cmp(&at(a)).then(b.cmp(&a)));
    let mut result = vec![0.0; scores.len()];
    let mut sum = 0.0;
    for place in order {
        let square = at(place) * at(place);
        sum += square;
        if let Some(slot) = result.get_mut(place).filter(|_| sum > 0.0) {
            *slot = square / sum;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_along_each_axis() {
        // [2, 3]: 1 -2 3 / -4 5 -6
        let values = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0];
        assert_eq!(axis_sums(&values, 2, 3, false), [6.0, 15.0]);
        assert_eq!(axis_sums(&values, 3, 1, false), [5.0, 7.0, 9.0]);
        assert_eq!(axis_sums(&values, 3, 1, true), [17.0, 29.0, 45.0]);
    }

    #[test]
    fn the_row_nearest_to_all_others_is_the_first_to_go() {
        let rows = [vec![0.0, 0.0], vec![1.0, 0.0], vec![3.0, 0.0]];
        assert_eq!(distances(&rows), Some(vec![4.0, 3.0, 5.0]));
        assert_eq!(distances(&[vec![1.0], vec![]]), None);
    }

    #[test]
    fn lamp_compares_with_the_larger_ones() {
        assert_eq!(lamp(&[1.0, 2.0, 0.0]), [0.2, 1.0, 0.0]);
        assert_eq!(lamp(&[0.0, 0.0]), [0.0, 0.0]);
    }
}
