//! Statistics of repeated measurements. Must not know what was measured.

use serde::{Deserialize, Serialize};

/// Repeated measurements of one quantity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The median; the mean of the middle two if the number is even.
    pub median: f64,
    /// The minimum.
    pub min: f64,
    /// The maximum.
    pub max: f64,
    /// All measurements in their order.
    pub samples: Vec<f64>,
}

impl Figures {
    /// Statistics of these measurements; zeros if there are none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let samples: Vec<f64> = samples.into_iter().collect();
        let sorted = sorted(&samples);
        let (min, max) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        Self { median: median(&sorted), min, max, samples }
    }

    /// Statistics of one measurement.
    pub fn once(sample: f64) -> Self {
        Self::of([sample])
    }
}

/// The percentile by the nearest-rank definition: the smallest measurement that at least this share does not exceed.
/// Zero if there are none.
pub fn percentile(samples: &[f64], percent: usize) -> f64 {
    let sorted = sorted(samples);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are samples, not computed")]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd = Figures::of([5.0, 1.0, 3.0]);
        assert_eq!((odd.median, odd.min, odd.max), (3.0, 1.0, 5.0));
        assert_eq!(odd.samples, [5.0, 1.0, 3.0], "the order is kept");
        assert_eq!(Figures::of([4.0, 1.0, 2.0, 100.0]).median, 3.0);
        assert_eq!(Figures::once(7.0).median, 7.0);
        assert_eq!(Figures::of([]), Figures::default());
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&hundred, percent)), [50.0, 99.0, 100.0]);
        assert_eq!(percentile(&[3.0, 9.0], 50), 3.0);
        assert_eq!(percentile(&[3.0, 9.0], 51), 9.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }
}
