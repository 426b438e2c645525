//! What can come of each effect, and what it does to the system.

use super::checks;
use super::system::{Mutant, Process, Record, Setup, System, index};
use cutover::machine::{Asked, Effect, Event, Kind, Listener, Place, Route, Subject, WayBack};
use model::Color;
use model::record::Outcome;

/// In which way an effect is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// As it should be.
    Well,
    /// It fails, and nothing happened.
    Failed,
    /// It fails, and happened all the same.
    Happened,
    /// It fails, and may happen later.
    Late,
    /// It is refused for good.
    Rejected,
}

/// The ways in which the pending effect can be done now. All but the first cost a fault.
pub fn ways(setup: &Setup, system: &System, number: usize) -> Vec<Way> {
    let process = &system.processes[number];
    let Some(effect) = process.pending else { return Vec::new() };
    if effect == Effect::AwaitQuiet && !process.late.is_empty() && setup.mutant != Some(Mutant::NoQuiet) {
        return Vec::new();
    }
    let settles = matches!(effect, Effect::AwaitSettle | Effect::AwaitHold(_));
    if settles && system.lagging && setup.mutant != Some(Mutant::NoSettling) {
        return Vec::new();
    }
    let mut ways = vec![Way::Well];
    if system.budget.faults > 0 {
        ways.extend_from_slice(match effect {
            Effect::Write(..) => &[Way::Failed, Way::Happened, Way::Late, Way::Rejected],
            Effect::AcquireLease
            | Effect::Claim
            | Effect::SaveIntent
            | Effect::SaveVerified
            | Effect::SaveRecovered(_)
            | Effect::SaveOutcome(_)
            | Effect::Release => &[Way::Failed, Way::Happened],
            Effect::LoadRun
            | Effect::FindWayBack(_)
            | Effect::FindLastProd
            | Effect::ReadListeners
            | Effect::Inspect(_)
            | Effect::CheckHealth(_)
            | Effect::Gate(_)
            | Effect::AwaitBaseline => &[Way::Failed],
            _ => &[],
        });
    }
    ways
}

/// Does the pending effect and tells the machine.
pub fn perform(setup: &Setup, system: &mut System, number: usize, way: Way) -> Option<()> {
    let effect = system.processes[number].pending?;
    if way != Way::Well {
        system.budget.faults = system.budget.faults.checked_sub(1)?;
    }
    let fresh = system.processes[number].fresh.take();
    let event = match effect {
        Effect::LoadRun => load_run(system, number, way),
        Effect::AcquireLease => acquire(setup, system, number, way),
        Effect::Claim => claim(setup, system, number, way),
        Effect::FindWayBack(_) | Effect::FindLastProd if way == Way::Failed => Event::LedgerDown,
        Effect::FindWayBack(side) => Event::WayBack(side.or(system.way_back).map(|to| WayBack { to, replaced: false })),
        Effect::FindLastProd if setup.mutant == Some(Mutant::LastProdIsDev) => {
            Event::LastProd(system.last_prod.map(Color::other))
        }
        Effect::FindLastProd => Event::LastProd(system.last_prod),
        Effect::ReadListeners if way == Way::Failed => Event::Unreadable,
        Effect::ReadListeners => {
            Event::Listeners(read_prod(setup, system), system.dev.map_or(Place::Absent, Place::At))
        }
        Effect::Inspect(color) if way == Way::Well && system.healthy[index(color)] => Event::Eligible,
        Effect::Inspect(_) => Event::Ineligible,
        Effect::Gate(_) if way == Way::Failed => Event::GateFailed,
        Effect::Gate(_) => Event::GatePassed,
        Effect::AwaitBaseline if way == Way::Failed => Event::BaselineFailed,
        Effect::AwaitBaseline => Event::BaselinePassed,
        Effect::CheckHealth(route) => check_health(setup, system, number, route, way),
        Effect::Write(listener, route) => write(setup, system, number, (listener, route), way, fresh),
        Effect::AwaitHold(_) => Event::HoldElapsed,
        Effect::AwaitPromotion => Event::Promoted,
        Effect::AwaitSettle => Event::SettleElapsed,
        Effect::AwaitHealthy(route) => {
            let healthy =
                Color::ALL.into_iter().filter(|color| route.reaches(*color)).all(|color| system.healthy[index(color)]);
            if healthy { Event::Healthy } else { Event::Unhealthy }
        }
        Effect::AwaitProbes => {
            if let Some(to) = system.processes[number].state.swap().1 {
                system.legitimate[index(to)] = true;
            }
            Event::ProbesPassed
        }
        Effect::AwaitQuiet => Event::QuietElapsed,
        Effect::SaveIntent => save_intent(setup, system, number, way),
        Effect::SaveVerified => save(system, number, way, |record| {
            if let Some(intent) = &mut record.intent {
                intent.verified = true;
            }
        }),
        Effect::SaveRecovered(outcome) => save_recovered(setup, system, number, outcome, way),
        Effect::SaveOutcome(outcome) => save_outcome(setup, system, number, outcome, way),
        Effect::Release => release(system, number, way),
        Effect::StartProbes | Effect::StopProbes | Effect::Finish(_) => return None,
    };
    system.processes[number].tell(event);
    Some(())
}

