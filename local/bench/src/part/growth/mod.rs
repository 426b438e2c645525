//! The cost per unit of ten and a hundred times the load: with linear growth or better, a unit of a large load costs no
//! more than a unit of a small load.

mod aws;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use deploy::DeployedStack;
use deploy::{Control, Event, Listener, Operation, follow_operation};
use infra::error::{Error, Result};
use infra::ui::{Lines, Style};
use stack::Settings;

use crate::bench::{Bench, Findings};
use crate::cloud;
use crate::figures::Figures;
use crate::role::{Player, Tallied};
use crate::row::{Row, Target};
use crate::unit::Unit;
use aws::FakeAws;

const SERVICES: [usize; 3] = [1, 10, 100];
const RESOURCES: [usize; 3] = [10, 100, 500];
const PROBES: [u32; 2] = [100, 3000];
/// The limit of the cost per unit at a large load, relative to a small load: linear, plus the measurement error.
const LINEAR: f64 = 1.25;

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    synth(bench, findings)?;
    events(bench, findings)?;
    probes(bench, findings)
}

/// Templates of this number of services in one process.
fn synth(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let mut each = SERVICES.map(|_| Vec::new());
    for _ in 0..bench.options.rounds {
        for (services, each) in SERVICES.iter().zip(&mut each) {
            let began = Instant::now();
            let templates = (0..*services).map(template).collect::<Result<Vec<_>>>()?;
            black_box(&templates);
            each.push(per(began, *services));
        }
    }
    rows(findings, &each, |index| format!("`synth`, services in one app: {}, each", SERVICES[index]));
    Ok(())
}

fn template(number: usize) -> Result<String> {
    infra::synthesis::compact(&Settings::parse(&format!("name = \"service-{number}\""))?)
}

/// Events of an operation on this number of resources, through the engine, from an endpoint to lines of text.
fn events(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let runtime = cloud::runtime()?;
    let mut each = RESOURCES.map(|_| Vec::new());
    for _ in 0..bench.options.rounds {
        for (resources, each) in RESOURCES.iter().zip(&mut each) {
            each.push(runtime.block_on(follow(*resources))?);
        }
    }
    rows(findings, &each, |index| format!("events, resources: {}, each", RESOURCES[index]));
    Ok(())
}

/// Renders events and discards the lines.
#[derive(Debug)]
struct Rendered {
    events: AtomicUsize,
}

impl Listener for Rendered {
    fn on(&self, event: &Event) {
        black_box(Lines::line(Style::PLAIN, &event.kind));
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}

/// The seconds per event.
async fn follow(count: usize) -> Result<f64> {
    let aws = FakeAws::with_resources(count).await?;
    let clients = aws.clients().await?;
    let stack = DeployedStack::require(&clients, aws::STACK).await?;
    let resources: BTreeMap<String, String> =
        (0..count).map(|number| (aws::resource(number), aws::KIND.to_owned())).collect();
    let rendered = Rendered { events: AtomicUsize::new(0) };
    let control = Control::default();
    let operation = Operation {
        cloud: &clients,
        stack: &stack,
        update: false,
        resources: &resources,
        expected: &[],
        control: &control,
        listener: &rendered,
    };
    let began = Instant::now();
    follow_operation(operation, async {
        aws.begin();
        Ok::<_, Error>(())
    })
    .await?;
    let events = rendered.events.into_inner();
    if events < 2 * count {
        return Err(Error::failed(format!("the engine reported {events} events of {count} resources")));
    }
    Ok(per(began, events))
}

/// Statistics, records, and memory of this number of probes, each number in a separate process.
fn probes(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let mut runs = PROBES.map(|_| Vec::new());
    for _ in 0..bench.options.rounds {
        for (count, runs) in PROBES.iter().zip(&mut runs) {
            runs.push(Player::start(bench, &["tally", &count.to_string()])?.result::<Tallied>()?);
        }
    }
    let [few, many] = runs;
    let row = |what: &str, unit: Unit, pick: fn(&Tallied) -> f64| {
        let part = |runs: &[Tallied], count: u32| Figures::of(runs.iter().map(|run| pick(run) / f64::from(count)));
        let what = format!("{} probes: {what}, each", PROBES[1]);
        Row::new(what, unit, part(&many, PROBES[1])).against("100 probes", part(&few, PROBES[0]))
    };
    for row in [
        row("statistics", Unit::Seconds, |run| run.seconds),
        row("object of samples", Unit::Bytes, |run| run.samples),
        row("record", Unit::Bytes, |run| run.record),
        row("memory of the process", Unit::Bytes, |run| run.memory),
    ] {
        findings.row(row.target(Target::TimesReference(LINEAR)));
    }
    Ok(())
}

/// A row for each size, compared with the smallest.
fn rows(findings: &mut Findings<'_>, each: &[Vec<f64>], what: impl Fn(usize) -> String) {
    let figures = |index: usize| Figures::of(each[index].clone());
    findings.row(Row::new(what(0), Unit::Seconds, figures(0)));
    for index in 1..each.len() {
        let row = Row::new(what(index), Unit::Seconds, figures(index)).against("the first", figures(0));
        findings.row(row.target(Target::TimesReference(LINEAR)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are some hundreds")]
fn per(began: Instant, count: usize) -> f64 {
    began.elapsed().as_secs_f64() / count as f64
}
