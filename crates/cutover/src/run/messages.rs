//! What a run says: what happened, where traffic is, what to do next. Must not know how it found out.

use crate::machine::{Reason, Route, State};
use model::Color;
use model::record::{Failure, Outcome, Phase, Record, Sample};
use model::request::Op;

/// What a run is doing now.
pub(super) fn progress(state: &State) -> String {
    let (from, to) = state.swap();
    let (from, to) = (name(from), name(to));
    match state.phase() {
        Phase::Idle | Phase::Locked => "It takes the lease.".to_owned(),
        Phase::Recover => "It puts an interrupted run right.".to_owned(),
        Phase::Preflight => "It reads listeners, services and health.".to_owned(),
        Phase::Gate => format!("It probes {to} through the dev listener."),
        Phase::Baseline => format!("It probes prod, still {from}."),
        Phase::SwapDev => format!("It points dev at {from}."),
        Phase::Shift if state.is_paused() => {
            "It is paused: prod stays split until it is promoted or aborted.".to_owned()
        }
        Phase::Shift => match state.listeners().0 {
            Some(split @ Route::Split { .. }) => format!("Prod is split: {split}; either may answer."),
            _ => format!("It gives {to} its share of prod, the rest stays on {from}."),
        },
        Phase::SwapProd => format!("It points prod at {to}."),
        Phase::Settle => format!("Prod is {to}; it lets the load balancer follow."),
        Phase::Verify => format!("Prod is {to}; only {to} may answer now."),
        Phase::RollBack => format!("It goes back to {from}."),
        Phase::Confirm => "It reads the listeners once more.".to_owned(),
        Phase::Done | Phase::RolledBack | Phase::Held | Phase::Refused | Phase::Failed => "It ends.".to_owned(),
    }
}

/// What a run saw, beside what is in its state and its record.
pub(super) struct Seen<'a> {
    /// What had gone wrong when the machine gave its reason.
    pub(super) cause: Option<&'a str>,
    /// What runs where a rollback would go, if that was never live.
    pub(super) replaced: Option<&'a str>,
    /// The addresses that did not follow in time, and whether on the way back.
    pub(super) behind: Option<&'a (bool, Vec<String>)>,
    /// Why the side that traffic was to go to could not take it.
    pub(super) unhealthy: Option<&'a str>,
    /// The newest probe of prod.
    pub(super) now: Option<Sample>,
}

/// How a run ended, and what to do next.
pub(super) fn verdict(state: &State, outcome: Outcome, seen: &Seen<'_>, record: &Record) -> (String, Option<String>) {
    let why = why(state, seen, record);
    let (prod, dev) = state.listeners();
    let (from, to) = (name(record.from), name(record.to));
    match outcome {
        Outcome::Done => (done(state, record, seen), None),
        Outcome::Noop if record.op == Op::Reconcile => {
            ("Everything was consistent; nothing was written.".to_owned(), None)
        }
        Outcome::Noop if record.op == Op::Rollback => {
            (format!("{to} is prod already: the last cutover was taken back; nothing was written."), None)
        }
        Outcome::Noop => (format!("{to} is prod already; nothing was written."), None),
        Outcome::Planned => (planned(record), None),
        Outcome::RolledBack => {
            let hint = match state.reason() {
                Some(Reason::Aborted | Reason::DeadlineNear) => None,
                Some(Reason::ProbesFailed) if is_late(record) => Some(format!(
                    "Nothing is known against {to}: the load balancer was slow. Ask again, with a longer settle_limit_ms if \
                     it stays so."
                )),
                Some(Reason::NotSettled) => Some("Ask again: the load balancer was slow.".to_owned()),
                _ => Some(format!("Find out what is wrong with {to}: it can be reached on dev.")),
            };
            let back = match seen.behind {
                Some((true, behind)) => format!(
                    "prod is sent back to {from}, but {} did not follow within {} s; dev is {}",
                    behind.join(", "),
                    record.request.settle_limit.as_secs(),
                    name(dev)
                ),
                _ => format!("traffic is back on {from}, dev is {}", name(dev)),
            };
            (format!("{why}; {back}."), hint)
        }
        Outcome::Held => (
            format!(
                "Held: prod is on {}{}; {}. It began so: {why}.",
                route(prod),
                answers(record, seen),
                not_back(state, record, seen)
            ),
            Some(format!("Repair either side; then roll back to {from}, or cut over again.")),
        ),
        Outcome::Refused if record.recovered.is_empty() => {
            (format!("Refused: {why}; nothing was written."), hint(state.reason(), &to))
        }
        Outcome::Refused => (
            format!(
                "Run {} had been interrupted and was put right: {} is prod and {} is dev. Then refused: {why}; nothing \
                 else was written.",
                record.recovered.join(", "),
                route(prod),
                name(dev)
            ),
            hint(state.reason(), &to),
        ),
        Outcome::Failed => (
            format!("{why}; prod points at {}, dev at {}, as far as known.", route(prod), name(dev)),
            Some("Run reconcile when the load balancer and the ledger can be reached.".to_owned()),
        ),
    }
}

