//! What a layer reads, position by position, and what it gave: the two sides of a least squares fit of its weights.

use std::ops::Range;

use super::tail::Tail;
use super::window::Window;
use crate::channels::Reader;
use crate::ir::{Graph, Tensor, ValueId};

/// How the weights of a layer meet what it reads.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// What it reads.
    pub(super) input: ValueId,
    /// Its weights.
    pub(super) weight: ValueId,
    /// What becomes of its output before anything else reads it.
    pub(super) tail: Tail,
    /// Where its channels are.
    pub(super) out_axis: usize,
    /// Where the outputs lie in the weight.
    rows_first: bool,
    /// The axis of the input with the channels.
    axis: usize,
    /// Groups of its channels: each output reads the channels of its own group only.
    pub(super) groups: usize,
    window: Option<Window>,
}

/// Outputs, channels read by all groups together, and places of the kernel of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) outputs: usize,
    pub(super) columns: usize,
    pub(super) taps: usize,
}

/// Outputs that are told from the same numbers: those of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) outputs: Range<usize>,
    /// The channels they read, by their places among those that are read.
    pub(super) read: Range<usize>,
}

impl Layer {
    /// The layer of a reader; `None` where its weights are in another form, or it has a bias that is not its own.
    pub(super) fn of(graph: &Graph, reader: &Reader) -> Option<Self> {
        let held = graph.node(reader.node);
        let weight = graph.constant(reader.weight)?;
        let base = Self {
            input: reader.input,
            weight: reader.weight,
            tail: Tail::of(graph, reader.node)?,
            out_axis: 1,
            rows_first: true,
            axis: reader.axis,
            groups: 1,
            window: None,
        };
        match held.op_type() {
            "Conv" if matches!(held.attr_str("auto_pad", "NOTSET"), "NOTSET" | "VALID") => {
                let kernel = weight.shape().iter().skip(2).map(|&extent| extent as usize).collect();
                let window = Window::of(held, kernel)?;
                let groups = usize::try_from(held.attr_int("group", 1)).ok().filter(|&groups| groups > 0)?;
                let is_even = weight.shape().first().is_some_and(|&outputs| (outputs as usize).is_multiple_of(groups));
                is_even.then_some(Self { groups, window: Some(window), ..base })
            }
            "Gemm" => {
                let is_plain = held.attr_float("alpha", 1.0) == 1.0 && held.attr_float("beta", 1.0) == 1.0;
                let (turned_a, turned_b) = (held.attr_int("transA", 0) != 0, held.attr_int("transB", 0) != 0);
                (is_plain && !turned_a).then_some(Self { rows_first: turned_b, ..base })
            }
            "MatMul" => Some(Self { rows_first: false, out_axis: reader.axis, ..base }),
            _ => None,
        }
    }

    /// The axis of the weight with its outputs.
    pub(super) fn weight_out_axis(&self) -> usize {
        usize::from(!self.rows_first)
    }

    /// What a weight is made of; `None` where it is no matrix.
    pub(super) fn form(&self, weight: &Tensor) -> Option<Form> {
        let [first, second, kernel @ ..] = weight.shape() else { return None };
        let (outputs, columns) = if self.rows_first { (first, second) } else { (second, first) };
        let taps = kernel.iter().product::<u64>() as usize;
        Some(Form { outputs: *outputs as usize, columns: *columns as usize * self.groups, taps })
    }

    /// The channels that each group reads, `members` of one group, counted through all of them.
    pub(super) fn of_all_groups(&self, form: Form, members: &[usize]) -> Vec<usize> {
        let width = form.columns / self.groups;
        (0..self.groups).flat_map(|group| members.iter().map(move |member| group * width + member)).collect()
    }

    /// The outputs of each group and which of the `places` they read.
    pub(super) fn parts(&self, form: Form, places: &[usize]) -> Vec<Part> {
        let (outputs, width) = (form.outputs / self.groups, form.columns / self.groups);
        let first = |column: usize| places.partition_point(|&place| place < column);
        let part = |group: usize| Part {
            outputs: group * outputs..(group + 1) * outputs,
            read: first(group * width)..first((group + 1) * width),
        };
        (0..self.groups).map(part).collect()
    }

