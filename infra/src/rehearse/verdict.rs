//! What a rehearsal means: how the release ended, what users saw of it, and whether the way back would have saved them.
//! Pure.

use jiff::Timestamp;

use super::document::{EndedTask, Ending, Fault, Injected, LoadFacts, Phase, Rehearsal, Safeguards, Side, Users};
use super::load::{Seen, phases, seconds, tally};
use crate::error::{Error, Kind};
use crate::report::Run;
use crate::report::text::{clean, count, percent_up};

/// The part of a release after its cutover.
pub const AFTER: &str = "after";

/// What there is to judge by.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The version that was prod.
    pub from: Side,
    /// The version that was released.
    pub to: Side,
    /// What was made to fail.
    pub fault: Option<Injected>,
    /// How users were played.
    pub load: LoadFacts,
    /// When the load began.
    pub started: Timestamp,
    /// When it ended, in milliseconds since then.
    pub ended_ms: u64,
    /// What users saw.
    pub seen: Vec<Seen>,
    /// When each part of the release began, in milliseconds since the load did.
    pub begins: Vec<(&'static str, u64)>,
    /// The exit code of the deployment of the new version.
    pub deployment: i32,
    /// The exit code of the cutover, if it was run.
    pub cutover: Option<i32>,
    /// Tasks that ended and should not have.
    pub tasks: Vec<EndedTask>,
    /// Settings that were left out.
    pub left_out: Vec<String>,
    /// The cutover's record, if there is one.
    pub run: Option<Run>,
}

/// The rehearsal as a document.
pub fn judge(observed: Observed) -> Rehearsal {
    let ending = ending(observed.deployment, observed.cutover);
    let users = users(&observed.seen);
    let phases = phases(&observed.seen, &observed.begins, observed.ended_ms);
    let safeguards = safeguards(ending, &users, &phases, &observed);
    let mut rehearsal = Rehearsal {
        schema: Rehearsal::SCHEMA,
        ending,
        message: String::new(),
        seconds: seconds(&observed.seen),
        from: observed.from,
        to: observed.to,
        fault: observed.fault,
        load: observed.load,
        started: observed.started,
        duration_ms: observed.ended_ms,
        users,
        safeguards,
        phases,
        tasks: observed.tasks,
        left_out: observed.left_out,
        run: observed.run,
    };
    rehearsal.message = message(&rehearsal);
    rehearsal
}

fn ending(deployment: i32, cutover: Option<i32>) -> Ending {
    let code = |kind: Kind| i32::from(kind.exit_code());
    match (deployment, cutover) {
        (0, Some(0)) => Ending::Released,
        (0, Some(other)) if other == code(Kind::RolledBack) => Ending::RolledBack,
        (0, Some(other)) if other == code(Kind::Refused) => Ending::Refused,
        (other, None) if other == code(Kind::RolledBack) => Ending::DeploymentRolledBack,
        _ => Ending::Failed,
    }
}

fn users(seen: &[Seen]) -> Users {
    let failed = || seen.iter().filter(|seen| seen.failure.is_some());
    let counted = tally(seen);
    let (first, last) = (failed().map(|it| it.due_us / 1000).min(), failed().map(|it| it.done_us / 1000).max());
    Users {
        share: f64::from(counted.failed) / f64::from(counted.requests.max(1)),
        bound95: (counted.failed == 0 && counted.requests > 0)
            .then(|| 1.0 - 0.05_f64.powf(1.0 / f64::from(counted.requests))),
        first_failure_ms: first,
        last_failure_ms: last,
        exposed_ms: first.zip(last).map_or(0, |(first, last)| last.saturating_sub(first)),
        seen: counted,
    }
}

fn safeguards(ending: Ending, users: &Users, phases: &[Phase], observed: &Observed) -> Safeguards {
    let failed = users.seen.failed > 0;
    let went_back = matches!(ending, Ending::DeploymentRolledBack | Ending::Refused | Ending::RolledBack);
    let after = phases.iter().find(|phase| phase.name == AFTER).map_or(0, |phase| phase.seen.failed);
    Safeguards {
        noticed: (failed || went_back).then_some(went_back || ending == Ending::Failed),
        noticed_after_ms: users.first_failure_ms.and_then(|first| {
            let seen = first_failed_probe(observed.run.as_ref()?, observed.started)?;
            Some(seen - i64::try_from(first).ok()?)
        }),
        saved: (failed || went_back).then_some(went_back && after == 0),
    }
}

