//! Names of the environment variables of the function: the template sets them, and the function reads them. Must not
//! know their values.

/// Name of the stack.
pub const STACK: &str = "BLUEGREEN_STACK_NAME";
/// ARN of the prod listener.
pub const PROD_LISTENER: &str = "BLUEGREEN_PROD_LISTENER";
/// ARN of the dev listener.
pub const DEV_LISTENER: &str = "BLUEGREEN_DEV_LISTENER";
/// ARN of blue's target group.
pub const BLUE_TARGET_GROUP: &str = "BLUEGREEN_BLUE_TARGET_GROUP";
/// ARN of green's target group.
pub const GREEN_TARGET_GROUP: &str = "BLUEGREEN_GREEN_TARGET_GROUP";
/// Name or ARN of the ECS cluster.
pub const CLUSTER: &str = "BLUEGREEN_CLUSTER";
/// ARN of blue's service; absent or empty if nothing is deployed to blue yet.
pub const BLUE_SERVICE: &str = "BLUEGREEN_BLUE_SERVICE";
/// ARN of green's service; absent or empty if nothing is deployed to green yet.
pub const GREEN_SERVICE: &str = "BLUEGREEN_GREEN_SERVICE";
/// Bucket of the ledger.
pub const BUCKET: &str = "BLUEGREEN_BUCKET";
/// URL of the prod listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com`.
pub const PROD_URL: &str = "BLUEGREEN_PROD_URL";
/// URL of the dev listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com:81`.
pub const DEV_URL: &str = "BLUEGREEN_DEV_URL";
/// Optional: response header with the version. If absent, versions are not checked.
pub const VERSION_HEADER: &str = "BLUEGREEN_VERSION_HEADER";
/// Optional: path of probes if the event names none; default `/`.
pub const PROBE_PATH: &str = "BLUEGREEN_PROBE_PATH";
/// Optional: name of the event bus for events of finished runs. If absent, no events are sent.
pub const EVENT_BUS: &str = "BLUEGREEN_EVENT_BUS";
/// Optional: other hosts and ports to connect to, as curl's `--connect-to`.
pub const CONNECT_TO: &str = "BLUEGREEN_CONNECT_TO";
/// Optional: minutes after a cutover until the idle environment sleeps. If absent, it never sleeps.
pub const IDLE_SLEEPS_AFTER: &str = "BLUEGREEN_IDLE_SLEEPS_AFTER";
