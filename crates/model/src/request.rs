//! The request of a caller: the event of the function. Its JSON is hostile: unknown fields, wrong types, and values out
//! of range are refused with the name of the field. Must not know how a request is executed.

use crate::Color;
use crate::request::fields::Fields;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

mod fields;

/// Limits of the numbers in a request. Durations are in milliseconds.
pub mod limits {
    use super::RangeInclusive;

    /// Probes in one run.
    pub const COUNT: RangeInclusive<u32> = 1..=3000;
    /// Milliseconds between probes.
    pub const INTERVAL_MS: RangeInclusive<u32> = 20..=5000;
    /// Timeout of a probe in milliseconds.
    pub const TIMEOUT_MS: RangeInclusive<u32> = 100..=10_000;
    /// Failure budget: failed probes that a run tolerates.
    pub const MAX_FAILURES: RangeInclusive<u32> = 0..=3000;
    /// Probes of prod before the first write.
    pub const BASELINE: RangeInclusive<u32> = 0..=3000;
    /// Probes in progress at the same time.
    pub const MAX_IN_FLIGHT: RangeInclusive<u32> = 1..=512;
    /// Probes of the target environment before anything is written.
    pub const GATE: RangeInclusive<u32> = 0..=100;
    /// Minimum milliseconds from the last write until only the new version is accepted.
    pub const SETTLE_MS: RangeInclusive<u32> = 0..=60_000;
    /// Maximum milliseconds until the load balancer follows a write.
    pub const SETTLE_LIMIT_MS: RangeInclusive<u32> = 1000..=600_000;
    /// Maximum response time (p99) of the new side, in milliseconds.
    pub const MAX_P99_MS: RangeInclusive<u32> = 1..=10_000;
    /// Maximum median latency of the new side, in percent of the old side's.
    pub const MAX_SLOWDOWN: RangeInclusive<u32> = 100..=10_000;
    /// Steps of a shift, if there is one.
    pub const SHIFT_STEPS: RangeInclusive<u32> = 1..=10;
    /// Percentage of prod's requests that the new side gets in a step, greater than in the step before.
    pub const SHIFT_WEIGHT: RangeInclusive<u32> = 1..=99;
    /// Milliseconds to hold a step. The sum must fit into the timeout of the function.
    pub const SHIFT_HOLD_MS: RangeInclusive<u32> = 0..=840_000;
    /// Maximum probes of a run with long holds and a long settle phase: all of them are stored.
    pub const SERIES: RangeInclusive<u32> = 1..=7000;
    /// HTTP status codes.
    pub const STATUS: RangeInclusive<u32> = 100..=599;
    /// Longest path, id, header name and value, in bytes.
    pub const TEXT: usize = 1024;
    /// Longest id, in bytes.
    pub const ID: usize = 64;
    /// Longest name of the caller, in bytes.
    pub const BY: usize = 256;
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Swap the listeners, so that `to` is prod.
    #[default]
    Cutover,
    /// Swap back to the origin of the last successful cutover.
    Rollback,
    /// Bring the listeners to a consistent state after an interrupted run.
    Reconcile,
    /// Report which environments are prod and dev; changes nothing.
    Status,
    /// Do everything that a cutover does except the writes; report what would happen.
    Plan,
    /// Stop the tasks of the idle environment, if the stack allows it to sleep and its waiting time is over.
    Sleep,
    /// Command the run in progress, or the run with this `id`, to send traffic back and end.
    Abort,
    /// Command it to stay at its step of the shift.
    Pause,
    /// Command it to go on with the next step of the shift.
    Promote,
}

impl Op {
    /// All operations.
    pub const ALL: [Self; 9] = [
        Self::Cutover,
        Self::Rollback,
        Self::Reconcile,
        Self::Status,
        Self::Plan,
        Self::Sleep,
        Self::Abort,
        Self::Pause,
        Self::Promote,
    ];

    /// The name in events and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cutover => "cutover",
            Self::Rollback => "rollback",
            Self::Reconcile => "reconcile",
            Self::Status => "status",
            Self::Plan => "plan",
            Self::Sleep => "sleep",
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Promote => "promote",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What to do with the traffic when probes fail after prod was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// Send it back.
    #[default]
    Rollback,
    /// Leave it on the new side and report it.
    Hold,
}

