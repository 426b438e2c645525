//! The possible answers to each question, and their effects on the system.

use super::checks;
use super::faults::Mutant;
use super::records::{save, save_intent, save_outcome, save_recovered};
use super::system::{Record, Setup, System, index};
use cutover::machine::question::{
    BaselineAnswer, ClaimAnswer, Eligibility, GateAnswer, HoldAnswer, LeaseAnswer, LedgerDown, ListenersRead,
    ProbesAnswer, StoredRun, TargetHealth, Unreadable, WayBack, WriteAnswer,
};
use cutover::machine::{Answer, Ask as _, Kind, Listener, Place, Question, Route, Signal, Subject};
use model::Color;
use model::record::Outcome;

/// What happens to the call of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// It succeeds.
    Well,
    /// It fails without effect.
    Failed,
    /// It reports an error, and took effect.
    Happened,
    /// It reports an error, and may take effect later.
    Late,
    /// It is refused, and never takes effect.
    Rejected,
}

/// What can happen to the pending question now. All but the first cost a fault.
pub fn ways(setup: &Setup, system: &System, number: usize) -> Vec<Way> {
    let process = &system.processes[number];
    let Some(question) = process.pending else { return Vec::new() };
    let quiet = matches!(question, Question::AwaitQuiet(_));
    if quiet && !process.late.is_empty() && setup.mutant != Some(Mutant::NoQuiet) {
        return Vec::new();
    }
    let settles = matches!(question, Question::AwaitSettle(_) | Question::AwaitHold(_));
    if settles && system.lagging && setup.mutant != Some(Mutant::NoSettling) {
        return Vec::new();
    }
    let mut ways = vec![Way::Well];
    if system.budget.faults > 0 {
        ways.extend_from_slice(match question {
            Question::Write(_) => &[Way::Failed, Way::Happened, Way::Late, Way::Rejected],
            Question::AcquireLease(_)
            | Question::Claim(_)
            | Question::SaveIntent(_)
            | Question::SaveVerified(_)
            | Question::SaveRecovered(_)
            | Question::SaveOutcome(_)
            | Question::Release(_) => &[Way::Failed, Way::Happened],
            Question::LoadRun(_)
            | Question::FindWayBack(_)
            | Question::FindLastProd(_)
            | Question::ReadListeners(_)
            | Question::Inspect(_)
            | Question::CheckHealth(_)
            | Question::Gate(_)
            | Question::AwaitBaseline(_) => &[Way::Failed],
            Question::AwaitHold(_)
            | Question::AwaitPromotion(_)
            | Question::AwaitSettle(_)
            | Question::AwaitHealthy(_)
            | Question::AwaitProbes(_)
            | Question::AwaitQuiet(_) => &[],
        });
    }
    ways
}

/// Answers the pending question in this way.
pub fn perform(setup: &Setup, system: &mut System, number: usize, way: Way) -> Option<()> {
    let question = system.processes[number].pending?;
    if way != Way::Well {
        system.budget.faults = system.budget.faults.checked_sub(1)?;
    }
    match answer(setup, system, number, question, way) {
        Some(answer) => system.processes[number].answer(answer),
        None => system.processes[number].interrupt(Signal::Promoted),
    }
    Some(())
}

