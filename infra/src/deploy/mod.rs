//! The deployment engine: change set → events → outcome, and what "deployed" means beyond CloudFormation's word.
//!
//! What happens is told as [`Event`]s to whoever listens; nothing here prints.

mod change_set;
mod event;
mod follow;
mod guard;
mod poll;
mod steady;

pub use change_set::{ChangeSet, Parameters, Source};
pub use event::{Event, Listener, Timer};
pub use follow::{follow_deletion, follow_operation, settle};
pub use guard::refuse_live_changes;
pub use poll::Poll;
pub use steady::{Expected, observe, wait_until_steady};
