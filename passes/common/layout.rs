//! Which channel an element of a tensor belongs to.

use std::ops::Range;

/// Elements that one task of a parallel loop handles at least: below, handing out tasks costs more than the work.
pub(in crate::passes) const TASK_ELEMENTS: usize = 1 << 16;

/// The channels of a tensor: element `i` is of channel `(i / inner) % channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passes) struct Layout {
    pub(in crate::passes) channels: usize,
    pub(in crate::passes) inner: usize,
}

impl Layout {
    /// The channels that the axes `kept` span together; all other axes lie inside of a channel.
    pub(in crate::passes) fn along(shape: &[u64], kept: &Range<usize>) -> Self {
        let product = |dims: &[u64]| dims.iter().product::<u64>() as usize;
        Self {
            channels: product(shape.get(kept.clone()).unwrap_or_default()),
            inner: product(shape.get(kept.end..).unwrap_or_default()),
        }
    }

    /// Elements after which the channels repeat or, where those of a channel lie together, the channel changes.
    pub(in crate::passes) fn unit(self) -> usize {
        (if self.inner == 1 { self.channels } else { self.inner }).max(1)
    }

    /// Elements of one task: whole units.
    pub(in crate::passes) fn task(self) -> usize {
        TASK_ELEMENTS.next_multiple_of(self.unit())
    }

    /// The elements of one channel of a tensor of so many elements, in order.
    pub(in crate::passes) fn elements(self, channel: usize, len: usize) -> impl Iterator<Item = usize> + Clone {
        let starts = (channel * self.inner..len).step_by((self.channels * self.inner).max(1));
        starts.flat_map(move |start| start..start + self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_channel_are_those_whose_index_says_so() {
        let layout = Layout::along(&[2, 3, 2], &(1..2));
        assert_eq!(layout.elements(1, 12).collect::<Vec<_>>(), [2, 3, 8, 9]);
        let last = Layout::along(&[3, 2], &(1..2));
        assert_eq!(last.elements(1, 6).collect::<Vec<_>>(), [1, 3, 5]);
        let rows = Layout::along(&[2, 3], &(0..1));
        assert_eq!(rows.elements(1, 6).collect::<Vec<_>>(), [3, 4, 5]);
    }
}
