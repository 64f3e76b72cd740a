//! Makes up for channels lost, from calibration data, without labels and without training.
//!
//! ```text
//! y = W x + b, channels of x go      =>      y ~ W' x' + b', by least squares of y on what is left, x'
//! s = y + z                          =>      y ~ s - z', what the other branch lost is made up for as well
//! ```
//!
//! Layers are fitted in topological order, and `x'` is what the layers fitted before give, so that errors do not add up;
//! layers behind that lose nothing themselves are fitted too. Layers that do not depend on each other are fitted in one run
//! of the model, cut off behind what they read. Of two branches that meet in a sum, the one that is fitted later aims at
//! the sum (He, Zhang and Sun 2017, section 3.3). A layer with too many weights for that, or with a bias that is not its
//! own, is fitted channel by channel: each channel of `x` is told as a sum of those left, and the weights take that in, the
//! same at all places of a kernel. Of a convolution with groups, each is fitted by itself.

use rayon::prelude::*;

use super::fit;
use super::observe::Data;
use super::plan::{self, Work};
use super::regress::Moments;
use crate::channels::{Channels, Removal};
use crate::error::Result;
use crate::ir::{Graph, Model, Tensor, ValueId};

/// Rows for each unknown of an output, and how few and many rows there may be.
const ROWS_PER_UNKNOWN: usize = 16;
const ROWS: std::ops::RangeInclusive<usize> = 16384..=24576;

/// How much the fit is drawn to what was there, of the square of each number read: at least, and at most.
const DAMPING: std::ops::RangeInclusive<f64> = 1e-3..=3e-2;

/// With fewer rows than this for each unknown, damping is at its most; from there on it falls as rows grow.
const FEW_ROWS: f64 = 4.0;

/// Outputs of the model as it was that are held at the same time, in bytes.
const HELD_BYTES: usize = 256 << 20;

/// Rows of one sample for each piece of work, each of as many numbers as it has outputs.
type Targets = Vec<Vec<Option<Vec<f32>>>>;

/// The model with the channels set to zero and what reads them fitted, and how many layers were.
///
/// # Errors
/// Fails where a sample cannot be read, or no backend runs the model.
pub(super) fn repaired(
    original: &Model,
    masked: &Model,
    channels: &Channels,
    removal: &Removal,
    data: Data<'_>,
) -> Result<(Model, usize)> {
    let stages = plan::stages(&original.graph, channels, removal)?;
    let mut repaired = masked.clone();
    let mut fitted = 0;
    let mut rest = stages.as_slice();
    let progress = data.env.progress;
    progress.start("repairing", stages.len() as u64);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |stage: &&Vec<Work>| {
            bytes += stage.iter().map(|work| 4 * work.outputs() * rows_wanted(work)).sum::<usize>();
            bytes <= HELD_BYTES
        };
        let (round, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        let works: Vec<&Work> = round.iter().flatten().collect();
        let targets = targets(original, &works, data)?;
        let mut place = 0;
        for stage in round {
            fitted += fit_stage(original, &mut repaired, stage, &targets, place, data)?;
            place += stage.len();
            progress.advance(1);
        }
        rest = later;
    }
    progress.finish();
    Ok((repaired, fitted))
}

fn rows_wanted(work: &Work) -> usize {
    (ROWS_PER_UNKNOWN * work.unknowns()).clamp(*ROWS.start(), *ROWS.end())
}

/// The positions of one sample that a piece of work looks at, for what it aims at of such extents.
fn positions(work: &Work, shape: &[u64], turn: usize, data: Data<'_>) -> Vec<usize> {
    let each = data.positions_each(rows_wanted(work));
    fit::positions(shape, work.axis(), each, turn)
}

/// What the model as it was gives where each piece of work aims at, sample by sample.
fn targets(original: &Model, works: &[&Work], data: Data<'_>) -> Result<Targets> {
    let values: Vec<ValueId> = works.iter().map(|work| work.target()).collect();
    let parts = data.sum(original, &values, Vec::new, |samples: &mut Targets, turn, ran| {
        let of = |work: &&Work| {
            let tensor = ran.of(work.target())?;
            let rows = fit::across(tensor, work.axis(), &positions(work, tensor.shape(), turn, data));
            Ok(rows.map(|rows| rows.into_iter().map(|v| v as f32).collect()))
        };
        samples.push(works.iter().map(of).collect::<Result<_>>()?);
        Ok(())
    })?;
    Ok(parts.into_iter().flatten().collect())
}

