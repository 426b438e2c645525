//! The answer to `status`: which environments are prod and dev, the state of both, and the latest run. A stable JSON
//! format. Must not know how it was determined.

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
    /// The percentage of prod's requests that each environment gets, if both get some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<Color, u8>>,
    /// Each environment.
    pub environments: BTreeMap<Color, EnvironmentStatus>,
    /// The lease, if it is held.
    pub lease: Option<LeaseInfo>,
    /// The run that began last.
    pub latest: Option<Record>,
    /// What could not be read or is not as expected, one sentence each.
    pub problems: Vec<String>,
}

/// One environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// Whether a service was deployed to it.
    pub deployed: bool,
    /// Desired number of tasks.
    pub desired: Option<u32>,
    /// Number of running tasks.
    pub running: Option<u32>,
    /// Whether its service is steady: one deployment, complete, with all its tasks running.
    pub steady: bool,
    /// Targets by state, as the load balancer names it: `healthy`, `initial`, `draining` …
    pub targets: BTreeMap<String, u32>,
    /// The version that it reports.
    pub version: Option<String>,
}

/// The answer of the function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To every operation that is a run. Boxed because of its size.
    Run(Box<Record>),
    /// To `status`.
    Status(Box<Status>),
    /// To a lifecycle hook of Amazon ECS.
    Hook(HookAnswer),
    /// To `abort`, `pause` and `promote`. It must come before the answer to `sleep`, whose fields are a subset of its
    /// fields.
    Steering(SteeringAnswer),
    /// To `sleep`.
    Idle(IdleAnswer),
}
