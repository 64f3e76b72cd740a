//! The golden runner.

#[path = "../support/corpus.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the helpers is used here")]
mod corpus;
mod execute;
mod file;
mod run;

pub(crate) use file::{Golden, all};
pub(crate) use run::{Outcome, run};
