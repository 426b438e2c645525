//! The chart of a run as SVG: every probe's latency over time, the writes as vertical lines, the phases as bands.
//!
//! Each environment has its color and shape, and failures have a third one, so the chart reads without colors too. Colors
//! come from the style sheet (light, dark, print); nothing here names one.

use std::fmt::Write as _;

use maud::{Markup, html};
use model::Color;

use super::drawing::{BELOW, LEFT, Layout, RIGHT, round, width_of};
use super::text::{clean, count, ms, offset};
use super::timeline::{Answer, Point, Side, Timeline, Write};

/// Height of the plot itself.
const PLOT: f64 = 250.0;
/// Height of one row of labels of writes.
const ROW: f64 = 20.0;

/// Where milliseconds are on the drawing.
struct Scale {
    right: f64,
    top: f64,
    end_ms: f64,
    latency: Axis,
}

/// The latency axis.
struct Axis {
    max: f64,
    min: f64,
    logarithmic: bool,
}

impl Axis {
    /// Logarithmic if a few slow probes would flatten all others.
    fn of(points: &[Point]) -> Self {
        let mut latencies: Vec<f64> = points.iter().map(|point| point.latency_ms).collect();
        latencies.sort_by(f64::total_cmp);
        let max = latencies.last().copied().unwrap_or(0.0).max(1.0);
        let median = latencies.get(latencies.len() / 2).copied().unwrap_or(1.0).max(0.1);
        if max / median > 25.0 {
            let lowest = latencies.first().copied().unwrap_or(1.0).max(0.1);
            Self { max: max * 1.3, min: 10_f64.powf(lowest.log10().floor()), logarithmic: true }
        } else {
            Self { max: max * 1.15, min: 0.0, logarithmic: false }
        }
    }

    /// 0 at the ground, 1 at the ceiling.
    fn share(&self, latency: f64) -> f64 {
        let share = if self.logarithmic {
            (latency.max(self.min) / self.min).log10() / (self.max / self.min).log10()
        } else {
            latency / self.max
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = nice_step(self.max, 5.0);
            return multiples(step, self.max);
        }
        let mut ticks = Vec::new();
        let mut decade = self.min;
        while decade <= self.max {
            ticks.extend([decade, decade * 3.0].into_iter().filter(|tick| *tick <= self.max));
            decade *= 10.0;
        }
        ticks
    }
}

impl Scale {
    fn x(&self, at_ms: f64) -> f64 {
        LEFT + (at_ms / self.end_ms).clamp(0.0, 1.0) * (self.right - LEFT)
    }

    fn y(&self, latency_ms: f64) -> f64 {
        self.top + (1.0 - self.latency.share(latency_ms)) * PLOT
    }

    fn ground(&self) -> f64 {
        self.top + PLOT
    }
}

/// A step of 1, 2 or 5 times a power of ten that results in about `parts` parts.
fn nice_step(range: f64, parts: f64) -> f64 {
    let raw = (range / parts).max(1e-6);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| raw <= factor * power).unwrap_or(10.0);
    factor * power
}

fn multiples(step: f64, max: f64) -> Vec<f64> {
    (0..100_u32).map(|number| f64::from(number) * step).take_while(|value| *value <= max + step * 1e-6).collect()
}

/// A label over the plot, in the first row with room for it.
struct Label<'a> {
    write: &'a Write,
    baseline: f64,
    /// Whether it stands left of its line.
    before: bool,
}

fn labels<'a>(writes: &'a [Write], scale: &Scale) -> Vec<Label<'a>> {
    let mut rows: Vec<f64> = Vec::new();
    let mut labels = Vec::new();
    for write in writes {
        let at = scale.x(write.at_ms);
        let width = width_of(&write.label) + 10.0;
        let before = at + width > scale.right;
        let (from, to) = if before { (at - width, at) } else { (at, at + width) };
        let row = rows.iter().position(|end| *end <= from).unwrap_or(rows.len());
        match rows.get_mut(row) {
            Some(end) => *end = to,
            None => rows.push(to),
        }
        let baseline = rows.iter().take(row).fold(20.0, |baseline, _| baseline + ROW);
        labels.push(Label { write, baseline, before });
    }
    labels
}

