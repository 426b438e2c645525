//! The benchmark: its command line, and the features that it depends on.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod command;
mod features;