/// The answer to a question; `None` if only a promotion ends it.
fn answer(setup: &Setup, system: &mut System, number: usize, question: Question, way: Way) -> Option<Answer> {
    let fresh = system.processes[number].fresh.take();
    let failed = way == Way::Failed;
    Some(match question {
        Question::LoadRun(it) => it.answer(load_run(system, number, way)),
        Question::AcquireLease(it) => it.answer(acquire(setup, system, number, way)),
        Question::Claim(it) => it.answer(claim(setup, system, number, way)),
        Question::FindWayBack(it) if failed => it.answer(Err(LedgerDown)),
        Question::FindWayBack(it) => it.answer(Ok(it.0.or(system.way_back).map(|to| WayBack { to, replaced: false }))),
        Question::FindLastProd(it) if failed => it.answer(Err(LedgerDown)),
        Question::FindLastProd(it) if setup.mutant == Some(Mutant::LastProdIsDev) => {
            it.answer(Ok(system.last_prod.map(Color::other)))
        }
        Question::FindLastProd(it) => it.answer(Ok(system.last_prod)),
        Question::ReadListeners(it) if failed => it.answer(Err(Unreadable)),
        Question::ReadListeners(it) => it.answer(Ok(ListenersRead {
            prod: read_prod(setup, system),
            dev: system.dev.map_or(Place::Absent, Place::At),
        })),
        Question::Inspect(it) if !failed && system.healthy[index(it.0)] => it.answer(Eligibility::Eligible),
        Question::Inspect(it) => it.answer(Eligibility::Ineligible),
        Question::Gate(it) => it.answer(if failed { GateAnswer::Failed } else { GateAnswer::Passed }),
        Question::AwaitBaseline(it) => it.answer(if failed { BaselineAnswer::Failed } else { BaselineAnswer::Passed }),
        Question::CheckHealth(it) => it.answer(check_health(setup, system, number, it.0, way)),
        Question::Write(it) => it.answer(write(setup, system, number, (it.0, it.1), way, fresh)),
        Question::AwaitHold(it) => it.answer(HoldAnswer::Elapsed),
        Question::AwaitPromotion(_) => return None,
        Question::AwaitSettle(it) => it.answer(()),
        Question::AwaitHealthy(it) => {
            let reached = Color::ALL.into_iter().filter(|color| it.0.reaches(*color));
            let healthy = reached.into_iter().all(|color| system.healthy[index(color)]);
            it.answer(if healthy { TargetHealth::Healthy } else { TargetHealth::Unhealthy })
        }
        Question::AwaitProbes(it) => {
            if let Some(to) = system.processes[number].state.swap().1 {
                system.legitimate[index(to)] = true;
            }
            it.answer(ProbesAnswer::Passed)
        }
        Question::AwaitQuiet(it) => it.answer(()),
        Question::SaveIntent(it) => it.answer(save_intent(setup, system, number, way)),
        Question::SaveVerified(it) => it.answer(save(system, number, way, |record| {
            if let Some(intent) = &mut record.intent {
                intent.verified = true;
            }
        })),
        Question::SaveRecovered(it) => it.answer(save_recovered(setup, system, number, it.0, way)),
        Question::SaveOutcome(it) => it.answer(save_outcome(setup, system, number, it.0, way)),
        Question::Release(it) => {
            release(system, number, way);
            it.answer(())
        }
    })
}

fn load_run(system: &System, number: usize, way: Way) -> Result<StoredRun, LedgerDown> {
    let record = system.records[system.processes[number].id];
    match record {
        _ if way == Way::Failed => Err(LedgerDown),
        Record { exists: false, .. } => Ok(StoredRun::Absent),
        Record { outcome: Some(_), .. } => Ok(StoredRun::Final),
        _ => Ok(StoredRun::Unfinished),
    }
}

fn acquire(setup: &Setup, system: &mut System, number: usize, way: Way) -> Result<LeaseAnswer, LedgerDown> {
    if way == Way::Failed {
        return Err(LedgerDown);
    }
    let held = system.lock.holder.is_some() && system.lock.live;
    if held && setup.mutant != Some(Mutant::NoLease) {
        return if way == Way::Well { Ok(LeaseAnswer::Held) } else { Err(LedgerDown) };
    }
    let id = system.processes[number].id;
    if let Some((_, before)) = system.lock.holder
        && !system.lock.interrupted.contains(&before)
    {
        system.lock.interrupted.push(before);
    }
    system.lock.holder = Some((number, id));
    system.lock.live = true;
    system.lock.epoch += 1;
    system.processes[number].epoch = system.lock.epoch;
    let unfinished = |id: &usize| {
        let record = system.records[*id];
        record.intent.filter(|intent| record.outcome.is_none() && !intent.verified).map(|intent| intent.from)
    };
    system.processes[number].unfinished_from = system.lock.interrupted.iter().find_map(unfinished);
    if way == Way::Happened {
        return Err(LedgerDown);
    }
    if setup.mutant == Some(Mutant::NoRecovery) {
        return Ok(LeaseAnswer::Acquired(None));
    }
    let interrupted = system.lock.interrupted.clone();
    find_interrupted(setup, system, number, &interrupted).map(LeaseAnswer::Acquired)
}

/// The interrupted run that has to be recovered. The others are closed, because they had not written anything. All
/// records are taken over, so that their writers cannot go on. An error if a later lease is found: then this one is
/// lost.
fn find_interrupted(
    setup: &Setup,
    system: &mut System,
    number: usize,
    ids: &[usize],
) -> Result<Option<Subject>, LedgerDown> {
    let mut subject = None;
    for id in ids {
        if !adopt(setup, system, number, *id)? {
            continue;
        }
        let record = &mut system.records[*id];
        if record.intent.is_some() && subject.is_none() {
            subject = record.intent;
            if setup.mutant == Some(Mutant::SubjectTurned) {
                subject = subject.map(|Subject { from, to, verified }| Subject { from: to, to: from, verified });
            }
            system.processes[number].subject = Some(*id);
        } else {
            record.outcome = Some(Outcome::Refused);
        }
    }
    let reconcile = system.processes[number].state.asked().kind == Kind::Reconcile;
    if let Some(last) = system.last_intent.filter(|_| subject.is_none() && reconcile) {
        let failed = system.records[last].outcome == Some(Outcome::Failed);
        if failed || adopt(setup, system, number, last)? {
            subject = system.records[last].intent;
            system.processes[number].subject = Some(last);
        }
    }
    Ok(subject)
}

