//! The transitions: alarms, and which function takes an answer. Must not know anything that
//! is not in the state or the event.

use super::{Effect, Effects, Event, Goal, Reason, State, Step};
use model::record::{Outcome, Phase};

impl State {
    /// What follows from this event. An event that nothing waits for changes nothing.
    pub fn step(mut self, event: Event) -> (Self, Effects) {
        let effects = match event {
            Event::ProbesFailed => self.handle_alarm(Reason::ProbesFailed),
            Event::DeadlineNear => self.handle_alarm(Reason::DeadlineNear),
            Event::Aborted => self.handle_alarm(Reason::Aborted),
            Event::Paused => self.paused(),
            Event::Promoted => self.promoted(),
            Event::LeaseLost if self.is_writing() => self.abandon(),
            Event::LeaseLost => self.handle_alarm(Reason::LeaseLost),
            answer => {
                let effects = self.answered(answer);
                // What was just decided has not begun: an alarm can still overrule it.
                self.handle_pending_alarm().unwrap_or(effects)
            }
        };
        (self, effects)
    }

    /// The lease was found lost instead of writing, so the write did not happen.
    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.step, Step::Write(..))
    }

    pub(super) fn handle_alarm(&mut self, reason: Reason) -> Effects {
        let relevant = match reason {
            Reason::ProbesFailed => self.probing,
            _ => !matches!(self.step, Step::Finished(_)),
        };
        // What a person wants is not forgotten because of a probe.
        let outranked = match self.alarm {
            Some(Reason::LeaseLost) => true,
            Some(Reason::Aborted) => reason != Reason::LeaseLost,
            _ => false,
        };
        if relevant && !outranked {
            self.alarm = Some(reason);
        }
        let waits = matches!(
            self.step,
            Step::Gate
                | Step::Baseline
                | Step::Hold
                | Step::Paused
                | Step::Settle
                | Step::Probes
                | Step::SettleBack
                | Step::AwaitHealthy
                | Step::Quiet
        );
        if waits { self.handle_pending_alarm().unwrap_or_default() } else { Vec::new() }
    }

    /// The shift is to stay at its step; before its first one, at that.
    fn paused(&mut self) -> Effects {
        self.paused = !self.asked.shift.is_none() && self.phase < Phase::SwapProd;
        Vec::new()
    }

    /// The shift is to go on.
    fn promoted(&mut self) -> Effects {
        self.paused = false;
        match self.step {
            Step::Hold | Step::Paused => self.next_share(),
            _ => Vec::new(),
        }
    }

    fn next_share(&mut self) -> Effects {
        self.shift_step += 1;
        self.advance()
    }

    /// What an alarm demands now, if anything.
    pub(super) fn handle_pending_alarm(&mut self) -> Option<Effects> {
        let reason = self.alarm?;
        let ended = matches!(self.step, Step::Release(_) | Step::Finished(_));
        let on_the_way = self.goal == Goal::Forward
            && !self.confirming
            && !self.verified
            && !matches!(self.step, Step::SaveOutcome(_));
        match reason {
            _ if ended => None,
            Reason::LeaseLost => Some(self.abandon()),
            // Prod cannot go back yet: a person may end the wait, and the deadline does.
            Reason::Aborted | Reason::DeadlineNear if self.step == Step::AwaitHealthy => {
                self.alarm = None;
                Some(self.hold_here(Reason::Unhealthy))
            }
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
                self.too_late |= reason == Reason::Aborted && self.verified;
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
            (Step::Hold, Event::HoldElapsed) if self.paused => self.ask(Step::Paused, Effect::AwaitPromotion),
            (Step::Hold, Event::HoldElapsed) => self.next_share(),
            (Step::Hold, Event::NotSettled) => self.turn_back(Reason::NotSettled),
            (Step::AwaitHealthy, event) => self.waited_for_health(event),
            (Step::Settle, Event::SettleElapsed) => self.enter(Phase::Verify, Step::Probes, Effect::AwaitProbes),
            (Step::Probes, Event::ProbesPassed) => {
                self.verified = true;
                let mut effects = self.stop_probes();
                effects.extend(self.ask(Step::SaveVerified, Effect::SaveVerified));
                effects
            }
            (Step::Probes, Event::TooSlow) => self.turn_back(Reason::TooSlow),
            // Not recorded, an interruption from here would be rolled back: safe, so it goes on.
            (Step::SaveVerified, Event::Saved | Event::SaveFailed) => self.confirm(),
            (Step::SettleBack, Event::SettleElapsed) => {
                let mut effects = self.stop_probes();
                effects.extend(self.confirm());
                effects
            }
            (Step::Quiet, Event::QuietElapsed) if self.failing => {
                self.unsettled = false;
                self.save_outcome(Outcome::Failed)
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