    /// Numbers that each output of a part is told from.
    pub(super) fn unknowns(&self, form: Form, part: &Part) -> usize {
        part.read.len() * form.taps + usize::from(self.tail.bias.is_some())
    }

    /// The rows of one part, of rows that [`Self::read`] gives for all.
    pub(super) fn of_part(&self, rows: &[f64], form: Form, part: &Part, places: usize) -> Vec<f64> {
        let one = usize::from(self.tail.bias.is_some());
        let width = places * form.taps + one;
        let columns = part.read.start * form.taps..part.read.end * form.taps;
        let rows = rows.chunks_exact(width.max(1));
        rows.flat_map(|row| row[columns.clone()].iter().chain(&row[width - one..]).copied()).collect()
    }

    /// The extents of the output for such an input; `None` where the input does not fit.
    pub(super) fn output_shape(&self, input: &[u64], form: Form) -> Option<Vec<u64>> {
        (*input.get(self.axis)? == form.columns as u64).then_some(())?;
        let mut output = input.to_vec();
        *output.get_mut(self.out_axis)? = form.outputs as u64;
        if let Some(window) = &self.window {
            (input.len() == window.kernel.len() + 2).then_some(())?;
            for (axis, extent) in output.iter_mut().skip(2).enumerate() {
                *extent = window.count(axis, *extent)?;
            }
        }
        Some(output)
    }

    /// Some positions of an output of such extents: see [`positions`].
    pub(super) fn positions(&self, output: &[u64], most: usize, turn: usize) -> Vec<usize> {
        positions(output, self.out_axis, most, turn)
    }

    /// The values of all output channels at some positions, position by position.
    pub(super) fn given(&self, output: &Tensor, positions: &[usize]) -> Option<Vec<f64>> {
        across(output, self.out_axis, positions)
    }

    /// What meets each weight of one output at the same positions, position by position: the channels in `places`, each at
    /// all places of the kernel, and 1 for the bias where there is one to fit.
    pub(super) fn read(
        &self,
        input: &Tensor,
        output: &[u64],
        positions: &[usize],
        places: &[usize],
    ) -> Option<Vec<f64>> {
        let shape: Vec<usize> = input.shape().iter().map(|&extent| extent as usize).collect();
        let extent = *shape.get(self.axis)?;
        let values = input.to_f32()?;
        let out: Vec<usize> = output.iter().map(|&extent| extent as usize).collect();
        let inner = out.get(self.out_axis + 1..)?.iter().product::<usize>().max(1);
        let mut rows = Vec::new();
        let one = self.tail.bias.is_some();
        let Some(window) = &self.window else {
            for &position in positions {
                let row = values.get(position * extent..(position + 1) * extent)?;
                for &place in places {
                    rows.push(f64::from(*row.get(place)?));
                }
                rows.extend(one.then_some(1.0));
            }
            return Some(rows);
        };
        let (size, out) = (shape.get(2..)?, out.get(2..)?);
        let area = size.iter().product::<usize>();
        let taps = window.kernel.iter().product::<usize>();
        for &position in positions {
            let (image, spot) = (position / inner, position % inner);
            let sources: Vec<Option<usize>> = (0..taps).map(|tap| window.source(spot, tap, out, size)).collect();
            for &place in places {
                let plane = values.get((image * extent + place) * area..(image * extent + place + 1) * area)?;
                rows.extend(sources.iter().map(|source| source.map_or(0.0, |at| f64::from(plane[at]))));
            }
            rows.extend(one.then_some(1.0));
        }
        Some(rows)
    }

    /// The weights of a part that meet the channels it reads of those in `places`, as a matrix with a row for each of its
    /// outputs, the bias last.
    pub(super) fn start(&self, graph: &Graph, weight: &Tensor, part: &Part, places: &[usize]) -> Option<Vec<f64>> {
        let values = weight.to_f32()?;
        let form = self.form(weight)?;
        let bias = match &self.tail.bias {
            Some(bias) => Some(bias.start(graph)?),
            None => None,
        };
        let places = places.get(part.read.clone())?;
        let mut matrix = Vec::with_capacity(part.outputs.len() * (places.len() * form.taps + 1));
        for output in part.outputs.clone() {
            for &place in places {
                for tap in 0..form.taps {
                    matrix.push(f64::from(*values.get(self.at(output, place, tap, form))?));
                }
            }
            if let Some(bias) = &bias {
                matrix.push(*bias.get(output)?);
            }
        }
        Some(matrix)
    }

