//! Tests of the `bluegreen` command with the local cloud, with a fake AWS, in a terminal, and in a browser; and of the
//! documentation.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod arrows;
mod browser;
mod browser_story;
mod cli;
mod cloud_access;
mod cloud_any_image;
mod cloud_attacks;
mod cloud_cutover;
mod cloud_demo;
mod cloud_deploy;
mod cloud_docs;
mod cloud_engine;
mod cloud_faults;
mod cloud_follow;
mod cloud_foreign;
mod cloud_https;
mod cloud_idle;
mod cloud_images;
mod cloud_killed;
mod cloud_lag;
mod cloud_large;
mod cloud_migration;
mod cloud_options;
mod cloud_own;
mod cloud_permissions;
mod cloud_pipeline;
mod cloud_rehearse;
mod cloud_release;
mod cloud_report;
mod cloud_requests;
mod cloud_rules;
mod cloud_states;
mod cloud_terminal;
mod cloud_zones;
mod docs;
mod engine;
mod readme;
mod story;
mod supply;
mod support;
