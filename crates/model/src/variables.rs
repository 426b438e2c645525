//! The environment variables of the function, each declared once: the template sets them, and the function reads them. A
//! variable that is added here does not compile until the template gives it a value. Must not know their values.

use std::collections::BTreeMap;

/// A variable that the function needs.
pub type Required<T> = T;

/// A variable that may be absent.
pub type Optional<T> = Option<T>;

/// Declares each variable: whether it is required, its field, and its name.
macro_rules! variables {
    ($($(#[doc = $text:literal])+ $need:ident $field:ident: $constant:ident = $name:literal;)+) => {
        $($(#[doc = $text])+ pub const $constant: &str = $name;)+

        /// The variables with values: texts, or expressions of a template.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Variables<T> {
            $($(#[doc = $text])+ pub $field: $need<T>,)+
        }

        impl<T> Variables<T> {
            /// The values by name, without those that are absent.
            pub fn into_map(self) -> BTreeMap<&'static str, T> {
                let mut map = BTreeMap::new();
                $(map.extend(variables!(@given $need self.$field).map(|value| ($constant, value)));)+
                map
            }
        }

        impl Variables<String> {
            /// Reads the values through `lookup`, and returns the names of those that are missing. An empty value counts
            /// as absent.
            pub fn read(lookup: impl Fn(&str) -> Option<String>) -> (Self, Vec<&'static str>) {
                let given = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
                let mut missing = Vec::new();
                let read = Self { $($field: variables!(@read $need given($constant), missing, $constant),)+ };
                (read, missing)
            }
        }
    };
    (@given Required $value:expr) => { Some($value) };
    (@given Optional $value:expr) => { $value };
    (@read Required $value:expr, $missing:ident, $name:expr) => {
        $value.unwrap_or_else(|| {
            $missing.push($name);
            String::new()
        })
    };
    (@read Optional $value:expr, $missing:ident, $name:expr) => { $value };
}

variables! {
    /// Name of the stack.
    Required stack: STACK = "BLUEGREEN_STACK_NAME";
    /// ARN of the prod listener.
    Required prod_listener: PROD_LISTENER = "BLUEGREEN_PROD_LISTENER";
    /// ARN of the dev listener.
    Required dev_listener: DEV_LISTENER = "BLUEGREEN_DEV_LISTENER";
    /// ARN of blue's target group.
    Required blue_target_group: BLUE_TARGET_GROUP = "BLUEGREEN_BLUE_TARGET_GROUP";
    /// ARN of green's target group.
    Required green_target_group: GREEN_TARGET_GROUP = "BLUEGREEN_GREEN_TARGET_GROUP";
    /// Name or ARN of the ECS cluster.
    Required cluster: CLUSTER = "BLUEGREEN_CLUSTER";
    /// ARN of blue's service; absent if nothing is deployed to blue yet.
    Optional blue_service: BLUE_SERVICE = "BLUEGREEN_BLUE_SERVICE";
    /// ARN of green's service; absent if nothing is deployed to green yet.
    Optional green_service: GREEN_SERVICE = "BLUEGREEN_GREEN_SERVICE";
    /// Bucket of the ledger.
    Required bucket: BUCKET = "BLUEGREEN_BUCKET";
    /// URL of the prod listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com`.
    Required prod_url: PROD_URL = "BLUEGREEN_PROD_URL";
    /// URL of the dev listener, such as `http://bg-alb-1.us-east-1.elb.amazonaws.com:81`.
    Required dev_url: DEV_URL = "BLUEGREEN_DEV_URL";
    /// Response header with the version. If absent, versions are not checked.
    Optional version_header: VERSION_HEADER = "BLUEGREEN_VERSION_HEADER";
    /// Path of probes if the event names none; default `/`.
    Optional probe_path: PROBE_PATH = "BLUEGREEN_PROBE_PATH";
    /// Status codes that are a success if the event names none, such as `200-299,304`; default 200–299.
    Optional success_codes: SUCCESS_CODES = "BLUEGREEN_SUCCESS_CODES";
    /// Name of the event bus for events of finished runs. If absent, no events are sent.
    Optional event_bus: EVENT_BUS = "BLUEGREEN_EVENT_BUS";
    /// Other hosts and ports to connect to, as curl's `--connect-to`.
    Optional connect_to: CONNECT_TO = "BLUEGREEN_CONNECT_TO";
    /// Minutes after a cutover until the idle environment sleeps. If absent, it never sleeps.
    Optional idle_sleeps_after: IDLE_SLEEPS_AFTER = "BLUEGREEN_IDLE_SLEEPS_AFTER";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_missing_is_named() {
        let (nothing, missing) = Variables::read(|_| None);
        assert_eq!(missing.len(), 9, "{missing:?}");
        assert!(missing.contains(&STACK) && !missing.contains(&EVENT_BUS), "{missing:?}");
        let (given, missing) = Variables::read(|name| Some(name.to_lowercase()));
        assert!(missing.is_empty());
        assert_eq!(given.event_bus.as_deref(), Some("bluegreen_event_bus"));
        let map = given.clone().into_map();
        assert_eq!(Variables::read(|name| map.get(name).cloned()), (given, Vec::new()));
        let blank = Variables::read(|name| (name == EVENT_BUS).then(|| "  ".to_owned())).0;
        assert_eq!(blank, nothing);
    }
}
