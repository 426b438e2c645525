//! The deployment engine: it finds the stack and what is live, prepares change sets, plans, follows operations to their
//! end, and knows when a release runs. Progress is sent as [`Event`]s to a [`Listener`]; nothing here prints, asks, or says
//! what to do about an error.

mod change_set;
mod control;
mod event;
mod events;
mod evidence;
mod follow;
mod guard;
mod history;
mod idle;
mod outcome;
mod poll;
mod service;
mod silence;
mod steady;
mod version;

pub mod cloud;
pub mod deployed;
pub mod error;
pub mod ownership;
pub mod plan;
pub mod releases;
pub mod template;
pub mod traffic;
pub mod zones;

pub use change_set::{ChangeSet, Parameters, Source};
pub use cloud::Cloud;
pub use control::{Control, OnFailure, Stage};
pub use deployed::DeployedStack;
pub use error::{Error, Result};
pub use event::{Listener, Silent, Timer};
pub use follow::{Operation, follow_deletion, follow_operation, settle};
pub use guard::{Refusal, Rules, Why, refuse_live_changes};
pub use idle::{sleeps, wake};
pub use model::event::{Event, EventKind};
pub use outcome::why_it_failed;
pub use plan::Plan;
pub use poll::Poll;
pub use silence::until_answered;
pub use steady::{Expected, Observed, observe, wait_until_steady};
pub use traffic::{Role, Traffic};
pub use version::{Answer, Sites};
