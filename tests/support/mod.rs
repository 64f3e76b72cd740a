//! Helpers of the integration tests.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of the helpers")]

pub mod corpus;
pub mod models;
pub mod python;
