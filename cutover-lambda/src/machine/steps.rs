//! The transitions. One function for each thing that is waited for, in the order of a run. Must not know anything that
//! is not in the state or the event.

use super::goal::Next;
use super::{Asked, CONFIRMATIONS, Effect, Event, Finish, Goal, Kind, Listener, Reason, State, Step, Subject, TRIES};
use crate::Color;
use crate::report::{Outcome, Phase};
use crate::request::OnFail;

type Effects = Vec<Effect>;

impl State {
    /// What follows from this event. An event that nothing waits for changes nothing.
    pub fn step(mut self, event: Event) -> (Self, Effects) {
        let effects = match event {
            Event::ProbesFailed => self.alarmed(Reason::ProbesFailed),
            Event::DeadlineNear => self.alarmed(Reason::DeadlineNear),
            Event::LeaseLost if self.is_writing() => self.abandon(),
            Event::LeaseLost => self.alarmed(Reason::LeaseLost),
            answer => {
                let effects = self.answered(answer);
                // What was just decided has not begun: an alarm can still overrule it.
                self.heed().unwrap_or(effects)
            }
        };
        (self, effects)
    }

    /// The lease was found lost instead of writing, so the write did not happen.
    const fn is_writing(&self) -> bool {
        matches!(self.step, Step::Write(..))
    }

    fn alarmed(&mut self, reason: Reason) -> Effects {
        let relevant = match reason {
            Reason::ProbesFailed => self.probing,
            _ => !matches!(self.step, Step::Finished(_)),
        };
        if relevant && self.alarm != Some(Reason::LeaseLost) {
            self.alarm = Some(reason);
        }
        let waits = matches!(
            self.step,
            Step::Gate | Step::Baseline | Step::Settle | Step::Probes | Step::SettleBack | Step::Quiet
        );
        if waits { self.heed().unwrap_or_default() } else { Vec::new() }
    }

    /// What an alarm demands now, if anything.
    fn heed(&mut self) -> Option<Effects> {
        let reason = self.alarm?;
        let ended = matches!(self.step, Step::Release(_) | Step::Finished(_));
        let on_the_way = self.goal == Goal::Forward
            && !self.recovering
            && !self.confirming
            && !self.verified
            && !matches!(self.step, Step::SaveOutcome(_));
        match reason {
            _ if ended => None,
            Reason::LeaseLost => Some(self.abandon()),
            // A failing prod is why one rolls back: its failures count once the other side has settled.
            Reason::ProbesFailed if self.old_is_bad && self.phase != Phase::Verify => {
                self.alarm = None;
                None
            }
            _ if on_the_way && self.wrote => Some(self.turn_back(reason)),
            _ if on_the_way => Some(self.refuse(reason)),
            _ => {
                self.alarm = None;
                None
            }
        }
    }

