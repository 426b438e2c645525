//! What comes before the first write: preflight, gate, baseline and the intent. Must not know anything that is not in the
//! state or the answer.

use super::question::{
    Answer, AwaitBaseline, BaselineAnswer, Eligibility, FindLastProd, FindWayBack, Gate, GateAnswer, Inspect,
    LedgerDown, ListenersRead, ReadListeners, SaveIntent, Saved, Unreadable, WayBack,
};
use super::stage::{Moving, Preparing, Progress, Stage, Swap, Target, Work};
use super::{Goal, Kind, Next, Place, Reason, Route, State};
use model::Color;
use model::record::Outcome;

impl State {
    pub(super) fn preparing(&mut self, preparing: Preparing, answer: Answer) -> Next {
        match answer {
            Answer::FindWayBack(_, Ok(way_back)) => self.way_back_found(preparing, way_back),
            Answer::FindLastProd(_, Ok(last)) => self.last_prod_found(preparing, last),
            Answer::FindWayBack(_, Err(LedgerDown)) | Answer::FindLastProd(_, Err(LedgerDown)) => {
                self.refuse(Reason::LedgerDown)
            }
            Answer::ReadListeners(_, Ok(read)) => self.preflight_read(preparing, read),
            Answer::ReadListeners(_, Err(Unreadable)) | Answer::Inspect(_, Eligibility::Unreadable) => {
                self.refuse(Reason::NotRead)
            }
            Answer::Inspect(Inspect(to), Eligibility::Eligible) => self.ask(Gate(to)),
            Answer::Inspect(_, Eligibility::Ineligible) => self.refuse(Reason::Ineligible),
            Answer::Gate(_, GateAnswer::Passed) => {
                self.probing = true;
                self.ask(AwaitBaseline)
            }
            Answer::Gate(_, GateAnswer::Failed) => self.refuse(Reason::GateFailed),
            Answer::AwaitBaseline(_, baseline) => self.baseline_probed(baseline),
            Answer::SaveIntent(_, saved) => self.intent_saved(saved),
            other => self.wrong_answer(other),
        }
    }

    pub(super) fn preflight(&mut self, preparing: Preparing) -> Next {
        if self.is_plain_rollback() {
            self.go_back_to(preparing, None)
        } else {
            self.enter(Stage::Preparing(preparing), ReadListeners)
        }
    }

    /// Whether it is a rollback whose target is in the ledger, not in the request.
    pub(super) fn is_plain_rollback(&self) -> bool {
        self.asked.kind == Kind::Rollback && self.asked.to.is_none()
    }

    /// Finds where a rollback goes: to this environment if it is known, otherwise to where the last cutover came from.
    pub(super) fn go_back_to(&mut self, preparing: Preparing, side: Option<Color>) -> Next {
        self.enter(Stage::Preparing(preparing), FindWayBack(side))
    }

    fn way_back_found(&mut self, preparing: Preparing, way_back: Option<WayBack>) -> Next {
        if way_back.is_none() {
            return self.refuse(Reason::NoWayBack);
        }
        self.enter(Stage::Preparing(Preparing { way_back, ..preparing }), ReadListeners)
    }

    fn preflight_read(&mut self, preparing: Preparing, read: ListenersRead) -> Next {
        (self.prod, self.dev) = (read.prod, read.dev);
        match read.prod {
            _ if !read.is_known() => self.refuse(Reason::ListenersNotUnderstood),
            Place::Absent | Place::At(Route::All(_)) if self.is_reconcile() => self.ask(FindLastProd),
            Place::Absent | Place::Unknown => self.refuse(Reason::NoRule),
            Place::At(Route::Split { .. }) => self.unsplit(),
            Place::At(Route::All(prod)) => self.prod_found(preparing, prod),
        }
    }

