//! How a run begins: it looks for its record, acquires the lease and creates its record. Must not know anything that is
//! not in the state or the answer.

use super::question::{AcquireLease, Answer, Claim, ClaimAnswer, LeaseAnswer, LedgerDown, StoredRun};
use super::stage::{Opening, Preparing, Recovery, Stage};
use super::{Finish, Kind, Next, Reason, State};

impl State {
    pub(super) fn opening(&mut self, opening: Opening, answer: Answer) -> Next {
        match answer {
            Answer::LoadRun(_, Ok(found)) => self.run_loaded(found),
            Answer::AcquireLease(_, Ok(lease)) => self.lease_answered(opening, lease),
            Answer::Claim(_, Ok(claim)) => self.claim_answered(opening, claim),
            Answer::LoadRun(_, Err(LedgerDown))
            | Answer::AcquireLease(_, Err(LedgerDown))
            | Answer::Claim(_, Err(LedgerDown)) => self.give_up(Reason::LedgerDown),
            other => self.wrong_answer(other),
        }
    }

    fn run_loaded(&mut self, found: StoredRun) -> Next {
        let plan = self.asked.kind == Kind::Plan;
        match found {
            StoredRun::Final => Next::Finish(Finish::Stored),
            StoredRun::Unfinished if plan => Next::Finish(Finish::Stored),
            StoredRun::Absent if plan => self.ask(Claim),
            StoredRun::Absent | StoredRun::Unfinished => {
                let stored = found == StoredRun::Unfinished;
                self.enter(Stage::Opening(Opening { stored, subject: None }), AcquireLease)
            }
        }
    }

    fn lease_answered(&mut self, opening: Opening, lease: LeaseAnswer) -> Next {
        match lease {
            LeaseAnswer::Acquired(subject) => {
                self.leased = true;
                self.enter(Stage::Opening(Opening { subject, ..opening }), Claim)
            }
            LeaseAnswer::Held if opening.stored => Next::Finish(Finish::Stored),
            LeaseAnswer::Held => self.refuse(Reason::LeaseHeld),
        }
    }

    fn claim_answered(&mut self, opening: Opening, claim: ClaimAnswer) -> Next {
        let (stored, subject) = match claim {
            ClaimAnswer::Created => (opening.stored, opening.subject),
            ClaimAnswer::Taken(own) => (true, opening.subject.or(own)),
        };
        match subject {
            Some(subject) if self.leased => self.recover(Recovery { subject, stored }),
            _ if stored => self.release(Finish::Stored),
            _ => self.preflight(Preparing { recovered: None, way_back: None }),
        }
    }
}
