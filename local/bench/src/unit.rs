//! Units, and the format of numbers.

use serde::{Deserialize, Serialize};

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Time.
    Seconds,
    /// Memory and sizes.
    Bytes,
    /// Number per second.
    PerSecond,
    /// Number.
    Count,
}

impl Unit {
    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }

    /// A number with its unit, to three significant digits.
    pub fn show(self, value: f64) -> String {
        let (scaled, unit) = match self {
            Self::Seconds => scale(value, &[(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")], "s"),
            Self::Bytes => scale(value, &[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB")], "B"),
            Self::PerSecond => scale(value, &[(1.0, "/s"), (1e3, "k/s")], "/s"),
            Self::Count => (value, ""),
        };
        format!("{} {unit}", number(scaled)).trim_end().to_owned()
    }

    /// How many times better or worse than the reference, as text.
    pub fn show_ratio(self, ratio: f64) -> String {
        let (better, worse) = match self {
            Self::Seconds => ("faster", "slower"),
            Self::Bytes | Self::Count => ("less", "more"),
            Self::PerSecond => ("more", "less"),
        };
        if ratio < 1.0 {
            format!("{} × {worse}", number(1.0 / ratio))
        } else {
            format!("{} × {better}", number(ratio))
        }
    }
}

/// Scales to the largest unit that gives at least one, otherwise to the smallest unit; zero uses `of_nothing`.
fn scale(value: f64, units: &[(f64, &'static str)], of_nothing: &'static str) -> (f64, &'static str) {
    if value == 0.0 {
        return (0.0, of_nothing);
    }
    // A number that rounds up to the next unit uses that unit.
    let fits = units.iter().rev().find(|(size, _)| value / size >= 0.9995);
    let (size, unit) = fits.or(units.first()).copied().unwrap_or((1.0, of_nothing));
    (value / size, unit)
}

/// Three significant digits, with thousands separators.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        whole if whole.fract() == 0.0 => 0,
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(Unit::Seconds.show(0.0088), "8.80 ms");
        assert_eq!(Unit::Seconds.show(0.000_12), "120 µs");
        assert_eq!(Unit::Seconds.show(9.8), "9.80 s");
        assert_eq!(Unit::Seconds.show(0.0), "0 s");
        assert_eq!(Unit::Bytes.show(15.0 * 1_048_576.0), "15 MiB");
        assert_eq!(Unit::Bytes.show(1536.0), "1.50 KiB");
        assert_eq!(Unit::PerSecond.show(55_000.0), "55 k/s");
        assert_eq!(Unit::Count.show(0.0), "0");
        assert_eq!(number(1113.4), "1,113");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(Unit::Seconds.show_ratio(1113.0), "1,113 × faster");
        assert_eq!(Unit::Seconds.show_ratio(0.5), "2 × slower");
    }
}
