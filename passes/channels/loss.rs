//! How much a class of channels matters, told from what layers read on calibration data.
//!
//! - energy: the mean square of what the weights of the class add to each layer that reads it, `w_g H_gg w_g^T`;
//! - error: what is left of that once the other columns are moved to make up for it; see [`eliminate`](super::eliminate).

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::eliminate::{self, Eliminator};
use super::fit::{Form, Layer};
use super::observe::Data;
use super::regress::Moments;
use crate::channels::{Channels, Class};
use crate::error::Result;
use crate::ir::{Graph, Model, ValueId};

/// The most numbers that a layer multiplies for one output where all their moments are looked at; the time grows with the
/// cube.
const MAX_DEPTH: usize = 1536;

/// Rows for each number of a row, and how few and many rows there may be.
const ROWS_PER_NUMBER: usize = 6;
const ROWS: std::ops::RangeInclusive<usize> = 4096..=12288;

/// Sums held at the same time, in bytes.
const ROUND_BYTES: usize = 512 << 20;

/// What is added to the moments, of the mean of their diagonal.
const DAMPING: f64 = 0.01;

/// The losses of the classes of one group, the class that goes first in front.
pub(super) type Ranked = Vec<(Class, f64)>;

/// A layer that reads channels of groups.
struct Reading {
    layer: Layer,
    form: Form,
    /// The columns of the weight of each class, and of each channel that stays by itself.
    blocks: BTreeMap<Class, Vec<usize>>,
    rest: Vec<Vec<usize>>,
    is_whole: bool,
}

/// Sums over what a layer reads.
enum Sums {
    /// Of all products.
    Whole(Moments),
    /// Of the products within each block: those of classes, then the rest.
    Blocks(Vec<Vec<f64>>, usize),
}

/// What was found out about a layer.
struct Measured {
    /// The energy of each class, of all that the layer gives.
    energies: BTreeMap<Class, f64>,
    /// Mean products, weights and the square of what the layer gives.
    whole: Option<(Vec<f64>, Vec<f64>, f64)>,
    blocks: BTreeMap<Class, Vec<usize>>,
}

/// Ranks the classes of every group; `None` for groups that no layer reads in a form that can be looked at.
///
/// # Errors
/// Fails where a sample cannot be read, or no backend runs the model.
pub(super) fn ranked(
    model: &Model,
    channels: &Channels,
    data: Data<'_>,
    moves_others: bool,
) -> Result<Vec<Option<Ranked>>> {
    let readings = readings(&model.graph, channels, moves_others);
    let mut measured = Vec::new();
    let mut rest = readings.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |reading: &&Reading| {
            bytes += if reading.is_whole { 4 * 8 * reading.depth().pow(2) } else { 0 };
            bytes <= ROUND_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (round, later) = rest.split_at(count);
        measured.extend(measure(model, round, data)?);
        rest = later;
    }
    let of = |group: &crate::channels::Group| rank(&group.classes, &measured);
    Ok(channels.groups().par_iter().map(of).collect())
}

fn readings(graph: &Graph, channels: &Channels, moves_others: bool) -> Vec<Reading> {
    let reading = |reader: &crate::channels::Reader| {
        let constant = channels.constants().iter().find(|constant| constant.value == reader.weight)?;
        let classes = channels.axis_classes(constant, reader.weight_axis)?;
        // Of a convolution with groups, a class may be as many columns of several groups: others tell what it costs.
        let layer = Layer::of(graph, reader).filter(|layer| layer.groups == 1)?;
        let form = layer.form(&graph.constant(reader.weight)?)?;
        let (mut blocks, mut rest) = (BTreeMap::<Class, Vec<usize>>::new(), Vec::new());
        for (column, class) in classes.into_iter().enumerate() {
            let numbers = column * form.taps..(column + 1) * form.taps;
            match class {
                Some(class) => blocks.entry(class).or_default().extend(numbers),
                None => rest.push(numbers.collect()),
            }
        }
        let mut reading = Reading { layer, form, blocks, rest, is_whole: false };
        reading.is_whole = moves_others && reading.depth() <= MAX_DEPTH;
        Some(reading)
    };
    channels.readers().iter().filter_map(reading).collect()
}

