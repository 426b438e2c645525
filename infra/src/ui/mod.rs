//! What people see: lines for events, tables for status, errors with their hints. Decides nothing.

mod error;
mod lines;
mod progress;
mod status;
mod style;

pub use error::render as render_error;
pub use lines::{JsonLines, Lines};
pub use progress::CutoverProgress;
pub use status::{render as render_status, runs as render_runs};
pub use style::Style;