/// A request, complete with defaults. [`Request::parse`] makes one from an event; a Rust caller starts from
/// `Request::default()` and calls [`Request::check`] at the end. Serialized, it is an event again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// The environment that becomes prod; the idle one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Color>,
    /// Idempotency id: a second request with the same id returns the stored outcome. Generated if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Refuse the request if prod is another environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Color>,
    /// The caller, for the record and the history: free text of at most 256 bytes, which is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Refuse the request after this time (RFC 3339) by the clock of the ledger's store, so that an event that waited
    /// too long in a queue has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The probes of prod.
    pub probe: ProbeOptions,
    /// The probes of the target environment before any write.
    pub gate: GateOptions,
    /// Minimum time from the last write until only the new version is accepted: `settle_ms`, 0–60000, default 1000. The
    /// load balancer may take longer; see `settle_limit`.
    #[serde(rename = "settle_ms", serialize_with = "as_ms")]
    pub settle: Duration,
    /// Maximum time until the load balancer follows a write: `settle_limit_ms`, 1000–600000, default 60000. Until an
    /// address has answered with the new version several times in a row, a response of the old one is not a failure. A
    /// run that cannot roll back waits for the same time until the old side is healthy.
    #[serde(rename = "settle_limit_ms", serialize_with = "as_ms", skip_serializing_if = "is_default_limit")]
    pub settle_limit: Duration,
    /// Allow a rollback to a release other than the one that was live, and a reconcile to use `to` as the intended prod
    /// regardless of the ledger.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// What to do when probes fail after all of prod was moved. During a shift, the run always rolls back.
    pub on_fail: OnFail,
    /// A shift: the steps in which the new side gets a percentage of prod's requests before it gets all of them;
    /// without steps, it gets all at once. `[{"weight": 10, "hold_ms": 30000}, …]`: at most 10 steps with increasing
    /// weights from 1 to 99, each held for 0–840000 ms (default 30000). Probes continue during the shift: either
    /// version may answer, and when the failure budget is exceeded, all requests go back to the old side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shift: Vec<ShiftStep>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            op: Op::default(),
            to: None,
            id: None,
            expect: None,
            by: None,
            not_after: None,
            probe: ProbeOptions::default(),
            gate: GateOptions::default(),
            settle: Duration::from_secs(1),
            settle_limit: Duration::from_mins(1),
            force: false,
            on_fail: OnFail::default(),
            shift: Vec::new(),
        }
    }
}

/// One step of a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShiftStep {
    /// The percentage of prod's requests that the new side gets, 1–99.
    pub weight: u8,
    /// Time until the next step: `hold_ms`, 0–840000, default 30000.
    #[serde(rename = "hold_ms", serialize_with = "as_ms")]
    pub hold: Duration,
}

impl ShiftStep {
    /// Default time of a step.
    pub const HOLD: Duration = Duration::from_secs(30);
}

/// The probes of prod. Default: 150 probes, one every 100 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeOptions {
    /// Path to request. If absent: the default of the function, or `/` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Total number of probes, 1–3000, default 150.
    pub count: u32,
    /// Time between two probes: `interval_ms`, 20–5000, default 100.
    #[serde(rename = "interval_ms", serialize_with = "as_ms")]
    pub interval: Duration,
    /// Maximum time from the scheduled time of a probe until its response is complete: `timeout_ms`, 100–10000,
    /// default 2000.
    #[serde(rename = "timeout_ms", serialize_with = "as_ms")]
    pub timeout: Duration,
    /// Status codes that are a success. If absent: the default of the function, or 200–299 if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<StatusSet>,
    /// Failure budget: failed probes that the run tolerates, default 0.
    pub max_failures: u32,
    /// Number of probes before the first write, default 10; must be less than `count`.
    pub baseline: u32,
    /// The version that must answer after settle.
    pub version: VersionExpectation,
    /// Maximum response time (p99) of the probes that verify the new side: `max_p99_ms`, 1–10000; not checked if
    /// absent.
    #[serde(rename = "max_p99_ms", skip_serializing_if = "Option::is_none", serialize_with = "as_ms_if_any")]
    pub max_p99: Option<Duration>,
    /// Maximum median latency of the new side in percent of prod's before, 100–10000; not checked if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_slowdown: Option<u32>,
    /// Maximum probes in progress at the same time, 1–512, default 128. A probe beyond this limit is not sent and
    /// fails.
    pub max_in_flight: u32,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            path: None,
            count: 150,
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(2),
            ok: None,
            max_failures: 0,
            baseline: 10,
            version: VersionExpectation::default(),
            max_p99: None,
            max_slowdown: None,
            max_in_flight: 128,
        }
    }
}