fn load_run(system: &System, number: usize, way: Way) -> Event {
    let record = system.records[system.processes[number].id];
    match record {
        _ if way == Way::Failed => Event::LedgerDown,
        Record { exists: false, .. } => Event::RunAbsent,
        Record { outcome: Some(_), .. } => Event::RunFinal,
        _ => Event::RunUnfinished,
    }
}

fn acquire(setup: &Setup, system: &mut System, number: usize, way: Way) -> Event {
    if way == Way::Failed {
        return Event::LedgerDown;
    }
    let held = system.lock.holder.is_some() && system.lock.live;
    if held && setup.mutant != Some(Mutant::NoLease) {
        return if way == Way::Well { Event::LeaseHeld } else { Event::LedgerDown };
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
        return Event::LedgerDown;
    }
    if setup.mutant == Some(Mutant::NoRecovery) {
        return Event::LeaseTaken(None);
    }
    let interrupted = system.lock.interrupted.clone();
    find_interrupted(setup, system, number, &interrupted).map_or(Event::LedgerDown, Event::LeaseTaken)
}

/// The interrupted run that has to be put right; the others are closed, as they had not written anything. All are taken
/// over, so that whoever began them cannot go on. An error where a later lease is found: this one is lost.
fn find_interrupted(setup: &Setup, system: &mut System, number: usize, ids: &[usize]) -> Result<Option<Subject>, ()> {
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

/// Takes over a record; whether it was not final.
fn adopt(setup: &Setup, system: &mut System, number: usize, id: usize) -> Result<bool, ()> {
    let epoch = system.processes[number].epoch;
    let record = &mut system.records[id];
    let no_take_over = setup.mutant == Some(Mutant::NoTakeOver);
    if record.outcome.is_some() || (!record.exists && no_take_over) {
        return Ok(false);
    }
    if record.epoch > epoch && setup.mutant != Some(Mutant::NoEpoch) {
        return Err(());
    }
    record.exists = true;
    if !no_take_over {
        record.epoch = epoch;
    }
    Ok(true)
}

fn claim(setup: &Setup, system: &mut System, number: usize, way: Way) -> Event {
    let id = system.processes[number].id;
    if way == Way::Failed {
        return Event::LedgerDown;
    }
    if !system.records[id].exists {
        system.records[id].exists = true;
        system.records[id].epoch = system.processes[number].epoch;
        return if way == Way::Well { Event::Claimed } else { Event::LedgerDown };
    }
    if way == Way::Happened {
        return Event::LedgerDown;
    }
    if system.processes[number].subject.is_some() {
        return Event::ClaimTaken(None);
    }
    find_interrupted(setup, system, number, &[id]).map_or(Event::LedgerDown, Event::ClaimTaken)
}

fn read_prod(setup: &Setup, system: &System) -> Place<Route> {
    match system.prod {
        None => Place::Absent,
        Some(Route::Split { .. }) if setup.mutant == Some(Mutant::SplitIsWhole) => Place::At(Route::All(Color::Green)),
        Some(route) => Place::At(route),
    }
}

fn check_health(setup: &Setup, system: &mut System, number: usize, route: Route, way: Way) -> Event {
    if setup.mutant == Some(Mutant::NoHealthGuard) {
        return Event::Healthy;
    }
    if way == Way::Failed {
        return Event::Unreadable;
    }
    let is_healthy = |color: Color| system.healthy[index(color)];
    let looked_at = |color: &Color| match system.processes[number].state.swap().1 {
        Some(to) if setup.mutant == Some(Mutant::HalfHealthGuard) && route.whole().is_none() => *color == to,
        _ => route.reaches(*color),
    };
    if !Color::ALL.into_iter().filter(looked_at).all(is_healthy) {
        return Event::Unhealthy;
    }
    // What was not looked at was not seen healthy.
    if Color::ALL.into_iter().filter(|color| route.reaches(*color)).all(is_healthy) {
        system.processes[number].fresh = Some(route);
    }
    Event::Healthy
}

fn write(
    setup: &Setup,
    system: &mut System,
    number: usize,
    (listener, route): (Listener, Route),
    way: Way,
    fresh: Option<Route>,
) -> Event {
    if system.processes[number].lost {
        return Event::LeaseLost;
    }
    if listener == Listener::Prod && fresh != Some(route) {
        system.violated = Some(checks::HEALTHY);
    }
    match way {
        Way::Well => {
            land(system, number, listener, route);
            Event::WriteDone
        }
        Way::Rejected => Event::WriteRejected,
        Way::Failed | Way::Happened | Way::Late => {
            if way == Way::Happened {
                land(system, number, listener, route);
            }
            if way == Way::Late {
                system.processes[number].late.push((listener, route));
            }
            if setup.mutant == Some(Mutant::UnknownIsDone) { Event::WriteDone } else { Event::WriteUnknown }
        }
    }
}

/// A write takes effect. Only whoever has the lease may cause that.
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

/// Changes the record, unless it is final by now.
fn save(system: &mut System, number: usize, way: Way, change: impl FnOnce(&mut Record)) -> Event {
    let Process { id, epoch, .. } = system.processes[number];
    let record = &mut system.records[id];
    if way == Way::Failed {
        return Event::SaveFailed;
    }
    if record.outcome.is_some() || (record.exists && record.epoch != epoch) {
        return Event::SaveTaken;
    }
    record.exists = true;
    record.epoch = epoch;
    change(record);
    if way == Way::Well { Event::Saved } else { Event::SaveFailed }
}

fn save_intent(setup: &Setup, system: &mut System, number: usize, way: Way) -> Event {
    let (Some(from), Some(to)) = system.processes[number].state.swap() else {
        return Event::SaveFailed;
    };
    if setup.mutant == Some(Mutant::NoIntent) {
        return Event::Saved;
    }
    let verified = setup.mutant == Some(Mutant::VerifiedTooEarly);
    let intent = Subject { from, to, verified };
    let event = save(system, number, way, |record| record.intent = Some(intent));
    if system.records[system.processes[number].id].intent == Some(intent) {
        system.last_intent = Some(system.processes[number].id);
    }
    event
}

/// Where prod may be from now on, by the run of this process: it had read prod just before.
fn settle(system: &mut System, number: usize, outcome: Outcome, swap: Option<(Color, Color)>) {
    let prod = system.processes[number].state.listeners().0.and_then(Route::whole);
    if matches!(outcome, Outcome::Done | Outcome::RolledBack | Outcome::Held) && prod.is_some() {
        system.last_prod = prod;
    }
    let Some((from, to)) = swap else {
        // A first release, or a rule that was made again.
        if let (Outcome::Done, Some(prod), [false, false]) = (outcome, prod, system.legitimate) {
            system.legitimate[index(prod)] = true;
        }
        return;
    };
    let only = |color| Color::ALL.map(|other| other == color);
    let claimed = match outcome {
        Outcome::Done => to,
        Outcome::RolledBack => from,
        Outcome::Held => {
            match prod {
                Some(prod) => {
                    system.legitimate = only(prod);
                    system.way_back = Some(from);
                }
                None => system.violated = Some(checks::CONSISTENT),
            }
            return;
        }
        Outcome::Noop | Outcome::Planned | Outcome::Refused | Outcome::Failed => return,
    };
    if !system.legitimate[index(claimed)] {
        system.violated = Some(checks::CONSISTENT);
    }
    system.legitimate = only(claimed);
    system.way_back = Some(from);
}

fn save_recovered(setup: &Setup, system: &mut System, number: usize, outcome: Outcome, way: Way) -> Event {
    let Process { subject, epoch, .. } = system.processes[number];
    let Some(id) = subject else { return Event::Saved };
    if way == Way::Failed {
        return Event::SaveFailed;
    }
    let record = &mut system.records[id];
    match record.outcome {
        None if record.epoch != epoch && setup.mutant != Some(Mutant::NoTakeOver) => return Event::SaveTaken,
        None => record.outcome = Some(outcome),
        // It failed, and that stays.
        Some(Outcome::Failed) => {}
        Some(_) if setup.mutant == Some(Mutant::NoConditionalRecord) => {}
        Some(_) => return Event::SaveTaken,
    }
    let swap = record.intent.map(|intent| (intent.from, intent.to));
    settle(system, number, outcome, swap);
    if way == Way::Happened {
        return Event::SaveFailed;
    }
    system.processes[number].subject = None;
    system.last_intent = system.last_intent.filter(|last| *last != id);
    Event::Saved
}

fn save_outcome(setup: &Setup, system: &mut System, number: usize, outcome: Outcome, way: Way) -> Event {
    let id = system.processes[number].id;
    let before = system.records[id].outcome;
    if setup.mutant == Some(Mutant::NoConditionalRecord) {
        system.records[id].outcome = None;
    }
    let event = save(system, number, way, |record| record.outcome = Some(outcome));
    let after = system.records[id].outcome;
    if before.is_some() && before != after {
        system.violated = Some(checks::ONE_OUTCOME);
    }
    check_claims(system, number, outcome);
    if before.is_none() && after.is_some() {
        let intent = system.records[id].intent.map(|intent| (intent.from, intent.to));
        settle(system, number, outcome, intent);
    }
    event
}

/// What a run says at its end has to be so.
fn check_claims(system: &mut System, number: usize, outcome: Outcome) {
    let process = &system.processes[number];
    let Asked { kind, .. } = process.state.asked();
    let moves = process.state.wrote() && matches!(outcome, Outcome::Done | Outcome::RolledBack);
    if moves && system.lagging {
        system.violated = Some(checks::FOLLOWED);
    }
    let plain = kind == Kind::Rollback && outcome == Outcome::Done;
    // If there is a rule at all.
    let elsewhere = |from| system.prod.is_some_and(|prod| prod != Route::All(from));
    if plain && process.unfinished_from.is_some_and(elsewhere) {
        system.violated = Some(checks::AWAY);
    }
    if kind == Kind::Cutover && process.aborted && outcome == Outcome::Done {
        system.violated = Some(checks::ABORTED);
    }
}

fn release(system: &mut System, number: usize, way: Way) -> Event {
    let ours = system.lock.holder.is_some_and(|(holder, _)| holder == number);
    if ours && way != Way::Failed {
        system.lock.holder = None;
        system.lock.live = false;
        system.lock.interrupted.clear();
    }
    Event::Released
}
