//! How a listener is written, in every stage that writes: health before prod, a read after a write whose result is
//! unknown, and a limited number of tries. Must not know anything that is not in the state or the answer.

use super::question::{
    Answer, AwaitHold, AwaitSettle, CheckHealth, ListenersRead, ReadListeners, TargetHealth, Unreadable, Write,
    WriteAnswer,
};
use super::stage::{Stage, Target, UnknownWrite, Work};
use super::target::{NextWrite, Plan};
use super::{Goal, Listener, Next, Reason, Route, State, TRIES};
use model::Color;

impl State {
    /// The answers that every stage that writes has in common.
    pub(super) fn writing(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::ReadListeners(_, read) => self.read_again(read),
            Answer::CheckHealth(CheckHealth(route), health) => self.health_checked(route, health),
            Answer::AwaitHealthy(_, health) => self.health_awaited(health),
            Answer::Write(Write(listener, route), written) => self.written(listener, route, written),
            other => self.wrong_answer(other),
        }
    }

    /// The swap in progress: that of the interrupted run, or that of this run.
    pub(super) fn current_swap(&self) -> Option<(Color, Color)> {
        match self.stage.work() {
            Work::Recovery(recovery) => Some((recovery.subject.from, recovery.subject.to)),
            Work::Own => self.swap.map(|swap| (swap.from, swap.to)).filter(|(from, to)| from != to),
        }
    }

    pub(super) fn next_write(&self) -> NextWrite {
        let swap = self.current_swap();
        let share = match self.stage {
            Stage::Moving(moving) => self.asked.shift.weight(moving.shift_step),
            _ => None,
        };
        let old = swap.map(|(from, _)| from);
        let fallback = self.stage.fallback().or(old).or_else(|| self.old_side()).unwrap_or(Color::Green);
        let plan = Plan { swap, share: share.unwrap_or(100), fallback };
        self.stage.goal().next(plan, self.prod, self.dev)
    }

    /// The environment that a split prod most probably came from if no record says so: the one that still gets more, or
    /// the one that dev pointed at before the shift began.
    pub(super) fn old_side(&self) -> Option<Color> {
        self.prod.at()?.heavier().or(self.dev.at())
    }

    /// Takes the next step towards the goal.
    pub(super) fn advance(&mut self) -> Next {
        match self.next_write() {
            NextWrite::Read => self.ask(ReadListeners),
            NextWrite::Write(Listener::Prod, route) => self.ask(CheckHealth(route)),
            NextWrite::Write(Listener::Dev, route) => self.ask(Write(Listener::Dev, route)),
            NextWrite::Reached => self.reached(),
        }
    }

    fn read_again(&mut self, read: Result<ListenersRead, Unreadable>) -> Next {
        match read {
            Ok(read) if read.is_known() => {
                (self.prod, self.dev) = (read.prod, read.dev);
                self.advance()
            }
            _ if self.try_again() => self.ask(ReadListeners),
            Ok(_) => self.stuck(Reason::ListenersNotUnderstood),
            Err(Unreadable) => self.stuck(Reason::NotRead),
        }
    }

    fn health_checked(&mut self, route: Route, health: TargetHealth) -> Next {
        match health {
            TargetHealth::Healthy => self.ask(Write(Listener::Prod, route)),
            TargetHealth::Unreadable if self.try_again() => self.ask(CheckHealth(route)),
            // A health that cannot be read is not a bad health, so the reason is another one.
            TargetHealth::Unreadable => self.cannot_take_traffic(route, Reason::NotRead),
            TargetHealth::Unhealthy => self.cannot_take_traffic(route, Reason::Unhealthy),
        }
    }

    fn written(&mut self, listener: Listener, route: Route, written: WriteAnswer) -> Next {
        match written {
            WriteAnswer::Done => {
                self.note(listener, Some(route));
                self.tries = 0;
                self.advance()
            }
            WriteAnswer::Unknown => {
                self.note(listener, None);
                self.unknown_write = UnknownWrite::MayLand;
                if self.try_again() { self.ask(ReadListeners) } else { self.stuck(Reason::WriteUnknown) }
            }
            WriteAnswer::Rejected if self.may_turn_back() => self.turn_back(Reason::WriteRejected),
            WriteAnswer::Rejected if self.try_again() => self.advance(),
            WriteAnswer::Rejected => self.stuck(Reason::WriteRejected),
            WriteAnswer::NoLease => self.abandon(),
        }
    }

    fn note(&mut self, listener: Listener, route: Option<Route>) {
        match listener {
            Listener::Prod => self.prod = route.into(),
            Listener::Dev => self.dev = route.and_then(Route::whole).into(),
        }
    }

    /// Counts a failed try. Returns whether there is another.
    pub(super) const fn try_again(&mut self) -> bool {
        self.tries += 1;
        self.tries < TRIES
    }

    pub(super) const fn may_turn_back(&self) -> bool {
        matches!(self.stage, Stage::Moving(_))
    }

    fn stuck(&mut self, reason: Reason) -> Next {
        if self.may_turn_back() { self.turn_back(reason) } else { self.fail(reason) }
    }

    /// The listeners are where they have to be.
    fn reached(&mut self) -> Next {
        self.tries = 0;
        match self.stage {
            Stage::Moving(moving) if self.asked.shift.weight(moving.shift_step).is_some() => {
                self.ask(AwaitHold(moving.shift_step))
            }
            Stage::Moving(_) => self.ask(AwaitSettle),
            // The wait lets the probes see the old side answer again.
            Stage::Restoring(Target { work: Work::Own, goal: Goal::Back, .. }) if self.probing => self.ask(AwaitSettle),
            Stage::Restoring(target) => {
                self.probing = false;
                self.confirm(target, 0)
            }
            Stage::Confirming(confirming) => self.confirm(confirming.target, confirming.round),
            // No other stage writes.
            _ => self.fail(Reason::WrongAnswer),
        }
    }
}
