//! The way back: when traffic returns, when it stays, and the recovery of an interrupted run. Must not know anything that
//! is not in the state or the answer.

use super::question::{Answer, AwaitHealthy, ReadListeners, TargetHealth};
use super::stage::{Confirming, Recovery, Stage, Target, Work};
use super::target::NextWrite;
use super::{Goal, Listener, Next, Place, Reason, Route, State};
use model::Color;
use model::request::OnFail;

impl State {
    pub(super) fn restoring(&mut self, target: Target, answer: Answer) -> Next {
        match answer {
            Answer::AwaitSettle(..) => {
                self.probing = false;
                self.confirm(target, 0)
            }
            other => self.writing(other),
        }
    }

    /// Brings an interrupted run to its end: forward if it had verified the new side, otherwise back.
    pub(super) fn recover(&mut self, recovery: Recovery) -> Next {
        let goal = if recovery.subject.verified { Goal::Forward } else { Goal::Back };
        self.enter(Stage::Restoring(Target { work: Work::Recovery(recovery), goal, fallback: None }), ReadListeners)
    }

    /// Sends traffic back. Leaves it on the new side if all of it is there, and if the request says so or the old side
    /// failed before.
    pub(super) fn turn_back(&mut self, reason: Reason) -> Next {
        self.reason = Some(reason);
        self.alarm = None;
        self.tries = 0;
        let hold = reason != Reason::Aborted && (self.asked.on_fail == OnFail::Hold || self.old_is_bad());
        let goal = if hold && self.is_at_new_side() { Goal::Hold } else { Goal::Back };
        self.stage = Stage::Restoring(Target { work: Work::Own, goal, fallback: None });
        self.advance()
    }

    /// The environment that traffic has to go to cannot take it. Traffic stays where it is; if it is split, it goes to the
    /// other environment.
    pub(super) fn hold_here(&mut self, reason: Reason) -> Next {
        let planned = match self.next_write() {
            NextWrite::Write(Listener::Prod, route) => route.whole(),
            _ => None,
        };
        self.reason = self.reason.or(Some(reason));
        self.tries = 0;
        if let Stage::Restoring(target) | Stage::Confirming(Confirming { target, .. }) = &mut self.stage {
            target.goal = Goal::Hold;
            target.fallback = planned.map(Color::other);
        }
        self.advance()
    }

    /// What follows if the environments that prod has to go to have no healthy target, or if that cannot be read.
    pub(super) fn cannot_take_traffic(&mut self, route: Route, reason: Reason) -> Next {
        if self.may_turn_back() {
            self.turn_back(reason)
        } else if self.stage.goal() == Goal::Hold {
            // Prod is split, and neither environment can take all of it.
            self.fail(reason)
        } else if self.may_wait_for(route) {
            self.tries = 0;
            self.ask(AwaitHealthy(route))
        } else {
            self.hold_here(reason)
        }
    }

    /// Whether to wait until the old side is healthy: this run has moved all of prod away from it, and that failed.
    fn may_wait_for(&self, route: Route) -> bool {
        let from = self.swap.map(|swap| swap.from);
        self.stage.goal() == Goal::Back
            && self.stage.work() == Work::Own
            && self.wrote()
            && self.is_at_new_side()
            && route.whole() == from
    }

    pub(super) fn health_awaited(&mut self, health: TargetHealth) -> Next {
        match health {
            // The health is read once more right before the write.
            TargetHealth::Healthy => self.advance(),
            TargetHealth::Unhealthy => self.hold_here(Reason::Unhealthy),
            TargetHealth::Unreadable => self.hold_here(Reason::NotRead),
        }
    }

    fn is_at_new_side(&self) -> bool {
        self.swap.is_some_and(|swap| self.prod == Place::At(Route::All(swap.to)))
    }
}
