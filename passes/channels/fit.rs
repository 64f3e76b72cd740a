//! What a layer reads, position by position, and what it gave: the two sides of a least squares fit of its weights.

use crate::channels::Reader;
use crate::ir::{Graph, NodeId, Tensor, ValueId};

/// The most unknowns of one output; the time grows with their cube.
const MAX_UNKNOWNS: usize = 1024;

/// The most positions of one run, evenly spread.
const MAX_POSITIONS: usize = 256;

/// How the weights of a layer meet what it reads.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    node: NodeId,
    /// What it gives.
    pub(super) output: ValueId,
    /// Where its channels are.
    out_axis: usize,
    /// Where the outputs lie in the weight.
    rows_first: bool,
    /// The axis of the input with the channels.
    axis: usize,
    window: Option<Window>,
    /// Whether a bias can be fitted too.
    pub(super) has_bias: bool,
}

/// The places that a convolution reads for one output.
#[derive(Debug, Clone)]
struct Window {
    kernel: Vec<usize>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
}

impl Layer {
    /// The layer of a reader; `None` where its weights cannot be fitted as a whole: too many, or in another form.
    pub(super) fn of(graph: &Graph, reader: &Reader, kept: usize) -> Option<Self> {
        let held = graph.node(reader.node);
        let weight = graph.constant(reader.weight)?;
        let output = graph.output(reader.node, 0)?;
        let bias = graph.input(reader.node, 2);
        // A bias that others read too, or that is computed, stays as it is, and so do the weights before it.
        let own = bias.is_none_or(|b| graph.constant(b).is_some_and(|t| t.rank() == 1) && graph.use_count(b) == 1);
        let taps = weight.shape().iter().skip(2).product::<u64>() as usize;
        if kept * taps >= MAX_UNKNOWNS || !own {
            return None;
        }
        let base = Self {
            node: reader.node,
            output,
            out_axis: 1,
            rows_first: true,
            axis: reader.axis,
            window: None,
            // A new bias would be a constant that nobody has looked for channels in.
            has_bias: bias.is_some(),
        };
        match held.op_type() {
            "Conv" if matches!(held.attr_str("auto_pad", "NOTSET"), "NOTSET" | "VALID") => {
                let kernel: Vec<usize> = weight.shape().iter().skip(2).map(|&extent| extent as usize).collect();
                let rank = kernel.len();
                let list = |name: &str, len: usize, default: i64| match held.attr_ints(name) {
                    Some(list) => Some(list.to_vec()).filter(|list| list.len() == len),
                    None => Some(vec![default; len]),
                };
                let window = Window {
                    kernel,
                    strides: list("strides", rank, 1)?,
                    dilations: list("dilations", rank, 1)?,
                    pads: list("pads", 2 * rank, 0)?,
                };
                Some(Self { window: Some(window), ..base })
            }
            "Gemm" => {
                let is_plain = held.attr_float("alpha", 1.0) == 1.0 && held.attr_float("beta", 1.0) == 1.0;
                let (turned_a, turned_b) = (held.attr_int("transA", 0) != 0, held.attr_int("transB", 0) != 0);
                (is_plain && !turned_a).then_some(Self { rows_first: turned_b, ..base })
            }
            "MatMul" => Some(Self { rows_first: false, out_axis: reader.axis, has_bias: false, ..base }),
            _ => None,
        }
    }

    /// The values of each output channel at some positions.
    pub(super) fn given(&self, output: &Tensor) -> Option<Vec<Vec<f64>>> {
        let extent = usize::try_from(*output.shape().get(self.out_axis)?).ok()?;
        let inner = output.shape().iter().skip(self.out_axis + 1).product::<u64>() as usize;
        let values = output.to_f32()?;
        let positions = picked(values.len().checked_div(extent * inner)? * inner);
        let row = |channel: usize| {
            let at = |&position: &usize| values.get((position / inner * extent + channel) * inner + position % inner);
            positions.iter().filter_map(at).map(|&v| f64::from(v)).collect()
        };
        Some((0..extent).map(row).collect())
    }

