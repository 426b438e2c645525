//! A rehearsal as text: for a terminal, and as Markdown for a pull request.

use std::fmt::Write as _;

use super::document::{EndedTask, Phase, Rehearsal, Tally};
use super::verdict::reported;
use crate::error::Result;
use crate::report::text::{clean, count, ms_or_dash, offset, percent_up, sentence};
use crate::report::verdict::Tone;
use crate::report::{Format, Place, render};
use crate::ui::Style;

/// Columns of a terminal that everybody has.
const COLUMNS: usize = 80;

/// Seconds with failures that are listed individually.
const SECONDS_SHOWN: usize = 10;

/// How good the news is.
pub fn tone(rehearsal: &Rehearsal) -> (Tone, &'static str) {
    match (super::verdict::error(rehearsal), rehearsal.users.seen.failed) {
        (None, _) => (Tone::Good, "✓"),
        (Some(_), 0) => (Tone::Caution, "↩"),
        (Some(_), _) if rehearsal.safeguards.saved == Some(true) => (Tone::Caution, "↩"),
        (Some(_), _) => (Tone::Bad, "✕"),
    }
}

/// Counts by name: `1: 203, 2: 591`.
pub fn named(counts: &std::collections::BTreeMap<String, u32>) -> String {
    let one = |(name, number): (&String, &u32)| match name.as_str() {
        "" => format!("{number} without a version"),
        name => format!("{}: {number}", clean(name)),
    };
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What there is to say beyond the numbers: a name and its value.
pub fn facts(rehearsal: &Rehearsal) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let users = &rehearsal.users;
    if let Some(bound) = users.bound95 {
        facts.push(("sure", format!("with 95 % confidence, fewer than {} of requests fail", percent_up(bound))));
    }
    if let Some(fault) = &rehearsal.fault {
        facts.push(("fault", reported(fault)));
    }
    if users.seen.failed > 0 {
        facts.push(("users saw", named(&users.seen.failures)));
    }
    if let (Some(first), Some(last)) = (users.first_failure_ms, users.last_failure_ms) {
        facts
            .push(("exposed", format!("for {}, from {} to {}", offset(users.exposed_ms), offset(first), offset(last))));
    }
    facts.extend(noticed(rehearsal).map(|text| ("noticed", text)));
    match rehearsal.safeguards.saved {
        Some(true) if users.seen.failed > 0 => {
            facts.push(("saved", "yes: no request failed after the rollback".to_owned()));
        }
        Some(true) => facts.push(("saved", "yes: no request failed at all".to_owned())),
        Some(false) => facts.push(("saved", "no".to_owned())),
        None => {}
    }
    facts.extend(alike(&rehearsal.tasks).into_iter().map(|text| ("task ended", text)));
    if !rehearsal.left_out.is_empty() {
        facts.push(("left out", format!("{}: not available on this machine", rehearsal.left_out.join(", "))));
    }
    facts
}

fn noticed(rehearsal: &Rehearsal) -> Option<String> {
    let after = rehearsal.safeguards.noticed_after_ms;
    Some(match (rehearsal.safeguards.noticed?, after) {
        (false, _) => "no".to_owned(),
        (true, Some(after)) => {
            let (word, time) = if after < 0 { ("before", -after) } else { ("after", after) };
            format!("yes: a probe failed {} {word} the first user's request", offset(time.unsigned_abs()))
        }
        (true, None) if rehearsal.run.is_some() => "yes: by the cutover's probes".to_owned(),
        (true, None) => "yes: the deployment never became stable".to_owned(),
    })
}

/// Ended tasks, those that ended alike in one line.
fn alike(tasks: &[EndedTask]) -> Vec<String> {
    let mut lines: Vec<(String, u32)> = Vec::new();
    for task in tasks {
        let environment = task.environment.as_deref().map_or_else(String::new, |name| format!("{}: ", clean(name)));
        let code = task.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        let reason = task.reason.as_deref().map_or_else(|| "it ended".to_owned(), clean);
        // Addresses and the like differ from task to task, and say nothing more.
        let reason = reason.split(" (health check").next().unwrap_or_default().to_owned();
        let line = format!("{environment}{reason}{code}");
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, times)) => *times += 1,
            None => lines.push((line, 1)),
        }
    }
    let times = |(line, times): (String, u32)| if times > 1 { format!("{line}, {times} times") } else { line };
    lines.into_iter().map(times).collect()
}