/// The version that must answer after settle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VersionExpectation {
    /// Response header with the version; `app.version_header` of the stack if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Its expected value; if absent, the value that the target environment returned at the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The probes of the target environment before any write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateOptions {
    /// Probes through the dev listener's header rule, 0–100, default 5; all must succeed.
    pub count: u32,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self { count: 5 }
    }
}

/// A set of HTTP status codes. In JSON an array of codes and of inclusive ranges such as `"200-299"`. As a text, codes and
/// ranges with commas between them, such as `200-299,304`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

impl StatusSet {
    /// The codes in these ranges.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        Self(ranges.into_iter().collect())
    }

    /// Whether the set holds this code.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// The codes from the first to the last one; `None` if they are not status codes in this order.
fn codes(first: u64, last: u64) -> Option<RangeInclusive<u16>> {
    let code = |number| u16::try_from(number).ok().filter(|code| limits::STATUS.contains(&u32::from(*code)));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some(first..=last)
}

impl Default for StatusSet {
    fn default() -> Self {
        Self::new([200..=299])
    }
}

/// A text that is not a set of HTTP status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status codes must be 100 to 599, such as 200-299,304")]
pub struct InvalidStatusSet;

impl FromStr for StatusSet {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, InvalidStatusSet> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            codes(first.trim().parse().ok()?, last.trim().parse().ok()?)
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self::new).ok_or(InvalidStatusSet)
    }
}

impl Serialize for StatusSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|range| {
            if range.start() == range.end() {
                Value::from(*range.start())
            } else {
                Value::from(format!("{}-{}", range.start(), range.end()))
            }
        }))
    }
}

