//! Random answers and signals, also those that the modelled surroundings never give. Every walk has to end, and must not
//! break what the machine alone can promise.

use super::super::question::*;
use super::super::{
    Alarm, Answer, Asked, Interrupt, Kind, Listener, Next, Place, Route, Shift, Signal, State, Subject,
};
use fastrand::Rng;
use model::Color;
use model::request::OnFail;

/// Walks to take: enough to reach every stage many times, in about a second.
const WALKS: u32 = 200_000;
const SIGNALS: [Signal; 6] = [
    Signal::Alarm(Alarm::ProbesFailed),
    Signal::Alarm(Alarm::DeadlineNear),
    Signal::Alarm(Alarm::LeaseLost),
    Signal::Alarm(Alarm::Aborted),
    Signal::Paused,
    Signal::Promoted,
];

/// Draws answers; one in `badness` of them is a bad one.
struct Draw {
    random: Rng,
    badness: u8,
}

impl Draw {
    fn color(&mut self) -> Color {
        Color::ALL[self.random.usize(0..2)]
    }

    fn is_bad(&mut self) -> bool {
        self.random.u8(0..self.badness) == 0
    }

    /// The good answer, or one of the bad ones.
    fn of<T: Copy>(&mut self, good: T, bad: &[T]) -> T {
        if self.is_bad() { bad[self.random.usize(0..bad.len())] } else { good }
    }

    fn of_ledger<T>(&mut self, answer: T) -> Result<T, LedgerDown> {
        if self.random.u8(0..30) == 0 { Err(LedgerDown) } else { Ok(answer) }
    }

    fn subject(&mut self) -> Option<Subject> {
        let from = self.color();
        let subject = Subject { from, to: from.other(), verified: self.random.bool() };
        (self.random.u8(0..4) == 0).then_some(subject)
    }

    fn asked(&mut self) -> Asked {
        Asked {
            kind: [Kind::Cutover, Kind::Rollback, Kind::Reconcile, Kind::Plan][self.random.usize(0..4)],
            to: Some(self.color()).filter(|_| self.random.bool()),
            expect: Some(self.color()).filter(|_| self.random.u8(0..4) == 0),
            on_fail: if self.random.bool() { OnFail::Rollback } else { OnFail::Hold },
            shift: if self.random.bool() { Shift::NONE } else { Shift::new([10, 50]) },
            force: self.random.bool(),
        }
    }

    fn listeners(&mut self, state: &State) -> ListenersRead {
        let (prod, dev) = state.listeners();
        let prod = prod.filter(|_| !self.is_bad()).unwrap_or_else(|| Route::All(self.color()));
        let dev = dev.filter(|_| !self.is_bad()).unwrap_or_else(|| self.color());
        let split = Route::Split { blue: [10, 50, 90][self.random.usize(0..3)] };
        ListenersRead {
            prod: self.of(Place::At(prod), &[Place::Unknown, Place::Absent, Place::At(split)]),
            dev: self.of(Place::At(dev), &[Place::Unknown, Place::Absent]),
        }
    }

    fn saved(&mut self) -> Saved {
        self.of(Saved::Done, &[Saved::Failed, Saved::Taken])
    }

    fn health(&mut self) -> TargetHealth {
        self.of(TargetHealth::Healthy, &[TargetHealth::Unhealthy, TargetHealth::Unreadable])
    }

