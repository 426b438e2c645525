//! The modeled system: listeners, health, ledger, and invocations; the possible next events, and their effects.

use super::faults::{Budget, Mutant};
use super::{answers, checks};
use cutover::machine::{
    Alarm, Answer, Asked, Finish, Interrupt, Kind, Listener, Next, Question, Route, Signal, State, Subject,
};
use model::Color;
use model::record::Outcome;
use stateright::{Model, Property};

/// What to explore.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub asked: [Asked; 2],
    pub same_id: bool,
    pub budget: Budget,
    pub mutant: Option<Mutant>,
}

/// A run's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    pub exists: bool,
    /// The lease under which it was last written.
    pub epoch: u8,
    pub outcome: Option<Outcome>,
    /// The swap that it intends to write, after the intent is recorded.
    pub intent: Option<Subject>,
}

/// The lease's object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lock {
    /// The invocation that holds it, and its id.
    pub holder: Option<(usize, usize)>,
    /// Whether no other invocation may take it over yet.
    pub live: bool,
    /// How often it was acquired.
    pub epoch: u8,
    /// Ids of earlier holders that never released it.
    pub interrupted: Vec<usize>,
}

/// An invocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub id: usize,
    pub state: State,
    /// The epoch of its lease.
    pub epoch: u8,
    /// The question that waits for its answer.
    pub pending: Option<Question>,
    pub crashed: bool,
    /// Its lease is lost, and the machine does not know that yet.
    pub lost: bool,
    /// Its writes that may still land.
    pub late: Vec<(Listener, Route)>,
    /// The route all of whose sides it saw healthy, if it did nothing since.
    pub fresh: Option<Route>,
    /// The id of the interrupted run that it recovers.
    pub subject: Option<usize>,
    /// Where prod was before the run that was interrupted when this one took the lease, and had not verified the new
    /// side.
    pub unfinished_from: Option<Color>,
    /// It was aborted before the new side was verified.
    pub aborted: bool,
}

/// The state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct System {
    /// Where prod's rule sends requests; none if there is no rule.
    pub prod: Option<Route>,
    /// Where dev's rule sends them.
    pub dev: Option<Color>,
    pub healthy: [bool; 2],
    /// A part of the load balancer still answers as before the last write of prod.
    pub lagging: bool,
    pub lock: Lock,
    /// Records by id; the last is for the reconcile that the checks try.
    pub records: [Record; 3],
    pub processes: Vec<Process>,
    pub budget: Budget,
    /// The id whose intent was recorded last.
    pub last_intent: Option<usize>,
    /// The origin of the last cutover.
    pub way_back: Option<Color>,
    /// The place of prod when a run last determined it.
    pub last_prod: Option<Color>,
    /// The sides that prod may be at without a run: a verified side, or an unchanged one.
    pub legitimate: [bool; 2],
    /// A property that an effect has just violated.
    pub violated: Option<&'static str>,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An invocation begins.
    Start(usize),
    /// The pending question is answered in this way.
    Do(usize, answers::Way),
    /// A signal arrives.
    Signal(usize, Signal),
    /// The invocation is killed.
    Crash(usize),
    /// A late write lands.
    Land(usize, usize),
    /// A late write is lost.
    Vanish(usize, usize),
    /// A side's health changes.
    Flip(Color),
    /// The holder could not renew the lease in time.
    Lose(usize),
    /// The lease is free for others.
    Expire,
    /// A person deletes a listener's rule.
    Delete(Listener),
    /// All of the load balancer follows.
    Follow,
}

pub fn index(color: Color) -> usize {
    usize::from(color == Color::Green)
}

impl Process {
    pub fn is_active(&self) -> bool {
        self.pending.is_some() && !self.crashed
    }

    pub fn new(id: usize, asked: Asked) -> Self {
        Self {
            id,
            state: State::new(asked),
            epoch: 0,
            pending: None,
            crashed: false,
            lost: false,
            late: Vec::new(),
            fresh: None,
            subject: None,
            unfinished_from: None,
            aborted: false,
        }
    }

    fn has_begun(&self) -> bool {
        self.pending.is_some() || self.crashed || self.state.finish().is_some()
    }

    /// Begins with the first question.
    fn begin(&mut self) {
        self.go_on(self.state);
    }

    /// Gives the machine an answer, and continues with its next question.
    pub fn answer(&mut self, answer: Answer) {
        self.go_on(self.state.answer(answer));
    }

    /// Gives the machine a signal, and continues with its next question.
    pub fn interrupt(&mut self, signal: Signal) {
        match self.state.interrupt(signal) {
            Interrupt::Remembered(state) => {
                assert_eq!(state.next(), self.state.next(), "{signal:?} is remembered, and changes what comes next");
                self.state = state;
            }
            Interrupt::CalledOff(state) => self.go_on(state),
        }
    }

    fn go_on(&mut self, state: State) {
        self.state = state;
        self.pending = match state.next() {
            Next::Ask(question) => Some(question),
            Next::Finish(_) => None,
        };
    }
}

impl System {
    /// A description of an action, for a counterexample.
    pub fn describe(&self, action: Action) -> String {
        let System { prod, dev, .. } = self;
        let what = match action {
            Action::Do(number, way) => format!("{number}: {:?} {way:?}", self.processes[number].pending),
            other => format!("{other:?}"),
        };
        format!("prod {prod:?}, dev {dev:?}, {:?}: {what}", self.lock)
    }
}