    fn answered(&mut self, event: Event) -> Effects {
        match (self.step, event) {
            (Step::Idle, Event::Start) => self.enter(Phase::Locked, Step::LoadRun, Effect::LoadRun),
            (Step::LoadRun, event) => self.loaded(event),
            (Step::AcquireLease, event) => self.leased(event),
            (Step::Claim, event) => self.claimed(event),
            (Step::FindWayBack, event) => self.way_back_found(event),
            (Step::Preflight, event) => self.preflight_read(event),
            (Step::Inspect | Step::Gate | Step::Baseline | Step::SaveIntent, event) => self.prepared(event),
            (Step::Read, event) => self.read(event),
            (Step::Health, event) => self.health_read(event),
            (Step::Write(listener, color), event) => self.written(listener, color, event),
            (Step::Settle, Event::SettleElapsed) => self.enter(Phase::Verify, Step::Probes, Effect::AwaitProbes),
            (Step::Probes, Event::ProbesPassed) => {
                self.verified = true;
                let mut effects = self.stop_probes();
                effects.extend(self.ask(Step::SaveVerified, Effect::SaveVerified));
                effects
            }
            // Not recorded, an interruption from here would be rolled back: safe, so it goes on.
            (Step::SaveVerified, Event::Saved | Event::SaveFailed) => self.confirm(),
            (Step::SettleBack, Event::SettleElapsed) => {
                let mut effects = self.stop_probes();
                effects.extend(self.confirm());
                effects
            }
            (Step::Quiet, Event::QuietElapsed) => {
                self.unsettled = false;
                self.ask(Step::Confirm, Effect::ReadListeners)
            }
            (Step::Confirm, event) => self.confirmed(event),
            (Step::SaveRecovered(outcome), event) => self.recovered_saved(outcome, event),
            (Step::SaveOutcome(outcome), event) => self.outcome_saved(outcome, event),
            (Step::SaveVerified, Event::SaveTaken) => self.abandon(),
            (Step::Release(finish), Event::Released) => self.end(finish),
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, step: Step, effect: Effect) -> Effects {
        self.step = step;
        vec![effect]
    }

    fn enter(&mut self, phase: Phase, step: Step, effect: Effect) -> Effects {
        self.phase = phase;
        self.ask(step, effect)
    }

    // Before anything is written.

    fn loaded(&mut self, event: Event) -> Effects {
        let plan = self.asked.kind == Kind::Plan;
        match event {
            Event::RunFinal => self.end(Finish::Stored),
            Event::RunUnfinished if plan => self.end(Finish::Stored),
            Event::RunAbsent if plan => self.ask(Step::Claim, Effect::Claim),
            Event::RunAbsent | Event::RunUnfinished => {
                self.stored = event == Event::RunUnfinished;
                self.ask(Step::AcquireLease, Effect::AcquireLease)
            }
            Event::LedgerDown => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    fn leased(&mut self, event: Event) -> Effects {
        match event {
            Event::LeaseTaken(subject) => {
                self.leased = true;
                self.subject = subject;
                self.ask(Step::Claim, Effect::Claim)
            }
            Event::LeaseHeld if self.stored => self.end(Finish::Stored),
            Event::LeaseHeld => self.refuse(Reason::LeaseHeld),
            Event::LedgerDown => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    fn claimed(&mut self, event: Event) -> Effects {
        match event {
            Event::Claimed => {}
            Event::ClaimTaken(own) => {
                self.stored = true;
                self.subject = self.subject.or(own);
            }
            Event::LedgerDown => return self.give_up(Reason::LedgerDown),
            _ => return Vec::new(),
        }
        match self.subject {
            Some(subject) if self.leased => self.recover(subject),
            _ if self.stored => self.release(Finish::Stored),
            _ => self.preflight(),
        }
    }

    fn preflight(&mut self) -> Effects {
        if self.asked.kind == Kind::Rollback && self.asked.to.is_none() {
            self.enter(Phase::Preflight, Step::FindWayBack, Effect::FindWayBack)
        } else {
            self.enter(Phase::Preflight, Step::Preflight, Effect::ReadListeners)
        }
    }

    fn way_back_found(&mut self, event: Event) -> Effects {
        match event {
            Event::WayBack(Some(color)) => {
                self.asked = Asked { to: Some(color), ..self.asked };
                self.ask(Step::Preflight, Effect::ReadListeners)
            }
            Event::WayBack(None) => self.refuse(Reason::NoWayBack),
            Event::LedgerDown => self.refuse(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    fn preflight_read(&mut self, event: Event) -> Effects {
        match event {
            Event::Listeners(Some(prod), Some(dev)) => {
                (self.prod, self.dev) = (Some(prod), Some(dev));
                if self.asked.kind == Kind::Reconcile {
                    return self.reconcile(prod, dev);
                }
                if self.asked.expect.is_some_and(|expected| expected != prod) {
                    return self.refuse(Reason::NotExpected);
                }
                let to = self.asked.to.unwrap_or_else(|| prod.other());
                self.to = Some(to);
                self.from = Some(prod);
                match () {
                    () if to != prod => self.ask(Step::Inspect, Effect::Inspect(to)),
                    () if self.asked.kind == Kind::Plan => self.save_outcome(Outcome::Noop),
                    () => self.reconcile(prod, dev),
                }
            }
            Event::Listeners(prod, dev) => {
                (self.prod, self.dev) = (prod, dev);
                self.refuse(Reason::ListenersNotUnderstood)
            }
            Event::Unreadable => self.refuse(Reason::ListenersNotUnderstood),
            _ => Vec::new(),
        }
    }

    /// Prod stays; dev is set right where it is not.
    fn reconcile(&mut self, prod: Color, dev: Color) -> Effects {
        if prod == dev {
            self.goal = Goal::Hold;
            return self.advance();
        }
        let held = self.asked.kind == Kind::Reconcile && self.recovered == Some(Outcome::Held);
        self.save_outcome(match self.recovered {
            _ if held => Outcome::Held,
            Some(_) if self.asked.kind == Kind::Reconcile => Outcome::Done,
            _ => Outcome::Noop,
        })
    }

    /// Inspect, gate, baseline and the intent: what comes before the first write.
    fn prepared(&mut self, event: Event) -> Effects {
        match (self.step, event, self.to) {
            (Step::Inspect, Event::Fit, Some(to)) => self.enter(Phase::Gate, Step::Gate, Effect::Gate(to)),
            (Step::Inspect, Event::Unfit, _) => self.refuse(Reason::Unfit),
            (Step::Gate, Event::GatePassed, _) => {
                self.probing = true;
                let mut effects = vec![Effect::StartProbes];
                effects.extend(self.enter(Phase::Baseline, Step::Baseline, Effect::AwaitBaseline));
                effects
            }
            (Step::Gate, Event::GateFailed, _) => self.refuse(Reason::GateFailed),
            (Step::Baseline, Event::BaselineFailed, _) if self.asked.kind != Kind::Rollback => {
                self.refuse(Reason::BaselineFailed)
            }
            (Step::Baseline, Event::BaselinePassed | Event::BaselineFailed, _) => {
                self.old_is_bad = event == Event::BaselineFailed;
                if self.asked.kind == Kind::Plan {
                    self.save_outcome(Outcome::Planned)
                } else {
                    self.ask(Step::SaveIntent, Effect::SaveIntent)
                }
            }
            (Step::SaveIntent, Event::Saved, _) => {
                self.wrote = true;
                self.advance()
            }
            (Step::SaveIntent, Event::SaveFailed, _) => self.refuse(Reason::LedgerDown),
            (Step::SaveIntent, Event::SaveTaken, _) => self.abandon(),
            _ => Vec::new(),
        }
    }

    // Writing.

    /// The swap that is worked on: the interrupted run's, or this run's own.
    fn current_swap(&self) -> Option<(Color, Color)> {
        match self.subject {
            Some(subject) if self.recovering => Some((subject.from, subject.to)),
            _ => self.from.zip(self.to).filter(|(from, to)| from != to),
        }
    }

    fn next(&self) -> Next {
        self.goal.next(self.current_swap(), self.prod, self.dev)
    }

    /// Takes the next step towards the goal.
    fn advance(&mut self) -> Effects {
        let next = self.next();
        self.phase = match (self.goal, next) {
            (_, Next::Reached) => self.phase,
            _ if self.recovering || self.current_swap().is_none() => Phase::Recover,
            _ if self.confirming => Phase::Confirm,
            (Goal::Forward, Next::Write(Listener::Dev, _)) => Phase::SwapDev,
            (Goal::Forward, _) => Phase::SwapProd,
            (Goal::Back | Goal::Hold, _) => Phase::RollBack,
        };
        match next {
            Next::Read => self.ask(Step::Read, Effect::ReadListeners),
            Next::Write(Listener::Prod, color) => self.ask(Step::Health, Effect::CheckHealth(color)),
            Next::Write(Listener::Dev, color) => {
                self.ask(Step::Write(Listener::Dev, color), Effect::Write(Listener::Dev, color))
            }
            Next::Reached => self.reached(),
        }
    }

    fn read(&mut self, event: Event) -> Effects {
        match event {
            Event::Listeners(Some(prod), Some(dev)) => {
                (self.prod, self.dev) = (Some(prod), Some(dev));
                self.advance()
            }
            Event::Listeners(..) | Event::Unreadable => {
                if self.try_again() {
                    self.ask(Step::Read, Effect::ReadListeners)
                } else {
                    self.stuck(Reason::ListenersNotUnderstood)
                }
            }
            _ => Vec::new(),
        }
    }

    fn health_read(&mut self, event: Event) -> Effects {
        let Next::Write(Listener::Prod, color) = self.next() else {
            return self.advance();
        };
        match event {
            Event::Healthy => {
                let write = Effect::Write(Listener::Prod, color);
                self.ask(Step::Write(Listener::Prod, color), write)
            }
            Event::Unreadable if self.try_again() => self.ask(Step::Health, Effect::CheckHealth(color)),
            Event::Unreadable | Event::Unhealthy if self.may_turn_back() => self.turn_back(Reason::Unhealthy),
            Event::Unreadable | Event::Unhealthy => {
                // The side that traffic should go to cannot take it: it stays where it is.
                self.reason = self.reason.or(Some(Reason::Unhealthy));
                self.goal = Goal::Hold;
                self.tries = 0;
                self.advance()
            }
            _ => Vec::new(),
        }
    }

    fn written(&mut self, listener: Listener, color: Color, event: Event) -> Effects {
        let known = match listener {
            Listener::Prod => &mut self.prod,
            Listener::Dev => &mut self.dev,
        };
        match event {
            Event::WriteDone => {
                *known = Some(color);
                self.tries = 0;
                self.advance()
            }
            Event::WriteUnknown => {
                *known = None;
                self.unsettled = true;
                self.doubted = true;
                if self.try_again() {
                    self.ask(Step::Read, Effect::ReadListeners)
                } else {
                    self.stuck(Reason::WriteUnknown)
                }
            }
            Event::WriteRejected if self.may_turn_back() => self.turn_back(Reason::WriteRejected),
            Event::WriteRejected if self.try_again() => self.advance(),
            Event::WriteRejected => self.stuck(Reason::WriteRejected),
            _ => Vec::new(),
        }
    }

    /// Counts a try that came to nothing; whether there is another.
    const fn try_again(&mut self) -> bool {
        self.tries += 1;
        self.tries < TRIES
    }

    fn may_turn_back(&self) -> bool {
        self.goal == Goal::Forward && !self.recovering && !self.confirming
    }

    fn stuck(&mut self, reason: Reason) -> Effects {
        if self.may_turn_back() { self.turn_back(reason) } else { self.fail(reason) }
    }

    /// Sends traffic back, or leaves it on the new side where that was asked for or the old side was failing already.
    fn turn_back(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        self.alarm = None;
        self.tries = 0;
        let hold = self.asked.on_fail == OnFail::Hold || self.old_is_bad;
        self.goal = if hold && self.prod.is_some() && self.prod == self.to { Goal::Hold } else { Goal::Back };
        self.phase = Phase::RollBack;
        self.advance()
    }

    fn reached(&mut self) -> Effects {
        self.tries = 0;
        match self.goal {
            _ if self.recovering || self.confirming || self.verified => self.confirm(),
            Goal::Forward => self.enter(Phase::Settle, Step::Settle, Effect::AwaitSettle),
            // So that the probes see the old side answer again.
            Goal::Back if self.probing => self.ask(Step::SettleBack, Effect::AwaitSettle),
            Goal::Back | Goal::Hold => {
                let mut effects = self.stop_probes();
                effects.extend(self.confirm());
                effects
            }
        }
    }

    // Ending.

    /// Reads the listeners once no earlier write can land any more.
    fn confirm(&mut self) -> Effects {
        self.confirming = true;
        self.confirmations += 1;
        if self.confirmations > CONFIRMATIONS {
            return self.fail(Reason::NotConfirmed);
        }
        if !self.recovering {
            self.phase = Phase::Confirm;
        }
        if self.unsettled {
            self.ask(Step::Quiet, Effect::AwaitQuiet)
        } else {
            self.ask(Step::Confirm, Effect::ReadListeners)
        }
    }

    fn confirmed(&mut self, event: Event) -> Effects {
        match event {
            Event::Listeners(Some(prod), Some(dev)) => {
                (self.prod, self.dev) = (Some(prod), Some(dev));
                if self.next() == Next::Reached { self.conclude() } else { self.advance() }
            }
            Event::Unreadable | Event::Listeners(..) if self.try_again() => {
                self.ask(Step::Confirm, Effect::ReadListeners)
            }
            // Every write was answered: that is what the listeners are.
            Event::Unreadable if !self.doubted && self.next() == Next::Reached => self.conclude(),
            Event::Unreadable | Event::Listeners(..) => self.fail(Reason::NotConfirmed),
            _ => Vec::new(),
        }
    }

    fn conclude(&mut self) -> Effects {
        let at_new_side = self.current_swap().is_some_and(|(_, to)| self.prod == Some(to));
        let outcome = match self.goal {
            Goal::Forward => Outcome::Done,
            Goal::Hold if self.current_swap().is_none() => Outcome::Done,
            Goal::Hold if at_new_side => Outcome::Held,
            Goal::Back | Goal::Hold => Outcome::RolledBack,
        };
        if self.recovering {
            self.ask(Step::SaveRecovered(outcome), Effect::SaveRecovered(outcome))
        } else {
            self.save_outcome(outcome)
        }
    }

    fn recover(&mut self, subject: Subject) -> Effects {
        self.recovering = true;
        self.goal = if subject.verified { Goal::Forward } else { Goal::Back };
        self.enter(Phase::Recover, Step::Read, Effect::ReadListeners)
    }

    fn recovered_saved(&mut self, outcome: Outcome, event: Event) -> Effects {
        match event {
            Event::Saved => {
                self.recovering = false;
                self.recovered = Some(outcome);
                self.subject = None;
                self.goal = Goal::Forward;
                self.confirming = false;
                self.confirmations = 0;
                self.doubted = false;
                self.tries = 0;
                self.reason = None;
                if self.stored { self.release(Finish::Stored) } else { self.preflight() }
            }
            Event::SaveFailed => self.fail(Reason::LedgerDown),
            Event::SaveTaken => self.abandon(),
            _ => Vec::new(),
        }
    }

    fn refuse(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        self.alarm = None;
        self.save_outcome(Outcome::Refused)
    }

    fn fail(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        if self.stored {
            return self.give_up(reason);
        }
        self.save_outcome(Outcome::Failed)
    }

    fn save_outcome(&mut self, outcome: Outcome) -> Effects {
        self.phase = match outcome {
            Outcome::Done | Outcome::Noop | Outcome::Planned => Phase::Done,
            Outcome::RolledBack => Phase::RolledBack,
            Outcome::Held => Phase::Held,
            Outcome::Refused => Phase::Refused,
            Outcome::Failed => Phase::Failed,
        };
        let mut effects = self.stop_probes();
        effects.extend(self.ask(Step::SaveOutcome(outcome), Effect::SaveOutcome(outcome)));
        effects
    }

    fn outcome_saved(&mut self, outcome: Outcome, event: Event) -> Effects {
        match event {
            // An interrupted run is still to be put right: the lease remembers it, so it is left to expire.
            Event::Saved if self.recovering => self.end(Finish::Recorded(outcome)),
            Event::Saved => self.release(Finish::Recorded(outcome)),
            Event::SaveTaken if !self.leased => self.end(Finish::Stored),
            Event::SaveTaken => self.abandon(),
            Event::SaveFailed => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    fn release(&mut self, finish: Finish) -> Effects {
        if self.leased { self.ask(Step::Release(finish), Effect::Release) } else { self.end(finish) }
    }

    fn abandon(&mut self) -> Effects {
        self.give_up(Reason::LeaseLost)
    }

    /// Ends without a recorded outcome, and without giving the lease back.
    fn give_up(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        let mut effects = self.stop_probes();
        effects.extend(self.end(Finish::Abandoned));
        effects
    }

    fn end(&mut self, finish: Finish) -> Effects {
        self.step = Step::Finished(finish);
        vec![Effect::Finish(finish)]
    }

    fn stop_probes(&mut self) -> Effects {
        if std::mem::take(&mut self.probing) { vec![Effect::StopProbes] } else { Vec::new() }
    }
}
