//! What comes before the first write: the lease, the record, preflight, gate, baseline and the intent. Must not know
//! anything that is not in the state or the event.

use super::{Asked, Effect, Effects, Event, Finish, Goal, Kind, Place, Reason, Route, State, Step};
use model::Color;
use model::record::{Outcome, Phase};

impl State {
    pub(super) fn loaded(&mut self, event: Event) -> Effects {
        let plan = self.asked.kind == Kind::Plan;
        match event {
            Event::RunFinal => self.end(Finish::Stored),
            Event::RunUnfinished if plan => self.end(Finish::Stored),
            Event::RunAbsent if plan => self.ask(Step::Claim, Effect::Claim),
            Event::RunAbsent | Event::RunUnfinished => {
                self.stored = event == Event::RunUnfinished;
                self.ask(Step::AcquireLease, Effect::AcquireLease)
            }
            Event::LedgerDown => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    pub(super) fn leased(&mut self, event: Event) -> Effects {
        match event {
            Event::LeaseTaken(subject) => {
                self.leased = true;
                self.subject = subject;
                self.ask(Step::Claim, Effect::Claim)
            }
            Event::LeaseHeld if self.stored => self.end(Finish::Stored),
            Event::LeaseHeld => self.refuse(Reason::LeaseHeld),
            Event::LedgerDown => self.give_up(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    pub(super) fn claimed(&mut self, event: Event) -> Effects {
        match event {
            Event::Claimed => {}
            Event::ClaimTaken(own) => {
                self.stored = true;
                self.subject = self.subject.or(own);
            }
            Event::LedgerDown => return self.give_up(Reason::LedgerDown),
            _ => return Vec::new(),
        }
        match self.subject {
            Some(subject) if self.leased => self.recover(subject),
            _ if self.stored => self.release(Finish::Stored),
            _ => self.preflight(),
        }
    }

    pub(super) fn preflight(&mut self) -> Effects {
        if self.is_plain_rollback() {
            self.go_back_to(None)
        } else {
            self.enter(Phase::Preflight, Step::Preflight, Effect::ReadListeners)
        }
    }

    /// Whether it is a rollback that leaves it to the ledger where to.
    pub(super) fn is_plain_rollback(&self) -> bool {
        self.asked.kind == Kind::Rollback && self.asked.to.is_none()
    }

    /// Finds out where a rollback goes: to this side, if it is known, else to where the last cutover came from.
    pub(super) fn go_back_to(&mut self, side: Option<Color>) -> Effects {
        self.enter(Phase::Preflight, Step::FindWayBack, Effect::FindWayBack(side))
    }

    pub(super) fn way_back_found(&mut self, event: Event) -> Effects {
        match event {
            Event::WayBack(Some(way)) => {
                self.asked = Asked { to: Some(way.to), ..self.asked };
                self.replaced = way.replaced && !self.asked.force;
                self.ask(Step::Preflight, Effect::ReadListeners)
            }
            Event::WayBack(None) => self.refuse(Reason::NoWayBack),
            Event::LedgerDown => self.refuse(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    pub(super) fn preflight_read(&mut self, event: Event) -> Effects {
        match event {
            Event::Listeners(Place::Absent, dev) if dev.is_known() => {
                (self.prod, self.dev) = (Place::Absent, dev);
                if self.is_reconcile() {
                    self.ask(Step::FindLastProd, Effect::FindLastProd)
                } else {
                    self.refuse(Reason::NoRule)
                }
            }
            Event::Listeners(Place::At(route), dev) if dev.is_known() => {
                (self.prod, self.dev) = (Place::At(route), dev);
                let Some(prod) = route.whole() else {
                    return self.unsplit();
                };
                if self.is_reconcile() {
                    return self.ask(Step::FindLastProd, Effect::FindLastProd);
                }
                if self.asked.expect.is_some_and(|expected| expected != prod) {
                    return self.refuse(Reason::NotExpected);
                }
                let to = self.asked.to.unwrap_or_else(|| prod.other());
                self.to = Some(to);
                self.from = Some(prod);
                match () {
                    () if to != prod && self.replaced => self.refuse(Reason::Replaced),
                    () if to != prod => self.ask(Step::Inspect, Effect::Inspect(to)),
                    () if self.asked.kind == Kind::Plan => self.save_outcome(Outcome::Noop),
                    () => self.reconcile(prod, dev),
                }
            }
            Event::Listeners(prod, dev) => {
                (self.prod, self.dev) = (prod, dev);
                self.refuse(Reason::ListenersNotUnderstood)
            }
            Event::Unreadable => self.refuse(Reason::NotRead),
            _ => Vec::new(),
        }
    }

    /// Prod has no rule: it gets one to where the ledger says that it was, or to the side that the request names if
    /// nothing was released yet.
    pub(super) fn last_prod_found(&mut self, event: Event) -> Effects {
        match event {
            Event::LastProd(last) => {
                if let Some(prod) = self.prod.at().and_then(Route::whole) {
                    // A person who moved it by hand says so.
                    let meant = self.asked.to.filter(|_| self.asked.force).or(last);
                    return self.reconcile_with(meant.unwrap_or(prod), prod);
                }
                let Some(side) = last.or(self.asked.to) else { return self.refuse(Reason::NoRule) };
                self.fallback = Some(side);
                self.goal = Goal::Hold;
                self.advance()
            }
            Event::LedgerDown => self.refuse(Reason::LedgerDown),
            _ => Vec::new(),
        }
    }

    /// Prod is split though nothing is interrupted: somebody else did that, or the ledger is gone. Only a reconcile brings
    /// it to one side, as if a shift from there had been interrupted.
    fn unsplit(&mut self) -> Effects {
        if !self.is_reconcile() {
            return self.refuse(Reason::Split);
        }
        self.from = self.old_side();
        self.to = self.from.map(Color::other);
        self.goal = Goal::Back;
        self.advance()
    }

    /// Prod goes to where the ledger says that it was, if that side is healthy: a write that landed late, or somebody by hand,
    /// has moved it unprobed.
    fn reconcile_with(&mut self, last: Color, prod: Color) -> Effects {
        if last == prod {
            return self.reconcile(prod, self.dev);
        }
        (self.from, self.to) = (Some(last), Some(prod));
        self.goal = Goal::Back;
        self.advance()
    }

    /// Prod stays; dev is set to the other side if it is not there.
    pub(super) fn reconcile(&mut self, prod: Color, dev: Place<Color>) -> Effects {
        if dev != Place::At(prod.other()) {
            self.goal = Goal::Hold;
            return self.advance();
        }
        let held = self.is_reconcile() && self.recovered == Some(Outcome::Held);
        self.save_outcome(match self.recovered {
            _ if held => Outcome::Held,
            Some(_) if self.is_reconcile() => Outcome::Done,
            // So that the ledger says so from now on.
            None if self.is_reconcile() && self.asked.force => Outcome::Done,
            _ => Outcome::Noop,
        })
    }

    /// Inspect, gate, baseline and the intent: what comes before the first write.
    pub(super) fn prepared(&mut self, event: Event) -> Effects {
        match (self.step, event, self.to) {
            (Step::Inspect, Event::Eligible, Some(to)) => self.enter(Phase::Gate, Step::Gate, Effect::Gate(to)),
            (Step::Inspect, Event::Ineligible, _) => self.refuse(Reason::Ineligible),
            (Step::Inspect, Event::Unreadable, _) => self.refuse(Reason::NotRead),
            (Step::Gate, Event::GatePassed, _) => {
                self.probing = true;
                let mut effects = vec![Effect::StartProbes];
                effects.extend(self.enter(Phase::Baseline, Step::Baseline, Effect::AwaitBaseline));
                effects
            }
            (Step::Gate, Event::GateFailed, _) => self.refuse(Reason::GateFailed),
            (Step::Baseline, Event::NoVersion, _) => self.refuse(Reason::NoVersion),
            (Step::Baseline, Event::BaselineFailed, _) if self.asked.kind != Kind::Rollback => {
                self.refuse(Reason::BaselineFailed)
            }
            (Step::Baseline, Event::BaselinePassed | Event::BaselineFailed, _) => {
                self.old_is_bad = event == Event::BaselineFailed;
                if self.asked.kind == Kind::Plan {
                    self.save_outcome(Outcome::Planned)
                } else {
                    self.ask(Step::SaveIntent, Effect::SaveIntent)
                }
            }
            (Step::SaveIntent, Event::Saved, _) => {
                self.wrote = true;
                self.advance()
            }
            (Step::SaveIntent, Event::SaveFailed, _) => self.refuse(Reason::LedgerDown),
            (Step::SaveIntent, Event::SaveTaken, _) => self.abandon(),
            _ => Vec::new(),
        }
    }
}
