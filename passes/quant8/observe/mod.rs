//! What calibration remembers of activations, and how ranges are chosen from it.
//!
//! Everything here is exact in whatever order and parts samples are taken in: by several threads, or by several machines
//! whose statistics are written to files and merged.

mod by_channel;
mod file;
mod histogram;
mod observer;
mod statistics;
mod sum;

pub(super) use by_channel::Channels;
pub(super) use file::{Recording, fingerprint};
pub(super) use observer::Observer;
pub(super) use statistics::Statistics;