impl Reading {
    /// How many numbers it multiplies for one output, with 1 for the bias.
    fn depth(&self) -> usize {
        self.form.columns * self.form.taps + usize::from(self.layer.tail.bias.is_some())
    }

    fn empty(&self) -> Sums {
        match self.is_whole {
            true => Sums::Whole(Moments::new(0, self.depth())),
            false => Sums::Blocks(self.each_block().map(|block| vec![0.0; block.len().pow(2)]).collect(), 0),
        }
    }

    fn each_block(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.blocks.values().chain(&self.rest)
    }

    fn add(&self, sums: &mut Sums, rows: &[f64]) {
        let depth = self.depth();
        match sums {
            Sums::Whole(moments) => moments.add(&[], rows),
            Sums::Blocks(sums, count) => {
                for row in rows.chunks_exact(depth).filter(|row| row.iter().all(|v| v.is_finite())) {
                    *count += 1;
                    for (block, sums) in self.each_block().zip(sums.iter_mut()) {
                        for (&i, sums) in block.iter().zip(sums.chunks_mut(block.len())) {
                            sums.iter_mut().zip(block).for_each(|(sum, &j)| *sum += row[i] * row[j]);
                        }
                    }
                }
            }
        }
    }

    /// The energies of classes, and the moments of all where they were summed up.
    fn finish(&self, graph: &Graph, sums: Sums) -> Option<Measured> {
        let (depth, weight) = (self.depth(), graph.constant(self.layer.weight)?);
        let places: Vec<usize> = (0..self.form.columns).collect();
        let whole = self.layer.parts(self.form, &places);
        let mut weights = self.layer.start(graph, &weight, whole.first()?, &places)?;
        let (products, mut whole) = match sums {
            Sums::Whole(mut moments) => {
                (moments.rows() > 0).then_some(())?;
                let products = moments.mean_products();
                (self.each_block().map(|block| within(&products, depth, block)).collect(), Some(products))
            }
            Sums::Blocks(sums, count) => {
                (count > 0).then_some(())?;
                let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / count as f64).collect();
                (sums.into_iter().map(mean).collect::<Vec<Vec<f64>>>(), None)
            }
        };
        let energies: Vec<f64> = (self.each_block().zip(&products))
            .map(|(block, products)| {
                let rows = weights.chunks(depth).map(|row| block.iter().map(|&at| row[at]).collect::<Vec<f64>>());
                rows.map(|row| square(&row, products)).sum()
            })
            .collect();
        let total = energies.iter().sum::<f64>();
        (total.is_finite() && total > 0.0).then_some(())?;
        let energies = self.blocks.keys().copied().zip(energies.iter().map(|energy| energy / total)).collect();
        let whole = whole.take().map(|products| {
            if self.layer.tail.bias.is_some() {
                // What varies is what counts: the mean is the bias's to say.
                weights.chunks_mut(depth).for_each(|row| row[depth - 1] = 0.0);
            }
            let means = products[(depth - 1) * depth..].to_vec();
            let given = |row: &[f64]| {
                let mean: f64 = match self.layer.tail.bias {
                    Some(_) => row.iter().zip(&means).map(|(w, m)| w * m).sum(),
                    None => 0.0,
                };
                square(row, &products) - mean * mean
            };
            let given = weights.chunks(depth).map(given).sum();
            (products, weights, given)
        });
        Some(Measured { energies, whole, blocks: self.blocks.clone() })
    }
}

/// The products within a block.
fn within(products: &[f64], depth: usize, block: &[usize]) -> Vec<f64> {
    block.iter().flat_map(|&i| block.iter().map(move |&j| products[i * depth + j])).collect()
}

/// `row H row^T`.
fn square(row: &[f64], products: &[f64]) -> f64 {
    let of = |(x, sums): (&f64, &[f64])| x * sums.iter().zip(row).map(|(h, y)| h * y).sum::<f64>();
    row.iter().zip(products.chunks(row.len().max(1))).map(of).sum()
}