    /// What meets each weight of one output at the same positions: the channels in `places`, each at all places of the
    /// kernel, and 1 for the bias.
    pub(super) fn read(&self, input: &Tensor, output: &[u64], places: &[usize]) -> Option<Vec<Vec<f64>>> {
        let shape: Vec<usize> = input.shape().iter().map(|&extent| extent as usize).collect();
        let extent = *shape.get(self.axis)?;
        let values = input.to_f32()?;
        let out: Vec<usize> = output.iter().map(|&extent| extent as usize).collect();
        let inner = out.get(self.out_axis + 1..)?.iter().product::<usize>();
        let outer = out.get(..self.out_axis)?.iter().product::<usize>();
        let positions = picked(outer * inner);
        let mut rows = Vec::new();
        match &self.window {
            None => {
                for &place in places {
                    let at = |&position: &usize| values.get(position * extent + place).map(|&v| f64::from(v));
                    rows.push(positions.iter().filter_map(at).collect::<Vec<f64>>());
                }
            }
            Some(window) => {
                let (size, out) = (shape.get(2..)?, out.get(2..)?);
                let area = size.iter().product::<usize>();
                let taps = window.kernel.iter().product::<usize>();
                for &place in places {
                    for tap in 0..taps {
                        let at = |&position: &usize| {
                            let (image, spot) = (position / inner, position % inner);
                            let found = window.source(spot, tap, out, size);
                            found
                                .and_then(|at| values.get((image * extent + place) * area + at))
                                .map_or(0.0, |&v| f64::from(v))
                        };
                        rows.push(positions.iter().map(at).collect());
                    }
                }
            }
        }
        if self.has_bias {
            rows.push(vec![1.0; positions.len()]);
        }
        Some(rows)
    }

    /// The weights of the channels in `places` as a matrix with a row for each output, the bias last.
    pub(super) fn start(&self, weight: &Tensor, bias: Option<&Tensor>, places: &[usize]) -> Option<(usize, Vec<f64>)> {
        let values = weight.to_f32()?;
        let bias = bias.map(|bias| bias.to_f32());
        let (outputs, columns, taps) = self.form(weight)?;
        let mut matrix = Vec::new();
        for output in 0..outputs {
            for &place in places {
                for tap in 0..taps {
                    matrix.push(f64::from(*values.get(self.at(output, place, tap, [outputs, columns, taps]))?));
                }
            }
            if self.has_bias {
                let value = bias.as_ref().and_then(|bias| bias.as_ref()?.get(output).copied()).unwrap_or(0.0);
                matrix.push(f64::from(value));
            }
        }
        Some((outputs, matrix))
    }

    /// Weight and bias from such a matrix; the columns of other channels are zero.
    pub(super) fn split(&self, weight: &Tensor, matrix: &[f64], places: &[usize]) -> Option<(Vec<f32>, Vec<f32>)> {
        let (outputs, columns, taps) = self.form(weight)?;
        let width = places.len() * taps + usize::from(self.has_bias);
        let (mut values, mut bias) = (vec![0f32; weight.len()], Vec::new());
        for (output, row) in matrix.chunks(width).enumerate() {
            for (column, &place) in places.iter().enumerate() {
                for tap in 0..taps {
                    let at = self.at(output, place, tap, [outputs, columns, taps]);
                    *values.get_mut(at)? = *row.get(column * taps + tap)? as f32;
                }
            }
            if self.has_bias {
                bias.push(*row.last()? as f32);
            }
        }
        Some((values, bias))
    }

    /// Outputs, channels read and places of the kernel.
    fn form(&self, weight: &Tensor) -> Option<(usize, usize, usize)> {
        let [first, second, kernel @ ..] = weight.shape() else { return None };
        let (outputs, columns) = if self.rows_first { (first, second) } else { (second, first) };
        Some((*outputs as usize, *columns as usize, kernel.iter().product::<u64>() as usize))
    }

