//! The events of the engine. One type for everything, so every renderer sees the same.

use std::time::{Duration, Instant};

use model::color::Color;
use model::stack_state::ResourceState;
use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step started.
    Started {
        /// The step, for example `build greeter-v2`.
        step: String,
    },
    /// A step succeeded.
    Finished {
        /// The step.
        step: String,
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
    /// A service came nearer to its new version, or not.
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
    /// ECS says something about a service.
    Service {
        /// The environment.
        color: Color,
        /// The message of ECS.
        message: String,
    },
    /// The load balancer finds a target unfit.
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
    Hopeless {
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
    /// Something worth knowing.
    Note {
        /// The text.
        text: String,
    },
    /// Something worth worrying about.
    Warning {
        /// The text.
        text: String,
    },
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn as_optional_millis<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Receives the events.
pub trait Listener: Send + Sync {
    /// Takes an event.
    fn on(&self, event: Event);
}

impl dyn Listener + '_ {
    /// Sends a note.
    pub fn note(&self, text: impl Into<String>) {
        self.on(Event::Note { text: text.into() });
    }

    /// Sends a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.on(Event::Warning { text: text.into() });
    }

    /// Sends the start of a step; the timer sends its end.
    pub fn start(&self, step: impl Into<String>) -> Timer {
        let step = step.into();
        self.on(Event::Started { step: step.clone() });
        Timer { step, began: Instant::now() }
    }
}

/// A step that has begun.
#[derive(Debug)]
#[must_use = "a step that began must end"]
pub struct Timer {
    step: String,
    began: Instant,
}

impl Timer {
    /// Sends the success of the step.
    pub fn finish(self, listener: &dyn Listener, detail: impl Into<String>) {
        listener.on(Event::Finished { step: self.step, detail: detail.into(), elapsed: self.began.elapsed() });
    }
}