fn planned(record: &Record) -> String {
    let request = &record.request;
    let side = |color: Option<Color>, version: Option<&String>| match version {
        Some(version) => format!("{} (version {version})", name(color)),
        None => name(color),
    };
    let (from, to) = (name(record.from), name(record.to));
    let steps = request
        .shift
        .iter()
        .map(|step| format!("give {to} {} % of prod for {} s", step.weight, step.hold.as_secs_f64()));
    let mut swaps = vec![format!("point dev at {from}")];
    swaps.extend(steps);
    swaps.push(format!("point prod at {to}"));
    format!(
        "A cutover from {} to {} would go ahead: {to} passed its gate and prod its baseline. It would {}, and send at \
         least {} probes in about {} s. Nothing was written.",
        side(record.from, record.versions.old.as_ref()),
        side(record.to, record.versions.new.as_ref()),
        swaps.join(", "),
        request.probe.count,
        super::budget::expected(request).as_secs_f64().ceil(),
    )
}

/// Whether the first probe that failed was answered by the side where prod had been: by the load balancer's doing.
fn is_late(record: &Record) -> bool {
    let failures = record.probes.as_ref().map(|probes| probes.failures.as_slice()).unwrap_or_default();
    let late = |sample: &Sample| sample.failure == Some(Failure::Version) && sample.version == record.versions.old;
    !failures.is_empty() && failures.iter().all(late)
}

/// What users of prod get.
fn answers(record: &Record, seen: &Seen<'_>) -> String {
    let version = record.versions.new.as_ref().map(|version| format!(" (version {version})")).unwrap_or_default();
    let now = match &seen.now {
        None => String::new(),
        Some(Sample { failure: None, .. }) => " and answers well".to_owned(),
        Some(Sample { failure: Some(Failure::Status), status: Some(status), .. }) => {
            format!(" and answers status {status}")
        }
        Some(Sample { failure: Some(failure), .. }) => format!(" and fails: {failure}"),
    };
    version + &now
}

/// Why traffic was not sent back.
fn not_back(state: &State, record: &Record, seen: &Seen<'_>) -> String {
    let from = name(record.from);
    match seen.unhealthy {
        Some(problem) => format!("it is not sent back to {from}: {problem}"),
        None if state.old_is_bad() => format!("it is not sent back to {from}, which was failing before"),
        None => format!("it is not sent back to {from}, as was asked"),
    }
}

fn done(state: &State, record: &Record, seen: &Seen<'_>) -> String {
    let (prod, dev) = state.listeners();
    let sides = format!("{} is prod and {} is dev", name(prod.and_then(Route::whole)), name(dev));
    let late = if state.abort_too_late() { " The abort came too late for that." } else { "" };
    let behind = match seen.behind {
        Some((_, behind)) => {
            format!(" {} did not follow within {} s.", behind.join(", "), record.request.settle_limit.as_secs())
        }
        None => String::new(),
    };
    match &record.probes {
        Some(probes) => {
            let untold =
                if record.versions.seen.is_none() { "; by status only, as no answer tells a version" } else { "" };
            format!("{sides}: {} probes, {} failed{untold}.{behind}{late}", probes.counts.due, probes.counts.failed)
        }
        None if record.recovered.is_empty() => format!("{sides} now."),
        None if record.op == Op::Rollback => {
            format!("Run {}, which was interrupted, is taken back: {sides}.", record.recovered.join(", "))
        }
        None => format!("{sides}; run {} was put right.", record.recovered.join(", ")),
    }
}

