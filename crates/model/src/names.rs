//! Names that the stack's template, the function and the command write into AWS and look for there. Must not know values.

/// Tag with the name of the stack that a resource belongs to.
pub const STACK_TAG: &str = "bluegreen:stack";
/// Tag of a rule with the listener whose traffic it carries: `prod` or `dev`.
pub const TRAFFIC_TAG: &str = "bluegreen:traffic";
/// Tag of a service with the number of its release.
pub const RELEASE_TAG: &str = "bluegreen:release";
/// Tag of a service with the number of tasks that its release asks for, which tells a sleeping service from an empty one.
pub const TASKS_TAG: &str = "bluegreen:tasks";
/// Header with which a request on the dev listener chooses an environment.
pub const ENVIRONMENT_HEADER: &str = "x-bluegreen-env";
/// Source of the function's events on the event bus.
pub const EVENT_SOURCE: &str = "bluegreen";
/// Namespace of the function's metrics.
pub const METRICS_NAMESPACE: &str = "BlueGreen/Cutover";