    fn prod_found(&mut self, preparing: Preparing, prod: Color) -> Next {
        if self.asked.expect.is_some_and(|expected| expected != prod) {
            return self.refuse(Reason::NotExpected);
        }
        let way_back = preparing.way_back;
        let to = way_back.map(|way| way.to).or(self.asked.to).unwrap_or_else(|| prod.other());
        self.swap = Some(Swap::new(prod, to));
        if to == prod {
            return if self.asked.kind == Kind::Plan {
                self.save_outcome(Outcome::Noop)
            } else {
                self.put_dev_in_order(preparing, prod)
            };
        }
        if way_back.is_some_and(|way| way.replaced) && !self.asked.force {
            return self.refuse(Reason::Replaced);
        }
        self.ask(Inspect(to))
    }

    /// Prod goes to where the ledger says that it was, or, if it has no rule and the ledger says nothing, to the environment
    /// that the request names.
    fn last_prod_found(&mut self, preparing: Preparing, last: Option<Color>) -> Next {
        if let Some(prod) = self.prod.at().and_then(Route::whole) {
            // With `force`, the request decides: a person has moved prod by hand.
            let meant = self.asked.to.filter(|_| self.asked.force).or(last);
            return self.put_in_order(preparing, meant.unwrap_or(prod), prod);
        }
        let Some(side) = last.or(self.asked.to) else { return self.refuse(Reason::NoRule) };
        self.restore(Goal::Hold, Some(side))
    }

    /// Prod is split though no run is interrupted: a person did that, or the ledger is lost. Only a reconcile sends prod to one
    /// environment, as if a shift from there was interrupted.
    fn unsplit(&mut self) -> Next {
        if !self.is_reconcile() {
            return self.refuse(Reason::Split);
        }
        self.swap = self.old_side().map(|from| Swap::new(from, from.other()));
        self.restore(Goal::Back, None)
    }

    /// Prod goes to where the ledger says that it was, if that environment is healthy: a late write, or a person, has moved it
    /// without probes.
    fn put_in_order(&mut self, preparing: Preparing, last: Color, prod: Color) -> Next {
        if last == prod {
            return self.put_dev_in_order(preparing, prod);
        }
        self.swap = Some(Swap::new(last, prod));
        self.restore(Goal::Back, None)
    }

    /// Prod stays. Dev goes to the other environment if it is not there.
    fn put_dev_in_order(&mut self, preparing: Preparing, prod: Color) -> Next {
        if self.dev != Place::At(prod.other()) {
            return self.restore(Goal::Hold, None);
        }
        self.save_outcome(match preparing.recovered {
            Some(Outcome::Held) if self.is_reconcile() => Outcome::Held,
            Some(_) if self.is_reconcile() => Outcome::Done,
            // The outcome `done` makes this prod the one that the ledger names.
            None if self.is_reconcile() && self.asked.force => Outcome::Done,
            _ => Outcome::Noop,
        })
    }

    /// Writes the listeners in order, for this run and before it has written anything.
    fn restore(&mut self, goal: Goal, fallback: Option<Color>) -> Next {
        self.stage = Stage::Restoring(Target { work: Work::Own, goal, fallback });
        self.advance()
    }

    fn baseline_probed(&mut self, baseline: BaselineAnswer) -> Next {
        let old_is_bad = match baseline {
            BaselineAnswer::NoVersion => return self.refuse(Reason::NoVersion),
            BaselineAnswer::Failed if self.asked.kind != Kind::Rollback => return self.refuse(Reason::BaselineFailed),
            BaselineAnswer::Failed => true,
            BaselineAnswer::Passed => false,
        };
        if let Some(swap) = &mut self.swap {
            swap.old_is_bad = old_is_bad;
        }
        if self.asked.kind == Kind::Plan { self.save_outcome(Outcome::Planned) } else { self.ask(SaveIntent) }
    }

    fn intent_saved(&mut self, saved: Saved) -> Next {
        match saved {
            Saved::Done => {
                if let Some(swap) = &mut self.swap {
                    swap.progress = Progress::Written;
                }
                self.stage = Stage::Moving(Moving { shift_step: 0 });
                self.advance()
            }
            Saved::Failed => self.refuse(Reason::LedgerDown),
            Saved::Taken => self.abandon(),
        }
    }
}
