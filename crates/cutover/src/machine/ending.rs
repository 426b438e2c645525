//! The end of a run: the outcome, the lease, and the ends without an outcome. Must not know anything that is not in the
//! state or the answer.

use super::question::{Answer, AwaitQuiet, Release, SaveOutcome, Saved};
use super::stage::{Opening, Recovery, Stage, UnknownWrite, Work};
use super::{Finish, Next, Reason, State};
use model::record::Outcome;

impl State {
    pub(super) fn failing(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::AwaitQuiet(..) => {
                self.unknown_write = UnknownWrite::Expired;
                self.save_outcome(Outcome::Failed)
            }
            other => self.wrong_answer(other),
        }
    }

    pub(super) fn saving(&mut self, work: Work, answer: Answer) -> Next {
        match answer {
            Answer::SaveOutcome(SaveOutcome(outcome), saved) => self.outcome_saved(work, outcome, saved),
            other => self.wrong_answer(other),
        }
    }

    pub(super) fn releasing(&mut self, finish: Finish, answer: Answer) -> Next {
        match answer {
            Answer::Release(..) => Next::Finish(finish),
            other => self.wrong_answer(other),
        }
    }

    /// Ends before the first write.
    pub(super) fn refuse(&mut self, reason: Reason) -> Next {
        self.reason = Some(reason);
        self.alarm = None;
        self.save_outcome(Outcome::Refused)
    }

    /// Ends without a consistent state.
    pub(super) fn fail(&mut self, reason: Reason) -> Next {
        self.reason = Some(reason);
        let work = self.stage.work();
        if matches!(work, Work::Recovery(Recovery { stored: true, .. })) {
            return self.give_up(reason);
        }
        if self.unknown_write == UnknownWrite::MayLand {
            // Nothing may change after the end.
            return self.enter(Stage::Failing(work), AwaitQuiet);
        }
        self.save_outcome(Outcome::Failed)
    }

    pub(super) fn save_outcome(&mut self, outcome: Outcome) -> Next {
        self.probing = false;
        self.enter(Stage::Saving(self.stage.work()), SaveOutcome(outcome))
    }

    fn outcome_saved(&mut self, work: Work, outcome: Outcome, saved: Saved) -> Next {
        match saved {
            // The lease is left to expire. It remembers an interrupted run that is not recovered yet, and it keeps others from
            // writing while a write of this run may still take effect.
            Saved::Done if work != Work::Own || self.unknown_write == UnknownWrite::MayLand => {
                Next::Finish(Finish::Recorded(outcome))
            }
            Saved::Done => self.release(Finish::Recorded(outcome)),
            Saved::Taken if !self.leased => Next::Finish(Finish::Stored),
            Saved::Taken => self.abandon(),
            Saved::Failed => self.give_up(Reason::LedgerDown),
        }
    }

    pub(super) fn release(&mut self, finish: Finish) -> Next {
        if self.leased { self.enter(Stage::Releasing(finish), Release) } else { Next::Finish(finish) }
    }

    pub(super) fn abandon(&mut self) -> Next {
        self.give_up(Reason::LeaseLost)
    }

    /// Ends without a recorded outcome, and without releasing the lease.
    pub(super) fn give_up(&mut self, reason: Reason) -> Next {
        self.reason = Some(reason);
        self.probing = false;
        Next::Finish(Finish::Abandoned)
    }

    /// An answer that does not belong to the question: an error in this program, which tests must not hide.
    pub(super) fn wrong_answer(&mut self, answer: Answer) -> Next {
        debug_assert!(false, "{answer:?} does not answer {:?} in {:?}", self.next, self.stage);
        self.survive_wrong_answer()
    }

    /// Goes to a recorded end in spite of the error. Each stage goes to a later one, so that this ends even if every
    /// answer is wrong.
    pub(super) fn survive_wrong_answer(&mut self) -> Next {
        let reason = Reason::WrongAnswer;
        match self.stage {
            Stage::Opening(Opening { stored: false, subject: None }) | Stage::Preparing(_) => self.refuse(reason),
            Stage::Moving(_) => self.turn_back(reason),
            Stage::Verifying if !self.verified() => self.turn_back(reason),
            Stage::Verifying | Stage::Restoring(_) | Stage::Confirming(_) => self.fail(reason),
            Stage::Failing(_) => {
                // It may not have waited, so the lease must not be released.
                self.save_outcome(Outcome::Failed)
            }
            // Nothing is recorded: the next run recovers this one.
            Stage::Opening(_) | Stage::Saving(_) => self.give_up(reason),
            Stage::Releasing(finish) => Next::Finish(finish),
        }
    }
}
