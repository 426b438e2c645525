//! The steps of a gradual shift: the shares of prod that the new side gets, in order. Must not know how long a step
//! takes.

/// Largest number of steps of a shift.
pub const MOST_STEPS: usize = 10;

/// The shares of prod, in percent, that the new side gets one after the other before it gets all. Without any share, it
/// gets all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shift([u8; MOST_STEPS]);

impl Shift {
    /// All at once.
    pub const NONE: Self = Self([0; MOST_STEPS]);

    /// A shift with these shares, `MOST_STEPS` at most. The request is checked before: shares are 1–99 and rise.
    pub fn new(weights: impl IntoIterator<Item = u8>) -> Self {
        let mut steps = [0; MOST_STEPS];
        for (step, weight) in steps.iter_mut().zip(weights) {
            *step = weight;
        }
        Self(steps)
    }

    /// Whether the new side gets all at once.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The share at this step; `None` after the last step.
    pub fn weight(&self, step: u8) -> Option<u8> {
        self.0.get(usize::from(step)).copied().filter(|weight| *weight > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_last_step_there_is_no_share() {
        let shift = Shift::new([10, 50]);
        assert_eq!([0, 1, 2, 200].map(|step| shift.weight(step)), [Some(10), Some(50), None, None]);
        assert_eq!(Shift::NONE.weight(0), None);
        assert_eq!(Shift::new(1..=10).weight(9), Some(10));
    }
}
