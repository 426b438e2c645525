//! The report as one self-contained page: no script, nothing loaded, so it can be kept, mailed and attached.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::Record;

use super::chart;
use super::drawing::Layout;
use super::facts::{self, Fact};
use super::text::{clean, ms_or_dash};
use super::timeline::Timeline;
use super::verdict::{self, Verdict};
use super::{Place, Run, STYLE};

/// The page.
pub fn render(run: &Run, place: &Place) -> String {
    let record = &run.record;
    let verdict = verdict::of(record);
    let main = html! {
        (head(record, &verdict))
        (sections(run, place))
    };
    let footer = html! {
        "Made by bluegreen from the run's record; times are from the run's begin, latency from the scheduled instant of a probe."
    };
    document(&verdict.headline, "", &main, &footer)
}

/// A page that stands alone: the report's style, and one of its own beside it.
pub fn document(title: &str, style: &str, main: &Markup, footer: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body {
                main { (main) }
                footer { (footer) }
            }
        }
    };
    page.into_string()
}

/// Everything below the verdict.
pub fn sections(run: &Run, place: &Place) -> Markup {
    let record = &run.record;
    html! {
        (figure(&Timeline::of(run), "chart"))
        (latencies(record))
        (failures(record))
        (table_of("What the probes tell", &facts::probing(record)))
        (steps(record))
        (table_of("The run", &facts::run(run, place)))
        (table_of("What was asked for", &facts::request(record)))
    }
}

fn head(record: &Record, verdict: &Verdict) -> Markup {
    html! {
        header class={ "verdict " (verdict.tone.as_str()) } {
            div class="sign" aria-hidden="true" { (verdict.sign) }
            div {
                h1 { (verdict.headline) }
                p { (verdict.safety) }
                p class="soft" { (clean(&record.message)) }
                @if let Some(next) = &verdict.next { p { strong { "Next: " } (next) } }
            }
        }
    }
}

/// The chart with its legend, for wide and narrow screens.
pub fn figure(timeline: &Timeline, id: &str) -> Markup {
    html! {
        section aria-label="Chart of the probes" {
            h2 { "Latency of every probe of prod" }
            figure {
                (chart::render(timeline, Layout::Wide, &format!("{id}-wide")))
                (chart::render(timeline, Layout::Narrow, &format!("{id}-narrow")))
                figcaption {
                    (chart::legend(timeline))
                    @if !timeline.whole {
                        p { "This record holds only the failed probes one by one; the others are in the table of percentiles." }
                    }
                }
            }
        }
    }
}

fn latencies(record: &Record) -> Markup {
    let rows = facts::latencies(record);
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Latency before, during and after the swap" }
                div class="scroll" tabindex="0" role="region" aria-label="Latency" {
                    table {
                        thead { tr {
                            th scope="col" { "" }
                            @for name in ["probes", "p50", "p90", "p99", "max"] { th scope="col" class="number" { (name) } }
                        } }
                        tbody {
                            @for (name, it) in rows {
                                tr {
                                    th scope="row" { (name) }
                                    td class="number" { (it.count) }
                                    @for value in [it.p50, it.p90, it.p99, it.max] { td class="number" { (ms_or_dash(value)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn failures(record: &Record) -> Markup {
    let rows = facts::failures(record);
    let all = record.probes.as_ref().map_or(0, |probes| probes.counts.failed);
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Failed probes" }
                @if u32::try_from(rows.len()) != Ok(all) { p { "The first " (rows.len()) " of " (all) "." } }
                (table(&facts::FAILURE, &rows))
            }
        }
    }
}

fn steps(record: &Record) -> Markup {
    html! {
        section {
            h2 { "What was done" }
            (table(&["at", "took", "step", "note"], &facts::steps(record)))
        }
    }
}

fn table<const N: usize>(names: &[&str; N], rows: &[[String; N]]) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(names.join(", ")) {
            table {
                thead { tr { @for name in names { th scope="col" { (name) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

fn table_of(title: &str, facts: &[Fact]) -> Markup {
    html! {
        @if !facts.is_empty() {
            section {
                h2 { (title) }
                dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
            }
        }
    }
}
