//! The `bluegreen` command: blue/green deployment for Amazon ECS Fargate.
//!
//! Each verb is a file in [`commands`], and no verb calls another: what several need is beside them. [`pipeline`] deploys,
//! [`runs`] invokes the cutover function and follows it, [`deletion`] deletes, [`status`] reads; [`ui`] renders what
//! happens, and [`error`] says what a failure means to the person who ran the command.

pub mod args;
mod artifacts;
pub mod build;
pub mod cli;
pub mod commands;
pub mod context;
pub mod dashboard;
pub mod deletion;
pub mod error;
pub mod interrupt;
pub mod pipeline;
pub mod prompt;
pub mod rehearse;
pub mod report;
pub mod requests;
pub mod runs;
pub mod session;
pub mod status;
pub mod synthesis;
pub mod ui;
