//! Where the listeners have to point, and in which order they are written. Must not know how far a run is.

use super::Listener;
use crate::Color;

/// What a run is working towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Dev to the old side, then prod to the new side. The prod write is the commit point: a crash before it leaves
    /// users where they were.
    Forward,
    /// Prod to the old side, then dev to the new side.
    Back,
    /// Prod stays where it is; dev to the other side.
    Hold,
}

/// What to do next for a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is not known where the listeners point.
    Read,
    /// Point this listener there.
    Write(Listener, Color),
    /// They point where they should.
    Reached,
}

impl Goal {
    pub(crate) fn next(self, swap: Option<(Color, Color)>, prod: Option<Color>, dev: Option<Color>) -> Next {
        match (self, swap) {
            (Self::Forward, Some((from, to))) => first(&[(Listener::Dev, dev, from), (Listener::Prod, prod, to)]),
            (Self::Back, Some((from, to))) => first(&[(Listener::Prod, prod, from), (Listener::Dev, dev, to)]),
            // Without a swap there is nothing to go forward or back to.
            (Self::Hold | Self::Forward | Self::Back, _) => match prod {
                None => Next::Read,
                Some(prod) => first(&[(Listener::Dev, dev, prod.other())]),
            },
        }
    }
}

fn first(wanted: &[(Listener, Option<Color>, Color)]) -> Next {
    let missing = wanted.iter().find(|(_, is, should)| *is != Some(*should));
    missing.map_or(Next::Reached, |(listener, _, should)| Next::Write(*listener, *should))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Color::{Blue, Green};

    const SWAP: Option<(Color, Color)> = Some((Green, Blue));

    #[test]
    fn forward_writes_dev_first() {
        let next = |prod, dev| Goal::Forward.next(SWAP, Some(prod), Some(dev));
        assert_eq!(next(Green, Blue), Next::Write(Listener::Dev, Green));
        assert_eq!(next(Green, Green), Next::Write(Listener::Prod, Blue));
        assert_eq!(next(Blue, Green), Next::Reached);
    }

    #[test]
    fn back_writes_prod_first() {
        let next = |prod, dev| Goal::Back.next(SWAP, Some(prod), Some(dev));
        assert_eq!(next(Blue, Green), Next::Write(Listener::Prod, Green));
        assert_eq!(next(Green, Green), Next::Write(Listener::Dev, Blue));
        assert_eq!(next(Green, Blue), Next::Reached);
    }

    #[test]
    fn hold_never_writes_prod() {
        assert_eq!(Goal::Hold.next(SWAP, Some(Blue), Some(Blue)), Next::Write(Listener::Dev, Green));
        assert_eq!(Goal::Hold.next(SWAP, Some(Blue), Some(Green)), Next::Reached);
        assert_eq!(Goal::Hold.next(None, None, Some(Green)), Next::Read);
    }

    #[test]
    fn what_is_not_known_is_written() {
        assert_eq!(Goal::Back.next(SWAP, None, None), Next::Write(Listener::Prod, Green));
    }
}
