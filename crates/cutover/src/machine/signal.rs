//! What may arrive at any time, and what follows: alarms that end the way forward, and what a person asks of a shift. Must
//! not know where a signal comes from.

use super::question::Question;
use super::stage::{Moving, Opening, Progress, Stage, Work};
use super::{Next, Reason, State};
use model::record::Phase;

/// Something that may arrive at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The run cannot go on as before.
    Alarm(Alarm),
    /// A person wants the shift to stay at its step.
    Paused,
    /// A person wants the shift to go on.
    Promoted,
}

/// Why a run cannot go on as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// More probes failed than the request tolerates.
    ProbesFailed,
    /// Only the time for a rollback is left.
    DeadlineNear,
    /// Another run may have the lease now.
    LeaseLost,
    /// A person wants traffic to go back.
    Aborted,
}

/// The state after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// The question in progress still needs its answer.
    Remembered(State),
    /// The question in progress is called off; the state has another one.
    CalledOff(State),
}

impl State {
    /// The state after this signal.
    pub fn interrupt(mut self, signal: Signal) -> Interrupt {
        let next = match (signal, self.next) {
            (_, Next::Finish(_)) => None,
            (Signal::Alarm(alarm), Next::Ask(question)) => self.alarmed(alarm, question),
            (Signal::Paused, _) => {
                // A pause before the first step holds that step. After the last step there is nothing to hold.
                self.paused = !self.asked.shift.is_none() && self.phase < Phase::SwapProd;
                None
            }
            (Signal::Promoted, Next::Ask(question)) => {
                self.paused = false;
                self.promoted(question)
            }
        };
        match next {
            None => Interrupt::Remembered(self),
            Some(next) => Interrupt::CalledOff(Self { next, ..self }),
        }
    }

    fn alarmed(&mut self, alarm: Alarm, question: Question) -> Option<Next> {
        let relevant = alarm != Alarm::ProbesFailed || self.probing;
        // A failed probe does not replace what a person asked for, and nothing replaces a lost lease.
        let outranked = match self.alarm {
            Some(Alarm::LeaseLost) => true,
            Some(Alarm::Aborted) => alarm != Alarm::LeaseLost,
            _ => false,
        };
        if relevant && !outranked {
            self.alarm = Some(alarm);
        }
        // Without the lease nothing may be written, so its loss calls off a write too.
        let stops_write = alarm == Alarm::LeaseLost && matches!(question, Question::Write(_));
        if question.is_wait() || stops_write { self.handle_alarm() } else { None }
    }

    fn promoted(&mut self, question: Question) -> Option<Next> {
        match (self.stage, question) {
            (Stage::Moving(moving), Question::AwaitHold(_) | Question::AwaitPromotion(_)) => {
                Some(self.next_share(moving))
            }
            _ => None,
        }
    }

    /// What the remembered alarm demands now, if anything.
    pub(super) fn handle_alarm(&mut self) -> Option<Next> {
        let alarm = self.alarm?;
        if matches!(self.next, Next::Finish(_)) || matches!(self.stage, Stage::Releasing(_)) {
            return None;
        }
        if alarm == Alarm::LeaseLost {
            return Some(self.abandon());
        }
        // Prod cannot go back yet: an abort or the deadline ends the wait for that.
        let awaits_health = matches!(self.next, Next::Ask(Question::AwaitHealthy(_)));
        if awaits_health && matches!(alarm, Alarm::Aborted | Alarm::DeadlineNear) {
            self.alarm = None;
            return Some(self.hold_here(Reason::Unhealthy));
        }
        // The recovery of an interrupted run comes first. The alarm is handled after it.
        if self.recovers() {
            return None;
        }
        // A failing prod is why a person rolls back, so failures count only after the other side has settled.
        if alarm == Alarm::ProbesFailed && self.old_is_bad() && self.phase != Phase::Verify {
            self.alarm = None;
            return None;
        }
        match self.stage {
            Stage::Opening(_) | Stage::Preparing(_) => Some(self.refuse(alarm.into())),
            Stage::Moving(_) => Some(self.turn_back(alarm.into())),
            Stage::Verifying if !self.verified() => Some(self.turn_back(alarm.into())),
            _ => {
                self.too_late_for(alarm);
                None
            }
        }
    }

    /// Whether an interrupted run has to be recovered, or another run's record is the answer.
    fn recovers(&self) -> bool {
        match self.stage {
            Stage::Opening(Opening { stored, subject }) => stored || subject.is_some(),
            _ => matches!(self.stage.work(), Work::Recovery(_)),
        }
    }

    fn too_late_for(&mut self, alarm: Alarm) {
        self.alarm = None;
        if let (Alarm::Aborted, Some(swap)) = (alarm, &mut self.swap)
            && let Progress::Verified { abort_too_late } = &mut swap.progress
        {
            *abort_too_late = true;
        }
    }

    /// Gives the new side the share of the next step.
    pub(super) fn next_share(&mut self, moving: Moving) -> Next {
        self.stage = Stage::Moving(Moving { shift_step: moving.shift_step + 1 });
        self.advance()
    }
}
