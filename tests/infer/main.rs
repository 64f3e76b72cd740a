//! Inferred types and shapes against other tools, stored results, and what a run shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and report counts"
)]

#[path = "../support/mod.rs"]
mod support;

mod contrib;
mod control;
mod corpus_table;
mod hostile;
mod node_tests;
mod observed;

#[cfg(feature = "tract")]
mod tract_facts;
