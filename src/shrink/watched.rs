//! Samples that remember whether anybody read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::NamedTensors;
use crate::data::Samples;
use crate::error::Result;

/// Calibration data that tells afterwards whether the result depends on it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) samples: Arc<dyn Samples>,
    was_read: AtomicBool,
}

impl Watched {
    pub(super) fn new(samples: Arc<dyn Samples>) -> Self {
        Self { samples, was_read: AtomicBool::new(false) }
    }

    /// Whether a sample or a label was read.
    pub(super) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }
}

impl Samples for Watched {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        self.was_read.store(true, Ordering::Relaxed);
        self.samples.get(index)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.was_read.store(true, Ordering::Relaxed);
        self.samples.label(index)
    }

    fn settle(&self, run: &dyn Fn(&NamedTensors) -> Result<()>) -> Result<()> {
        self.samples.settle(run)
    }

    fn describe(&self) -> String {
        self.samples.describe()
    }
}
