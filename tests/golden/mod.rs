//! The golden runner.

mod execute;
mod file;
mod run;

pub(crate) use file::{Golden, all};
pub(crate) use run::{Outcome, run};
