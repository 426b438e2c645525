//! A run as a picture needs it: points, marks and bands on one axis of time. Must not know how it is drawn.

use model::record::{Failure, ListenerWrite, Sample, Step, StepKind};
use model::route::Listener;
use model::{Color, Phase, Record};

use super::Run;

/// A run on its axis of time, in milliseconds from its begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The end of the axis.
    pub end_ms: f64,
    /// The probes of prod, in the order in which they were due.
    pub points: Vec<Point>,
    /// The writes of listeners.
    pub writes: Vec<Write>,
    /// The phases, one after the other.
    pub bands: Vec<Band>,
    /// The side that was prod before.
    pub old: Side,
    /// The side that was to become prod.
    pub new: Side,
    /// Whether the run is in progress.
    pub running: bool,
    /// Whether `points` are all probes, not only those that failed.
    pub whole: bool,
}

/// One side of a cutover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Its environment.
    pub color: Option<Color>,
    /// The version that it answers.
    pub version: Option<String>,
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was due.
    pub at_ms: f64,
    /// From when it was due to its last byte.
    pub latency_ms: f64,
    /// Who answered.
    pub answer: Answer,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// The side that responded to a probe, according to its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The side that was prod before.
    Old,
    /// The side that was to become prod.
    New,
    /// No response, or a version of neither side.
    Unknown,
}

/// A write of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// When it was begun.
    pub at_ms: f64,
    /// Such as `prod → blue`.
    pub label: String,
    /// Whether it is prod's, not dev's.
    pub prod: bool,
    /// Its target afterwards.
    pub color: Color,
}

/// A phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// When it began.
    pub from_ms: f64,
    /// When it ended.
    pub to_ms: f64,
    /// Its name for people.
    pub name: &'static str,
}

impl Timeline {
    /// The timeline of a run, finished or not.
    #[expect(clippy::cast_precision_loss, reason = "a run lasts minutes, not thousands of years")]
    pub fn of(run: &Run) -> Self {
        let record = &run.record;
        let (samples, whole) = samples(run);
        let points: Vec<Point> = samples.iter().map(|sample| point(sample, record)).collect();
        let last = points.iter().map(|point| point.at_ms).fold(0.0, f64::max);
        Self {
            end_ms: (record.duration_ms as f64).max(last).max(1.0),
            writes: writes(record),
            bands: bands(record),
            old: Side { color: record.from, version: record.versions.old.clone() },
            new: Side { color: record.to, version: record.versions.new.clone() },
            running: record.is_running(),
            points,
            whole,
        }
    }

    /// Whether the two sides respond with different versions.
    pub fn tells_sides(&self) -> bool {
        self.old.version.is_some() && self.new.version.is_some() && self.old.version != self.new.version
    }
}

/// The probes that are known one by one, and whether these are all.
fn samples(run: &Run) -> (Vec<Sample>, bool) {
    match (&run.samples, &run.record.probes) {
        (Some(samples), _) => (samples.decode(), true),
        (None, Some(probes)) => {
            let whole = u32::try_from(probes.failures.len()) == Ok(probes.counts.due);
            (probes.failures.clone(), whole)
        }
        (None, None) => (Vec::new(), true),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes fit")]
fn point(sample: &Sample, record: &Record) -> Point {
    let latency_us = sample.done_us.saturating_sub(sample.scheduled_us);
    Point {
        at_ms: sample.scheduled_us as f64 / 1000.0,
        latency_ms: latency_us as f64 / 1000.0,
        answer: answer(sample.version.as_deref(), record),
        failure: sample.failure,
    }
}

fn answer(version: Option<&str>, record: &Record) -> Answer {
    let (old, new) = (record.versions.old.as_deref(), record.versions.new.as_deref());
    match version {
        Some(_) if old == new => Answer::Unknown,
        Some(version) if new == Some(version) => Answer::New,
        Some(version) if old == Some(version) => Answer::Old,
        _ => Answer::Unknown,
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes fit")]
fn writes(record: &Record) -> Vec<Write> {
    let write = |write: &ListenerWrite| {
        let share = if write.weight < 100 { format!("{} % ", write.weight) } else { String::new() };
        Write {
            at_ms: write.start_us as f64 / 1000.0,
            label: format!("{} → {share}{}", write.listener.as_str(), write.to),
            prod: write.listener == Listener::Prod,
            color: write.to,
        }
    };
    record.writes.iter().map(write).collect()
}

/// What people call a part of a run, by the phase it begins with.
fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Baseline => "before",
        Phase::SwapDev | Phase::SwapProd => "swap",
        Phase::Shift => "shift",
        Phase::Settle => "settle",
        Phase::Verify => "verify",
        Phase::RollBack => "rollback",
        _ => "prepare",
    }
}

/// The phase that a step belongs to, after the phase of the step before it.
fn phase_of(step: &Step, before: Phase) -> Phase {
    match step.kind() {
        Some(StepKind::Baseline) => Phase::Baseline,
        Some(StepKind::Settle) => Phase::Settle,
        Some(StepKind::Verify) => Phase::Verify,
        Some(StepKind::Write) if before >= Phase::Settle => Phase::RollBack,
        Some(StepKind::Write) => Phase::SwapProd,
        _ => before,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run lasts minutes")]
fn bands(record: &Record) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut phase = Phase::Locked;
    for step in &record.steps {
        phase = phase_of(step, phase);
        let from_ms = step.start_ms as f64;
        match bands.last_mut() {
            Some(last) if last.name == name(phase) => {}
            last => {
                if let Some(last) = last {
                    last.to_ms = from_ms;
                }
                let from_ms = if bands.is_empty() { 0.0 } else { from_ms };
                bands.push(Band { from_ms, to_ms: from_ms, name: name(phase) });
            }
        }
    }
    if let Some(last) = bands.last_mut() {
        last.to_ms = record.duration_ms as f64;
    }
    bands
}