/// The chart. `id` makes the ids within the page unique.
pub fn render(timeline: &Timeline, layout: Layout, id: &str) -> Markup {
    let latency = Axis::of(&timeline.points);
    let mut scale = Scale { right: layout.width() - RIGHT, top: 0.0, end_ms: timeline.end_ms, latency };
    let labels = labels(&timeline.writes, &scale);
    scale.top = labels.iter().map(|label| label.baseline + 10.0).fold(10.0, f64::max);
    let height = scale.ground() + BELOW;
    let (title, description) = (format!("{id}-title"), format!("{id}-description"));
    html! {
        svg class={ "chart " (layout.as_str()) } xmlns="http://www.w3.org/2000/svg" role="img"
            viewBox={ "0 0 " (layout.width()) " " (height) } aria-labelledby={ (title) " " (description) } {
            title id=(title) { "Latency of every probe of prod over time" }
            desc id=(description) { (describe(timeline)) }
            (bands(timeline, &scale))
            (axes(&scale, layout))
            (band_names(timeline, &scale))
            (writes(&labels, &scale))
            (points(timeline, &scale))
        }
    }
}

/// The chart as text, for screen readers.
pub fn describe(timeline: &Timeline) -> String {
    let failed = timeline.points.iter().filter(|point| point.failure.is_some()).count();
    let mut text = if timeline.whole {
        format!("{} probes over {:.1} seconds, {failed} failed.", timeline.points.len(), timeline.end_ms / 1000.0)
    } else {
        format!("{:.1} seconds; only the {failed} failed probes are drawn.", timeline.end_ms / 1000.0)
    };
    for (side, answer) in [(&timeline.old, Answer::Old), (&timeline.new, Answer::New)] {
        let answered = timeline.points.iter().filter(|point| point.answer == answer).count();
        if let (Some(color), true) = (side.color, answered > 0) {
            let _ = write!(text, " Responses of {color}, version {}: {answered}.", version(side));
        }
    }
    for write in &timeline.writes {
        let _ = write!(text, " At {:.3} seconds: {}.", write.at_ms / 1000.0, write.label);
    }
    text
}

fn version(side: &Side) -> String {
    side.version.as_deref().map_or_else(|| "unknown".to_owned(), clean)
}

fn bands(timeline: &Timeline, scale: &Scale) -> Markup {
    html! {
        g class="bands" {
            @for (number, band) in timeline.bands.iter().enumerate() {
                @let (from, to) = (scale.x(band.from_ms), scale.x(band.to_ms));
                @if to > from {
                    rect class=(if number % 2 == 0 { "band even" } else { "band odd" }) x=(round(from))
                        y=(round(scale.top)) width=(round(to - from)) height=(PLOT) {
                        title { (band.name) }
                    }
                }
            }
        }
    }
}

/// Above the grid, if the band is wide enough.
fn band_names(timeline: &Timeline, scale: &Scale) -> Markup {
    html! {
        g class="band-names" {
            @for band in &timeline.bands {
                @let (from, to) = (scale.x(band.from_ms), scale.x(band.to_ms));
                @if to - from > width_of(band.name) + 8.0 {
                    text class="band-name" x=(round(f64::midpoint(from, to))) y=(round(scale.top + 15.0)) { (band.name) }
                }
            }
        }
    }
}

fn axes(scale: &Scale, layout: Layout) -> Markup {
    let seconds = scale.end_ms / 1000.0;
    let parts = if layout == Layout::Wide { 12.0 } else { 5.0 };
    let across = f64::midpoint(LEFT, scale.right);
    let upwards = scale.top + PLOT / 2.0;
    html! {
        g class="axes" {
            @for tick in scale.latency.ticks() {
                @let y = round(scale.y(tick));
                line class="grid" x1=(LEFT) x2=(scale.right) y1=(y) y2=(y) {}
                text class="tick" text-anchor="end" x=(LEFT - 6.0) y=(round(scale.y(tick) + 4.0)) { (number(tick)) }
            }
            @for tick in multiples(nice_step(seconds, parts), seconds) {
                @let x = round(scale.x(tick * 1000.0));
                line class="grid" x1=(x) x2=(x) y1=(scale.ground()) y2=(scale.ground() + 5.0) {}
                text class="tick" text-anchor="middle" x=(x) y=(scale.ground() + 19.0) { (number(tick)) }
            }
            line class="ground" x1=(LEFT) x2=(scale.right) y1=(scale.ground()) y2=(scale.ground()) {}
            text class="axis" text-anchor="middle" x=(round(across)) y=(scale.ground() + 38.0) {
                "seconds since the run began"
            }
            text class="axis" text-anchor="middle" transform={ "translate(14 " (upwards) ") rotate(-90)" } {
                @if scale.latency.logarithmic { "latency in ms, logarithmic" } @else { "latency in ms" }
            }
        }
    }
}

