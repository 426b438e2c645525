//! A rehearsal as one self-contained page: what users would have seen, then the cutover's own report.

use maud::{Markup, html};

use super::chart;
use super::document::{Phase, Rehearsal};
use super::text::{bad_seconds, facts, named, tone};
use crate::report::drawing::Layout;
use crate::report::text::{clean, count, ms_or_dash};
use crate::report::{Place, document, sections};

/// The page.
pub fn render(rehearsal: &Rehearsal, place: &Place) -> String {
    let main = html! {
        (head(rehearsal))
        (users(rehearsal))
        (parts(rehearsal))
        (bad(rehearsal))
        (told(rehearsal))
        @if let Some(run) = &rehearsal.run { (sections(run, place)) }
    };
    let footer = html! {
        "Made by bluegreen rehearse on one machine, before AWS saw anything of it. Latency counts from the instant a request was due; "
        "a part's requests are those that were due in it."
    };
    document(&format!("Rehearsal: {}", clean(&rehearsal.message)), chart::STYLE, &main, &footer)
}

fn head(rehearsal: &Rehearsal) -> Markup {
    let (tone, sign) = tone(rehearsal);
    let load = &rehearsal.load;
    html! {
        header class={ "verdict " (tone.as_str()) } {
            div class="sign" aria-hidden="true" { (sign) }
            div {
                h1 { (clean(&rehearsal.message)) }
                p { "A rehearsal of version " (clean(&rehearsal.from.version)) " to version " (clean(&rehearsal.to.version))
                    ", under " (count(load.rate, "request")) " a second for " (clean(&load.paths.join(", "))) "." }
                p class="soft" { (clean(&rehearsal.from.image)) " → " (clean(&rehearsal.to.image)) }
            }
        }
    }
}

fn users(rehearsal: &Rehearsal) -> Markup {
    html! {
        section aria-label="Chart of users' requests" {
            h2 { "What users would have seen" }
            figure {
                (chart::render(rehearsal, Layout::Wide))
                (chart::render(rehearsal, Layout::Narrow))
                figcaption { (chart::legend(rehearsal)) }
            }
        }
    }
}

fn parts(rehearsal: &Rehearsal) -> Markup {
    html! {
        section {
            h2 { "Part by part" }
            div class="scroll" tabindex="0" role="region" aria-label="Requests of users by part of the release" {
                table {
                    thead { tr {
                        th scope="col" { "" }
                        @for name in ["requests", "failed", "p50", "p99", "max"] { th scope="col" class="number" { (name) } }
                        th scope="col" { "versions" }
                    } }
                    tbody {
                        @for Phase { name, seen, p50, p99, max, .. } in &rehearsal.phases {
                            tr {
                                th scope="row" { (name) }
                                td class="number" { (seen.requests) }
                                td class="number" { (seen.failed) }
                                @for value in [p50, p99, max] { td class="number" { (ms_or_dash(*value)) } }
                                td { (named(&seen.versions)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn bad(rehearsal: &Rehearsal) -> Markup {
    let (seconds, more) = bad_seconds(rehearsal);
    html! {
        @if !seconds.is_empty() {
            section {
                h2 { "Seconds with failures" }
                div class="scroll" tabindex="0" role="region" aria-label="Seconds with failures" {
                    table {
                        thead { tr {
                            @for name in ["second", "failed", "of"] { th scope="col" class="number" { (name) } }
                            th scope="col" { "how" }
                        } }
                        tbody {
                            @for (second, seen) in seconds {
                                tr {
                                    td class="number" { (second) }
                                    td class="number" { (seen.failed) }
                                    td class="number" { (seen.requests) }
                                    td { (named(&seen.failures)) }
                                }
                            }
                        }
                    }
                }
                @if more > 0 { p { "And " (count(u32::try_from(more).unwrap_or(u32::MAX), "second")) " more." } }
            }
        }
    }
}

fn told(rehearsal: &Rehearsal) -> Markup {
    let facts = facts(rehearsal);
    html! {
        @if !facts.is_empty() {
            section {
                h2 { "What it tells" }
                dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
            }
        }
    }
}
