//! What users saw, second by second, as SVG: a bar for each second, good answers by the environment that gave them,
//! failures on top. Colors come from a style sheet; failures are hatched and counted, so it reads without colors too.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::document::{Rehearsal, Second};
use crate::report::drawing::{BELOW, LEFT, Layout, RIGHT, round, width_of};
use crate::report::text::{clean, count};
use crate::report::timeline::{Timeline, Write};

/// The chart's own style, beside the report's. In a new stack green is prod, and blue gets the next version.
pub const STYLE: &str = "
.bar.old { fill: var(--green); } .bar.new { fill: var(--blue); } .bar.unknown { fill: var(--unknown); }
.bar.failed { fill: var(--bad); } .chart .bar-count { fill: var(--bad); font-weight: 700; text-anchor: middle; }
.hatch { stroke: var(--ground); stroke-width: 2; }
";

const PLOT: f64 = 170.0;
const TOP: f64 = 52.0;
/// A failure is drawn at least so high: one of fifty must not be overlooked.
const LEAST: f64 = 4.0;

/// Where seconds and requests are on the drawing.
struct Scale {
    right: f64,
    seconds: f64,
    requests: f64,
}

impl Scale {
    fn x(&self, second: f64) -> f64 {
        LEFT + (second / self.seconds).clamp(0.0, 1.0) * (self.right - LEFT)
    }

    fn height(&self, requests: u32) -> f64 {
        f64::from(requests) / self.requests * PLOT
    }
}

/// The chart, with the writes of prod as lines.
pub fn render(rehearsal: &Rehearsal, layout: Layout) -> Markup {
    let (width, class) = (layout.width(), layout.as_str());
    let most = rehearsal.seconds.iter().map(|second| second.seen.requests).max().unwrap_or(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
    let seconds = (rehearsal.duration_ms as f64 / 1000.0).ceil().max(1.0);
    let scale = Scale { right: width - RIGHT, seconds, requests: f64::from(most) * 1.32 };
    let (title, description) = (format!("users-{class}-title"), format!("users-{class}-description"));
    let hatch = format!("users-{class}-hatch");
    html! {
        svg class={ "chart " (class) } xmlns="http://www.w3.org/2000/svg" role="img"
            viewBox={ "0 0 " (width) " " (TOP + PLOT + BELOW) } aria-labelledby={ (title) " " (description) } {
            title id=(title) { "User requests per second" }
            desc id=(description) { (describe(rehearsal)) }
            defs {
                pattern id=(hatch) width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line class="hatch" x1="0" x2="0" y1="0" y2="5" {}
                }
            }
            (bands(rehearsal, &scale))
            (axes(&scale, most))
            @for second in &rehearsal.seconds { (bar(rehearsal, second, &scale, &hatch)) }
            (writes(rehearsal, &scale))
        }
    }
}

