//! A row of the table: figures, reference, and targets.

use serde::{Deserialize, Serialize};

use crate::figures::Figures;
use crate::unit::{Unit, number};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The part that measured it.
    pub part: String,
    /// What was measured.
    pub what: String,
    /// The unit of all figures.
    pub unit: Unit,
    /// The figures of this project.
    pub ours: Figures,
    /// The reference, measured in turns in the same run.
    pub reference: Option<Reference>,
    /// How many times better than the reference: its median divided by ours, or the inverse if more is better.
    pub ratio: Option<f64>,
    /// The targets; all of them must be met.
    pub targets: Vec<Target>,
    /// Whether the targets are met; absent if there is no target or the reference is missing.
    pub met: Option<bool>,
}

/// The reference of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub what: String,
    /// Its figures.
    pub figures: Figures,
}

/// A target for a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The median is at most this, in the unit of the row.
    AtMost(f64),
    /// The median is at least this, in the unit of the row, for a value that an error would make too small.
    AtLeast(f64),
    /// Every measurement is at most this.
    NeverAbove(f64),
    /// At least this many times better than the reference.
    TimesBetter(f64),
    /// At most this many times the reference.
    TimesReference(f64),
}

impl Row {
    /// A row without a reference.
    pub fn new(what: impl Into<String>, unit: Unit, ours: Figures) -> Self {
        Self {
            part: String::new(),
            what: what.into(),
            unit,
            ours,
            reference: None,
            ratio: None,
            targets: Vec::new(),
            met: None,
        }
    }

    /// Adds a reference.
    #[must_use]
    pub fn against(mut self, what: impl Into<String>, figures: Figures) -> Self {
        self.reference = Some(Reference { what: what.into(), figures });
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Computes the ratio and whether the targets are met.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.ratio = self.reference.as_ref().and_then(|reference| {
            let (ours, theirs) = (self.ours.median, reference.figures.median);
            let (better, worse) = if self.unit.more_is_better() { (ours, theirs) } else { (theirs, ours) };
            // With such a target, less is not better.
            let truth = self.targets.iter().any(|target| matches!(target, Target::AtLeast(_)));
            (worse > 0.0 && !truth).then(|| better / worse)
        });
        let verdicts: Vec<_> = self.targets.iter().filter_map(|target| self.meets(*target)).collect();
        self.met = (!verdicts.is_empty()).then(|| verdicts.iter().all(|met| *met));
        self
    }

    /// Whether one target is met; `None` if it needs a missing reference.
    fn meets(&self, target: Target) -> Option<bool> {
        match target {
            Target::AtMost(most) => Some(self.ours.median <= most),
            Target::AtLeast(least) => Some(self.ours.median >= least),
            Target::NeverAbove(most) => Some(self.ours.max <= most),
            Target::TimesBetter(times) => self.ratio.map(|ratio| ratio >= times),
            Target::TimesReference(times) => {
                self.reference.as_ref().map(|reference| self.ours.median <= times * reference.figures.median)
            }
        }
    }

    /// The ratio as text, in the form of the target.
    pub fn show_ratio(&self) -> String {
        let Some(ratio) = self.ratio else { return String::new() };
        let share = self.targets.iter().any(|target| matches!(target, Target::TimesReference(_)));
        if share { format!("{} × of it", number(1.0 / ratio)) } else { self.unit.show_ratio(ratio) }
    }

    /// The targets as text.
    pub fn show_targets(&self) -> String {
        let words = |target: &Target| match target {
            Target::AtMost(most) => format!("≤ {}", self.unit.show(*most)),
            Target::AtLeast(least) => format!("≥ {}", self.unit.show(*least)),
            Target::NeverAbove(most) if *most == 0.0 => "0".to_owned(),
            Target::NeverAbove(most) => format!("never above {}", self.unit.show(*most)),
            Target::TimesBetter(times) => format!("≥ {}", self.unit.show_ratio(*times)),
            Target::TimesReference(times) => format!("≤ {} × the reference", number(*times)),
        };
        self.targets.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_time_is_better_and_more_requests_are() {
        let time = Row::new("synth", Unit::Seconds, Figures::once(0.01)).against("CDK", Figures::once(8.0)).judged();
        assert_eq!(time.ratio, Some(800.0));
        let rate = Row::new("wrk", Unit::PerSecond, Figures::once(90.0)).against("Go", Figures::once(60.0)).judged();
        assert_eq!(rate.ratio, Some(1.5));
    }

    #[test]
    fn every_target_has_to_be_met() {
        let row = Row::new("synth", Unit::Seconds, Figures::once(0.01)).against("CDK", Figures::once(4.0));
        let row = row.target(Target::AtMost(0.01)).target(Target::TimesBetter(500.0)).judged();
        assert_eq!(row.met, Some(false));
        assert_eq!(row.show_targets(), "≤ 10 ms, ≥ 500 × faster");
    }

    #[test]
    fn a_target_against_a_missing_reference_is_no_verdict() {
        let row = Row::new("synth", Unit::Seconds, Figures::once(0.01)).target(Target::TimesBetter(500.0)).judged();
        assert_eq!((row.ratio, row.met), (None, None));
    }

    #[test]
    fn never_looks_at_the_worst() {
        let failures = Figures::of([0.0, 0.0, 1.0]);
        assert_eq!(Row::new("failed", Unit::Count, failures).target(Target::NeverAbove(0.0)).judged().met, Some(false));
    }

    #[test]
    fn as_long_as_the_reference_and_a_fifth() {
        let row = |ours| Row::new("deploy", Unit::Seconds, Figures::once(ours)).against("bare", Figures::once(1.0));
        let met = |ours| row(ours).target(Target::TimesReference(1.2)).judged().met;
        assert_eq!((met(1.2), met(1.3)), (Some(true), Some(false)));
        let shown = row(1.2).target(Target::TimesReference(1.2)).judged();
        assert_eq!(
            (shown.show_ratio(), shown.show_targets()),
            ("1.20 × of it".into(), "≤ 1.20 × the reference".into())
        );
    }
}