fn measure(model: &Model, readings: &[Reading], data: Data<'_>) -> Result<Vec<Measured>> {
    let inputs: Vec<ValueId> = readings.iter().map(|reading| reading.layer.input).collect();
    let empty = || readings.iter().map(Reading::empty).collect::<Vec<Sums>>();
    let parts = data.sum(model, &inputs, empty, |sums, turn, ran| {
        for (reading, sums) in readings.iter().zip(sums) {
            let input = ran.of(reading.layer.input)?;
            let Some(output) = reading.layer.output_shape(input.shape(), reading.form) else { continue };
            let wanted = (ROWS_PER_NUMBER * reading.depth()).clamp(*ROWS.start(), *ROWS.end());
            let positions = reading.layer.positions(&output, data.positions_each(wanted), turn);
            let places: Vec<usize> = (0..reading.form.columns).collect();
            if let Some(rows) = reading.layer.read(input, &output, &positions, &places) {
                reading.add(sums, &rows);
            }
        }
        Ok(())
    })?;
    let total = parts.into_iter().reduce(|mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, part)| merge(total, part));
        total
    });
    let sums = total.unwrap_or_else(empty);
    let of = |(reading, sums): (&Reading, Sums)| reading.finish(&model.graph, sums);
    Ok(readings.par_iter().zip(sums).filter_map(of).collect())
}

fn merge(total: &mut Sums, part: Sums) {
    match (total, part) {
        (Sums::Whole(total), Sums::Whole(part)) => total.merge(part),
        (Sums::Blocks(total, rows), Sums::Blocks(part, more)) => {
            total.iter_mut().flatten().zip(part.iter().flatten()).for_each(|(total, part)| *total += part);
            *rows += more;
        }
        _ => {}
    }
}

/// Ranks the classes of a group by what they cost all layers that read them.
fn rank(classes: &[Class], measured: &[Measured]) -> Option<Ranked> {
    let reads = |one: &&Measured| classes.iter().any(|class| one.blocks.contains_key(class));
    let readers: Vec<&Measured> = measured.iter().filter(reads).collect();
    if readers.is_empty() {
        return None;
    }
    let eliminator = |one: &&Measured| {
        let (products, weights, given) = one.whole.as_ref()?;
        let blocks = classes.iter().map(|class| one.blocks.get(class).cloned().unwrap_or_default()).collect();
        Eliminator::new(products, weights.clone(), *given, blocks, DAMPING)
    };
    if let Some(mut layers) = readers.iter().map(eliminator).collect::<Option<Vec<Eliminator>>>() {
        let order = eliminate::order(&mut layers, classes.len());
        return Some(order.into_iter().map(|(place, loss)| (classes[place], loss)).collect());
    }
    let energy = |class: &Class| readers.iter().filter_map(|one| one.energies.get(class)).sum::<f64>();
    let mut ranked: Ranked = classes.iter().map(|class| (*class, energy(class))).collect();
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    Some(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_those_of_the_sum() {
        // E[(x - 2 y)^2] with E[x x] = 1, E[x y] = 0.5, E[y y] = 3.
        assert_eq!(square(&[1.0, -2.0], &[1.0, 0.5, 0.5, 3.0]), 1.0 - 2.0 + 12.0);
        assert_eq!(within(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 3, &[0, 2]), [1.0, 3.0, 7.0, 9.0]);
    }

    #[test]
    fn losses_of_all_readers_add_up() {
        let one = |energies: [f64; 2]| Measured {
            energies: (0..2).zip(energies).collect(),
            whole: None,
            blocks: (0..2).map(|class| (class, vec![class as usize])).collect(),
        };
        let ranked = rank(&[0, 1], &[one([0.5, 0.25]), one([0.0, 0.125])]).unwrap();
        assert_eq!(ranked, [(1, 0.375), (0, 0.5)]);
        assert!(rank(&[7, 8], &[one([0.5, 0.5])]).is_none());
    }
}
