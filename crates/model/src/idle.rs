//! What the function answers to `sleep`. Must not know when an environment may sleep.

use crate::Color;
use serde::{Deserialize, Serialize};

/// What the function answers to `sleep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleAnswer {
    /// The environment that sleeps now.
    pub asleep: Option<Color>,
    /// What was done, or why nothing was.
    pub message: String,
}

impl IdleAnswer {
    /// Nothing was done.
    pub fn awake(message: impl Into<String>) -> Self {
        Self { asleep: None, message: message.into() }
    }
}
