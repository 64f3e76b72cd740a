//! Samples that remember whether anybody read them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::NamedTensors;
use crate::data::{SampleDigests, Samples, sample_digests};
use crate::error::Result;

/// Calibration data that tells afterwards whether the result depends on it.
#[derive(Debug)]
pub(super) struct Watched {
    samples: Arc<dyn Samples>,
    was_read: AtomicBool,
    /// What tells them from others, once that was asked for.
    digests: Arc<OnceLock<SampleDigests>>,
}

impl Watched {
    pub(super) fn new(samples: Arc<dyn Samples>) -> Self {
        Self { samples, was_read: AtomicBool::new(false), digests: Arc::default() }
    }

    /// The same samples for something else, which has read some or not.
    pub(super) fn again(&self, was_read: bool) -> Self {
        let (samples, digests) = (self.samples.clone(), self.digests.clone());
        Self { samples, was_read: AtomicBool::new(was_read), digests }
    }

    /// The SHA-256 of each sample.
    ///
    /// # Errors
    /// Fails where one can no longer be read.
    pub(super) fn digests(&self) -> Result<&SampleDigests> {
        if let Some(known) = self.digests.get() {
            return Ok(known);
        }
        let digests = sample_digests(&*self.samples)?;
        Ok(self.digests.get_or_init(|| digests))
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