    /// An answer; `None` if only a signal ends the question.
    fn answer(&mut self, state: &State, question: Question) -> Option<Answer> {
        Some(match question {
            Question::LoadRun(it) => {
                let run = self.of(StoredRun::Absent, &[StoredRun::Unfinished, StoredRun::Final]);
                it.answer(self.of_ledger(run))
            }
            Question::AcquireLease(it) => {
                let acquired = LeaseAnswer::Acquired(self.subject());
                let lease = self.of(acquired, &[LeaseAnswer::Held]);
                it.answer(self.of_ledger(lease))
            }
            Question::Claim(it) => {
                let taken = ClaimAnswer::Taken(self.subject());
                let claim = self.of(ClaimAnswer::Created, &[taken]);
                it.answer(self.of_ledger(claim))
            }
            Question::FindWayBack(it) => {
                let way_back = WayBack { to: it.0.unwrap_or_else(|| self.color()), replaced: self.is_bad() };
                let way_back = self.of(Some(way_back), &[None]);
                it.answer(self.of_ledger(way_back))
            }
            Question::FindLastProd(it) => {
                let last = Some(self.color());
                let last = self.of(last, &[None]);
                it.answer(self.of_ledger(last))
            }
            Question::ReadListeners(it) => {
                let read = self.listeners(state);
                it.answer(self.of(Ok(read), &[Err(Unreadable)]))
            }
            Question::Inspect(it) => {
                it.answer(self.of(Eligibility::Eligible, &[Eligibility::Ineligible, Eligibility::Unreadable]))
            }
            Question::Gate(it) => it.answer(self.of(GateAnswer::Passed, &[GateAnswer::Failed])),
            Question::AwaitBaseline(it) => {
                it.answer(self.of(BaselineAnswer::Passed, &[BaselineAnswer::Failed, BaselineAnswer::NoVersion]))
            }
            Question::SaveIntent(it) => it.answer(self.saved()),
            Question::CheckHealth(it) => it.answer(self.health()),
            Question::Write(it) => it.answer(
                self.of(WriteAnswer::Done, &[WriteAnswer::Unknown, WriteAnswer::Rejected, WriteAnswer::NoLease]),
            ),
            Question::AwaitHold(it) => it.answer(self.of(HoldAnswer::Elapsed, &[HoldAnswer::NotSettled])),
            Question::AwaitPromotion(_) => return None,
            Question::AwaitSettle(it) => it.answer(()),
            Question::AwaitHealthy(it) => it.answer(self.health()),
            Question::AwaitProbes(it) => {
                it.answer(self.of(ProbesAnswer::Passed, &[ProbesAnswer::TooSlow, ProbesAnswer::Failed]))
            }
            Question::SaveVerified(it) => it.answer(self.saved()),
            Question::AwaitQuiet(it) => it.answer(()),
            Question::SaveRecovered(it) => it.answer(self.saved()),
            Question::SaveOutcome(it) => it.answer(self.saved()),
            Question::Release(it) => it.answer(()),
        })
    }
}

/// Gives a signal, and checks what it may do.
fn signal(state: State, question: Question, signal: Signal) -> State {
    match state.interrupt(signal) {
        Interrupt::Remembered(after) => {
            assert_eq!(after.next(), state.next(), "{signal:?} is remembered, and changes what comes next");
            after
        }
        Interrupt::CalledOff(after) => {
            let stops_write = signal == Signal::Alarm(Alarm::LeaseLost) && matches!(question, Question::Write(_));
            assert!(question.is_wait() || stops_write, "{signal:?} calls off {question:?}");
            after
        }
    }
}

#[test]
fn every_walk_ends_and_writes_prod_only_to_what_was_just_seen_healthy() {
    let mut draw = Draw { random: Rng::with_seed(7), badness: 1 };
    for walk in 0..WALKS {
        draw.badness = [3, 8, 40][draw.random.usize(0..3)];
        let asked = draw.asked();
        let mut state = State::new(asked);
        let (mut healthy, mut steps) = (None, 0);
        while let Next::Ask(question) = state.next() {
            steps += 1;
            assert!(steps < 500, "walk {walk} does not end: {state:#?}");
            if let Question::Write(Write(listener, route)) = question {
                assert!(asked.kind != Kind::Plan, "a plan writes: {state:#?}");
                assert!(listener == Listener::Dev || healthy == Some(route), "walk {walk}: {state:#?}");
            }
            if draw.random.u8(0..20) == 0 {
                let given = SIGNALS[draw.random.usize(0..SIGNALS.len())];
                state = signal(state, question, given);
                continue;
            }
            let answer = draw.answer(&state, question);
            healthy = match answer {
                Some(Answer::CheckHealth(CheckHealth(route), TargetHealth::Healthy)) => Some(route),
                _ => None,
            };
            state = answer.map_or_else(|| signal(state, question, Signal::Promoted), |answer| state.answer(answer));
        }
        assert!(!state.is_probing(), "walk {walk} ends with probes: {state:#?}");
    }
}
