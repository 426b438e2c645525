//! The last read of the listeners before the end, and what it means. Must not know anything that is not in the state or
//! the answer.

use super::question::{Answer, AwaitQuiet, ListenersRead, ReadListeners, SaveRecovered, Saved, Unreadable};
use super::stage::{Confirming, Preparing, Recovery, Stage, Target, UnknownWrite, Work};
use super::target::NextWrite;
use super::{CONFIRMATIONS, Finish, Goal, Next, Place, Reason, Route, State};
use model::record::Outcome;

impl State {
    pub(super) fn confirming(&mut self, confirming: Confirming, answer: Answer) -> Next {
        match answer {
            Answer::AwaitQuiet(..) => {
                self.unknown_write = UnknownWrite::Expired;
                self.ask(ReadListeners)
            }
            Answer::ReadListeners(_, read) if !confirming.repairing => self.confirmation_read(confirming, read),
            Answer::SaveRecovered(SaveRecovered(outcome), saved) => {
                self.recovered_saved(confirming.target.work, outcome, saved)
            }
            other => self.writing(other),
        }
    }

    /// Reads the listeners once more after no earlier write can take effect any more.
    pub(super) fn confirm(&mut self, target: Target, rounds_before: u8) -> Next {
        let round = rounds_before + 1;
        self.stage = Stage::Confirming(Confirming { target, round, repairing: false });
        if round > CONFIRMATIONS {
            return self.fail(Reason::NotConfirmed);
        }
        if self.unknown_write == UnknownWrite::MayLand { self.ask(AwaitQuiet) } else { self.ask(ReadListeners) }
    }

    fn confirmation_read(&mut self, confirming: Confirming, read: Result<ListenersRead, Unreadable>) -> Next {
        match read {
            Ok(read) if read.is_known() => {
                (self.prod, self.dev) = (read.prod, read.dev);
                if self.next_write() == NextWrite::Reached {
                    return self.conclude(confirming.target);
                }
                self.stage = Stage::Confirming(Confirming { repairing: true, ..confirming });
                self.advance()
            }
            _ if self.try_again() => self.ask(ReadListeners),
            // Every write was answered, so the listeners are as they were written.
            Err(Unreadable) if self.unknown_write == UnknownWrite::None && self.next_write() == NextWrite::Reached => {
                self.conclude(confirming.target)
            }
            _ => self.fail(Reason::NotConfirmed),
        }
    }

    fn conclude(&mut self, target: Target) -> Next {
        let at_new_side = self.current_swap().is_some_and(|(_, to)| self.prod == Place::At(Route::All(to)));
        let own_reconcile = self.is_reconcile() && target.work == Work::Own;
        let outcome = match target.goal {
            // Prod could not go to where the ledger says that it was.
            Goal::Hold if own_reconcile && self.reason.is_some() => Outcome::Held,
            // Prod is at one environment and dev at the other, as a reconcile has to leave them.
            _ if own_reconcile => Outcome::Done,
            Goal::Forward => Outcome::Done,
            Goal::Hold if self.current_swap().is_none() => Outcome::Done,
            Goal::Hold if at_new_side => Outcome::Held,
            Goal::Back | Goal::Hold => Outcome::RolledBack,
        };
        match target.work {
            Work::Recovery(_) => self.ask(SaveRecovered(outcome)),
            Work::Own => self.save_outcome(outcome),
        }
    }

    fn recovered_saved(&mut self, work: Work, outcome: Outcome, saved: Saved) -> Next {
        match (saved, work) {
            (Saved::Done, Work::Recovery(recovery)) => self.recovered(recovery, outcome),
            (Saved::Failed, _) => self.fail(Reason::LedgerDown),
            (Saved::Taken, _) => self.abandon(),
            // Only a recovery saves this.
            (Saved::Done, Work::Own) => self.fail(Reason::WrongAnswer),
        }
    }

    /// The interrupted run is recovered. What this run was asked for comes next.
    fn recovered(&mut self, recovery: Recovery, outcome: Outcome) -> Next {
        let preparing = Preparing { recovered: Some(outcome), way_back: None };
        self.stage = Stage::Preparing(preparing);
        self.unknown_write = UnknownWrite::None;
        self.tries = 0;
        self.reason = None;
        match outcome {
            _ if recovery.stored => self.release(Finish::Stored),
            // The rollback was asked for to leave the interrupted cutover, and traffic is back.
            Outcome::RolledBack if self.is_plain_rollback() => self.save_outcome(Outcome::Done),
            Outcome::Held if self.is_plain_rollback() => self.go_back_to(preparing, Some(recovery.subject.from)),
            _ => self.preflight(preparing),
        }
    }
}
