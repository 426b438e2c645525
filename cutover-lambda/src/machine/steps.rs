//! The transitions: alarms, and which function takes an answer. Must not know anything that
//! is not in the state or the event.

use super::{Effect, Effects, Event, Goal, Reason, State, Step};
use crate::report::Phase;

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
    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.step, Step::Write(..))
    }

    pub(super) fn alarmed(&mut self, reason: Reason) -> Effects {
        let relevant = match reason {
            Reason::ProbesFailed => self.probing,
            _ => !matches!(self.step, Step::Finished(_)),
        };
        if relevant && self.alarm != Some(Reason::LeaseLost) {
            self.alarm = Some(reason);
        }
        let waits = matches!(
            self.step,
            Step::Gate | Step::Baseline | Step::Hold | Step::Settle | Step::Probes | Step::SettleBack | Step::Quiet
        );
        if waits { self.heed().unwrap_or_default() } else { Vec::new() }
    }

    /// What an alarm demands now, if anything.
    pub(super) fn heed(&mut self) -> Option<Effects> {
        let reason = self.alarm?;
        let ended = matches!(self.step, Step::Release(_) | Step::Finished(_));
        let on_the_way = self.goal == Goal::Forward
            && !self.confirming
            && !self.verified
            && !matches!(self.step, Step::SaveOutcome(_));
        match reason {
            _ if ended => None,
            Reason::LeaseLost => Some(self.abandon()),
            // An interrupted run is put right first, whatever else happens.
            _ if self.subject.is_some() || self.stored => None,
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

    pub(super) fn answered(&mut self, event: Event) -> Effects {
        match (self.step, event) {
            (Step::Idle, Event::Start) => self.enter(Phase::Locked, Step::LoadRun, Effect::LoadRun),
            (Step::LoadRun, event) => self.loaded(event),
            (Step::AcquireLease, event) => self.leased(event),
            (Step::Claim, event) => self.claimed(event),
            (Step::FindWayBack, event) => self.way_back_found(event),
            (Step::FindLastProd, event) => self.last_prod_found(event),
            (Step::Preflight, event) => self.preflight_read(event),
            (Step::Inspect | Step::Gate | Step::Baseline | Step::SaveIntent, event) => self.prepared(event),
            (Step::Read, event) => self.read(event),
            (Step::Health, event) => self.health_read(event),
            (Step::Write(listener, route), event) => self.written(listener, route, event),
            (Step::Hold, Event::HoldElapsed) => {
                self.shift_step += 1;
                self.advance()
            }
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

    pub(super) fn ask(&mut self, step: Step, effect: Effect) -> Effects {
        self.step = step;
        vec![effect]
    }

    pub(super) fn enter(&mut self, phase: Phase, step: Step, effect: Effect) -> Effects {
        self.phase = phase;
        self.ask(step, effect)
    }

    pub(super) fn stop_probes(&mut self) -> Effects {
        if std::mem::take(&mut self.probing) { vec![Effect::StopProbes] } else { Vec::new() }
    }
}