/// The chart as text, for screen readers.
fn describe(rehearsal: &Rehearsal) -> String {
    let users = &rehearsal.users.seen;
    let mut text = format!(
        "{} in {} seconds, {} failed.",
        count(users.requests, "request"),
        rehearsal.seconds.len(),
        users.failed
    );
    for second in rehearsal.seconds.iter().filter(|second| second.seen.failed > 0) {
        let _ =
            write!(text, " In second {}: {} of {} failed.", second.second, second.seen.failed, second.seen.requests);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
fn seconds_of(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

fn bands(rehearsal: &Rehearsal, scale: &Scale) -> Markup {
    html! {
        g class="bands" {
            @for (number, phase) in rehearsal.phases.iter().enumerate() {
                @let (from, to) = (scale.x(seconds_of(phase.from_ms)), scale.x(seconds_of(phase.to_ms)));
                @if to > from {
                    rect class=(if number % 2 == 0 { "band even" } else { "band odd" }) x=(round(from)) y=(TOP)
                        width=(round(to - from)) height=(PLOT) { title { (phase.name) } }
                    @if to - from > width_of(&phase.name) + 8.0 {
                        text class="band-name" x=(round(f64::midpoint(from, to))) y=(TOP + 15.0) { (phase.name) }
                    }
                }
            }
        }
    }
}

fn axes(scale: &Scale, most: u32) -> Markup {
    let ground = TOP + PLOT;
    let step = if scale.seconds > 60.0 {
        10.0
    } else if scale.seconds > 24.0 || scale.right < 500.0 {
        5.0
    } else {
        2.0
    };
    let ticks = (0..200_u32).map(|number| f64::from(number) * step).take_while(|tick| *tick <= scale.seconds);
    html! {
        g class="axes" {
            @for requests in [0, most / 2, most] {
                @let y = round(ground - scale.height(requests));
                line class="grid" x1=(LEFT) x2=(scale.right) y1=(y) y2=(y) {}
                text class="tick" text-anchor="end" x=(LEFT - 6.0) y=(y + 4.0) { (requests) }
            }
            @for tick in ticks {
                @let x = round(scale.x(tick));
                line class="grid" x1=(x) x2=(x) y1=(ground) y2=(ground + 5.0) {}
                text class="tick" text-anchor="middle" x=(x) y=(ground + 19.0) { (tick) }
            }
            line class="ground" x1=(LEFT) x2=(scale.right) y1=(ground) y2=(ground) {}
            text class="axis" text-anchor="middle" x=(round(f64::midpoint(LEFT, scale.right))) y=(ground + 38.0) {
                "seconds since the load started"
            }
            text class="axis" text-anchor="middle" transform={ "translate(14 " (TOP + PLOT / 2.0) ") rotate(-90)" } {
                "requests per second"
            }
        }
    }
}

/// Good answers of the old version, of the new one, of neither; failures on top.
fn bar(rehearsal: &Rehearsal, second: &Second, scale: &Scale, hatch: &str) -> Markup {
    let parts = parts(rehearsal, second);
    #[expect(clippy::cast_precision_loss, reason = "seconds of minutes")]
    let from = scale.x(second.second as f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds of minutes")]
    let to = scale.x((second.second as f64 + 1.0).min(seconds_of(rehearsal.duration_ms)));
    let (x, width) = (round(from + 0.75), round((to - from - 1.5).max(0.5)));
    let mut top = TOP + PLOT;
    let mut drawn = Vec::new();
    for (class, requests) in parts.into_iter().filter(|(_, requests)| *requests > 0) {
        let height = scale.height(requests);
        let height = if class == "failed" { height.max(LEAST) } else { height };
        top -= height;
        drawn.push((class, round(top), round(height)));
    }
    html! {
        g {
            title { "second " (second.second) ": " (second.seen.requests) " requests, " (second.seen.failed) " failed" }
            @for (class, y, height) in drawn {
                rect class={ "bar " (class) } x=(x) y=(y) width=(width) height=(height) {}
                @if class == "failed" {
                    rect x=(x) y=(y) width=(width) height=(height) fill={ "url(#" (hatch) ")" } {}
                    @if width_of(&second.seen.failed.to_string()) < to - from + 6.0 {
                        text class="bar-count" x=(round(f64::midpoint(from, to))) y=(round(top - 4.0)) { (second.seen.failed) }
                    }
                }
            }
        }
    }
}

fn parts(rehearsal: &Rehearsal, second: &Second) -> [(&'static str, u32); 4] {
    let (old, new) = versions(rehearsal);
    let of = |version: &Option<String>| {
        version.as_ref().and_then(|version| second.seen.versions.get(version)).copied().unwrap_or_default()
    };
    let (old, new) = if old == new { (0, 0) } else { (of(&old), of(&new)) };
    let good = second.seen.requests - second.seen.failed;
    [("old", old), ("new", new), ("unknown", good.saturating_sub(old + new)), ("failed", second.seen.failed)]
}

/// What the versions call themselves in their answers.
fn versions(rehearsal: &Rehearsal) -> (Option<String>, Option<String>) {
    let reported = rehearsal.run.as_ref().map(|run| run.record.versions.clone()).unwrap_or_default();
    let before = rehearsal.phases.first().and_then(|phase| phase.seen.versions.keys().find(|name| !name.is_empty()));
    (reported.old.or_else(|| before.cloned()), reported.new)
}

fn writes(rehearsal: &Rehearsal, scale: &Scale) -> Markup {
    let Some(run) = &rehearsal.run else { return html! {} };
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
    let offset = (run.record.started.as_millisecond() - rehearsal.started.as_millisecond()) as f64;
    let writes: Vec<Write> = Timeline::of(run).writes.into_iter().filter(|write| write.prod).collect();
    let ground = TOP + PLOT;
    html! {
        g class="writes" {
            @for (number, write) in writes.iter().enumerate() {
                @let x = scale.x((offset + write.at_ms) / 1000.0);
                @let y = if number % 2 == 0 { 18.0 } else { 38.0 };
                @let before = x + width_of(&write.label) > scale.right;
                line class={ "write prod " (write.color.as_str()) } x1=(round(x)) x2=(round(x)) y1=(y - 8.0) y2=(ground) {}
                text class={ "write-label " (write.color.as_str()) } text-anchor=(if before { "end" } else { "start" })
                    x=(round(if before { x - 5.0 } else { x + 5.0 })) y=(y) { (write.label) }
            }
        }
    }
}

/// What the colors mean. Only what is drawn is explained.
pub fn legend(rehearsal: &Rehearsal) -> Markup {
    let mut sums = [("old", 0), ("new", 0), ("unknown", 0), ("failed", 0)];
    for second in &rehearsal.seconds {
        for (sum, (_, number)) in sums.iter_mut().zip(parts(rehearsal, second)) {
            sum.1 += number;
        }
    }
    let (old, new) = versions(rehearsal);
    let name = |class: &str| match class {
        "old" => format!("version {} on green", old.as_deref().map_or_else(String::new, clean)),
        "new" => format!("version {} on blue", new.as_deref().map_or_else(String::new, clean)),
        "failed" => "failed".to_owned(),
        _ => "response, unknown version".to_owned(),
    };
    html! {
        ul class="legend" {
            @for (class, number) in sums.into_iter().filter(|(_, number)| *number > 0) {
                li {
                    svg class="mark" viewBox="0 0 16 16" aria-hidden="true" {
                        rect class={ "bar " (class) } x="2" y="2" width="12" height="12" {}
                        @if class == "failed" { path class="hatch" d="M2 14L14 2M2 8L8 2M8 14L14 8" {} }
                    }
                    (name(class)) ": " (count(number, "request"))
                }
            }
        }
    }
}
