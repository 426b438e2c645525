//! Blue/green deployment for Amazon ECS Fargate: the construct kit, this system's stack, and the deployment engine.
//!
//! The library knows no terminal: what happens is told as events, and errors carry their hints. `main.rs` is the
//! `bluegreen` command.

pub mod build;
pub mod cloud;
pub mod commands;
pub mod dashboard;
pub mod deploy;
pub mod error;
pub mod graph;
pub mod ownership;
pub mod rehearse;
pub mod releases;
pub mod report;
pub mod requests;
pub mod stack;
pub mod ui;
pub mod zones;