/// An invalid field of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RequestError {
    /// The field, such as `probe.count`; `event` for the whole event.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RequestError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Request {
    /// Parses an event. It must say what to do, with `op` or `to`; every other field is optional. An unknown field or a
    /// value out of range is an error that names the field.
    pub fn parse(event: &Value) -> Result<Self, RequestError> {
        let request = Self::read(event, true)?;
        let says = |name| event.get(name).is_some_and(|value| !value.is_null());
        if says("op") || says("to") {
            return Ok(request);
        }
        Err(RequestError::new("op", "it is missing: the event must say what to do, with op or to"))
    }

    fn read(event: &Value, strict: bool) -> Result<Self, RequestError> {
        let defaults = Self::default();
        let mut event = Fields::of("", event, strict)?;
        let request = Self {
            op: event.name("op", &Op::ALL.map(|op| (op.as_str(), op)))?.unwrap_or_default(),
            to: event.name("to", &COLORS)?,
            id: event.text("id", limits::ID)?,
            expect: event.name("expect", &COLORS)?,
            by: event.text("by", limits::BY)?,
            not_after: event.timestamp("not_after")?,
            probe: event.object("probe", parse_probe)?.unwrap_or_default(),
            gate: event.object("gate", parse_gate)?.unwrap_or_default(),
            settle: event.duration("settle_ms", &limits::SETTLE_MS)?.unwrap_or(defaults.settle),
            settle_limit: event.duration("settle_limit_ms", &limits::SETTLE_LIMIT_MS)?.unwrap_or(defaults.settle_limit),
            force: event.flag("force")?.unwrap_or_default(),
            on_fail: event
                .name("on_fail", &[("rollback", OnFail::Rollback), ("hold", OnFail::Hold)])?
                .unwrap_or_default(),
            shift: event.objects("shift", &limits::SHIFT_STEPS, parse_step)?.unwrap_or_default(),
        };
        event.finish()?;
        request.check()?;
        Ok(request)
    }

    /// Checks the limits that the type does not guarantee.
    pub fn check(&self) -> Result<(), RequestError> {
        let probe = &self.probe;
        for (field, value, limits) in [
            ("probe.count", probe.count, &limits::COUNT),
            ("probe.interval_ms", whole_ms(probe.interval), &limits::INTERVAL_MS),
            ("probe.timeout_ms", whole_ms(probe.timeout), &limits::TIMEOUT_MS),
            ("probe.max_failures", probe.max_failures, &limits::MAX_FAILURES),
            ("probe.baseline", probe.baseline, &limits::BASELINE),
            ("probe.max_in_flight", probe.max_in_flight, &limits::MAX_IN_FLIGHT),
            ("gate.count", self.gate.count, &limits::GATE),
            ("settle_ms", whole_ms(self.settle), &limits::SETTLE_MS),
            ("settle_limit_ms", whole_ms(self.settle_limit), &limits::SETTLE_LIMIT_MS),
        ] {
            fields::in_range(field, u64::from(value), limits)?;
        }
        if let Some(limit) = probe.max_p99 {
            fields::in_range("probe.max_p99_ms", u64::from(whole_ms(limit)), &limits::MAX_P99_MS)?;
        }
        if let Some(limit) = probe.max_slowdown {
            fields::in_range("probe.max_slowdown", u64::from(limit), &limits::MAX_SLOWDOWN)?;
        }
        if probe.baseline >= probe.count {
            let problem = format!(
                "{} is too many: at least one of {} probes must remain for after the swap",
                probe.baseline, probe.count
            );
            return Err(RequestError::new("probe.baseline", problem));
        }
        if self.by.as_ref().is_some_and(|by| by.len() > limits::BY || by.chars().any(char::is_control)) {
            let problem = format!("it has more than {} bytes, or contains control characters", limits::BY);
            return Err(RequestError::new("by", problem));
        }
        self.check_shift()?;
        check_path(probe.path.as_deref())?;
        check_header(&probe.version)?;
        check_id(self.id.as_deref())
    }

    fn check_shift(&self) -> Result<(), RequestError> {
        if self.shift.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(self.shift.len()).unwrap_or(u64::MAX);
        fields::in_range("shift", count, &limits::SHIFT_STEPS)?;
        let mut before = 0;
        for (position, step) in self.shift.iter().enumerate() {
            let weight = format!("shift[{position}].weight");
            fields::in_range(&weight, step.weight.into(), &limits::SHIFT_WEIGHT)?;
            if step.weight <= before {
                let problem = format!("{} is not greater than {before}, the weight of the step before", step.weight);
                return Err(RequestError::new(weight, problem));
            }
            before = step.weight;
            let hold = whole_ms(step.hold);
            fields::in_range(&format!("shift[{position}].hold_ms"), hold.into(), &limits::SHIFT_HOLD_MS)?;
        }
        let held = self.held() + self.settle;
        let probes = held.as_millis() / self.probe.interval.as_millis().max(1) + u128::from(self.probe.count);
        if probes > u128::from(*limits::SERIES.end()) {
            let problem = format!(
                "the holds are so long that {probes} probes would be sent; the limit is {}; increase probe.interval_ms",
                limits::SERIES.end()
            );
            return Err(RequestError::new("shift", problem));
        }
        Ok(())
    }

    /// The total hold time of all steps of the shift.
    pub fn held(&self) -> Duration {
        self.shift.iter().map(|step| step.hold).sum()
    }

    /// The id: the caller's, or a new one that sorts by time (UUID version 7).
    pub fn id_or_new(&self) -> String {
        self.id.clone().unwrap_or_else(new_id)
    }
}

/// A new id that sorts by time (UUID version 7).
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

const COLORS: [(&str, Color); 2] = [("blue", Color::Blue), ("green", Color::Green)];

