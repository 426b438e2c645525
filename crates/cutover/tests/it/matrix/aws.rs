//! AWS in memory, behind the SDK's HTTP client: two rules, two healthy environments, a bucket, an event bus. One fault
//! at a time affects its calls. It also records violations: requests that the engine must never send.

use super::call::{Call, Point};
use super::effect::{Effect, Happens, LATE, Says, broken};
use super::wire::{self, Answer, http_date};
use aws::clock::Clock;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::sdk_config::TimeSource;
use jiff::Timestamp;
use model::Color;
use model::keys;
use model::route::Listener;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// Duration of a call without a fault.
const LATENCY: Duration = Duration::from_millis(15);
/// Time from a write until the load balancer routes by it.
const PROPAGATION: Duration = Duration::from_millis(200);

/// The fault of a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub point: Point,
    pub effect: Effect,
    pub for_ever: bool,
}

/// A listener was pointed at a side.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub at: Instant,
    pub listener: Listener,
    pub to: Color,
}

#[derive(Debug)]
struct Object {
    body: Value,
    etag: String,
    modified: Timestamp,
}

#[derive(Debug, Default)]
pub struct State {
    pub fault: Option<Fault>,
    /// How many calls it affected.
    pub hits: u32,
    /// The points that calls were made at.
    pub seen: BTreeSet<Point>,
    pub changes: Vec<Change>,
    /// The run in progress.
    pub running: String,
    /// Details of the received events.
    pub events: Vec<Value>,
    pub violations: Vec<String>,
    objects: BTreeMap<String, Object>,
    writes: u32,
    /// Sides that were seen healthy since the listeners were last read or written.
    fresh: BTreeSet<Color>,
    /// The last requested write of a listener.
    writing: Option<String>,
}

/// AWS in memory.
#[derive(Clone, Debug)]
pub struct Aws {
    pub clock: Clock,
    state: Arc<Mutex<State>>,
}

impl Aws {
    /// Green is prod and blue is dev.
    pub fn new(clock: Clock) -> Self {
        let at = Instant::now();
        let changes = vec![
            Change { at, listener: Listener::Prod, to: Color::Green },
            Change { at, listener: Listener::Dev, to: Color::Blue },
        ];
        Self { clock, state: Arc::new(Mutex::new(State { changes, ..State::default() })) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The configuration of a process's clients: that of the function, but for this HTTP client. The SDK counts retries
    /// for each region of the process, so every one has its own.
    pub fn config(&self, region: String) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
            .time_source(Time(self.clock))
            .timeout_config(aws::timeouts())
            .retry_config(aws::retries())
            .http_client(self.clone())
            .build()
    }

    /// Records the call, and returns its fault, if any.
    fn meet(&self, call: &Call) -> Option<Effect> {
        let mut state = self.state();
        let lease = state.objects.get(keys::LOCK).map(|object| &object.body);
        let point = call.point(lease, state.writing.is_some());
        if point != Point::Else {
            state.seen.insert(point);
        }
        state.watch(call);
        let fault = state.fault.filter(|fault| fault.point == point && (fault.for_ever || state.hits == 0))?;
        state.hits += 1;
        Some(fault.effect)
    }

    async fn answer(self, call: Call) -> Result<HttpResponse, ConnectorError> {
        let Some(effect) = self.meet(&call) else {
            sleep(LATENCY).await;
            return Ok(self.carry_out(&call, true).http());
        };
        let truth = match effect.happens {
            Happens::Never if call.writes() => None,
            Happens::Late if call.writes() => {
                let (aws, call) = (self.clone(), call.clone());
                tokio::spawn(async move {
                    sleep(LATE).await;
                    aws.carry_out(&call, false);
                });
                None
            }
            _ => Some(self.carry_out(&call, effect.says == Says::Truth)),
        };
        sleep(LATENCY + effect.after).await;
        let date = ("date", http_date(self.clock.now()));
        match effect.says {
            Says::Refused(refusal) => {
                let refused = wire::refused(&call, refusal);
                Ok(Answer { headers: vec![date], ..refused }.http())
            }
            Says::Garbage => {
                let headers = truth.map_or_else(|| vec![date], |truth| truth.headers);
                Ok(Answer { headers, ..Answer::ok("\u{fffd}<<}") }.http())
            }
            Says::Empty => Ok(Answer::ok("").http()),
            Says::Half => Ok(truth.unwrap_or_default().half()),
            Says::Truth => Ok(truth.unwrap_or_default().http()),
            broken_off => Err(broken(broken_off)),
        }
    }

    /// Executes a call. `understood` says whether the caller gets the answer.
    fn carry_out(&self, call: &Call, understood: bool) -> Answer {
        let mut state = self.state();
        let now = self.clock.now();
        match call {
            Call::GetObject(key) => dated(state.get(key), now),
            Call::PutObject { key, body, replaces } => dated(state.put(key, body, replaces.as_deref(), now), now),
            Call::ListObjects { prefix, after } => {
                let found = state.objects.iter().filter(|(key, _)| key.starts_with(prefix) && *key > after);
                dated(wire::listed(found.map(|(key, object)| (key, object.modified))), now)
            }
            Call::RulesOf(listener) => wire::rules("DescribeRules", [(*listener, state.at(*listener))], true),
            Call::Rules => wire::rules("DescribeRules", state.rules(), false),
            Call::Tags => wire::tags(),
            Call::Services => wire::services(),
            Call::Attributes => wire::attributes(),
            Call::Health(color) => {
                if understood {
                    state.fresh.insert(*color);
                }
                wire::healthy()
            }
            Call::ModifyRule { listener, to, .. } => {
                let change = Change { at: Instant::now(), listener: *listener, to: *to };
                if state.at(*listener) != *to {
                    state.changes.push(change);
                }
                wire::rules("ModifyRule", [(*listener, *to)], false)
            }
            Call::PutEvents(body) => {
                let entries = body["Entries"].as_array().unwrap().iter();
                let details = entries.map(|entry| serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap());
                state.events.extend(details);
                Answer::ok(r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}"#)
            }
        }
    }

    /// The side that answers a user's request to prod.
    pub fn route(&self) -> Color {
        let now = Instant::now();
        let state = self.state();
        let prod = |change: &&Change| change.listener == Listener::Prod;
        let mut changes = state.changes.iter().filter(prod);
        let first = changes.next().unwrap();
        changes.rfind(|change| change.at + PROPAGATION <= now).unwrap_or(first).to
    }
}

fn dated(mut answer: Answer, now: Timestamp) -> Answer {
    answer.headers.push(("date", http_date(now)));
    answer
}

impl State {
    /// The side that a listener points at.
    pub fn at(&self, listener: Listener) -> Color {
        self.changes.iter().rfind(|change| change.listener == listener).unwrap().to
    }

