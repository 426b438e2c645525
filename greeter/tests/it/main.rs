//! The sample app: its pages, its program, and hostile clients.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hostile;
mod pages;
mod process;
mod support;
