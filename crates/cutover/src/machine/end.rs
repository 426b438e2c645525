//! The end of a run: the last look at the listeners, the outcome, the lease. Must not know anything that is not in the
//! state or the event.

use super::target::NextWrite;
use super::{CONFIRMATIONS, Effect, Effects, Event, Finish, Goal, Place, Reason, Route, State, Step, Subject};
use model::record::{Outcome, Phase};

impl State {
    /// Reads the listeners once no earlier write can land any more.
    pub(super) fn confirm(&mut self) -> Effects {
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

    pub(super) fn confirmed(&mut self, event: Event) -> Effects {
        match event {
            Event::Listeners(prod, dev) if prod.is_known() && dev.is_known() => {
                (self.prod, self.dev) = (prod, dev);
                if self.next() == NextWrite::Reached { self.conclude() } else { self.advance() }
            }
            Event::Unreadable | Event::Listeners(..) if self.try_again() => {
                self.ask(Step::Confirm, Effect::ReadListeners)
            }
            // Every write was answered: that is what the listeners are.
            Event::Unreadable if !self.had_unknown_write && self.next() == NextWrite::Reached => self.conclude(),
            Event::Unreadable | Event::Listeners(..) => self.fail(Reason::NotConfirmed),
            _ => Vec::new(),
        }
    }

    pub(super) fn conclude(&mut self) -> Effects {
        let at_new_side = self.current_swap().is_some_and(|(_, to)| self.prod == Place::At(Route::All(to)));
        let outcome = match self.goal {
            // It could not go where the ledger says that prod is.
            Goal::Hold if self.is_reconcile() && !self.recovering && self.reason.is_some() => Outcome::Held,
            // Prod is at one side, and dev at the other: that is what was asked for.
            _ if self.is_reconcile() && !self.recovering => Outcome::Done,
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

    pub(super) fn recover(&mut self, subject: Subject) -> Effects {
        self.recovering = true;
        self.goal = if subject.verified { Goal::Forward } else { Goal::Back };
        self.enter(Phase::Recover, Step::Read, Effect::ReadListeners)
    }

    pub(super) fn recovered_saved(&mut self, outcome: Outcome, event: Event) -> Effects {
        match event {
            Event::Saved => {
                let swap = self.current_swap();
                self.recovering = false;
                self.recovered = Some(outcome);
                self.subject = None;
                self.goal = Goal::Forward;
                self.confirming = false;
                self.confirmations = 0;
                self.fallback = None;
                self.had_unknown_write = false;
                self.tries = 0;
                self.reason = None;
                match outcome {
                    _ if self.stored => self.release(Finish::Stored),
                    // Away from what was begun: it was, and traffic is back.
                    Outcome::RolledBack if self.is_plain_rollback() => self.save_outcome(Outcome::Done),
                    Outcome::Held if self.is_plain_rollback() => self.go_back_to(swap.map(|(from, _)| from)),
                    _ => self.preflight(),
                }
            }
            Event::SaveFailed => self.fail(Reason::LedgerDown),
            Event::SaveTaken => self.abandon(),
            _ => Vec::new(),
        }
    }

    pub(super) fn refuse(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        self.alarm = None;
        self.save_outcome(Outcome::Refused)
    }

    pub(super) fn fail(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        if self.stored {
            return self.give_up(reason);
        }
        if self.unsettled {
            // Nothing is to change after the end.
            self.failing = true;
            return self.ask(Step::Quiet, Effect::AwaitQuiet);
        }
        self.save_outcome(Outcome::Failed)
    }

    pub(super) fn save_outcome(&mut self, outcome: Outcome) -> Effects {
        self.phase = outcome.into();
        let mut effects = self.stop_probes();
        effects.extend(self.ask(Step::SaveOutcome(outcome), Effect::SaveOutcome(outcome)));
        effects
    }

    pub(super) fn outcome_saved(&mut self, outcome: Outcome, event: Event) -> Effects {
        match event {
            // An interrupted run is still to be put right, which the lease remembers, or a write of ours may still land, and
            // nobody else may write before: the lease is left to expire.
            Event::Saved if self.recovering || self.unsettled => self.end(Finish::Recorded(outcome)),
            Event::Saved => self.release(Finish::Recorded(outcome)),
            Event::SaveTaken if !self.leased => self.end(Finish::Stored),
            Event::SaveTaken => self.abandon(),
            Event::SaveFailed => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    pub(super) fn release(&mut self, finish: Finish) -> Effects {
        if self.leased { self.ask(Step::Release(finish), Effect::Release) } else { self.end(finish) }
    }

    pub(super) fn abandon(&mut self) -> Effects {
        self.give_up(Reason::LeaseLost)
    }

    /// Ends without a recorded outcome, and without giving the lease back.
    pub(super) fn give_up(&mut self, reason: Reason) -> Effects {
        self.reason = Some(reason);
        let mut effects = self.stop_probes();
        effects.extend(self.end(Finish::Abandoned));
        effects
    }

    pub(super) fn end(&mut self, finish: Finish) -> Effects {
        self.step = Step::Finished(finish);
        vec![Effect::Finish(finish)]
    }
}
