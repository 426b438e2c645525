//! Names in AWS that the template, the function, and the command share. Must not know values.

/// Tag with the name of the stack that a resource belongs to.
pub const STACK_TAG: &str = "bluegreen:stack";
/// Tag of a rule with its listener: `prod` or `dev`.
pub const TRAFFIC_TAG: &str = "bluegreen:traffic";
/// Tag of a service with the number of its release.
pub const RELEASE_TAG: &str = "bluegreen:release";
/// Tag of a service with the number of tasks of its release. It distinguishes a sleeping service from an empty one.
pub const TASKS_TAG: &str = "bluegreen:tasks";
/// Header of a request to the dev listener that selects an environment.
pub const ENVIRONMENT_HEADER: &str = "x-bluegreen-env";
/// Source of the function's events on the event bus.
pub const EVENT_SOURCE: &str = "bluegreen";
