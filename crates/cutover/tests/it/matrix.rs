//! Every call of a cutover with every possible fault, once and always: the AWS clients of the function with AWS in
//! memory, under paused time. The table in docs/reference/faults.md has the results.

mod aws;
mod call;
mod case;
mod effect;
mod wire;

use aws::Fault;
use call::Point;
use case::{Came, case};
use effect::EFFECTS;
use model::permissions::CALLS;
use model::record::Outcome;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The results of all cases of one point.
#[derive(Default)]
struct Row {
    cases: u32,
    /// Outcomes if the fault affected one call, and if it affected every call.
    outcomes: [BTreeMap<String, u32>; 2],
    longest: Duration,
    broken: u32,
}

impl Row {
    fn add(&mut self, fault: &Fault, came: &Came) {
        let outcome = came.outcome.to_string();
        let outcome = if came.recorded { outcome } else { format!("{outcome}, not recorded") };
        self.cases += 1;
        self.longest = self.longest.max(came.took);
        *self.outcomes[usize::from(fault.for_ever)].entry(outcome).or_default() += 1;
        self.broken += u32::from(!came.problems.is_empty());
    }
}

/// The most frequent first.
fn counted(outcomes: &BTreeMap<String, u32>) -> String {
    let mut counted: Vec<_> = outcomes.iter().collect();
    counted.sort_by_key(|(_, count)| Reverse(**count));
    counted.into_iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join("; ")
}

/// The text of the page.
fn generated(rows: &BTreeMap<Point, Row>) -> String {
    let effects = EFFECTS.map(|effect| effect.name).join("; ");
    let tried: BTreeSet<_> = rows.keys().map(|point| point.action()).collect();
    let others = CALLS.iter().map(|call| call.action).filter(|action| !tried.contains(action));
    let others: Vec<_> = others.map(|action| format!("`{action}`")).collect();
    let cases: u32 = rows.values().map(|row| row.cases).sum();
    let mut text = format!("Effects: {effects}.\n\nPermitted, but not used by a cutover: {}.\n\n", others.join(", "));
    text += "| call | cases | outcomes, fault once | outcomes, fault always | longest | unsafe |\n|---|---|---|---|---|---|\n";
    for (point, row) in rows {
        let [once, for_ever] = row.outcomes.each_ref().map(counted);
        let (point, longest) = (point.name(), row.longest.as_secs_f64().ceil());
        let (cases, broken) = (row.cases, row.broken);
        writeln!(text, "| {point} | {cases} | {once} | {for_ever} | {longest} s | {broken} |").unwrap();
    }
    format!("{text}\nTotal: {cases} cases.\n")
}

/// Compares the results with the text between the marks of the page, or writes it.
fn check_page(expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/faults.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- matrix: generated -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- /matrix -->").unwrap();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        let text = format!("{before}<!-- matrix: generated -->\n{expected}<!-- /matrix -->{after}");
        return std::fs::write(&path, text).unwrap();
    }
    assert_eq!(
        written, expected,
        "to regenerate it, run: INSTA_UPDATE=always cargo nextest run --workspace -E 'test(matrix)'"
    );
}

/// Every point of a cutover without faults, with every applicable effect.
fn faults(points: BTreeSet<Point>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for point in points {
        for effect in EFFECTS.into_iter().filter(|effect| effect.fits(point)) {
            faults.extend([false, true].map(|for_ever| Fault { point, effect, for_ever }));
        }
    }
    faults
}

#[test]
fn a_cutover_keeps_its_promises_whatever_becomes_of_any_call() {
    let clean = case(None);
    assert_eq!((clean.outcome, &clean.problems), (Outcome::Done, &Vec::new()));
    let faults = faults(clean.seen);
    let (next, rows, broken) = (AtomicUsize::new(0), Mutex::default(), Mutex::new(Vec::new()));
    let play = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let came = case(Some(*fault));
            let mut rows: std::sync::MutexGuard<'_, BTreeMap<Point, Row>> = rows.lock().unwrap();
            rows.entry(fault.point).or_default().add(fault, &came);
            if !came.problems.is_empty() {
                let often = if fault.for_ever { "always" } else { "once" };
                let (call, effect) = (fault.point.name(), fault.effect.name);
                broken.lock().unwrap().push(format!("{call}, {effect}, {often}: {}", came.problems.join("; ")));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(play);
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{} cases:\n{}", broken.len(), broken.join("\n"));
    check_page(&generated(&rows.into_inner().unwrap()));
}
