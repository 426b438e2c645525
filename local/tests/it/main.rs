//! Tests of the local cloud as a user sees it: deployments, the load balancer, and faults.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod alb;
mod alb_tls;
mod backend;
mod cloud;
mod containment;
mod engine;
mod support;
mod task_faults;
mod traffic;
