//! The local cloud: AWS on one machine, without Docker and without an account.
//!
//! It consists of MiniStack (an emulator of the AWS APIs) behind a gateway, a load balancer, and a container engine in
//! place of Fargate, which MiniStack lacks without Docker. No code here depends on the deployed stack, and the stack
//! does not depend on this code.

mod access;
mod authority;
mod aws;
mod balancer;
mod cli;
mod commands;
mod control;
mod daemon;
mod engine;
mod environment;
mod error;
mod form;
mod gateway;
mod http_client;
mod image;
mod instance;
mod ministack;
mod private_file;
mod process;
mod rule;
mod shown;
mod task_fault;

pub use cli::run;