    /// Puts the rows of such a matrix that belong to outputs with `stays` into a weight, with zeros in the columns of other
    /// channels; answers with the bias of every output of the part.
    pub(super) fn split(
        &self,
        weight: &mut [f32],
        form: Form,
        (matrix, part): (&[f64], &Part),
        places: &[usize],
        stays: &[bool],
    ) -> Option<Vec<f64>> {
        let has_bias = self.tail.bias.is_some();
        let places = places.get(part.read.clone())?;
        let width = places.len() * form.taps + usize::from(has_bias);
        let members = form.columns / self.groups;
        let mut bias = Vec::new();
        for (output, row) in part.outputs.clone().zip(matrix.chunks(width.max(1))) {
            if has_bias {
                bias.push(*row.last()?);
            }
            if stays.get(output) != Some(&true) {
                continue;
            }
            for column in 0..members {
                for tap in 0..form.taps {
                    *weight.get_mut(self.at(output, column, tap, form))? = 0.0;
                }
            }
            for (column, &place) in places.iter().enumerate() {
                for tap in 0..form.taps {
                    *weight.get_mut(self.at(output, place, tap, form))? = *row.get(column * form.taps + tap)? as f32;
                }
            }
        }
        Some(bias)
    }

    fn at(&self, output: usize, column: usize, tap: usize, form: Form) -> usize {
        let Form { outputs, columns, taps } = form;
        let members = columns / self.groups;
        if self.rows_first { (output * members + column % members) * taps + tap } else { column * outputs + output }
    }
}

/// The values along an axis at some positions of the others, position by position.
pub(super) fn across(tensor: &Tensor, axis: usize, positions: &[usize]) -> Option<Vec<f64>> {
    let extent = usize::try_from(*tensor.shape().get(axis)?).ok()?;
    let inner = tensor.shape().iter().skip(axis + 1).product::<u64>().max(1) as usize;
    let values = tensor.to_f32()?;
    let mut rows = Vec::with_capacity(positions.len() * extent);
    for &position in positions {
        let start = position / inner * extent * inner + position % inner;
        for channel in 0..extent {
            rows.push(f64::from(*values.get(start + channel * inner)?));
        }
    }
    Some(rows)
}

/// Some positions beside an axis of a value of such extents, `most` at most, evenly spread; which ones changes with
/// `turn`, so that all are seen over many samples.
pub(super) fn positions(shape: &[u64], axis: usize, most: usize, turn: usize) -> Vec<usize> {
    let before: u64 = shape.iter().take(axis).product();
    let behind: u64 = shape.iter().skip(axis + 1).product();
    let count = (before * behind) as usize;
    // A step that shares no factor with the extents of images visits their rows and columns alike.
    let step = count.div_ceil(most.max(1)).max(1) | 1;
    (turn.wrapping_mul(TURN) % step..count).step_by(step).collect()
}