fn why(state: &State, seen: &Seen<'_>, record: &Record) -> String {
    let cause = seen.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    let to = name(record.to);
    match state.reason() {
        None => "It ended early".to_owned(),
        Some(Reason::LeaseHeld) => cause.strip_prefix(": ").unwrap_or("someone else holds the lease").to_owned(),
        Some(Reason::LedgerDown) => format!("the ledger cannot be used{cause}"),
        Some(Reason::ListenersNotUnderstood) => format!("the listeners are not understood{cause}"),
        Some(Reason::NoRule) => "prod has no rule: nothing was released yet, or somebody deleted it".to_owned(),
        Some(Reason::Split) => format!("prod is split, and nothing is under way that split it{cause}"),
        Some(Reason::NotExpected) => {
            format!("prod is {}, not {} as expected", name(record.prod), name(record.request.expect))
        }
        Some(Reason::NoWayBack) => "there is no cutover to go back from".to_owned(),
        Some(Reason::Replaced) => seen.replaced.unwrap_or("another release runs there now").to_owned(),
        Some(Reason::NoVersion) => format!("{to} tells no version{cause}"),
        Some(Reason::NotRead) => format!("AWS did not answer{cause}"),
        Some(Reason::NotSettled) => format!("the load balancer does not follow the shift to {to}{cause}"),
        Some(Reason::TooSlow) => format!("{to} is too slow{cause}"),
        Some(Reason::Aborted) => "it was aborted".to_owned(),
        Some(Reason::Ineligible) => format!("{to} is not fit for traffic{cause}"),
        Some(Reason::GateFailed) => format!("{to} failed its gate{cause}"),
        Some(Reason::BaselineFailed) => format!("prod is failing already{cause}"),
        Some(Reason::ProbesFailed) => probes_failed(record),
        Some(Reason::DeadlineNear) => "the function's time is running out".to_owned(),
        Some(Reason::LeaseLost) => format!("the lease was lost{cause}"),
        Some(Reason::WriteRejected) => format!("the load balancer refused a write{cause}"),
        Some(Reason::WriteUnknown) => format!("a write did not take effect{cause}"),
        Some(Reason::Unhealthy) => format!("a side has no healthy targets{cause}"),
        Some(Reason::WrongAnswer) => "an internal error stopped the run".to_owned(),
        Some(Reason::NotConfirmed) => format!("the listeners are not as they were written{cause}"),
    }
}

fn probes_failed(record: &Record) -> String {
    let Some(probes) = &record.probes else {
        return "probes failed".to_owned();
    };
    // It ended at the first one too many: their number would say nothing of a rate.
    match probes.failures.first() {
        Some(first) if record.request.probe.max_failures == 0 => format!("probe {first}"),
        Some(first) => {
            format!("more than {} probes failed, first {first}", record.request.probe.max_failures)
        }
        None => "probes failed".to_owned(),
    }
}

fn hint(reason: Option<Reason>, to: &str) -> Option<String> {
    let hint = match reason? {
        Reason::LeaseHeld => "Wait for it to end; a holder that was killed loses the lease within a minute.".to_owned(),
        Reason::LedgerDown => "Check the bucket and the function's permissions on it.".to_owned(),
        Reason::ListenersNotUnderstood => {
            "Each listener's rule must forward to one of the two target groups. Delete a rule that does not, then run \
             reconcile: it makes the rule again."
                .to_owned()
        }
        Reason::NoRule => {
            "Run reconcile: it makes the rule again from the ledger. For a first release name the environment in \
             `to`."
                .to_owned()
        }
        Reason::Split => "Run reconcile: it sends all of prod to the side that has more of it.".to_owned(),
        Reason::NotExpected => "Look at the status and ask again.".to_owned(),
        Reason::NoWayBack => "Name the environment to cut over to.".to_owned(),
        Reason::Replaced => format!(
            "Cut over to {to} to release what runs there, deploy the release that was live, or force the rollback."
        ),
        Reason::NoVersion => {
            "Let the service tell its version as before, or set version_header to nothing: then only the status counts."
                .to_owned()
        }
        Reason::NotRead => "Ask again.".to_owned(),
        Reason::Ineligible | Reason::GateFailed => format!("Deploy to {to}, or repair it; then ask again."),
        Reason::BaselineFailed => "Repair prod first; rollback goes ahead in spite of a failing prod.".to_owned(),
        Reason::DeadlineNear => "Send fewer probes, or give the function a longer timeout.".to_owned(),
        _ => return None,
    };
    Some(hint)
}

fn route(route: Option<Route>) -> String {
    route.map_or_else(|| "not known".to_owned(), |route| route.to_string())
}

fn name(color: Option<Color>) -> String {
    color.map_or_else(|| "not known".to_owned(), |color| color.to_string())
}