/// The seconds with failures, and how many of them are not shown.
pub fn bad_seconds(rehearsal: &Rehearsal) -> (Vec<(u64, &Tally)>, usize) {
    let bad = rehearsal.seconds.iter().filter(|second| second.seen.failed > 0);
    let bad: Vec<(u64, &Tally)> = bad.map(|second| (second.second, &second.seen)).collect();
    let more = bad.len().saturating_sub(SECONDS_SHOWN);
    (bad.into_iter().take(SECONDS_SHOWN).collect(), more)
}

/// Text in lines that fit on a terminal of 80 columns, behind something of `indent` columns or after it.
fn wrapped(text: &str, indent: usize) -> String {
    crate::ui::wrapped(text, indent, COLUMNS - 1)
}

/// For a terminal. Writing to a `String` cannot fail, so what `writeln!` returns is dropped.
pub fn terminal(rehearsal: &Rehearsal, style: Style) -> String {
    let (tone, sign) = tone(rehearsal);
    let head = format!("{sign} {}", wrapped(&rehearsal.message, 2));
    let head = match tone {
        Tone::Good => style.good(&head),
        Tone::Caution => style.warn(&head),
        Tone::Bad => style.bad(&head),
    };
    let names = format!("{:<12}{:>8}{:>8}{:>9}{:>9}{:>9}   versions", "", "requests", "failed", "p50", "p99", "max");
    let mut text = format!("{head}\n\n{}\n", style.dim(&names));
    for phase in &rehearsal.phases {
        let Phase { name, seen, p50, p99, max, .. } = phase;
        let failed = format!("{:>8}", seen.failed);
        let failed = if seen.failed > 0 { style.bad(&failed) } else { failed };
        let [p50, p99, max] = [*p50, *p99, *max].map(ms_or_dash);
        let versions = named(&seen.versions);
        let line = format!("{name:<12}{:>8}{failed}{p50:>9}{p99:>9}{max:>9}   {versions}", seen.requests);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push('\n');
    let (seconds, more) = bad_seconds(rehearsal);
    for (second, seen) in seconds {
        let _ = writeln!(
            text,
            "{:<12}{} of {} failed ({})",
            format!("second {second}"),
            seen.failed,
            seen.requests,
            named(&seen.failures)
        );
    }
    if more > 0 {
        let _ = writeln!(text, "{:<12}and {} more", "", count(u32::try_from(more).unwrap_or(u32::MAX), "second"));
    }
    for (name, value) in facts(rehearsal) {
        let _ = writeln!(text, "{} {}", style.dim(&format!("{name:<11}")), wrapped(&value, 12));
    }
    text
}

/// As Markdown, with the cutover's own report below.
pub fn markdown(rehearsal: &Rehearsal, place: &Place) -> Result<String> {
    let sign = match tone(rehearsal).0 {
        Tone::Good => "✅",
        Tone::Caution => "⚠️",
        Tone::Bad => "❌",
    };
    let mut text = format!("## {sign} Rehearsal: {}\n", sentence(&rehearsal.message));
    text.push_str("\n| users | requests | failed | p50 | p99 | max | versions |\n|---|--:|--:|--:|--:|--:|---|\n");
    for Phase { name, seen, p50, p99, max, .. } in &rehearsal.phases {
        let [p50, p99, max] = [*p50, *p99, *max].map(ms_or_dash);
        let versions = sentence(&named(&seen.versions));
        let _ = writeln!(text, "| {name} | {} | {} | {p50} | {p99} | {max} | {versions} |", seen.requests, seen.failed);
    }
    let (seconds, more) = bad_seconds(rehearsal);
    if !seconds.is_empty() {
        text.push_str("\n| second | failed | of | how |\n|--:|--:|--:|---|\n");
        for (second, seen) in seconds {
            let how = sentence(&named(&seen.failures));
            let _ = writeln!(text, "| {second} | {} | {} | {how} |", seen.failed, seen.requests);
        }
        if more > 0 {
            let _ = writeln!(text, "\nAnd {} more.", count(u32::try_from(more).unwrap_or(u32::MAX), "second"));
        }
    }
    text.push_str("\n| | |\n|---|---|\n");
    for (name, value) in facts(rehearsal) {
        let _ = writeln!(text, "| {name} | {} |", sentence(&value));
    }
    if let Some(run) = &rehearsal.run {
        let _ = write!(text, "\n{}", render(run, place, Format::Md)?);
    }
    Ok(text)
}
