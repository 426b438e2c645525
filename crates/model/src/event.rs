//! What happens while a command works: one type for a deployment, a run of the cutover function, and a rehearsal, so that
//! every renderer and every program that reads the events sees the same. Must not know how an event is shown.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::Record;
use crate::color::Color;
use crate::lease::LeaseInfo;
use crate::stack_state::ResourceState;

/// Version of the format, in [`Event::schema`].
pub const SCHEMA: u32 = 2;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Version of the format. Fields are added without a new version.
    pub schema: u32,
    /// Its number: it rises with each event of a command.
    pub event_id: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A step of a command. Steps can overlap, so the id tells which step ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its id among the steps of a command.
    #[serde(rename = "step_id")]
    pub id: u64,
    /// Its name, for example `build greeter-v2`.
    #[serde(rename = "step")]
    pub name: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A step started.
    Started {
        /// The step.
        #[serde(flatten)]
        step: Step,
    },
    /// A step succeeded.
    Finished {
        /// The step.
        #[serde(flatten)]
        step: Step,
        /// Its result.
        detail: String,
        /// How long it took, in milliseconds.
        #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
        elapsed: Duration,
    },
    /// An operation of the stack begins.
    Operation {
        /// The resources that it changes, as far as that is known: logical id and type.
        resources: Vec<(String, String)>,
        /// How long the last one like it took, in milliseconds.
        #[serde(rename = "estimate_ms", serialize_with = "as_optional_millis")]
        estimate: Option<Duration>,
    },
    /// A resource of the stack changed its state.
    Resource {
        /// Its logical id in the template.
        id: String,
        /// Its type, for example `AWS::ECS::Service`.
        kind: String,
        /// Its state, for example `CREATE_COMPLETE`.
        #[serde(rename = "status")]
        state: ResourceState,
        /// The reason, if CloudFormation gives one.
        reason: Option<String>,
    },
    /// A service made progress toward its new version, or lost some.
    Rollout {
        /// The environment.
        color: Color,
        /// Tasks of the expected version that run.
        running: i32,
        /// Tasks that should.
        desired: i32,
        /// Targets that the load balancer finds healthy.
        healthy: usize,
    },
    /// A message of ECS about a service.
    Service {
        /// The environment.
        color: Color,
        /// The message.
        message: String,
    },
    /// The load balancer reports a target that is not healthy.
    Target {
        /// The environment.
        color: Color,
        /// The target's address.
        target: String,
        /// Its state, for example `unhealthy`.
        state: String,
        /// The reason, as reported by the load balancer.
        reason: String,
    },
    /// An environment cannot become healthy: waiting longer is useless.
    RolloutFailed {
        /// The environment.
        color: Color,
        /// Why.
        reason: String,
    },
    /// A task ended that should not have.
    TaskFailed {
        /// The environment.
        color: Color,
        /// The task's short id.
        task: String,
        /// The reason, as reported by ECS.
        reason: String,
        /// Its last lines of output.
        output: Vec<String>,
    },
    /// Another command holds the lease, and this one waits for it. Sent repeatedly.
    Waiting {
        /// Who holds it.
        #[serde(rename = "for")]
        holder: LeaseInfo,
        /// How long the lease lasts unless it is renewed, in milliseconds.
        #[serde(rename = "left_ms", serialize_with = "as_millis")]
        left: Duration,
    },
    /// The function is about to be invoked for a run.
    Requested {
        /// The id of the run.
        run: String,
    },
    /// AWS cannot be reached while a run continues. Sent once for each outage.
    Reconnecting,
    /// A run as its record is now. Sent repeatedly.
    Run(#[serde(serialize_with = "as_progress")] Box<Record>),
    /// Information.
    Note {
        /// The text.
        text: String,
    },
    /// A warning.
    Warning {
        /// The text.
        text: String,
    },
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn as_optional_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// What changes of a record while its run goes on. The whole record is the result of the command.
#[derive(Serialize)]
struct Progress<'a> {
    run: &'a str,
    phase: crate::Phase,
    prod: Option<Color>,
    dev: Option<Color>,
    weight: Option<u8>,
    sent: u64,
    failed: u64,
    version: Option<&'a str>,
}

fn as_progress<S: Serializer>(record: &Record, serializer: S) -> Result<S::Ok, S::Error> {
    let counts = record.probes.as_ref().map(|probes| probes.counts).unwrap_or_default();
    let progress = Progress {
        run: &record.id,
        phase: record.phase,
        prod: record.prod,
        dev: record.dev,
        weight: record.weight,
        sent: counts.sent.into(),
        failed: counts.failed.into(),
        version: record.versions.seen.as_deref(),
    };
    progress.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    fn json(kind: EventKind) -> serde_json::Value {
        let event = Event { schema: SCHEMA, event_id: 7, time: Timestamp::UNIX_EPOCH, kind };
        serde_json::to_value(event).unwrap()
    }

    #[test]
    fn every_event_has_a_number_a_time_and_a_name() {
        let step = || Step { id: 3, name: "build greeter-v2".to_owned() };
        let started = json(EventKind::Started { step: step() });
        let expected = serde_json::json!({
            "schema": 2, "event_id": 7, "time": "1970-01-01T00:00:00Z", "event": "started", "step_id": 3,
            "step": "build greeter-v2",
        });
        assert_eq!(started, expected);
        let elapsed = Duration::from_millis(1500);
        let finished = json(EventKind::Finished { step: step(), detail: "done".to_owned(), elapsed });
        assert_eq!((&finished["step_id"], &finished["elapsed_ms"]), (&3.into(), &1500.into()));
        assert_eq!(json(EventKind::Reconnecting)["event"], "reconnecting");
    }

    #[test]
    fn a_run_is_reported_by_what_changes_of_it() {
        let mut record = Record::begin("x".to_owned(), Request::default(), Timestamp::UNIX_EPOCH, String::new());
        (record.weight, record.prod) = (Some(10), Some(Color::Green));
        let run = json(EventKind::Run(Box::new(record)));
        assert_eq!((&run["event"], &run["run"], &run["weight"]), (&"run".into(), &"x".into(), &10.into()));
        assert_eq!((&run["prod"], &run["sent"], &run["version"]), (&"green".into(), &0.into(), &().into()));
        assert!(run.get("steps").is_none(), "{run}");
    }
}
