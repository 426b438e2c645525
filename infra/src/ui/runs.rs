//! What every table of runs begins with: when, what, from where to where, how it ended, and how many probes failed.

use model::record::Percentiles;
use model::{Color, Record};

use super::Style;

/// The heads of the columns.
pub(super) fn heads() -> String {
    format!(
        "{:<17}  {:<9}  {:<5}  {:<5}  {:<11}  {:>6}  {:>6}",
        "run", "what", "from", "to", "outcome", "probes", "failed"
    )
}

/// The columns of a run.
pub(super) fn columns(run: &Record, style: Style) -> String {
    let color = |color: Option<Color>| color.map_or("-", |color| color.as_str());
    let outcome = format!("{:<11}", run.state());
    let outcome = match run.outcome {
        Some(end) if end.is_success() => style.good(&outcome),
        Some(_) => style.bad(&outcome),
        None if run.interrupted => style.bad(&outcome),
        None => style.warn(&outcome),
    };
    let counts = run.probes.as_ref().map(|probes| probes.counts).unwrap_or_default();
    format!(
        "{:<17}  {:<9}  {:<5}  {:<5}  {outcome}  {:>6}  {:>6}",
        run.started.strftime("%Y-%m-%d %H:%MZ").to_string(),
        run.op.as_str(),
        color(run.from),
        color(run.to),
        counts.sent,
        counts.failed
    )
}

/// The latency while traffic moved; if it did not move, the latency afterwards.
pub(super) fn latency(run: &Record) -> Percentiles {
    let Some(probes) = &run.probes else { return Percentiles::default() };
    if probes.during.count > 0 { probes.during } else { probes.after }
}

/// A latency in a table.
pub(super) fn ms(latency: Option<f64>) -> String {
    latency.map_or_else(|| "-".to_owned(), crate::report::text::ms)
}