    fn at(&self, output: usize, column: usize, tap: usize, [outputs, columns, taps]: [usize; 3]) -> usize {
        if self.rows_first { (output * columns + column) * taps + tap } else { column * outputs + output }
    }

    /// The operator.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }
}

impl Window {
    /// Where in the image a place of the kernel lies for an output; `None` in the padding.
    fn source(&self, spot: usize, tap: usize, out: &[usize], size: &[usize]) -> Option<usize> {
        let (mut spot, mut tap, mut at, mut scale) = (spot, tap, 0, 1);
        for axis in (0..size.len()).rev() {
            let (extent, kernel, size) = (*out.get(axis)?, *self.kernel.get(axis)?, *size.get(axis)?);
            let (position, step) = (spot % extent, tap % kernel);
            (spot, tap) = (spot / extent, tap / kernel);
            let place = position as i64 * self.strides.get(axis)? + step as i64 * self.dilations.get(axis)?
                - self.pads.get(axis)?;
            at += usize::try_from(place).ok().filter(|&place| place < size)? * scale;
            scale *= size;
        }
        Some(at)
    }
}

/// Some of so many positions.
fn picked(count: usize) -> Vec<usize> {
    // A step that shares no factor with the extents of images visits their rows and columns alike.
    let step = count.div_ceil(MAX_POSITIONS).max(1) | 1;
    (0..count).step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Channels;
    use crate::infer;
    use crate::ir::text;

    /// Reading at every position and multiplying by the weights gives what the layer gives.
    #[test]
    fn what_is_read_times_the_weights_is_what_is_given() {
        let graph = "g (float[1,1,3,3] x) => (float[1,1,2,2] y) <
            float[2,1,1,1] u = {1, 1}, float[1,2,2,2] w = iota, float[1] b = {100}
        > { a = Conv(x, u) y = Conv<strides = [2, 2], pads = [1, 1, 0, 0]>(a, w, b) }";
        let model = text::parse(graph).unwrap();
        let facts = infer::infer(&model).unwrap();
        let channels = Channels::analyze(&model.graph, facts.main(), 17).unwrap();
        let reader = channels.readers().last().unwrap();
        let layer = Layer::of(&model.graph, reader, 2).unwrap();
        let weight = model.graph.constant(reader.weight).unwrap();
        let bias = Tensor::from_f32(vec![1], &[100.0]).unwrap();
        let (outputs, matrix) = layer.start(&weight, Some(&bias), &[0, 1]).unwrap();
        assert_eq!((outputs, matrix.as_slice()), (1, &[0., 1., 2., 3., 4., 5., 6., 7., 100.][..]));
        // Channel 0 is 1..9, channel 1 ten times that.
        let values: Vec<f32> = (1..=9).map(|v| v as f32).chain((1..=9).map(|v| 10.0 * v as f32)).collect();
        let input = Tensor::from_f32(vec![1, 2, 3, 3], &values).unwrap();
        let read = layer.read(&input, &[1, 1, 2, 2], &[0, 1]).unwrap();
        let at =
            |position: usize| -> f64 { read.iter().zip(&matrix).map(|(row, weight)| row[position] * weight).sum() };
        // At the first position only the last place of the kernel lies in the image: 3 * 1 + 7 * 10 + 100.
        assert_eq!(at(0), 173.0);
        // At the last all do: 5 6 8 9 by 0 1 2 3, ten times that by 4 5 6 7.
        assert_eq!(at(3), 6.0 + 16.0 + 27.0 + 10.0 * (20.0 + 30.0 + 48.0 + 63.0) + 100.0);
        let (values, bias) = layer.split(&weight, &matrix, &[0, 1]).unwrap();
        assert_eq!((values, bias), ((0..8).map(|v| v as f32).collect(), vec![100.0]));
    }
}
