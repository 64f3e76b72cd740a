//! The rows that a layer multiplies, taken out of its input.

use crate::ir::{Node, Tensor};

use super::layer::Rows;

/// Rows of one sample that are looked at, at most: more of one image say little new.
const MAX_ROWS: usize = 1024;

/// How the windows of a convolution lie on an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Padding {
    /// So much in front of each axis, then so much behind.
    Fixed(Vec<usize>),
    /// As much as outputs need to cover the input; the odd one behind, or in front.
    Same { odd_in_front: bool },
}

/// Windows, and the groups that the channels are split into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Patches {
    pub(super) groups: usize,
    pub(super) window: Window,
}

impl Window {
    /// The windows of an operator; `None` where its attributes make no sense.
    pub(super) fn of(node: &Node, kernel: &[usize]) -> Option<Self> {
        let rank = kernel.len();
        let list = |name: &str, len: usize, default: usize| match node.attr_ints(name) {
            None => Some(vec![default; len]),
            Some(values) if values.len() == len => values.iter().map(|&v| usize::try_from(v).ok()).collect(),
            Some(_) => None,
        };
        let padding = match node.attr_str("auto_pad", "NOTSET") {
            "NOTSET" | "" => Padding::Fixed(list("pads", 2 * rank, 0)?),
            "VALID" => Padding::Fixed(vec![0; 2 * rank]),
            "SAME_UPPER" => Padding::Same { odd_in_front: false },
            "SAME_LOWER" => Padding::Same { odd_in_front: true },
            _ => return None,
        };
        let (strides, dilations) = (list("strides", rank, 1)?, list("dilations", rank, 1)?);
        let is_sound = strides.iter().chain(&dilations).all(|&step| step > 0);
        is_sound.then(|| Self { kernel: kernel.to_vec(), strides, dilations, padding })
    }

    /// For each axis of an image: how many windows there are, and where the first starts in front of the image.
    fn placed(&self, extents: &[usize]) -> Vec<(usize, usize)> {
        let axis = |axis: usize| {
            let (extent, stride) = (extents[axis], self.strides[axis]);
            let span = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            match &self.padding {
                Padding::Fixed(pads) => {
                    let padded = extent + pads[axis] + pads[axis + extents.len()];
                    (if padded < span { 0 } else { (padded - span) / stride + 1 }, pads[axis])
                }
                Padding::Same { odd_in_front } => {
                    let count = extent.div_ceil(stride);
                    let missing = ((count.max(1) - 1) * stride + span).saturating_sub(extent);
                    (count, if *odd_in_front { missing.div_ceil(2) } else { missing / 2 })
                }
            }
        };
        (0..extents.len()).map(axis).collect()
    }
}

/// The rows of one sample, one behind the other, for each group; spread evenly where there are too many. `None` where the
/// input does not fit the layer or holds no floats.
/// Of rows along the last axis only those `among` some are taken.
pub(super) fn rows(input: &Tensor, source: &Rows, depth: usize, among: Option<&[usize]>) -> Option<Vec<Vec<f64>>> {
    let shape: Vec<usize> = input.shape().iter().map(|&extent| extent as usize).collect();
    let values = input.to_f32()?;
    match source {
        Rows::Last => {
            (*shape.last()? == depth).then_some(())?;
            let count = values.len() / depth;
            let row = |index: usize| values[index * depth..][..depth].iter().map(|&x| f64::from(x));
            Some(vec![match among {
                Some(among) => {
                    spread(among.len()).filter_map(|index| among.get(index).copied()).flat_map(row).collect()
                }
                None => spread(count).flat_map(row).collect(),
            }])
        }
        Rows::First => {
            let &[height, width] = shape.as_slice() else { return None };
            (height == depth).then_some(())?;
            let values = &values;
            let column = |index: usize| (0..height).map(move |row| f64::from(values[row * width + index]));
            Some(vec![spread(width).flat_map(column).collect()])
        }
        Rows::Patches(patches) => patch_rows(&values, &shape, patches, depth),
    }
}

/// The indices that stand for `count` of them.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(MAX_ROWS);
    (0..taken).map(move |index| index * count / taken)
}

