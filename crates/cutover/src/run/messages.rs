//! The messages of a run: what happened, where traffic is, and what to do next. Must not know how that was found out.

use super::executor::LateAddresses;
use crate::machine::{Reason, Route, State};
use model::Color;
use model::record::{Failure, Outcome, Phase, Record, Sample};
use model::request::Op;

/// What a run does now.
pub(super) fn progress(state: &State) -> String {
    let (from, to) = state.swap();
    let (from, to) = (name(from), name(to));
    match state.phase() {
        Phase::Idle | Phase::Locked => "Acquiring the lease.".to_owned(),
        Phase::Recover => "Recovering an interrupted run.".to_owned(),
        Phase::Preflight => "Reading listeners, services and health.".to_owned(),
        Phase::Gate => format!("Probing {to} through the dev listener."),
        Phase::Baseline => format!("Probing prod, which is still {from}."),
        Phase::SwapDev => format!("Pointing dev at {from}."),
        Phase::Shift if state.is_paused() => {
            "The shift is paused: prod stays split until it is promoted or aborted.".to_owned()
        }
        Phase::Shift => match state.listeners().0 {
            Some(split @ Route::Split { .. }) => format!("Prod is split: {split}; either may answer."),
            _ => format!("Giving {to} its share of prod; the rest stays on {from}."),
        },
        Phase::SwapProd => format!("Pointing prod at {to}."),
        Phase::Settle => format!("Prod is {to}; waiting until the load balancer follows."),
        Phase::Verify => format!("Prod is {to}; only {to} may answer now."),
        Phase::RollBack => format!("Going back to {from}."),
        Phase::Confirm => "Reading the listeners once more.".to_owned(),
        Phase::Done | Phase::RolledBack | Phase::Held | Phase::Refused | Phase::Failed => "Finishing.".to_owned(),
    }
}

/// What a run saw, in addition to its state and its record.
pub(super) struct Seen<'a> {
    /// The error that was the latest when the machine gave its reason.
    pub(super) cause: Option<&'a str>,
    /// The release that runs in the target of a rollback, if that release was never live.
    pub(super) replaced: Option<&'a str>,
    /// The addresses that did not follow a write of prod in time.
    pub(super) late: Option<&'a LateAddresses>,
    /// Why the environment that traffic had to go to could not take it.
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
            (format!("{to} is prod already: the last cutover was rolled back; nothing was written."), None)
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
            let back = match seen.late {
                Some(LateAddresses { back: true, addresses }) => format!(
                    "prod is sent back to {from}, but {} did not follow within {} s; dev is {}",
                    addresses.join(", "),
                    record.request.settle_limit.as_secs(),
                    name(dev)
                ),
                _ => format!("traffic is back on {from}, dev is {}", name(dev)),
            };
            (format!("{why}; {back}."), hint)
        }
        Outcome::Held => (
            format!(
                "Held: prod is on {}{}; {}. Cause: {why}.",
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
                "Run {} was interrupted and is recovered: {} is prod and {} is dev. Then refused: {why}; nothing \
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

/// Whether every failed probe was answered by the environment where prod was before. Then the load balancer was late.
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
    let behind = match seen.late {
        Some(LateAddresses { addresses, .. }) => {
            format!(" {} did not follow within {} s.", addresses.join(", "), record.request.settle_limit.as_secs())
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
            format!("Run {}, which was interrupted, was rolled back: {sides}.", record.recovered.join(", "))
        }
        None => format!("{sides}; run {} is recovered.", record.recovered.join(", ")),
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
        Some(Reason::Ineligible) => format!("{to} is not eligible for traffic{cause}"),
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
    // The run ends at the first failure above the limit, so the number of failures says nothing about a rate.
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
        Reason::Ineligible => format!("Deploy to {to}, or repair it; then ask again."),
        Reason::GateFailed => format!(
            "Deploy to {to}, or repair it; then ask again. If the answer is as it should be, such as a redirect, change \
             cutover.success_codes or cutover.probe_path."
        ),
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
