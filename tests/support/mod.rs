//! Helpers of the integration tests.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of the helpers")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; one that is skipped says so"
)]

pub mod compare;
pub mod corpus;
pub mod models;
pub mod node_tests;
pub mod python;
pub mod sandbox;
pub mod session;
pub mod transform;