/// Takes over a record. Returns whether it was not final.
fn adopt(setup: &Setup, system: &mut System, number: usize, id: usize) -> Result<bool, LedgerDown> {
    let epoch = system.processes[number].epoch;
    let record = &mut system.records[id];
    let no_take_over = setup.mutant == Some(Mutant::NoTakeOver);
    if record.outcome.is_some() || (!record.exists && no_take_over) {
        return Ok(false);
    }
    if record.epoch > epoch && setup.mutant != Some(Mutant::NoEpoch) {
        return Err(LedgerDown);
    }
    record.exists = true;
    if !no_take_over {
        record.epoch = epoch;
    }
    Ok(true)
}

fn claim(setup: &Setup, system: &mut System, number: usize, way: Way) -> Result<ClaimAnswer, LedgerDown> {
    let id = system.processes[number].id;
    if way == Way::Failed {
        return Err(LedgerDown);
    }
    if !system.records[id].exists {
        system.records[id].exists = true;
        system.records[id].epoch = system.processes[number].epoch;
        return if way == Way::Well { Ok(ClaimAnswer::Created) } else { Err(LedgerDown) };
    }
    if way == Way::Happened {
        return Err(LedgerDown);
    }
    if system.processes[number].subject.is_some() {
        return Ok(ClaimAnswer::Taken(None));
    }
    find_interrupted(setup, system, number, &[id]).map(ClaimAnswer::Taken)
}

fn read_prod(setup: &Setup, system: &System) -> Place<Route> {
    match system.prod {
        None => Place::Absent,
        Some(Route::Split { .. }) if setup.mutant == Some(Mutant::SplitIsWhole) => Place::At(Route::All(Color::Green)),
        Some(route) => Place::At(route),
    }
}

fn check_health(setup: &Setup, system: &mut System, number: usize, route: Route, way: Way) -> TargetHealth {
    if setup.mutant == Some(Mutant::NoHealthGuard) {
        return TargetHealth::Healthy;
    }
    if way == Way::Failed {
        return TargetHealth::Unreadable;
    }
    let is_healthy = |color: Color| system.healthy[index(color)];
    let looked_at = |color: &Color| match system.processes[number].state.swap().1 {
        Some(to) if setup.mutant == Some(Mutant::HalfHealthGuard) && route.whole().is_none() => *color == to,
        _ => route.reaches(*color),
    };
    if !Color::ALL.into_iter().filter(looked_at).all(is_healthy) {
        return TargetHealth::Unhealthy;
    }
    // Only an environment whose health was read counts as seen healthy.
    if Color::ALL.into_iter().filter(|color| route.reaches(*color)).all(is_healthy) {
        system.processes[number].fresh = Some(route);
    }
    TargetHealth::Healthy
}

fn write(
    setup: &Setup,
    system: &mut System,
    number: usize,
    (listener, route): (Listener, Route),
    way: Way,
    fresh: Option<Route>,
) -> WriteAnswer {
    if system.processes[number].lost {
        return WriteAnswer::NoLease;
    }
    if listener == Listener::Prod && fresh != Some(route) {
        system.violated = Some(checks::HEALTHY);
    }
    match way {
        Way::Well => {
            land(system, number, listener, route);
            WriteAnswer::Done
        }
        Way::Rejected => WriteAnswer::Rejected,
        Way::Failed | Way::Happened | Way::Late => {
            if way == Way::Happened {
                land(system, number, listener, route);
            }
            if way == Way::Late {
                system.processes[number].late.push((listener, route));
            }
            if setup.mutant == Some(Mutant::UnknownIsDone) { WriteAnswer::Done } else { WriteAnswer::Unknown }
        }
    }
}

/// A write takes effect. Only the holder of the lease may cause that.
pub fn land(system: &mut System, number: usize, listener: Listener, route: Route) {
    if system.lock.holder.is_none_or(|(holder, _)| holder != number) {
        system.violated = Some(checks::ONE_WRITER);
    }
    match (listener, route) {
        (Listener::Prod, route) => {
            system.prod = Some(route);
            if let Some(left) = system.budget.lags.checked_sub(1) {
                system.budget.lags = left;
                system.lagging = true;
            }
        }
        (Listener::Dev, Route::All(color)) => system.dev = Some(color),
        (Listener::Dev, Route::Split { .. }) => system.violated = Some(checks::CONSISTENT),
    }
}

fn release(system: &mut System, number: usize, way: Way) {
    let ours = system.lock.holder.is_some_and(|(holder, _)| holder == number);
    if ours && way != Way::Failed {
        system.lock.holder = None;
        system.lock.live = false;
        system.lock.interrupted.clear();
    }
}