/// How far the first position moves from one sample to the next: a prime, so that all are seen.
const TURN: usize = 7919;

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
        let layer = Layer::of(&model.graph, reader).unwrap();
        let weight = model.graph.constant(reader.weight).unwrap();
        let form = layer.form(&weight).unwrap();
        assert_eq!(form, Form { outputs: 1, columns: 2, taps: 4 });
        let part = &layer.parts(form, &[0, 1])[0];
        let matrix = layer.start(&model.graph, &weight, part, &[0, 1]).unwrap();
        assert_eq!(matrix, [0., 1., 2., 3., 4., 5., 6., 7., 100.]);
        // Channel 0 is 1..9, channel 1 ten times that.
        let values: Vec<f32> = (1..=9).map(|v| v as f32).chain((1..=9).map(|v| 10.0 * v as f32)).collect();
        let input = Tensor::from_f32(vec![1, 2, 3, 3], &values).unwrap();
        let positions = layer.positions(&[1, 1, 2, 2], 4, 0);
        assert_eq!(positions, [0, 1, 2, 3]);
        assert_eq!(layer.output_shape(&[1, 2, 3, 3], form), Some(vec![1, 1, 2, 2]));
        let read = layer.read(&input, &[1, 1, 2, 2], &positions, &[0, 1]).unwrap();
        let at = |position: usize| -> f64 { read[position * 9..][..9].iter().zip(&matrix).map(|(x, w)| x * w).sum() };
        // At the first position only the last place of the kernel lies in the image: 3 * 1 + 7 * 10 + 100.
        assert_eq!(at(0), 173.0);
        // At the last all do: 5 6 8 9 by 0 1 2 3, ten times that by 4 5 6 7.
        assert_eq!(at(3), 6.0 + 16.0 + 27.0 + 10.0 * (20.0 + 30.0 + 48.0 + 63.0) + 100.0);
        let mut values = vec![9f32; 8];
        let bias = layer.split(&mut values, form, (&matrix, part), &[0, 1], &[true]).unwrap();
        assert_eq!((values, bias), ((0..8).map(|v| v as f32).collect(), vec![100.0]));
    }

    /// Each group reads its own channels, and has a matrix of its own.
    #[test]
    fn groups_are_told_apart() {
        let graph = "g (float[1,1,1,2] x) => (float[1,4,1,2] y) <float[4,1,1,1] u = {1, 10, 100, 1000},
            float[4,2,1,1] w = iota, float[4] b = {5, 6, 7, 8}> { a = Conv(x, u) y = Conv<group = 2>(a, w, b) }";
        let model = text::parse(graph).unwrap();
        let facts = infer::infer(&model).unwrap();
        let channels = Channels::analyze(&model.graph, facts.main(), 17).unwrap();
        let layer = Layer::of(&model.graph, channels.readers().last().unwrap()).unwrap();
        let weight = model.graph.constant(layer.weight).unwrap();
        let form = layer.form(&weight).unwrap();
        assert_eq!(form, Form { outputs: 4, columns: 4, taps: 1 });
        // The second channel of each group is read.
        let places = layer.of_all_groups(form, &[1]);
        assert_eq!(places, [1, 3]);
        let parts = layer.parts(form, &places);
        assert_eq!(parts, [Part { outputs: 0..2, read: 0..1 }, Part { outputs: 2..4, read: 1..2 }]);
        let input = Tensor::from_f32(vec![1, 4, 1, 2], &[1., 2., 10., 20., 100., 200., 1000., 2000.]).unwrap();
        let rows = layer.read(&input, &[1, 4, 1, 2], &[0, 1], &places).unwrap();
        assert_eq!(rows, [10., 1000., 1., 20., 2000., 1.]);
        assert_eq!(layer.of_part(&rows, form, &parts[1], 2), [1000., 1., 2000., 1.]);
        let matrix = layer.start(&model.graph, &weight, &parts[1], &places).unwrap();
        assert_eq!(matrix, [5., 7., 7., 8.]);
        let mut values: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let bias = layer.split(&mut values, form, (&[50., -1., 70., -2.], &parts[1]), &places, &[true; 4]).unwrap();
        assert_eq!((values, bias), (vec![0., 1., 2., 3., 0., 50., 0., 70.], vec![-1., -2.]));
    }

    #[test]
    fn channels_are_gathered_position_by_position() {
        let graph = "g (float[2,2] x) => (float[2,2] y) <float[2,2] u = iota, float[2,2] w = iota> {
            a = MatMul(x, u) y = MatMul(a, w) }";
        let model = text::parse(graph).unwrap();
        let facts = infer::infer(&model).unwrap();
        let channels = Channels::analyze(&model.graph, facts.main(), 17).unwrap();
        let layer = Layer::of(&model.graph, channels.readers().last().unwrap()).unwrap();
        let tensor = Tensor::from_f32(vec![2, 2], &[0., 1., 2., 3.]).unwrap();
        assert_eq!(layer.given(&tensor, &[1, 0]).unwrap(), [2., 3., 0., 1.]);
        assert_eq!(layer.read(&tensor, &[2, 2], &[0, 1], &[1]).unwrap(), [1., 3.]);
    }
}
