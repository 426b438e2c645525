//! What a run says: what happened, where traffic is, what to do next. Must not know how it found out.

use crate::Color;
use crate::machine::{Reason, Route, State};
use crate::report::{Outcome, Phase, Record};
use crate::request::Op;

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

/// How a run ended, and what to do next.
pub(super) fn verdict(
    state: &State,
    outcome: Outcome,
    cause: Option<&str>,
    record: &Record,
) -> (String, Option<String>) {
    let why = why(state, cause, record);
    let (prod, dev) = state.listeners();
    let (from, to) = (name(record.from), name(record.to));
    match outcome {
        Outcome::Done => (done(state, record), None),
        Outcome::Noop if record.op == Op::Reconcile => {
            ("Everything was consistent; nothing was written.".to_owned(), None)
        }
        Outcome::Noop => (format!("{to} is prod already; nothing was written."), None),
        Outcome::Planned => (planned(record), None),
        Outcome::RolledBack => (
            format!("{why}; traffic is back on {from}, dev is {}.", name(dev)),
            Some(format!("Find out what is wrong with {to}: it can be reached on dev.")),
        ),
        Outcome::Held => (
            format!("{why}; traffic stays on {}, dev is {}.", route(prod), name(dev)),
            Some(format!("Repair either side; then roll back to {from}, or cut over again.")),
        ),
        Outcome::Refused => (format!("Refused: {why}; nothing was written."), hint(state.reason(), &to)),
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

fn done(state: &State, record: &Record) -> String {
    let (prod, dev) = state.listeners();
    let sides = format!("{} is prod and {} is dev", name(prod.and_then(Route::whole)), name(dev));
    match &record.probes {
        Some(probes) => {
            let untold =
                if record.versions.seen.is_none() { "; by status only, as no answer tells a version" } else { "" };
            format!("{sides}: {} probes, {} failed{untold}.", probes.counts.due, probes.counts.failed)
        }
        None if record.recovered.is_empty() => format!("{sides} now."),
        None => format!("{sides}; run {} was put right.", record.recovered.join(", ")),
    }
}

fn why(state: &State, cause: Option<&str>, record: &Record) -> String {
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
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
        Some(Reason::NoWayBack) => "there is no successful cutover to go back from".to_owned(),
        Some(Reason::Unfit) => format!("{to} is not fit for traffic{cause}"),
        Some(Reason::GateFailed) => format!("{to} failed its gate{cause}"),
        Some(Reason::BaselineFailed) => format!("prod is failing already{cause}"),
        Some(Reason::ProbesFailed) => probes_failed(record),
        Some(Reason::DeadlineNear) => "the function's time is running out".to_owned(),
        Some(Reason::LeaseLost) => format!("the lease was lost{cause}"),
        Some(Reason::WriteRejected) => format!("the load balancer refused a write{cause}"),
        Some(Reason::WriteUnknown) => format!("a write did not take effect{cause}"),
        Some(Reason::Unhealthy) => format!("a side has no healthy targets{cause}"),
        Some(Reason::NotConfirmed) => format!("the listeners are not as they were written{cause}"),
    }
}

fn probes_failed(record: &Record) -> String {
    let Some(probes) = &record.probes else {
        return "probes failed".to_owned();
    };
    let counts = probes.counts;
    let first = probes.failures.first().map(super::hands::in_words);
    let first = first.map(|first| format!(", first {first}")).unwrap_or_default();
    format!("{} of {} probes failed{first}", counts.failed, counts.due)
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
        Reason::Unfit | Reason::GateFailed => format!("Deploy to {to}, or repair it; then ask again."),
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
