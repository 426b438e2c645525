//! What `status` tells: who is prod and dev, how both environments are, and what ran last. A stable JSON format.
//! Must not know how it was found out.

use crate::hook::HookAnswer;
use crate::idle::IdleAnswer;
use crate::lease::LeaseInfo;
use crate::steering::SteeringAnswer;
use crate::{Color, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of a stack's traffic. What could not be read is absent, with the reason in `problems`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The environment that gets all of prod.
    pub prod: Option<Color>,
    /// The environment that dev points at.
    pub dev: Option<Color>,
    /// The percentage of prod's requests that each environment gets, where both get some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<Color, u8>>,
    /// Each environment.
    pub environments: BTreeMap<Color, EnvironmentStatus>,
    /// The lease, where someone holds it.
    pub lease: Option<LeaseInfo>,
    /// The run that began last.
    pub latest: Option<Record>,
    /// What could not be read, or is not as it should be, one sentence each.
    pub problems: Vec<String>,
}

/// One environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// Whether a service was deployed to it.
    pub deployed: bool,
    /// Tasks that it should have.
    pub desired: Option<u32>,
    /// Tasks that run.
    pub running: Option<u32>,
    /// Whether its service is steady: one deployment, complete, with all its tasks running.
    pub steady: bool,
    /// Targets by state, as the load balancer names it: `healthy`, `initial`, `draining` …
    pub targets: BTreeMap<String, u32>,
    /// The version that it answers.
    pub version: Option<String>,
}

/// What the function answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To every operation that is a run. Boxed for its size.
    Run(Box<Record>),
    /// To `status`.
    Status(Box<Status>),
    /// To a lifecycle hook of Amazon ECS.
    Hook(HookAnswer),
    /// To `abort`, `pause` and `promote`. Before the answer to `sleep`, whose fields are among those of this one.
    Steering(SteeringAnswer),
    /// To `sleep`.
    Idle(IdleAnswer),
}