    fn rules(&self) -> [(Listener, Color); 2] {
        [Listener::Prod, Listener::Dev].map(|listener| (listener, self.at(listener)))
    }

    /// The content of an object.
    pub fn object(&self, key: &str) -> Option<&Value> {
        self.objects.get(key).map(|object| &object.body)
    }

    /// The records of all runs.
    pub fn records(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|(key, _)| key.starts_with(keys::RUNS)).map(|(_, object)| &object.body)
    }

    fn get(&self, key: &str) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return Answer { status: 404, ..Answer::ok("<Error><Code>NoSuchKey</Code></Error>") };
        };
        let headers = vec![("etag", object.etag.clone()), ("last-modified", http_date(object.modified))];
        Answer { headers, ..Answer::ok(object.body.to_string()) }
    }

    fn put(&mut self, key: &str, body: &Value, replaces: Option<&str>, now: Timestamp) -> Answer {
        let current = self.objects.get(key).map(|object| object.etag.as_str());
        if current.is_none() && replaces.is_some() {
            return Answer { status: 404, ..Answer::ok("<Error><Code>NoSuchKey</Code></Error>") };
        }
        if current != replaces {
            return Answer { status: 412, ..Answer::ok("<Error><Code>PreconditionFailed</Code></Error>") };
        }
        self.writes += 1;
        let etag = format!("\"{}\"", self.writes);
        let modified = Timestamp::from_second(now.as_second()).unwrap();
        self.objects.insert(key.to_owned(), Object { body: body.clone(), etag: etag.clone(), modified });
        Answer { headers: vec![("etag", etag)], ..Answer::ok("") }
    }

    /// The invariants of a write of a listener, for the first attempt of the SDK.
    fn watch(&mut self, call: &Call) {
        match call {
            Call::RulesOf(_) | Call::Rules => self.fresh.clear(),
            Call::ModifyRule { listener, to, invocation } if self.writing.as_ref() != Some(invocation) => {
                self.writing = Some(invocation.clone());
                if *listener == Listener::Prod && !self.fresh.contains(to) {
                    self.violations.push(format!("prod was sent to {to} without a fresh look at its health"));
                }
                self.fresh.clear();
                let lease = self.object(keys::LOCK);
                if !lease.is_some_and(|lease| lease["holder"] == *self.running && lease["released"] == false) {
                    let text = format!("{} was written without the lease: {lease:?}", listener.as_str());
                    self.violations.push(text);
                }
            }
            _ => {}
        }
    }
}

impl HttpClient for Aws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(Call::of(&request)))
    }
}

/// The time of the case, for the SDK.
#[derive(Debug)]
struct Time(Clock);

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}