/// Fits what does not depend on each other; `first` is the place of the first piece of work among the targets.
fn fit_stage(
    original: &Model,
    repaired: &mut Model,
    stage: &[Work],
    targets: &Targets,
    first: usize,
    data: Data<'_>,
) -> Result<usize> {
    let mut values: Vec<ValueId> = stage.iter().map(Work::input).collect();
    values.extend(stage.iter().filter_map(Work::other));
    let of_work = |work: &Work| -> Vec<Moments> {
        work.systems().into_iter().map(|outputs| Moments::new(outputs, work.unknowns())).collect()
    };
    let empty = || stage.iter().map(of_work).collect::<Vec<Vec<Moments>>>();
    let parts = data.sum(&*repaired, &values, empty, |moments, turn, ran| {
        for (place, (work, moments)) in stage.iter().zip(moments).enumerate() {
            let target = targets.get(turn).and_then(|sample| sample.get(first + place)?.as_ref());
            let Some(target) = target else { continue };
            let other = work.other().map(|other| ran.of(other)).transpose()?;
            if let Some((tell, known)) = sides(work, target, ran.of(work.input())?, other, turn, data) {
                add(work, moments, &tell, &known);
            }
        }
        Ok(())
    })?;
    let mut total = empty();
    for part in parts {
        let systems = total.iter_mut().flatten().zip(part.into_iter().flatten());
        systems.for_each(|(total, part)| total.merge(part));
    }
    let solved: Vec<Vec<Option<Vec<f64>>>> = (stage.par_iter().zip(total))
        .map(|(work, moments)| {
            let systems = moments.into_par_iter().enumerate();
            systems.map(|(place, moments)| solve(&original.graph, work, place, moments)).collect()
        })
        .collect();
    let mut fitted = 0;
    for (work, solutions) in stage.iter().zip(solved).filter(|(_, solutions)| solutions.iter().any(Option::is_some)) {
        fitted += usize::from(write(&original.graph, &mut repaired.graph, work, &solutions)?);
    }
    Ok(fitted)
}

/// Adds rows to each of the systems of equations.
fn add(work: &Work, moments: &mut [Moments], tell: &[f64], known: &[f64]) {
    match (work, moments) {
        (Work::Whole { layer, form, kept, parts, .. }, moments) if layer.groups > 1 => {
            for (part, moments) in parts.iter().zip(moments) {
                let tell = tell.chunks_exact(form.outputs).flat_map(|row| &row[part.outputs.clone()]);
                let tell: Vec<f64> = tell.copied().collect();
                moments.add(&tell, &layer.of_part(known, *form, part, kept.len()));
            }
        }
        (_, [moments]) => moments.add(tell, known),
        _ => {}
    }
}

/// What is to be told and what it is told from, position by position.
fn sides(
    work: &Work,
    target: &[f32],
    input: &Tensor,
    other: Option<&Tensor>,
    turn: usize,
    data: Data<'_>,
) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut tell: Vec<f64> = target.iter().map(|&v| f64::from(v)).collect();
    match work {
        Work::Whole { layer, form, kept, .. } => {
            let output = layer.output_shape(input.shape(), *form)?;
            let positions = positions(work, &output, turn, data);
            if let Some(other) = other {
                (other.shape() == output).then_some(())?;
                let other = layer.given(other, &positions)?;
                (other.len() == tell.len()).then_some(())?;
                tell.iter_mut().zip(other).for_each(|(sum, other)| *sum -= other);
            }
            if work.other().is_some() {
                layer.tail.undo(&mut tell);
            }
            let known = layer.read(input, &output, &positions, kept)?;
            Some((tell, known))
        }
        Work::Columns { reader, kept, .. } => {
            let positions = positions(work, input.shape(), turn, data);
            let all = fit::across(input, reader.axis, &positions)?;
            let extent = usize::try_from(*input.shape().get(reader.axis)?).ok()?;
            let known = all.chunks(extent.max(1)).flat_map(|row| kept.iter().map(|&place| row[place])).collect();
            Some((tell, known))
        }
    }
}

