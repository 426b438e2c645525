//! The way forward: the writes and waits until the new side has all of prod, and the verdict of the probes. Must not know
//! anything that is not in the state or the answer.

use super::question::{Answer, AwaitProbes, AwaitPromotion, HoldAnswer, ProbesAnswer, SaveVerified, Saved};
use super::stage::{Moving, Progress, Stage, Target, Work};
use super::{Goal, Next, Reason, State};

impl State {
    pub(super) fn moving(&mut self, moving: Moving, answer: Answer) -> Next {
        match answer {
            Answer::AwaitHold(_, HoldAnswer::Elapsed) if self.paused => self.ask(AwaitPromotion),
            Answer::AwaitHold(_, HoldAnswer::Elapsed) => self.next_share(moving),
            Answer::AwaitHold(_, HoldAnswer::NotSettled) => self.turn_back(Reason::NotSettled),
            Answer::AwaitPromotion(_, never) => match never {},
            Answer::AwaitSettle(..) => self.enter(Stage::Verifying, AwaitProbes),
            other => self.writing(other),
        }
    }

    pub(super) fn verifying(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::AwaitProbes(_, ProbesAnswer::Passed) => {
                if let Some(swap) = &mut self.swap {
                    swap.progress = Progress::Verified { abort_too_late: false };
                }
                self.probing = false;
                self.ask(SaveVerified)
            }
            Answer::AwaitProbes(_, ProbesAnswer::TooSlow) => self.turn_back(Reason::TooSlow),
            Answer::AwaitProbes(_, ProbesAnswer::Failed) => self.turn_back(Reason::ProbesFailed),
            // If this is not recorded and the run is interrupted, traffic goes back. That is safe, so the run goes on.
            Answer::SaveVerified(_, Saved::Done | Saved::Failed) => {
                self.confirm(Target { work: Work::Own, goal: Goal::Forward, fallback: None }, 0)
            }
            Answer::SaveVerified(_, Saved::Taken) => self.abandon(),
            other => self.wrong_answer(other),
        }
    }
}
