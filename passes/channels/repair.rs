//! Makes up for channels lost, from calibration data, without labels and without training.
//!
//! ```text
//! y = W x + b, channels of x go      =>      y ~ W' x' + b', by least squares of y on what is left, x'
//! ```
//!
//! Layers are fitted in topological order, and `x'` is what the layers fitted before give, so that errors do not add up.
//! A layer with too many weights for that, or with a bias that is not its own, is fitted channel by channel: each channel
//! of `x` is told as a sum of those left, and the weights take that in, the same at all places of a kernel.

use rayon::prelude::*;

use super::fit::Layer;
use super::regress::Moments;
use crate::backend::{self, LoadOptions, ModelBytes, NamedTensors, Session};
use crate::channels::{Channels, Reader, Removal};
use crate::data::Samples;
use crate::error::{ErrorKind, Result};
use crate::ir::{Graph, Model, Tensor, ValueId};
use crate::onnx::{EncodeOptions, encode};
use crate::pass::{Cx, counted};

/// The most samples that are run.
const MAX_SAMPLES: usize = 512;

/// The most positions of one sample, evenly spread.
const MAX_POSITIONS: usize = 256;

/// The most channels of a value; the time grows with their cube.
const MAX_CHANNELS: usize = 2048;

/// Fewer positions than this for each unknown of an output are too few to fit them all.
const MIN_POSITIONS_PER_UNKNOWN: usize = 4;

/// How much the fit is drawn to what was there, of the mean square of a channel.
const DAMPING: f64 = 1e-3;

