//! Runs a part of a model over calibration data and adds up what it shows.

use rayon::prelude::*;

use crate::calib::{Ran, Runner};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::Env;

/// The most samples that are run.
const MAX_SAMPLES: usize = 512;

/// Sums that are made side by side. A constant, so that they do not depend on the machine.
const PARTS: usize = 4;

/// Calibration data.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) samples: &'a dyn Samples,
    pub(super) env: &'a Env<'a>,
}

impl Data<'_> {
    /// How many samples are run.
    pub(super) fn len(&self) -> usize {
        self.samples.len().min(MAX_SAMPLES)
    }

    /// How many positions of each sample make `rows` over all. A sample may be a batch, so that there is no other limit.
    pub(super) fn positions_each(&self, rows: usize) -> usize {
        rows.div_ceil(self.len().max(1)).max(1)
    }

    /// Runs what some values depend on, and lets `add` put together what each sample shows, in some sums; `add` gets the
    /// number of the sample.
    ///
    /// # Errors
    /// Fails where a sample cannot be read, or no backend runs that part of the model.
    pub(super) fn sum<T: Send>(
        &self,
        model: &Model,
        values: &[ValueId],
        empty: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, usize, &Ran<'_>) -> Result<()> + Sync,
    ) -> Result<Vec<T>> {
        let runner = Runner::up_to(model, values, self.env.backend)?;
        let count = self.len();
        let places: Vec<usize> = (0..count).collect();
        places
            .par_chunks(count.div_ceil(PARTS).max(1))
            .map(|chunk| {
                let mut sum = empty();
                for &place in chunk {
                    let inputs = self.samples.get(place * self.samples.len() / count.max(1))?;
                    add(&mut sum, place, &runner.run(&inputs)?)?;
                }
                Ok(sum)
            })
            .collect()
    }
}
