//! Writing the listeners towards a goal, and turning back. Must not know anything that is not in the state or the event.

use super::goal::Next;
use super::{Effect, Effects, Event, Goal, Listener, Reason, State, Step, TRIES};
use crate::Color;
use crate::report::Phase;
use crate::request::OnFail;

impl State {
    /// The swap that is worked on: the interrupted run's, or this run's own.
    pub(super) fn current_swap(&self) -> Option<(Color, Color)> {
        match self.subject {
            Some(subject) if self.recovering => Some((subject.from, subject.to)),
            _ => self.from.zip(self.to).filter(|(from, to)| from != to),
        }
    }

    pub(super) fn next(&self) -> Next {
        self.goal.next(self.current_swap(), self.prod, self.dev)
    }

    /// Takes the next step towards the goal.
    pub(super) fn advance(&mut self) -> Effects {
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

    pub(super) fn read(&mut self, event: Event) -> Effects {
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

    pub(super) fn health_read(&mut self, event: Event) -> Effects {
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

    pub(super) fn written(&mut self, listener: Listener, color: Color, event: Event) -> Effects {
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
    pub(super) const fn try_again(&mut self) -> bool {
        self.tries += 1;
        self.tries < TRIES
    }

    pub(super) fn may_turn_back(&self) -> bool {
        self.goal == Goal::Forward && !self.recovering && !self.confirming
    }

    pub(super) fn stuck(&mut self, reason: Reason) -> Effects {
        if self.may_turn_back() { self.turn_back(reason) } else { self.fail(reason) }
    }

    /// Sends traffic back, or leaves it on the new side where that was asked for or the old side was failing already.
    pub(super) fn turn_back(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        self.alarm = None;
        self.tries = 0;
        let hold = self.asked.on_fail == OnFail::Hold || self.old_is_bad;
        self.goal = if hold && self.prod.is_some() && self.prod == self.to { Goal::Hold } else { Goal::Back };
        self.phase = Phase::RollBack;
        self.advance()
    }

    pub(super) fn reached(&mut self) -> Effects {
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
}
