//! Where a convolution reads.

use crate::ir::Node;

/// The places that a convolution reads for one output.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) kernel: Vec<usize>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
}

impl Window {
    /// The window of a convolution that is padded as its attributes say; `None` where those do not fit the kernel.
    pub(super) fn of(node: &Node, kernel: Vec<usize>) -> Option<Self> {
        let rank = kernel.len();
        let list = |name: &str, len: usize, default: i64| match node.attr_ints(name) {
            Some(list) => Some(list.to_vec()).filter(|list| list.len() == len),
            None => Some(vec![default; len]),
        };
        Some(Self {
            kernel,
            strides: list("strides", rank, 1)?,
            dilations: list("dilations", rank, 1)?,
            pads: list("pads", 2 * rank, 0)?,
        })
    }

    /// How many outputs there are along an axis of so many elements.
    pub(super) fn count(&self, axis: usize, extent: u64) -> Option<u64> {
        let rank = self.kernel.len();
        let span = (*self.kernel.get(axis)? as i64 - 1) * self.dilations.get(axis)? + 1;
        let padded = i64::try_from(extent).ok()? + self.pads.get(axis)? + self.pads.get(axis + rank)?;
        let stride = *self.strides.get(axis)?;
        (stride > 0 && padded >= span).then_some(())?;
        u64::try_from((padded - span) / stride + 1).ok()
    }

    /// Where in the image a place of the kernel lies for an output; `None` in the padding.
    pub(super) fn source(&self, spot: usize, tap: usize, out: &[usize], size: &[usize]) -> Option<usize> {
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