fn patch_rows(values: &[f32], shape: &[usize], patches: &Patches, depth: usize) -> Option<Vec<Vec<f64>>> {
    let Patches { groups, window } = patches;
    let (&[batch, channels], extents) = shape.split_first_chunk::<2>()?;
    let taps: usize = window.kernel.iter().product();
    let per_group = channels / groups;
    if extents.len() != window.kernel.len() || per_group * taps != depth || channels % groups != 0 {
        return None;
    }
    let placed = window.placed(extents);
    let windows: usize = placed.iter().map(|(count, _)| count).product();
    let area: usize = extents.iter().product();
    let mut rows: Vec<Vec<f64>> = vec![Vec::new(); *groups];
    for index in spread(batch * windows) {
        let (image, mut rest) = (index / windows, index % windows);
        let mut corner = vec![0; extents.len()];
        for (axis, &(count, _)) in placed.iter().enumerate().rev() {
            corner[axis] = rest % count * window.strides[axis];
            rest /= count;
        }
        let positions: Vec<Option<usize>> =
            (0..taps).map(|tap| position(tap, &corner, window, &placed, extents)).collect();
        for (group, rows) in rows.iter_mut().enumerate() {
            for channel in group * per_group..(group + 1) * per_group {
                let plane = &values[(image * channels + channel) * area..][..area];
                rows.extend(positions.iter().map(|position| position.map_or(0.0, |at| f64::from(plane[at]))));
            }
        }
    }
    Some(rows)
}

/// Where in a plane a window reads; `None` for the padding around it.
fn position(
    mut tap: usize,
    corner: &[usize],
    window: &Window,
    placed: &[(usize, usize)],
    extents: &[usize],
) -> Option<usize> {
    let (mut at, mut stride) = (0, 1);
    for axis in (0..extents.len()).rev() {
        let offset = tap % window.kernel[axis] * window.dilations[axis];
        tap /= window.kernel[axis];
        let along = (corner[axis] + offset).checked_sub(placed[axis].1).filter(|&along| along < extents[axis])?;
        at += along * stride;
        stride *= extents[axis];
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calib::layer_of;
    use crate::ir::text;

    /// The rows of the one operator of a graph for an input that counts up from 1.
    fn unfolded(source: &str, input: &[u64], weights: &[u64]) -> Vec<Vec<f64>> {
        let source =
            format!("<ir_version: 8, opset_import: [\"\" : 13]> g (float x, float w) => (float y) {{ {source} }}");
        let model = text::parse(&source).unwrap();
        let layer = layer_of(&model.graph, model.graph.nodes()[0], weights).unwrap();
        let count = input.iter().product::<u64>();
        let values: Vec<f32> = (1..=count).map(|v| v as f32).collect();
        rows(&Tensor::from_f32(input, &values).unwrap(), &layer.source.rows, layer.depth, None).unwrap()
    }

    #[test]
    fn rows_of_products() {
        assert_eq!(unfolded("y = MatMul(x, w)", &[1, 2, 2], &[2, 3]), [[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(unfolded("y = Gemm<transB = 1>(x, w)", &[2, 2], &[3, 2]), [[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(unfolded("y = Gemm<transA = 1>(x, w)", &[2, 2], &[2, 3]), [[1.0, 3.0, 2.0, 4.0]]);
    }

    #[test]
    fn patches_with_stride_padding_and_dilation() {
        // A row of four, windows of three that start at -1 and 1.
        let rows = unfolded("y = Conv<pads = [1, 1], strides = [2]>(x, w)", &[1, 1, 4], &[1, 1, 3]);
        assert_eq!(rows, [[0.0, 1.0, 2.0, 2.0, 3.0, 4.0]]);
        let dilated = unfolded("y = Conv<dilations = [2]>(x, w)", &[1, 1, 4], &[1, 1, 2]);
        assert_eq!(dilated, [[1.0, 3.0, 2.0, 4.0]]);
        // One more in front, as SAME_LOWER has it.
        let same = unfolded("y = Conv<auto_pad = \"SAME_LOWER\">(x, w)", &[1, 1, 2], &[1, 1, 2]);
        assert_eq!(same, [[0.0, 1.0, 1.0, 2.0]]);
    }

    #[test]
    fn each_group_reads_its_own_channels() {
        let rows = unfolded("y = Conv<group = 2>(x, w)", &[1, 4, 1, 1], &[2, 2, 1, 1]);
        assert_eq!(rows, [[1.0, 2.0], [3.0, 4.0]]);
        let square = unfolded("y = Conv(x, w)", &[1, 2, 2, 2], &[1, 2, 2, 2]);
        assert_eq!(square, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]);
    }

    #[test]
    fn too_many_rows_are_spread_evenly() {
        let taken: Vec<usize> = spread(3 * MAX_ROWS).collect();
        assert_eq!((taken.len(), taken[1], taken[MAX_ROWS - 1]), (MAX_ROWS, 3, 3 * (MAX_ROWS - 1)));
        assert_eq!(spread(2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(spread(0).count(), 0);
    }
}
