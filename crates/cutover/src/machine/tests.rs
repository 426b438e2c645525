//! What the model checker cannot explore: answers that do not belong to the question, and answers at random.

mod walk;

use super::question::*;
use super::{Answer, Asked, Finish, Kind, Next, Place, Reason, Route, Shift, State};
use model::Color::{Blue, Green};
use model::record::Outcome;
use model::request::OnFail;

const TO_BLUE: Asked = Asked {
    kind: Kind::Cutover,
    to: Some(Blue),
    expect: None,
    on_fail: OnFail::Rollback,
    shift: Shift::NONE,
    force: false,
};

/// The answer of surroundings in which everything succeeds.
fn well(state: &State, question: Question) -> Answer {
    match question {
        Question::LoadRun(it) => it.answer(Ok(StoredRun::Absent)),
        Question::AcquireLease(it) => it.answer(Ok(LeaseAnswer::Acquired(None))),
        Question::Claim(it) => it.answer(Ok(ClaimAnswer::Created)),
        Question::FindWayBack(it) => it.answer(Ok(None)),
        Question::FindLastProd(it) => it.answer(Ok(None)),
        Question::ReadListeners(it) => {
            let (prod, dev) = state.listeners();
            it.answer(Ok(ListenersRead {
                prod: Place::At(prod.unwrap_or(Route::All(Green))),
                dev: Place::At(dev.unwrap_or(Blue)),
            }))
        }
        Question::Inspect(it) => it.answer(Eligibility::Eligible),
        Question::Gate(it) => it.answer(GateAnswer::Passed),
        Question::AwaitBaseline(it) => it.answer(BaselineAnswer::Passed),
        Question::SaveIntent(it) => it.answer(Saved::Done),
        Question::CheckHealth(it) => it.answer(TargetHealth::Healthy),
        Question::Write(it) => it.answer(WriteAnswer::Done),
        Question::AwaitHold(it) => it.answer(HoldAnswer::Elapsed),
        Question::AwaitPromotion(_) => panic!("nothing pauses this run"),
        Question::AwaitSettle(it) => it.answer(()),
        Question::AwaitHealthy(it) => it.answer(TargetHealth::Healthy),
        Question::AwaitProbes(it) => it.answer(ProbesAnswer::Passed),
        Question::SaveVerified(it) => it.answer(Saved::Done),
        Question::AwaitQuiet(it) => it.answer(()),
        Question::SaveRecovered(it) => it.answer(Saved::Done),
        Question::SaveOutcome(it) => it.answer(Saved::Done),
        Question::Release(it) => it.answer(()),
    }
}

/// All states of a run in which everything succeeds from here on; the last one has ended.
fn go_on(mut state: State) -> Vec<State> {
    let mut states = vec![state];
    while let Next::Ask(question) = state.next() {
        state = state.answer(well(&state, question));
        states.push(state);
        assert!(states.len() < 100, "it does not end: {state:#?}");
    }
    states
}

/// What follows a wrong answer in a release build.
fn after_wrong_answer(mut state: State) -> State {
    state.next = state.survive_wrong_answer();
    state
}

#[test]
#[should_panic(expected = "does not answer")]
fn an_answer_to_another_question_panics_in_tests() {
    let _ = State::new(TO_BLUE).answer(Gate(Blue).answer(GateAnswer::Passed));
}

#[test]
#[should_panic(expected = "does not answer")]
fn an_answer_about_another_environment_panics_in_tests() {
    let is_gate = |state: &State| state.next() == Next::Ask(Gate(Blue).into());
    let state = go_on(State::new(TO_BLUE)).into_iter().find(is_gate).unwrap();
    let _ = state.answer(Gate(Green).answer(GateAnswer::Passed));
}

#[test]
fn a_run_survives_a_wrong_answer_at_any_time_and_records_its_end() {
    let states = go_on(State::new(TO_BLUE));
    assert!(states.len() > 15, "{states:#?}");
    for state in states {
        let Next::Ask(question) = state.next() else { continue };
        let after = after_wrong_answer(state);
        let end = *go_on(after).last().unwrap();
        let expected = match question {
            // Nothing else can record the end.
            Question::SaveOutcome(_) => Finish::Abandoned,
            Question::Release(_) => Finish::Recorded(Outcome::Done),
            _ if !state.wrote() => Finish::Recorded(Outcome::Refused),
            _ if state.verified() => Finish::Recorded(Outcome::Failed),
            _ => Finish::Recorded(Outcome::RolledBack),
        };
        assert_eq!(end.finish(), Some(expected), "{question:?}: {end:#?}");
        if !matches!(question, Question::Release(_)) {
            assert_eq!(end.reason(), Some(Reason::WrongAnswer), "{question:?}");
        }
        if expected == Finish::Recorded(Outcome::RolledBack) {
            assert_eq!(end.listeners(), (Some(Route::All(Green)), Some(Blue)));
        }
    }
}

#[test]
fn a_run_ends_even_if_every_answer_is_wrong() {
    for mut state in go_on(State::new(TO_BLUE)) {
        for _ in 0..8 {
            if state.finish().is_none() {
                state = after_wrong_answer(state);
            }
        }
        assert!(state.finish().is_some(), "{state:#?}");
    }
}
