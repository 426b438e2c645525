//! Where the listeners have to point, and the order of the writes. Must not know how far a run is.

use super::{Listener, Place, Route};
use model::Color;

/// What a run works towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Dev to the old side, then prod to the new side, in steps if the request has a shift. The last write of prod is
    /// the commit point: if the run crashes before it, the next run sends all traffic back.
    Forward,
    /// Prod to the old side, then dev to the new side.
    Back,
    /// Prod stays where it is, and dev goes to the other side. If prod is split or has no rule, it goes to its
    /// fallback.
    Hold,
}

/// What to do next for a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextWrite {
    /// Read the listeners, because it is not known where they point.
    Read,
    /// Make this listener send its requests there.
    Write(Listener, Route),
    /// Nothing: the listeners are at the goal.
    Reached,
}

/// The values that a goal needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// From which side to which side traffic moves; `None` if it does not move.
    pub swap: Option<(Color, Color)>,
    /// The percentage of prod that the new side gets now, on the way forward.
    pub share: u8,
    /// Where prod goes if it is split or has no rule, and the goal is to hold.
    pub fallback: Color,
}

impl Goal {
    pub(crate) fn next(self, plan: Plan, prod: Place<Route>, dev: Place<Color>) -> NextWrite {
        let dev = dev.at().map(Route::All);
        match (self, plan.swap) {
            (Self::Forward, Some((from, to))) => {
                let share = Route::share(to, plan.share);
                first([(Listener::Dev, dev, Route::All(from)), (Listener::Prod, prod.at(), share)])
            }
            (Self::Back, Some((from, to))) => {
                first([(Listener::Prod, prod.at(), Route::All(from)), (Listener::Dev, dev, Route::All(to))])
            }
            // Without a swap, forward and back mean the same as hold.
            (Self::Hold | Self::Forward | Self::Back, _) if prod == Place::Unknown => NextWrite::Read,
            (Self::Hold | Self::Forward | Self::Back, _) => {
                let side = prod.at().and_then(Route::whole).unwrap_or(plan.fallback);
                let other = Route::All(side.other());
                first([(Listener::Prod, prod.at(), Route::All(side)), (Listener::Dev, dev, other)])
            }
        }
    }
}

fn first(wanted: [(Listener, Option<Route>, Route); 2]) -> NextWrite {
    let missing = wanted.iter().find(|(_, is, should)| *is != Some(*should));
    missing.map_or(NextWrite::Reached, |(listener, _, should)| NextWrite::Write(*listener, *should))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Color::{Blue, Green};

    const PLAN: Plan = Plan { swap: Some((Green, Blue)), share: 100, fallback: Green };

    const fn write(listener: Listener, color: Color) -> NextWrite {
        NextWrite::Write(listener, Route::All(color))
    }

    #[test]
    fn forward_writes_dev_first() {
        let next = |prod, dev| Goal::Forward.next(PLAN, Place::At(Route::All(prod)), Place::At(dev));
        assert_eq!(next(Green, Blue), write(Listener::Dev, Green));
        assert_eq!(next(Green, Green), write(Listener::Prod, Blue));
        assert_eq!(next(Blue, Green), NextWrite::Reached);
    }

    #[test]
    fn back_writes_prod_first() {
        let next = |prod, dev| Goal::Back.next(PLAN, Place::At(Route::All(prod)), Place::At(dev));
        assert_eq!(next(Blue, Green), write(Listener::Prod, Green));
        assert_eq!(next(Green, Green), write(Listener::Dev, Blue));
        assert_eq!(next(Green, Blue), NextWrite::Reached);
    }

    #[test]
    fn hold_never_writes_a_prod_that_is_whole() {
        assert_eq!(Goal::Hold.next(PLAN, Place::At(Route::All(Blue)), Place::At(Blue)), write(Listener::Dev, Green));
        assert_eq!(Goal::Hold.next(PLAN, Place::At(Route::All(Blue)), Place::At(Green)), NextWrite::Reached);
        let nowhere = Plan { swap: None, ..PLAN };
        assert_eq!(Goal::Hold.next(nowhere, Place::Unknown, Place::At(Green)), NextWrite::Read);
    }

    #[test]
    fn what_is_not_known_is_written() {
        assert_eq!(Goal::Back.next(PLAN, Place::Unknown, Place::Unknown), write(Listener::Prod, Green));
    }

    #[test]
    fn a_prod_without_a_rule_gets_one_to_its_fallback_and_then_dev() {
        let nowhere = Plan { swap: None, fallback: Blue, ..PLAN };
        assert_eq!(Goal::Hold.next(nowhere, Place::Absent, Place::Absent), write(Listener::Prod, Blue));
        let made = Place::At(Route::All(Blue));
        assert_eq!(Goal::Hold.next(nowhere, made, Place::Absent), write(Listener::Dev, Green));
    }

    #[test]
    fn a_step_of_a_shift_is_reached_by_its_share_alone() {
        let step = Plan { share: 10, ..PLAN };
        let next = |prod| Goal::Forward.next(step, Place::At(prod), Place::At(Green));
        assert_eq!(next(Route::All(Green)), NextWrite::Write(Listener::Prod, Route::share(Blue, 10)));
        assert_eq!(next(Route::share(Blue, 10)), NextWrite::Reached);
    }

    #[test]
    fn a_split_is_never_left() {
        let split = Place::At(Route::share(Blue, 10));
        assert_eq!(Goal::Back.next(PLAN, split, Place::At(Green)), write(Listener::Prod, Green));
        assert_eq!(
            Goal::Hold.next(Plan { fallback: Blue, ..PLAN }, split, Place::At(Green)),
            write(Listener::Prod, Blue)
        );
        assert_eq!(Goal::Hold.next(Plan { swap: None, ..PLAN }, split, Place::At(Green)), write(Listener::Prod, Green));
    }
}