/// When the first failed probe was over, in milliseconds since the load began.
fn first_failed_probe(run: &Run, began: Timestamp) -> Option<i64> {
    let failures = run.record.probes.as_ref()?.failures.iter();
    let done = failures.map(|sample| sample.done_us / 1000).min()?;
    let offset = run.record.started.as_millisecond() - began.as_millisecond();
    Some(offset + i64::try_from(done).ok()?)
}

/// `61 of 1200 requests (5.1 %)`
fn failures(rehearsal: &Rehearsal) -> String {
    let users = &rehearsal.users;
    let all = count(users.seen.requests, "request");
    format!("{} of {all} failed ({})", users.seen.failed, percent_up(users.share))
}

fn message(rehearsal: &Rehearsal) -> String {
    let (old, new) = (clean(&rehearsal.from.version), clean(&rehearsal.to.version));
    let nobody = rehearsal.users.seen.failed == 0;
    let failures = failures(rehearsal);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
    let exposed = format!("{:.1} s", rehearsal.users.exposed_ms as f64 / 1000.0);
    match (rehearsal.ending, nobody) {
        (Ending::Released, true) => {
            format!("Version {new} replaced version {old}, and no user would have seen a failure.")
        }
        (Ending::Released, false) => {
            format!("Version {new} became prod, users would have seen failures, and no check noticed: {failures}.")
        }
        (Ending::RolledBack, true) => {
            format!("The cutover was rolled back to version {old} before any user would have seen a failure.")
        }
        (Ending::RolledBack, false) if rehearsal.safeguards.saved == Some(true) => {
            format!(
                "The rollback would have ended the failures: {failures}, for {exposed}; then version {old} responded again."
            )
        }
        (Ending::RolledBack, false) => {
            format!("The cutover was rolled back, and users would have seen failures even afterwards: {failures}.")
        }
        (Ending::DeploymentRolledBack, true) => format!(
            "Version {new} never became healthy. Its deployment was rolled back, and no user would have noticed."
        ),
        (Ending::DeploymentRolledBack, false) => {
            format!("The deployment of version {new} was rolled back, and users would have seen failures: {failures}.")
        }
        (Ending::Refused, true) => {
            format!("The cutover was refused before any change: no user would have reached version {new}.")
        }
        (Ending::Refused, false) => {
            format!("The cutover was refused, and users would still have seen failures: {failures}.")
        }
        (Ending::Failed, true) => format!("The release of version {new} failed; no user request failed."),
        (Ending::Failed, false) => {
            format!("The release of version {new} failed, and users would have seen failures: {failures}.")
        }
    }
}

/// What a rehearsal means for the exit code; `None` where users would have seen nothing of a release that succeeded.
pub fn error(rehearsal: &Rehearsal) -> Option<Error> {
    let (kind, what) = match rehearsal.ending {
        Ending::Released if rehearsal.users.seen.failed == 0 => return None,
        Ending::Released => (Kind::Failed, "users would have seen failures"),
        Ending::Failed => (Kind::Failed, "the release failed"),
        Ending::Refused => (Kind::Refused, "the cutover was refused"),
        Ending::RolledBack => (Kind::RolledBack, "the cutover was rolled back"),
        Ending::DeploymentRolledBack => (Kind::RolledBack, "the deployment was rolled back"),
    };
    let error = Error::new(kind, format!("rehearsed: {what}"));
    let error = match &rehearsal.fault {
        Some(fault) => error.because(format!("the injected fault: {}", reported(fault))),
        None => rehearsal.tasks.iter().filter_map(|task| task.reason.as_deref()).take(3).fold(error, Error::because),
    };
    Some(match (rehearsal.ending, &rehearsal.fault) {
        (Ending::Released, _) => {
            error.hint("probe a path that users request (cutover.probe_path), or pass more probes after --")
        }
        (_, None) => error.hint("see the output above for the cause; AWS was not used"),
        _ => error,
    })
}

/// A fault as text.
pub fn reported(fault: &Injected) -> String {
    let what = match (fault.kind, fault.delay_ms) {
        (Fault::Slow, Some(ms)) => format!("the new version responds {ms} ms late"),
        (Fault::Slow, None) => "the new version responds late".to_owned(),
        (Fault::Errors, _) => "the new version responds with status 500".to_owned(),
        (Fault::Crash, _) => "tasks of the new version crash on a request".to_owned(),
        (Fault::Oom, _) => "tasks of the new version run out of memory".to_owned(),
        (Fault::NeverHealthy, _) => "health checks of the new version fail".to_owned(),
    };
    let when = match fault.at {
        super::document::FaultAt::Deploy => "starting with its deployment",
        super::document::FaultAt::Swap => "as soon as users reach it",
    };
    format!("{what}, {when}")
}

#[cfg(test)]
mod tests;