/// A number of an axis, without decimals that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn writes(labels: &[Label<'_>], scale: &Scale) -> Markup {
    html! {
        g class="writes" {
            @for label in labels {
                @let x = scale.x(label.write.at_ms);
                @let color = label.write.color.as_str();
                @let listener = if label.write.prod { "prod" } else { "dev" };
                @let y = label.baseline;
                line class={ "write " (listener) " " (color) } x1=(round(x)) x2=(round(x)) y1=(y - 8.0) y2=(scale.ground()) {
                    title { (label.write.label) " at " (number(label.write.at_ms / 1000.0)) " s" }
                }
                text class={ "write-label " (color) } text-anchor=(if label.before { "end" } else { "start" })
                    x=(round(if label.before { x - 5.0 } else { x + 5.0 })) y=(y) { (label.write.label) }
            }
        }
    }
}

/// The points of one kind are one path: a dot is a line without length, and its cap its shape.
fn points(timeline: &Timeline, scale: &Scale) -> Markup {
    let path = |of: &dyn Fn(&Point) -> bool, shape: &str| {
        let mut path = String::new();
        for point in timeline.points.iter().filter(|point| of(point)) {
            let _ = write!(path, "M{} {}{shape}", round(scale.x(point.at_ms)), round(scale.y(point.latency_ms)));
        }
        path
    };
    let good = |answer: Answer| path(&|point| point.failure.is_none() && point.answer == answer, "h.01");
    let series = [
        (good(Answer::Unknown), "point unknown"),
        (good(Answer::Old), class_of(&timeline.old, "old")),
        (good(Answer::New), class_of(&timeline.new, "new")),
        (path(&|point| point.failure.is_some(), "m-5-5l10 10m0-10l-10 10"), "point failed"),
    ];
    html! {
        g class="points" {
            @for (path, class) in series.iter().filter(|(path, _)| !path.is_empty()) {
                path class=(class) d=(path) {}
            }
        }
        g class="failures" {
            @for point in timeline.points.iter().filter(|point| point.failure.is_some()).take(200) {
                circle class="hit" cx=(round(scale.x(point.at_ms))) cy=(round(scale.y(point.latency_ms))) r="8" {
                    title { (failure(point)) }
                }
            }
        }
    }
}

/// The class, and with it color and shape, of what a side answered.
fn class_of(side: &Side, otherwise: &'static str) -> &'static str {
    match (side.color, otherwise) {
        (Some(Color::Blue), _) => "point blue",
        (Some(Color::Green), _) => "point green",
        (None, _) => "point unknown",
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds of minutes, not negative")]
fn failure(point: &Point) -> String {
    let why = point.failure.map_or_else(String::new, |failure| failure.to_string());
    format!("failed at {} after {}: {why}", offset(point.at_ms as u64), ms(point.latency_ms))
}

/// What the shapes and colors mean. Only what is drawn is explained.
pub fn legend(timeline: &Timeline) -> Markup {
    let count_of = |of: &dyn Fn(&Point) -> bool| {
        u32::try_from(timeline.points.iter().filter(|point| of(point)).count()).unwrap_or(u32::MAX)
    };
    let good = |answer| count_of(&|point| point.failure.is_none() && point.answer == answer);
    let failed = count_of(&|point| point.failure.is_some());
    let sides = [(&timeline.old, good(Answer::Old)), (&timeline.new, good(Answer::New))];
    html! {
        ul class="legend" {
            @for (side, number) in sides.into_iter().filter(|(_, number)| *number > 0) {
                @if let Some(color) = side.color {
                    li { (mark(class_of(side, ""))) "version " (version(side)) " on " (color) ": " (count(number, "probe")) }
                }
            }
            @if good(Answer::Unknown) > 0 {
                li { (mark("point unknown")) "response, unknown side: " (count(good(Answer::Unknown), "probe")) }
            }
            @if failed > 0 { li { (mark("point failed")) "failed: " (count(failed, "probe")) } }
            @if !timeline.writes.is_empty() { li { (line_mark()) "listener change" } }
        }
    }
}

/// A point beside its meaning.
fn mark(class: &str) -> Markup {
    let path = if class.ends_with("failed") { "M4 4l8 8m0-8l-8 8" } else { "M8 8h.01" };
    html! { svg class="mark" viewBox="0 0 16 16" aria-hidden="true" { path class=(class) d=(path) {} } }
}

fn line_mark() -> Markup {
    html! { svg class="mark" viewBox="0 0 16 16" aria-hidden="true" { line class="write prod" x1="8" x2="8" y1="0" y2="16" {} } }
}
