//! The requests of an environment as a few words and a row of bars, one a minute. Pure.

use maud::{Markup, html};
use model::Color;

use crate::report::drawing::round;
use crate::report::text::{clean, ms};
use crate::requests::{MINUTES, Minute, Requests};
use crate::status::Status;

/// Width of a minute on the drawing, and of its bar.
const STEP: f64 = 10.0;
const BAR: f64 = 8.0;
/// Height of the highest bar, and of one that stands for a single request among many.
const HIGHEST: f64 = 40.0;
const LOWEST: f64 = 2.0;

/// The most requests of a minute in either environment: bars of both have the same scale.
pub fn most(status: &Status) -> u64 {
    let all = status.environments.iter().filter_map(|environment| environment.requests.as_ref());
    all.flat_map(|requests| &requests.minutes).filter_map(|minute| minute.requests).max().unwrap_or_default()
}

/// The words and the bars.
pub fn render(color: Color, requests: Option<&Requests>, unknown: Option<&str>, most: u64) -> Markup {
    let Some(requests) = requests else {
        let why = unknown.map_or_else(String::new, |why| format!(": {}", clean(why)));
        return html! { p class="soft" { "unknown" (why) } };
    };
    if requests.total() == 0 {
        return html! { p { "none in " (MINUTES) " minutes" } };
    }
    let just_begun = requests.just_begun();
    let shown = just_begun.unwrap_or(&requests.last);
    html! {
        p {
            strong { (shown.requests.unwrap_or_default()) }
            @if just_begun.is_some() { " since " } @else { " in the minute of " }
            (shown.clock())
            @if let Some(p99) = shown.p99_ms { ", 99 % within " (ms(p99)) }
        }
        p class="soft" {
            (requests.total()) " in " (MINUTES) " minutes, "
            @match requests.errors() {
                0 => "no 5xx responses",
                errors => span class="no" { "✕ " (errors) " 5xx responses" },
            }
        }
        (bars(color, requests, most))
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests of a minute, and a handful of minutes")]
fn bars(color: Color, requests: &Requests, most: u64) -> Markup {
    let height = |count: u64| (count as f64 / most.max(1) as f64 * HIGHEST).max(if count > 0 { LOWEST } else { 0.0 });
    let bar = |number: usize, class: &str, height: f64| {
        html! {
            rect class=(class) x=(number as f64 * STEP + 1.0) y=(round(HIGHEST - height)) width=(BAR) height=(round(height)) {}
        }
    };
    let running = requests.minutes.len() - 1;
    let width = requests.minutes.len() as f64 * STEP;
    html! {
        svg class="requests" viewBox={ "0 0 " (width) " " (HIGHEST + 1.0) } preserveAspectRatio="none" role="img"
            aria-label=(describe(requests)) {
            @for (number, minute) in requests.minutes.iter().enumerate() {
                g {
                    title { (reported(minute)) }
                    rect class="hit" x=(number as f64 * STEP) y="0" width=(STEP) height=(HIGHEST) {}
                    @match minute.requests {
                        Some(count) => {
                            (bar(number, &format!("{color}{}", if number == running { " running" } else { "" }), height(count)))
                            @if minute.errors > 0 { (bar(number, "failed", height(minute.errors))) }
                        }
                        None => (bar(number, "unknown", LOWEST)),
                    }
                }
            }
            path class="ground" d={ "M0 " (HIGHEST + 0.5) "H" (width) } {}
        }
    }
}

/// A minute as text.
fn reported(minute: &Minute) -> String {
    let count = match (minute.requests, minute.errors) {
        (None, _) => "not available yet".to_owned(),
        (Some(count), 0) => count.to_string(),
        (Some(count), errors) => format!("{count}, {errors} with 5xx"),
    };
    format!("{}: {count}", minute.clock())
}

/// The bars as text, for screen readers.
fn describe(requests: &Requests) -> String {
    let counts = requests.minutes.iter().filter_map(|minute| minute.requests);
    let (from, most) =
        (requests.minutes.first().map(Minute::clock).unwrap_or_default(), counts.max().unwrap_or_default());
    let busiest = requests.minutes.iter().find(|minute| minute.requests == Some(most)).map(Minute::clock);
    format!("Requests per minute since {from}: at most {most}, at {}", busiest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::tests::requests;

    #[test]
    fn no_requests_and_not_known_are_distinguished() {
        let none = requests(&[], &[], &[]);
        let text = render(Color::Blue, Some(&none), None, 0).into_string();
        assert_eq!(text, "<p>none in 15 minutes</p>");
        let text = render(Color::Blue, None, Some("AccessDenied: <b>"), 0).into_string();
        assert_eq!(text, "<p class=\"soft\">unknown: AccessDenied: &lt;b&gt;</p>");
    }

    #[test]
    fn every_minute_is_a_bar_and_its_number_can_be_read() {
        let some = requests(&[(0, 5.0), (1, 100.0), (2, 1.0)], &[(1, 25.0)], &[(1, 0.034)]);
        let text = render(Color::Green, Some(&some), None, 200).into_string();
        for part in [
            "<strong>100</strong> in the minute of 10:29 UTC, 99 % within 34 ms",
            "106 in 15 minutes, <span class=\"no\">✕ 25 5xx responses</span>",
            "aria-label=\"Requests per minute since 10:15 UTC: at most 100, at 10:29 UTC\"",
            "<title>10:29 UTC: 100, 25 with 5xx</title>",
            // Half of the most in either environment, of it a quarter failed, one request, and the current minute.
            "<rect class=\"green\" x=\"141\" y=\"20\" width=\"8\" height=\"20\"></rect>",
            "<rect class=\"failed\" x=\"141\" y=\"35\" width=\"8\" height=\"5\"></rect>",
            "<rect class=\"green\" x=\"131\" y=\"38\" width=\"8\" height=\"2\"></rect>",
            "<rect class=\"green running\" x=\"151\"",
            "<title>10:27 UTC: 0</title>",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let waiting = render(Color::Blue, Some(&requests(&[(5, 1.0)], &[], &[])), None, 1).into_string();
        assert!(waiting.contains("<title>10:29 UTC: not available yet</title>"), "{waiting}");
        assert_eq!(waiting.matches("class=\"unknown\"").count(), 4);
    }
}
