//! What people see: lines for events, a live tree, tables for status, errors with their hints. Decides nothing.

mod error;
mod history;
mod keyboard;
mod lines;
mod plan;
mod progress;
mod runs;
mod screen;
mod status;
mod style;
mod tree;

pub use error::render as render_error;
pub use history::{evidence as render_evidence, history as render_history};
pub use keyboard::Keyboard;
pub use lines::{JsonLines, Lines};
pub use plan::render as render_plan;
pub use screen::Screen;
pub use status::render as render_status;
pub use style::{Paint, Style, wrapped};

/// Writes text to standard error. If nobody reads it any more, the command goes on: it may be in the middle of a deployment.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
