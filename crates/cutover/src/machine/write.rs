//! Writing the listeners towards a goal, and turning back. Must not know anything that is not in the state or the event.

use super::target::{NextWrite, Plan};
use super::{Effect, Effects, Event, Goal, Kind, Listener, Place, Reason, Route, State, Step, TRIES};
use model::Color;
use model::record::Phase;
use model::request::OnFail;

impl State {
    /// The swap that is worked on: the interrupted run's, or this run's own.
    pub(super) fn current_swap(&self) -> Option<(Color, Color)> {
        match self.subject {
            Some(subject) if self.recovering => Some((subject.from, subject.to)),
            _ => self.from.zip(self.to).filter(|(from, to)| from != to),
        }
    }

    pub(super) fn next(&self) -> NextWrite {
        let swap = self.current_swap();
        // What an interrupted run had verified had all of prod.
        let share = if self.recovering { None } else { self.asked.shift.weight(self.shift_step) };
        let old = swap.map(|(from, _)| from);
        let fallback = self.fallback.or(old).or_else(|| self.old_side()).unwrap_or(Color::Green);
        self.goal.next(Plan { swap, share: share.unwrap_or(100), fallback }, self.prod, self.dev)
    }

    /// The side that a split prod most probably came from, where no record says so: the one that still gets more, or
    /// the one that dev was pointed at before the shift began.
    pub(super) fn old_side(&self) -> Option<Color> {
        self.prod.at()?.heavier().or(self.dev.at())
    }

    /// Takes the next step towards the goal.
    pub(super) fn advance(&mut self) -> Effects {
        let next = self.next();
        self.phase = match (self.goal, next) {
            (_, NextWrite::Reached) => self.phase,
            _ if self.recovering || self.is_reconcile() || self.current_swap().is_none() => Phase::Recover,
            _ if self.confirming => Phase::Confirm,
            (Goal::Forward, NextWrite::Write(Listener::Dev, _)) => Phase::SwapDev,
            (Goal::Forward, NextWrite::Write(Listener::Prod, Route::Split { .. })) => Phase::Shift,
            (Goal::Forward, _) => Phase::SwapProd,
            (Goal::Back | Goal::Hold, _) => Phase::RollBack,
        };
        match next {
            NextWrite::Read => self.ask(Step::Read, Effect::ReadListeners),
            NextWrite::Write(Listener::Prod, route) => self.ask(Step::Health, Effect::CheckHealth(route)),
            NextWrite::Write(Listener::Dev, route) => self.write(Listener::Dev, route),
            NextWrite::Reached => self.reached(),
        }
    }

    /// Whether this run only puts the listeners in order.
    pub(super) fn is_reconcile(&self) -> bool {
        self.asked.kind == Kind::Reconcile
    }

    fn write(&mut self, listener: Listener, route: Route) -> Effects {
        self.ask(Step::Write(listener, route), Effect::Write(listener, route))
    }

    pub(super) fn read(&mut self, event: Event) -> Effects {
        let reason = if event == Event::Unreadable { Reason::NotRead } else { Reason::ListenersNotUnderstood };
        match event {
            Event::Listeners(prod, dev) if prod.is_known() && dev.is_known() => {
                (self.prod, self.dev) = (prod, dev);
                self.advance()
            }
            Event::Listeners(..) | Event::Unreadable => {
                if self.try_again() {
                    self.ask(Step::Read, Effect::ReadListeners)
                } else {
                    self.stuck(reason)
                }
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn health_read(&mut self, event: Event) -> Effects {
        let NextWrite::Write(Listener::Prod, route) = self.next() else {
            return self.advance();
        };
        match event {
            Event::Healthy => self.write(Listener::Prod, route),
            Event::Unreadable if self.try_again() => self.ask(Step::Health, Effect::CheckHealth(route)),
            Event::Unreadable | Event::Unhealthy if self.may_turn_back() => self.turn_back(unhealthy(event)),
            // Prod is split, and neither side can take all of it.
            Event::Unreadable | Event::Unhealthy if self.goal == Goal::Hold => self.fail(unhealthy(event)),
            Event::Unreadable | Event::Unhealthy if self.may_wait_for(route) => {
                self.tries = 0;
                self.ask(Step::AwaitHealthy, Effect::AwaitHealthy(route))
            }
            Event::Unreadable | Event::Unhealthy => self.hold_here(unhealthy(event)),
            _ => Vec::new(),
        }
    }

    /// Whether it is worth to wait until the old side is healthy: this run moved all of prod away from it, and that went wrong.
    fn may_wait_for(&self, route: Route) -> bool {
        let at_new_side = self.to.is_some_and(|to| self.prod == Place::At(Route::All(to)));
        self.goal == Goal::Back && self.wrote && !self.recovering && at_new_side && route.whole() == self.from
    }

    pub(super) fn waited_for_health(&mut self, event: Event) -> Effects {
        match event {
            // It is looked at once more before it is written.
            Event::Healthy => self.advance(),
            Event::Unhealthy | Event::Unreadable => self.hold_here(unhealthy(event)),
            _ => Vec::new(),
        }
    }

    /// The side that traffic should go to cannot take it: it stays where it is, or if it is on both, it goes to the other.
    pub(super) fn hold_here(&mut self, reason: Reason) -> Effects {
        let aim = match self.next() {
            NextWrite::Write(Listener::Prod, route) => route.whole(),
            _ => None,
        };
        self.reason = self.reason.or(Some(reason));
        self.goal = Goal::Hold;
        self.fallback = aim.map(Color::other);
        self.tries = 0;
        self.advance()
    }

    fn note(&mut self, listener: Listener, route: Option<Route>) {
        match listener {
            Listener::Prod => self.prod = route.into(),
            Listener::Dev => self.dev = route.and_then(Route::whole).into(),
        }
    }

    pub(super) fn written(&mut self, listener: Listener, route: Route, event: Event) -> Effects {
        match event {
            Event::WriteDone => {
                self.note(listener, Some(route));
                self.tries = 0;
                self.advance()
            }
            Event::WriteUnknown => {
                self.note(listener, None);
                self.unsettled = true;
                self.had_unknown_write = true;
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

    /// Sends traffic back, or leaves it on the new side where all of it is there and that was asked for, or the old side
    /// was failing already.
    pub(super) fn turn_back(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        self.alarm = None;
        self.tries = 0;
        let hold = reason != Reason::Aborted && (self.asked.on_fail == OnFail::Hold || self.old_is_bad);
        let at_new_side = self.to.is_some_and(|to| self.prod == Place::At(Route::All(to)));
        self.goal = if hold && at_new_side { Goal::Hold } else { Goal::Back };
        self.phase = Phase::RollBack;
        self.advance()
    }

    pub(super) fn reached(&mut self) -> Effects {
        self.tries = 0;
        match self.goal {
            _ if self.recovering || self.confirming || self.verified => self.confirm(),
            Goal::Forward if self.asked.shift.weight(self.shift_step).is_some() => {
                self.enter(Phase::Shift, Step::Hold, Effect::AwaitHold(self.shift_step))
            }
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

/// Why a side cannot get traffic: health that could not be read is not bad health.
const fn unhealthy(event: Event) -> Reason {
    if matches!(event, Event::Unreadable) { Reason::NotRead } else { Reason::Unhealthy }
}