/// Fits the layers of the main graph that read values with channels lost. Does nothing without calibration data.
///
/// # Errors
/// Fails where a sample cannot be read, or the model fails on it.
pub(super) fn repair(model: &mut Model, channels: &Channels, removal: &Removal, cx: &mut Cx<'_>) -> Result<()> {
    let Some(samples) = cx.env.calibration else { return Ok(()) };
    let mut stages: Vec<(ValueId, usize, Vec<&Reader>)> = Vec::new();
    for reader in channels.readers() {
        if kept_columns(&model.graph, channels, removal, reader).is_none() {
            continue;
        }
        match stages.iter_mut().find(|(value, axis, _)| *value == reader.input && *axis == reader.axis) {
            Some((_, _, readers)) => readers.push(reader),
            None => stages.push((reader.input, reader.axis, vec![reader])),
        }
    }
    if stages.is_empty() {
        return Ok(());
    }
    let mut repaired = model.clone();
    channels.mask(&mut repaired.graph, removal)?;
    cx.env.progress.start("repairing", stages.len() as u64);
    let mut fitted = 0;
    for (value, axis, readers) in &stages {
        match stage(model, &mut repaired, channels, removal, (*value, *axis), readers, samples, cx) {
            Ok(count) => fitted += count,
            Err(e) if matches!(e.kind(), ErrorKind::CannotValidate | ErrorKind::Unsupported) => {
                cx.env.progress.finish();
                cx.note(format!("nothing is repaired: no backend here runs the model: {}", e.what()));
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        cx.env.progress.advance(1);
    }
    cx.env.progress.finish();
    if fitted > 0 {
        // What was set to zero goes now, so that this is the model with the fitted weights.
        *model = repaired;
    }
    cx.note(format!("{} fitted to what they computed before, by least squares", counted(fitted, "layer")));
    Ok(())
}

/// Which columns of a reader's weight stay; `None` where all do.
fn kept_columns(graph: &Graph, channels: &Channels, removal: &Removal, reader: &Reader) -> Option<Vec<bool>> {
    graph.constant(reader.weight).filter(|tensor| tensor.dtype().is_float())?;
    let constant = channels.constants().iter().find(|constant| constant.value == reader.weight)?;
    let classes = channels.axis_classes(constant, reader.weight_axis)?;
    let kept: Vec<bool> = classes.iter().map(|class| class.is_none_or(|class| !removal.contains(class))).collect();
    (kept.contains(&false) && kept.contains(&true) && kept.len() <= MAX_CHANNELS).then_some(kept)
}

/// Fits the readers of one value.
#[allow(clippy::too_many_arguments, reason = "both models, what is removed, the value and its readers")]
fn stage(
    original: &Model,
    repaired: &mut Model,
    channels: &Channels,
    removal: &Removal,
    (value, axis): (ValueId, usize),
    readers: &[&Reader],
    samples: &dyn Samples,
    cx: &Cx<'_>,
) -> Result<usize> {
    let Some(kept) = readers.first().and_then(|r| kept_columns(&original.graph, channels, removal, r)) else {
        return Ok(0);
    };
    let places: Vec<usize> = (0..kept.len()).filter(|&place| kept.get(place) == Some(&true)).collect();
    let (mut fitted, mut rest) = (0, Vec::new());
    for &reader in readers {
        match Layer::of(&original.graph, reader, places.len()) {
            Some(layer) if whole(original, repaired, reader, &layer, &places, samples, cx)? => fitted += 1,
            _ => rest.push(reader),
        }
    }
    if rest.is_empty() {
        return Ok(fitted);
    }
    let name = original.graph.value(value).name().to_owned();
    let (before, after) = (session(original, value, cx)?, session(repaired, value, cx)?);
    let empty = || Moments::new(kept.len(), places.len());
    let count = samples.len().min(MAX_SAMPLES);
    let parts: Vec<Result<Moments>> = (0..count)
        .collect::<Vec<usize>>()
        .par_chunks(count.div_ceil(8).max(1))
        .map(|chunk| {
            let mut moments = empty();
            for &index in chunk {
                let inputs = samples.get(index)?;
                let tell = rows(&before.run(&inputs)?, &name, axis);
                let known = rows(&after.run(&inputs)?, &name, axis);
                if let (Some(tell), Some(known)) = (tell, known)
                    && tell.len() == kept.len()
                    && known.len() == kept.len()
                {
                    let known: Vec<Vec<f64>> = places.iter().filter_map(|&place| known.get(place).cloned()).collect();
                    moments.add(&tell, &known);
                }
            }
            Ok(moments)
        })
        .collect();
    let mut moments = empty();
    for part in parts {
        moments = moments.merge(&part?);
    }
    // Without data each channel is told from itself.
    let mut start = vec![0.0; kept.len() * places.len()];
    for (column, &place) in places.iter().enumerate() {
        if let Some(one) = start.get_mut(place * places.len() + column) {
            *one = 1.0;
        }
    }
    let Some(matrix) = moments.solve(&start, DAMPING) else { return Ok(fitted) };
    for reader in rest {
        let Some(weight) = original.graph.constant(reader.weight) else { continue };
        let Some(values) = fold(&weight, reader.weight_axis, &matrix, &places) else { continue };
        repaired.graph.set_constant(reader.weight, Tensor::from_floats(weight.dtype(), weight.shape(), &values)?)?;
        fitted += 1;
    }
    Ok(fitted)
}

/// Fits all weights of one layer to what it gave; says whether there were enough data.
fn whole(
    original: &Model,
    repaired: &mut Model,
    reader: &Reader,
    layer: &Layer,
    places: &[usize],
    samples: &dyn Samples,
    cx: &Cx<'_>,
) -> Result<bool> {
    let graph = &original.graph;
    let (Some(weight), slot) = (graph.constant(reader.weight), graph.input(layer.node(), 2)) else { return Ok(false) };
    let bias = slot.and_then(|slot| graph.constant(slot));
    let Some((outputs, start)) = layer.start(&weight, bias.as_ref(), places) else { return Ok(false) };
    let unknowns = start.len().checked_div(outputs).unwrap_or(0);
    let (input, output) = (graph.value(reader.input).name(), graph.value(layer.output).name());
    let (before, after) = (session(original, layer.output, cx)?, session(repaired, reader.input, cx)?);
    let count = samples.len().min(MAX_SAMPLES);
    let parts: Vec<Result<(Moments, usize)>> = (0..count)
        .collect::<Vec<usize>>()
        .par_chunks(count.div_ceil(8).max(1))
        .map(|chunk| {
            let (mut moments, mut positions) = (Moments::new(outputs, unknowns), 0);
            for &index in chunk {
                let inputs = samples.get(index)?;
                let (old, new) = (before.run(&inputs)?, after.run(&inputs)?);
                let find = |found: &NamedTensors, name: &str| {
                    found.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor.clone())
                };
                let (Some(old), Some(new)) = (find(&old, output), find(&new, input)) else { continue };
                let (Some(given), Some(read)) = (layer.given(&old), layer.read(&new, old.shape(), places)) else {
                    continue;
                };
                if given.len() == outputs && read.len() == unknowns {
                    positions += given.first().map_or(0, Vec::len);
                    moments.add(&given, &read);
                }
            }
            Ok((moments, positions))
        })
        .collect();
    let (mut moments, mut positions) = (Moments::new(outputs, unknowns), 0);
    for part in parts {
        let (one, more) = part?;
        moments = moments.merge(&one);
        positions += more;
    }
    if positions < MIN_POSITIONS_PER_UNKNOWN * unknowns {
        return Ok(false);
    }
    let fitted = moments.solve(&start, DAMPING).and_then(|matrix| layer.split(&weight, &matrix, places));
    let Some((values, bias)) = fitted else { return Ok(false) };
    let graph = &mut repaired.graph;
    graph.set_constant(reader.weight, Tensor::from_floats(weight.dtype(), weight.shape(), &values)?)?;
    if let Some(slot) = slot.filter(|_| layer.has_bias) {
        graph.set_constant(slot, Tensor::from_floats(weight.dtype(), vec![bias.len() as u64], &bias)?)?;
    }
    Ok(true)
}

/// A session that gives a value among its outputs.
fn session(model: &Model, value: ValueId, cx: &Cx<'_>) -> Result<Box<dyn Session>> {
    let bytes = ModelBytes::new(encode(model, &EncodeOptions::default())?.to_bytes(), None);
    let held = model.graph.value(value);
    let taps = if held.is_output() { Vec::new() } else { vec![held.name().to_owned()] };
    backend::load(cx.env.backend, &bytes, &LoadOptions { taps, threads: 1 })
}

/// The values of each channel of a tensor over its positions.
fn rows(outputs: &NamedTensors, name: &str, axis: usize) -> Option<Vec<Vec<f64>>> {
    let (_, tensor) = outputs.iter().find(|(given, _)| given == name)?;
    let extent = usize::try_from(*tensor.shape().get(axis)?).ok()?;
    let inner = tensor.shape().iter().skip(axis + 1).product::<u64>() as usize;
    let values = tensor.to_f32()?;
    if extent == 0 || inner == 0 {
        return None;
    }
    let positions = values.len() / extent;
    let step = positions.div_ceil(MAX_POSITIONS).max(1);
    let row = |channel: usize| {
        let at = |position: usize| values.get((position / inner * extent + channel) * inner + position % inner);
        (0..positions).step_by(step).filter_map(at).map(|&v| f64::from(v)).collect()
    };
    Some((0..extent).map(row).collect())
}

/// The weight with column `places[k]` replaced by the sum of all columns by row weights `matrix[.., k]`, and zeros in the
/// columns that go.
fn fold(weight: &Tensor, axis: usize, matrix: &[f64], places: &[usize]) -> Option<Vec<f32>> {
    let extent = usize::try_from(*weight.shape().get(axis)?).ok()?;
    let inner = weight.shape().iter().skip(axis + 1).product::<u64>() as usize;
    Some(folded(&weight.to_f32()?, extent, inner, matrix, places))
}

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

    #[test]
    fn rows_gather_a_channel_over_all_positions() {
        let tensor = Tensor::from_f32(vec![2, 2, 2], &[0., 1., 2., 3., 4., 5., 6., 7.]).unwrap();
        let outputs = vec![("x".to_owned(), tensor)];
        assert_eq!(rows(&outputs, "x", 1).unwrap(), [[0., 1., 4., 5.], [2., 3., 6., 7.]]);
        assert_eq!(rows(&outputs, "x", 2).unwrap(), [[0., 2., 4., 6.], [1., 3., 5., 7.]]);
    }
}