fn parse_probe(mut fields: Fields<'_>) -> Result<ProbeOptions, RequestError> {
    let defaults = ProbeOptions::default();
    let count = fields.number("count", &limits::COUNT)?.unwrap_or(defaults.count);
    let options = ProbeOptions {
        path: fields.text("path", limits::TEXT)?,
        count,
        interval: fields.duration("interval_ms", &limits::INTERVAL_MS)?.unwrap_or(defaults.interval),
        timeout: fields.duration("timeout_ms", &limits::TIMEOUT_MS)?.unwrap_or(defaults.timeout),
        ok: fields.statuses("ok")?,
        max_failures: fields.number("max_failures", &limits::MAX_FAILURES)?.unwrap_or_default(),
        // A short run has a short baseline, so that {"probe":{"count":5}} works.
        baseline: fields.number("baseline", &limits::BASELINE)?.unwrap_or_else(|| defaults.baseline.min(count / 2)),
        version: fields.object("version", parse_version)?.unwrap_or_default(),
        max_p99: fields.duration("max_p99_ms", &limits::MAX_P99_MS)?,
        max_slowdown: fields.number("max_slowdown", &limits::MAX_SLOWDOWN)?,
        max_in_flight: fields.number("max_in_flight", &limits::MAX_IN_FLIGHT)?.unwrap_or(defaults.max_in_flight),
    };
    fields.finish()?;
    Ok(options)
}

/// The probe options of a lifecycle hook, which has no baseline.
pub(crate) fn parse_hook_probe(value: &Value) -> Result<ProbeOptions, RequestError> {
    let given = value.as_object().is_some_and(|fields| fields.contains_key("count"));
    let mut options = parse_probe(Fields::of("probe", value, true)?)?;
    options.baseline = 0;
    if !given {
        options.count = crate::hook::COUNT;
    }
    check_path(options.path.as_deref())?;
    check_header(&options.version)?;
    Ok(options)
}

fn parse_version(mut fields: Fields<'_>) -> Result<VersionExpectation, RequestError> {
    let version =
        VersionExpectation { header: fields.text("header", limits::TEXT)?, value: fields.text("value", limits::TEXT)? };
    fields.finish()?;
    Ok(version)
}

fn parse_step(mut fields: Fields<'_>) -> Result<ShiftStep, RequestError> {
    let weight = fields.number("weight", &limits::SHIFT_WEIGHT)?;
    let hold = fields.duration("hold_ms", &limits::SHIFT_HOLD_MS)?.unwrap_or(ShiftStep::HOLD);
    let weight = weight.and_then(|weight| u8::try_from(weight).ok()).ok_or_else(|| fields.missing("weight"))?;
    fields.finish()?;
    Ok(ShiftStep { weight, hold })
}

fn parse_gate(mut fields: Fields<'_>) -> Result<GateOptions, RequestError> {
    let count = fields.number("count", &limits::GATE)?;
    fields.finish()?;
    Ok(count.map_or_else(GateOptions::default, |count| GateOptions { count }))
}

fn check_path(path: Option<&str>) -> Result<(), RequestError> {
    let bad = |byte: u8| byte <= b' ' || byte >= 0x7f || byte == b'#';
    match path {
        Some(path) if !path.starts_with('/') || path.starts_with("//") || path.bytes().any(bad) => {
            Err(RequestError::new(
                "probe.path",
                "it must start with a single / and contain only visible ASCII characters, without #",
            ))
        }
        _ => Ok(()),
    }
}

fn check_header(version: &VersionExpectation) -> Result<(), RequestError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match &version.header {
        Some(name) if name.is_empty() || !name.bytes().all(token) => {
            Err(RequestError::new("probe.version.header", "it is not a valid header name"))
        }
        _ => Ok(()),
    }
}

fn check_id(id: Option<&str>) -> Result<(), RequestError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match id {
        Some(id) if id.is_empty() || id.len() > limits::ID || !id.bytes().all(allowed) => {
            let problem = format!("it must be 1–{} letters, digits, - or _", limits::ID);
            Err(RequestError::new("id", problem))
        }
        _ => Ok(()),
    }
}

/// Milliseconds, rounded up.
fn whole_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// A default limit is not serialized, because functions of older versions do not know the field.
fn is_default_limit(limit: &Duration) -> bool {
    *limit == Request::default().settle_limit
}

#[expect(clippy::ref_option, reason = "serde requires this signature")]
fn as_ms_if_any<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(whole_ms).serialize(serializer)
}

fn as_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(whole_ms(*duration))
}

/// For records: fields of newer versions are ignored.
impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?, false).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
