//! What a report says in rows, the same for every format. Must not know a format.

use model::Record;
use model::record::{AddressLag, Connection, Percentiles, Sample};
use model::request::OnFail;

use super::text::{clean, count, ms, offset};
use super::{Place, Run};

/// A name and its value.
pub type Fact = (&'static str, String);

/// Latency before, during and after, if there are probes.
pub fn latencies(record: &Record) -> Vec<(&'static str, Percentiles)> {
    let Some(probes) = &record.probes else { return Vec::new() };
    [("before", probes.before), ("during", probes.during), ("after", probes.after)]
        .into_iter()
        .filter(|(_, percentiles)| percentiles.count > 0)
        .collect()
}

/// What was done: when, for how long, what, and what came of it.
pub fn steps(record: &Record) -> Vec<[String; 4]> {
    let row = |step: &model::record::Step| {
        #[expect(clippy::cast_precision_loss, reason = "a run lasts minutes")]
        let took = |end: u64| ms(end.saturating_sub(step.start_ms) as f64);
        [
            offset(step.start_ms),
            step.end_ms.map_or_else(|| "in progress".to_owned(), took),
            clean(&step.name),
            step.note.as_deref().map_or_else(String::new, clean),
        ]
    };
    record.steps.iter().map(row).collect()
}

/// The heads of the columns of failed probes.
pub const FAILURE: [&str; 7] = ["number", "at", "took", "connection", "address", "answer", "why"];

/// The failed probes that the record holds whole, in the columns of [`FAILURE`].
pub fn failures(record: &Record) -> Vec<[String; 7]> {
    let Some(probes) = &record.probes else { return Vec::new() };
    let row = |sample: &Sample| {
        let [number, at, took, connection, answer, why] = failure(sample);
        [number, at, took, connection, clean(&sample.address), answer, why]
    };
    probes.failures.iter().map(row).collect()
}

/// A failed probe: number, when, how long, connection, answer, why.
pub fn failure(sample: &Sample) -> [String; 6] {
    let latency_us = sample.done_us.saturating_sub(sample.scheduled_us);
    let status = sample.status.map(|status| status.to_string());
    let version = sample.version.as_deref().map(|version| format!("version {}", clean(version)));
    let answer: Vec<String> = status.into_iter().chain(version).collect();
    let why = sample.failure.map_or_else(String::new, |failure| failure.to_string());
    #[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
    let took = ms(latency_us as f64 / 1000.0);
    [
        sample.sequence.to_string(),
        offset(sample.scheduled_us / 1000),
        took,
        match sample.connection {
            Connection::KeptAlive => "kept alive".to_owned(),
            Connection::Fresh => "new".to_owned(),
        },
        if answer.is_empty() { "none".to_owned() } else { answer.join(", ") },
        sample.detail.as_deref().map_or(why.clone(), |detail| format!("{why}: {}", clean(detail))),
    ]
}

/// The results of the probes except their latency.
pub fn probing(record: &Record) -> Vec<Fact> {
    let Some(probes) = &record.probes else { return Vec::new() };
    let counts = probes.counts;
    let mut facts = vec![
        (
            "probes",
            format!("{} due, {} sent, {} failed, {} sent late", counts.due, counts.sent, counts.failed, counts.late),
        ),
        (
            "connections",
            format!(
                "{} kept alive ({} failed), {} new ({} failed)",
                probes.kept_alive.due, probes.kept_alive.failed, probes.fresh.due, probes.fresh.failed
            ),
        ),
    ];
    let switch = [
        ("first response of the new version", probes.first_new_ms),
        ("last response of the old version", probes.last_old_ms),
    ];
    facts.extend(switch.into_iter().filter_map(|(name, at)| Some((name, offset(at?)))));
    if probes.first_new_ms.is_some() {
        facts.push(match probes.flip_flops {
            0 => ("switch", "clean: no response of the old version after the first of the new".to_owned()),
            times => ("switch", format!("old response after a new one {}", count(times, "time"))),
        });
    }
    if !probes.addresses.is_empty() {
        facts.push(("addresses probed", clean(&probes.addresses.join(", "))));
    }
    let lag = [("lag of the load balancer", &probes.lag), ("lag during the rollback", &probes.lag_back)];
    facts.extend(lag.into_iter().filter(|(_, lag)| !lag.is_empty()).map(|(name, lag)| (name, lag_summary(lag))));
    facts
}

/// How long each address of the load balancer took to follow a write of prod.
pub fn lag_summary(lag: &[AddressLag]) -> String {
    let each = lag.iter().map(|lag| {
        let address = clean(&lag.address);
        match (lag.followed_ms, lag.last_old_ms) {
            (Some(followed), None) => format!("{address} followed within {}", offset(followed)),
            (Some(followed), Some(last)) => {
                format!(
                    "{address} followed within {}, its last old response came after {}",
                    offset(followed),
                    offset(last)
                )
            }
            (None, _) => format!("{address} did not follow"),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

/// The run: who, when, where.
pub fn run(run: &Run, place: &Place) -> Vec<Fact> {
    let record = &run.record;
    let color = |color: Option<model::Color>| color.map_or("–", |color| color.as_str());
    let version = |version: &Option<String>| version.as_deref().map_or_else(|| "–".to_owned(), clean);
    let side = |of: Option<model::Color>, label: &Option<String>, release: Option<u64>| {
        let release = release.map_or_else(String::new, |number| format!(", release {number}"));
        format!("{}, version {}{release}", color(of), version(label))
    };
    let mut facts = vec![
        ("run", clean(&record.id)),
        ("outcome", record.outcome.map_or("in progress", |outcome| outcome.as_str()).to_owned()),
        ("operation", record.op.as_str().to_owned()),
        ("from", side(record.from, &record.versions.old, record.releases.old)),
        ("to", side(record.to, &record.versions.new, record.releases.new)),
        ("traffic now", format!("prod {}, dev {}", color(record.prod), color(record.dev))),
        ("began", record.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ("took", offset(record.duration_ms)),
    ];
    if let Some(changed) = run.changed.as_deref().filter(|changed| !changed.is_empty()) {
        facts.push(("settings that differ", clean(&changed.join(", "))));
    }
    let place = [("stack", &place.stack), ("region", &place.region), ("prod", &place.prod_url)];
    facts.extend(place.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, clean(value))));
    if let Some(by) = &record.recovered_by {
        facts.push(("reconciled by run", clean(by)));
    }
    if !record.recovered.is_empty() {
        facts.push(("reconciled first", clean(&record.recovered.join(", "))));
    }
    facts
}

/// The request as it was understood.
pub fn request(record: &Record) -> Vec<Fact> {
    let request = &record.request;
    let probe = &request.probe;
    let path = probe.path.as_deref().map_or_else(|| "the setting of the stack".to_owned(), clean);
    let value = probe.version.value.as_deref().map_or_else(|| "the version at the gate".to_owned(), clean);
    vec![
        ("probes", format!("{} of path {path}", probe.count)),
        ("every", format!("{} ms", probe.interval.as_millis())),
        ("timeout", format!("{} ms", probe.timeout.as_millis())),
        ("baseline", probe.baseline.to_string()),
        ("tolerated failures", probe.max_failures.to_string()),
        ("expected version", value),
        ("gate", count(request.gate.count, "probe")),
        (
            "settling",
            format!("at least {} ms, at most {} s", request.settle.as_millis(), request.settle_limit.as_secs()),
        ),
        (
            "on failure",
            match request.on_fail {
                OnFail::Rollback => "roll back".to_owned(),
                OnFail::Hold => "hold".to_owned(),
            },
        ),
    ]
}
