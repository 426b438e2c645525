//! The `bluegreen` command: blue/green deployment for Amazon ECS Fargate.
//!
//! Each verb is a file in [`commands`]; [`deploy`] changes the stack, [`ui`] renders what happens, and [`error`] says what a
//! failure means to the person who ran the command.

pub mod args;
pub mod build;
pub mod cli;
pub mod cloud;
pub mod commands;
pub mod context;
pub mod dashboard;
pub mod deploy;
pub mod error;
pub mod interrupt;
pub mod ownership;
pub mod prompt;
pub mod rehearse;
pub mod releases;
pub mod report;
pub mod requests;
pub mod session;
pub mod ui;
pub mod zones;
