//! A rehearsal as one self-contained page: what users would have seen, then the cutover's own report.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::document::{Phase, Rehearsal};
use super::text::{bad_seconds, facts, named, tone};
use crate::report::text::{clean, count, ms_or_dash};
use crate::report::{Place, STYLE, sections};

/// The page.
pub fn render(rehearsal: &Rehearsal, place: &Place) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Rehearsal: " (clean(&rehearsal.message)) }
                style { (PreEscaped(STYLE)) (PreEscaped(chart::STYLE)) }
            }
            body {
                main {
                    (head(rehearsal))
                    (users(rehearsal))
                    (parts(rehearsal))
                    (bad(rehearsal))
                    (told(rehearsal))
                    @if let Some(run) = &rehearsal.run { (sections(run, place)) }
                }
                footer {
                    "Made by bluegreen rehearse on one machine, before AWS saw anything of it. Latency counts from the instant a request was due; "
                    "a part's requests are those that were due in it."
                }
            }
        }
    };
    page.into_string()
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
                (chart::render(rehearsal, 960.0, "wide"))
                (chart::render(rehearsal, 400.0, "narrow"))
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
