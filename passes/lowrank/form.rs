//! The shapes of a layer and of what can take its place, and what either costs.
//!
//! ```text
//! split      first layer         core                 last layer
//! none                           [ro, in, k, k]       [out, ro, 1, 1]    rank of the outputs
//! Channels   [ri, in, 1, 1]      [ro, ri, k, k]       [out, ro, 1, 1]    Tucker-2 (Kim et al. 2016)
//! Channels   [ri, in, 1, 1]      [out, ri, k, k]                         rank of the inputs
//! Columns    [r, in, k, 1]       [out, r, 1, k]                          Jaderberg et al. 2014
//! ```

/// A layer: `[outputs, inputs, kernel...]`; no kernel for a product of matrices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) kernel: Vec<usize>,
    /// As many as `kernel`.
    pub(super) strides: Vec<usize>,
}

/// Which weights of a kernel read the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// Each tap reads all channels.
    Channels,
    /// Each column of a kernel of two dimensions reads all channels of a column of the image.
    Columns,
}

/// What takes the place of a layer: its parts, by their ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Mixtures of the inputs that a first layer makes, and of what.
    pub(super) inputs: Option<(Split, usize)>,
    /// Numbers that a last layer makes the outputs of.
    pub(super) outputs: Option<usize>,
}

/// What a form costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// Weights.
    pub(super) weights: usize,
    /// Multiplications for one place of the output; those at the margins of an image are not told apart.
    pub(super) macs: usize,
}

impl Geometry {
    /// The taps of a kernel; one for a product.
    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Weights of one output.
    pub(super) fn depth(&self) -> usize {
        self.inputs * self.taps()
    }

    /// Whether the kernel can be split in that way.
    pub(super) fn has(&self, split: Split) -> bool {
        match split {
            Split::Channels => self.taps() > 1,
            Split::Columns => self.kernel.len() == 2 && self.kernel.iter().all(|&extent| extent > 1),
        }
    }

    /// The taps of the core behind a split.
    pub(super) fn taps_behind(&self, split: Split) -> usize {
        match split {
            Split::Channels => self.taps(),
            Split::Columns => self.kernel.last().copied().unwrap_or(1),
        }
    }

    /// The weights of an output in an order in which those that read the same lie together, by their places.
    pub(super) fn order(&self, split: Split) -> Vec<usize> {
        let taps = self.taps_behind(split);
        (0..taps).flat_map(|tap| (tap..self.depth()).step_by(taps)).collect()
    }

    /// The most that a rank can be.
    pub(super) fn full_inputs(&self, split: Split) -> usize {
        self.depth() / self.taps_behind(split)
    }

    /// The cost of the layer as it is.
    pub(super) fn whole(&self) -> Cost {
        let weights = self.outputs * self.depth();
        Cost { weights, macs: weights }
    }

    /// The cost of what takes its place.
    pub(super) fn cost(&self, form: Form) -> Cost {
        let (first, places, width, taps) = match form.inputs {
            None => (0, 1, self.inputs, self.taps()),
            Some((split @ Split::Channels, rank)) => {
                (rank * self.full_inputs(split), self.strides.iter().product(), rank, self.taps())
            }
            Some((split @ Split::Columns, rank)) => {
                let stride = self.strides.last().copied().unwrap_or(1);
                (rank * self.full_inputs(split), stride, rank, self.taps_behind(split))
            }
        };
        let core = form.outputs.unwrap_or(self.outputs) * width * taps;
        let last = form.outputs.map_or(0, |rank| rank * self.outputs);
        Cost { weights: first + core + last, macs: first * places + core + last }
    }

    /// Whether a form has fewer weights and takes fewer multiplications than the layer.
    pub(super) fn pays(&self, form: Form) -> bool {
        let (whole, cost) = (self.whole(), self.cost(form));
        cost.weights < whole.weights && cost.macs < whole.macs
    }

    /// The form in words.
    pub(super) fn describe(&self, form: Form) -> String {
        let outputs = |rank: usize| format!("{rank} of {} outputs", self.outputs);
        let full = self.outputs.min(self.depth());
        match (form.inputs, form.outputs) {
            (None, Some(rank)) if self.taps() == 1 => format!("rank {rank} of {full}"),
            (None, rank) => outputs(rank.unwrap_or(self.outputs)),
            (Some((Split::Channels, rank)), None) => format!("{rank} of {} inputs", self.inputs),
            (Some((Split::Channels, rank)), Some(last)) => {
                format!("Tucker-2: {rank} of {} inputs, {}", self.inputs, outputs(last))
            }
            (Some((Split::Columns, rank)), last) => {
                let (rows, columns) = (self.kernel.first().unwrap_or(&1), self.kernel.last().unwrap_or(&1));
                let last = last.map_or(String::new(), |last| format!(", {}", outputs(last)));
                format!("{rows}x1 and 1x{columns}, rank {rank}{last}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv() -> Geometry {
        Geometry { outputs: 8, inputs: 4, kernel: vec![3, 2], strides: vec![2, 1] }
    }

    #[test]
    fn weights_and_multiplications_of_each_form() {
        let cost = |inputs, outputs| conv().cost(Form { inputs, outputs });
        assert_eq!(conv().whole(), Cost { weights: 192, macs: 192 });
        // 5 x 4 x 6 and 8 x 5.
        assert_eq!(cost(None, Some(5)), Cost { weights: 160, macs: 160 });
        // 2 x 4, at twice as many places, 5 x 2 x 6 and 8 x 5.
        assert_eq!(cost(Some((Split::Channels, 2)), Some(5)), Cost { weights: 108, macs: 116 });
        // 3 x 4 x 3 and 8 x 3 x 2: the first strides down already, and across is no stride.
        assert_eq!(cost(Some((Split::Columns, 3)), None), Cost { weights: 84, macs: 84 });
        assert!(conv().pays(Form { inputs: Some((Split::Columns, 6)), outputs: None }));
        assert!(!conv().pays(Form { inputs: Some((Split::Columns, 7)), outputs: None }));
    }

    #[test]
    fn weights_that_read_the_same_lie_together() {
        let small = Geometry { inputs: 2, ..conv() };
        // Of [2, 3, 2]: both channels at each tap, and both channels of three rows at each column.
        assert_eq!(small.order(Split::Channels)[..4], [0, 6, 1, 7]);
        assert_eq!(small.order(Split::Columns), [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
    }
}