/// The matrix that tells what is aimed at best in one of the systems; `None` where nothing was read.
fn solve(graph: &Graph, work: &Work, system: usize, mut moments: Moments) -> Option<Vec<f64>> {
    let scarcity = (FEW_ROWS * work.unknowns() as f64 / moments.rows().max(1) as f64).min(1.0);
    let damping = DAMPING.start() + (DAMPING.end() - DAMPING.start()) * scarcity;
    let start = match work {
        Work::Whole { layer, kept, parts, .. } => {
            layer.start(graph, &graph.constant(layer.weight)?, parts.get(system)?, kept)?
        }
        Work::Columns { kept, .. } => {
            // Without data each channel is told from itself.
            let mut start = vec![0.0; work.outputs() * kept.len()];
            kept.iter().enumerate().for_each(|(column, &place)| start[place * kept.len() + column] = 1.0);
            start
        }
    };
    moments.solve(&start, damping)
}

/// Puts the solutions of the systems that have one into the graph; says whether they fit.
fn write(original: &Graph, graph: &mut Graph, work: &Work, solutions: &[Option<Vec<f64>>]) -> Result<bool> {
    let value = work.weight();
    // Of single columns those that go are needed too.
    let source = if matches!(work, Work::Whole { .. }) { &*graph } else { original };
    let Some((tensor, values)) = source.constant(value).and_then(|t| Some((t.clone(), t.to_f32()?))) else {
        return Ok(false);
    };
    let values = match work {
        Work::Whole { layer, form, kept, stays, parts } => {
            let mut values = values;
            for (part, solution) in parts.iter().zip(solutions) {
                let Some(solution) = solution else { continue };
                let Some(bias) = layer.split(&mut values, *form, (solution, part), kept, stays) else {
                    return Ok(false);
                };
                if let Some(place) = &layer.tail.bias {
                    place.write(graph, part.outputs.start, &bias, stays)?;
                }
            }
            values
        }
        Work::Columns { reader, kept, .. } => {
            let extents: Vec<usize> = tensor.shape().iter().map(|&extent| extent as usize).collect();
            let (Some(&extent), [Some(solution)]) = (extents.get(reader.weight_axis), solutions) else {
                return Ok(false);
            };
            let inner = extents.iter().skip(reader.weight_axis + 1).product::<usize>();
            folded(&values, extent, inner, solution, kept)
        }
    };
    graph.set_constant(value, Tensor::from_floats(tensor.dtype(), tensor.shape(), &values)?)?;
    Ok(true)
}

/// Weights with column `places[k]` replaced by the sum of all columns by row weights `matrix[.., k]`, and zeros in the
/// columns that go.
fn folded(values: &[f32], extent: usize, inner: usize, matrix: &[f64], places: &[usize]) -> Vec<f32> {
    let mut result = vec![0f32; values.len()];
    let block = (extent * inner).max(1);
    for (old, new) in values.chunks(block).zip(result.chunks_mut(block)) {
        let mut sums = vec![0f64; places.len() * inner];
        for (columns, row) in old.chunks(inner.max(1)).zip(matrix.chunks(places.len().max(1))) {
            for (share, sums) in row.iter().zip(sums.chunks_mut(inner.max(1))) {
                if *share != 0.0 {
                    sums.iter_mut().zip(columns).for_each(|(sum, value)| *sum += share * f64::from(*value));
                }
            }
        }
        for (&place, sums) in places.iter().zip(sums.chunks(inner.max(1))) {
            if let Some(column) = new.get_mut(place * inner..(place + 1) * inner) {
                column.iter_mut().zip(sums).for_each(|(value, sum)| *value = *sum as f32);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_take_in_what_is_lost() {
        // [1, 3 columns, 2 taps]; column 1 goes, and is told as twice column 0 minus column 2.
        let weight = [1.0, 2.0, 10.0, 20.0, 3.0, 4.0];
        let matrix = [1.0, 0.0, 2.0, -1.0, 0.0, 1.0];
        assert_eq!(folded(&weight, 3, 2, &matrix, &[0, 2]), [21.0, 42.0, 0.0, 0.0, -7.0, -16.0]);
    }
}
