//! What a run means for the people who asked for it: what happened, whether it is safe, and how sure that is.

use model::request::Op;
use model::{Color, Listener, Outcome, Record};

use super::text::{clean, count, offset, percent_up};

/// How good the news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As asked.
    Good,
    /// Nobody was harmed, and it is not as asked; or it is not known yet.
    Caution,
    /// Users may have seen failures, or an action is required.
    Bad,
}

impl Tone {
    /// Its name, as a class of the style sheet.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Caution => "caution",
            Self::Bad => "bad",
        }
    }
}

/// A verdict as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How good it is.
    pub tone: Tone,
    /// A sign that does not need a color.
    pub sign: &'static str,
    /// What happened, as a headline.
    pub headline: String,
    /// Whether users noticed, and how sure that is.
    pub safety: String,
    /// What to do next, if anything.
    pub next: Option<String>,
}

/// The verdict of a run.
pub fn of(record: &Record) -> Verdict {
    let (tone, sign) = match record.outcome {
        None if record.interrupted => (Tone::Bad, "✕"),
        None => (Tone::Caution, "…"),
        Some(Outcome::Done) if failed(record) > 0 => (Tone::Caution, "!"),
        Some(Outcome::Done | Outcome::Noop | Outcome::Planned) => (Tone::Good, "✓"),
        Some(Outcome::Refused) => (Tone::Caution, "–"),
        Some(Outcome::RolledBack) => (Tone::Bad, "↩"),
        Some(Outcome::Held | Outcome::Failed) => (Tone::Bad, "✕"),
    };
    let next = match &record.hint {
        None if record.interrupted => Some("repair the listeners: bluegreen reconcile".to_owned()),
        hint => hint.as_deref().map(clean),
    };
    Verdict { tone, sign, headline: headline(record), safety: safety(record), next }
}

fn failed(record: &Record) -> u32 {
    record.probes.as_ref().map_or(0, |probes| probes.counts.failed)
}

/// An environment with its version, if known: `blue (version 2)`.
fn side(color: Option<Color>, version: Option<&str>) -> String {
    let color = color.map_or("an unknown environment", Color::as_str);
    match version {
        Some(version) => format!("{color} (version {})", clean(version)),
        None => color.to_owned(),
    }
}

fn headline(record: &Record) -> String {
    let from = side(record.from, record.versions.old.as_deref());
    let to = side(record.to, record.versions.new.as_deref());
    let what = match record.op {
        Op::Rollback => "The rollback",
        Op::Reconcile => "The repair",
        _ => "The cutover",
    };
    match record.outcome {
        None if record.interrupted => format!("{what} from {from} to {to} was interrupted"),
        None => format!("{what} from {from} to {to} is in progress"),
        Some(Outcome::Done) if record.op == Op::Reconcile => "The listeners are correct".to_owned(),
        Some(Outcome::Done) => format!("Prod moved from {from} to {to}"),
        Some(Outcome::Noop) => "No change was needed".to_owned(),
        Some(Outcome::Planned) => format!("A cutover from {from} to {to} would start"),
        Some(Outcome::RolledBack) => format!("Rolled back: prod is {from} again, not {to}"),
        Some(Outcome::Held) => {
            let left = if record.prod == record.from { from } else { to };
            format!("Held: {} failed, and prod stays on {left}", what.to_lowercase())
        }
        Some(Outcome::Refused) => format!("{what} was refused"),
        Some(Outcome::Failed) => format!("{what} failed"),
    }
}

fn safety(record: &Record) -> String {
    let Some(probes) = &record.probes else {
        return if record.wrote {
            "Prod was not probed.".to_owned()
        } else {
            "No listener was changed: users were not moved.".to_owned()
        };
    };
    let counts = probes.counts;
    if counts.due == 0 {
        return "No probe was sent yet.".to_owned();
    }
    let all = count(counts.due, "probe");
    if !is_whole(record) {
        // A run that stops at its first failure shows no rate: what comes after that was not looked at.
        return first_failure(record).unwrap_or_else(|| format!("Prod responded to all of {all} so far."));
    }
    let sure = probes.bound95.map_or_else(String::new, |bound| {
        format!(" With 95 % confidence, fewer than {} of users' requests failed.", percent_up(bound))
    });
    if counts.failed > 0 {
        let share = f64::from(counts.failed) / f64::from(counts.due);
        return format!("{} of {all} failed ({}){}.{sure}", counts.failed, percent_up(share), window(record));
    }
    format!("Prod responded to all of {all}.{sure}")
}

/// Whether every probe that was planned was sent: only then does their number say how sure the verdict is.
pub fn is_whole(record: &Record) -> bool {
    matches!(record.outcome, Some(Outcome::Done | Outcome::Planned))
}

/// When prod first did not answer a probe as it should, and how.
fn first_failure(record: &Record) -> Option<String> {
    let probes = record.probes.as_ref()?;
    let first = probes.failures.iter().min_by_key(|sample| sample.scheduled_us);
    let Some(first) = first else {
        return (probes.counts.failed > 0).then(|| format!("Of the probes, {} failed.", probes.counts.failed));
    };
    let swapped = record.writes.iter().filter(|write| write.listener == Listener::Prod);
    let swapped = swapped.map(|write| write.start_us).find(|at| *at <= first.scheduled_us);
    let (when, since) = match swapped {
        Some(at) => (first.scheduled_us - at, "after the first change of prod"),
        None => (first.scheduled_us, "after the start of the run"),
    };
    let [_, _, _, connection, answer, why] = super::facts::failure(first);
    let answer = first.status.map_or_else(String::new, |_| format!(" ({answer})"));
    let address = clean(&first.address);
    let when = offset(when / 1000);
    Some(format!("The first failure came {when} {since}: {why}{answer}, on a {connection} connection to {address}."))
}

/// The period in which probes failed, if all failures are known.
fn window(record: &Record) -> String {
    let Some(probes) = &record.probes else { return String::new() };
    if u32::try_from(probes.failures.len()) != Ok(probes.counts.failed) {
        return String::new();
    }
    let first = probes.failures.iter().map(|sample| sample.scheduled_us).min();
    let last = probes.failures.iter().map(|sample| sample.done_us).max();
    match (first, last) {
        (Some(first), Some(last)) => {
            format!(", from {} to {} of the run", offset(first / 1000), offset(last / 1000))
        }
        _ => String::new(),
    }
}