impl Setup {
    /// The environment that becomes prod, if nothing was released yet.
    pub fn is_first_release(&self) -> Option<Color> {
        self.asked[0].to.filter(|_| self.asked[0].kind == Kind::Reconcile)
    }

    pub fn initial(&self) -> System {
        let process = |number: usize| Process::new(if self.same_id { 0 } else { number }, self.asked[number]);
        let first = self.is_first_release().is_some();
        System {
            prod: (!first).then_some(Route::All(Color::Green)),
            dev: (!first).then_some(Color::Blue),
            healthy: [true; 2],
            lagging: false,
            lock: Lock::default(),
            records: [Record::default(); 3],
            processes: vec![process(0), process(1)],
            budget: self.budget,
            last_intent: None,
            way_back: (!first).then_some(Color::Blue),
            last_prod: (!first).then_some(Color::Green),
            legitimate: [false, true],
            violated: None,
        }
    }

    /// Whether the lease may become free for others: its holder has ended or has lost it, and none of the holder's
    /// writes can take effect any more.
    fn may_expire(&self, system: &System) -> bool {
        let Some((holder, _)) = system.lock.holder.filter(|_| system.lock.live) else {
            return false;
        };
        let holder = &system.processes[holder];
        let gone = !holder.is_active() || holder.lost;
        gone && (holder.late.is_empty() || self.mutant == Some(Mutant::LeaseShorterThanWrite))
    }

    fn process_actions(system: &System, number: usize, actions: &mut Vec<Action>) {
        let process = &system.processes[number];
        for position in 0..process.late.len() {
            actions.push(Action::Land(number, position));
            actions.push(Action::Vanish(number, position));
        }
        if !process.has_begun() {
            actions.push(Action::Start(number));
        }
        if !process.is_active() {
            return;
        }
        if system.budget.crashes > 0 {
            actions.push(Action::Crash(number));
        }
        if process.lost {
            actions.push(Action::Signal(number, Signal::Alarm(Alarm::LeaseLost)));
        } else if system.budget.losses > 0 && system.lock.holder.is_some_and(|(holder, _)| holder == number) {
            actions.push(Action::Lose(number));
        }
        if system.budget.alarms > 0 {
            if process.state.counts_probes() {
                actions.push(Action::Signal(number, Signal::Alarm(Alarm::ProbesFailed)));
            }
            actions.push(Action::Signal(number, Signal::Alarm(Alarm::DeadlineNear)));
        }
        if system.budget.aborts > 0 {
            actions.push(Action::Signal(number, Signal::Alarm(Alarm::Aborted)));
        }
    }

    pub fn after(&self, system: &System, action: Action) -> Option<System> {
        let mut next = system.clone();
        match action {
            Action::Start(number) => next.processes[number].begin(),
            Action::Do(number, way) => answers::perform(self, &mut next, number, way)?,
            Action::Signal(number, signal) => {
                let process = &mut next.processes[number];
                match signal {
                    Signal::Alarm(Alarm::LeaseLost) => process.lost = false,
                    Signal::Alarm(Alarm::Aborted) => {
                        next.budget.aborts -= 1;
                        process.aborted = !process.state.verified();
                        if self.mutant == Some(Mutant::DeafToAborts) {
                            return Some(next);
                        }
                    }
                    _ => next.budget.alarms -= 1,
                }
                process.interrupt(signal);
            }
            Action::Crash(number) => {
                next.budget.crashes -= 1;
                next.processes[number].crashed = true;
            }
            Action::Land(number, position) => {
                let (listener, route) = next.processes[number].late.remove(position);
                answers::land(&mut next, number, listener, route);
            }
            Action::Vanish(number, position) => {
                next.processes[number].late.remove(position);
            }
            Action::Flip(color) => {
                next.budget.flips -= 1;
                next.healthy[index(color)] ^= true;
            }
            Action::Lose(number) => {
                next.budget.losses -= 1;
                next.processes[number].lost = true;
            }
            Action::Expire => next.lock.live = false,
            Action::Follow => next.lagging = false,
            Action::Delete(listener) => {
                next.budget.deletions -= 1;
                match listener {
                    Listener::Prod => next.prod = None,
                    Listener::Dev => next.dev = None,
                }
            }
        }
        Some(next)
    }
}

impl Model for Setup {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![self.initial()]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        if system.violated.is_some() {
            return;
        }
        for (number, process) in system.processes.iter().enumerate() {
            Self::process_actions(system, number, actions);
            if process.is_active() {
                let ways = answers::ways(self, system, number);
                actions.extend(ways.into_iter().map(|way| Action::Do(number, way)));
            }
        }
        if system.budget.flips > 0 {
            actions.extend(Color::ALL.map(Action::Flip));
        }
        if system.budget.deletions > 0 {
            actions.extend([Listener::Prod, Listener::Dev].map(Action::Delete));
        }
        if self.may_expire(system) {
            actions.push(Action::Expire);
        }
        if system.lagging {
            actions.push(Action::Follow);
        }
    }

    fn next_state(&self, system: &System, action: Action) -> Option<System> {
        self.after(system, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        checks::all()
    }
}

/// Whether an invocation ended with an outcome that is recorded, or found one.
pub fn ended_well(process: &Process) -> bool {
    !process.crashed && matches!(process.state.finish(), Some(Finish::Recorded(_) | Finish::Stored))
}
