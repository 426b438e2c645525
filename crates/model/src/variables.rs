//! Names of the function's environment variables: the stack's template sets them, the function reads them. Must not know
//! their values.

/// Name of the stack.
pub const STACK: &str = "BLUEGREEN_STACK_NAME";
/// ARN of the listener that users reach.
pub const PROD_LISTENER: &str = "BLUEGREEN_PROD_LISTENER";
/// ARN of the listener that people try a version on.
pub const DEV_LISTENER: &str = "BLUEGREEN_DEV_LISTENER";
/// ARN of blue's target group.
pub const BLUE_TARGET_GROUP: &str = "BLUEGREEN_BLUE_TARGET_GROUP";
/// ARN of green's target group.
pub const GREEN_TARGET_GROUP: &str = "BLUEGREEN_GREEN_TARGET_GROUP";
/// Name or ARN of the ECS cluster.
pub const CLUSTER: &str = "BLUEGREEN_CLUSTER";
/// ARN of blue's service; absent or empty where nothing was deployed to blue yet.
pub const BLUE_SERVICE: &str = "BLUEGREEN_BLUE_SERVICE";
/// ARN of green's service; absent or empty where nothing was deployed to green yet.
pub const GREEN_SERVICE: &str = "BLUEGREEN_GREEN_SERVICE";
/// Bucket of the ledger.
pub const BUCKET: &str = "BLUEGREEN_BUCKET";
/// URL of the prod listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com`.
pub const PROD_URL: &str = "BLUEGREEN_PROD_URL";
/// URL of the dev listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com:81`.
pub const DEV_URL: &str = "BLUEGREEN_DEV_URL";
/// Optional: response header that tells a version; nobody looks at versions where it is absent.
pub const VERSION_HEADER: &str = "BLUEGREEN_VERSION_HEADER";
/// Optional: path that probes ask for where the event names none; default `/`.
pub const PROBE_PATH: &str = "BLUEGREEN_PROBE_PATH";
/// Optional: name of the event bus that is told of every cutover; nobody is told where it is absent.
pub const EVENT_BUS: &str = "BLUEGREEN_EVENT_BUS";
/// Optional: where to reach a host and port, as curl's `--connect-to`.
pub const CONNECT_TO: &str = "BLUEGREEN_CONNECT_TO";
/// Optional: minutes after a cutover until the idle environment sleeps; it never does where this is absent.
pub const IDLE_SLEEPS_AFTER: &str = "BLUEGREEN_IDLE_SLEEPS_AFTER";
