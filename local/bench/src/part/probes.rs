//! Whether the prober of the cutover function keeps its schedule: with a fast server, at ten to a thousand requests per
//! second, and with a server that stalls. Prober and server are separate processes.

use infra::error::{Error, Result};

use super::MIB;
use crate::bench::{Bench, Findings};
use crate::figures::Figures;
use crate::role::{Kept, Player};
use crate::row::{Row, Target};
use crate::unit::{Unit, number};

/// Requests per second.
const RATES: [u32; 3] = [10, 100, 1000];
/// The duration of each run, in seconds.
const SECONDS: u32 = 4;
const MOST_ROUNDS: usize = 3;
/// The start and the duration of the stall, in milliseconds.
const STALL: [&str; 2] = ["1500", "1000"];

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let rounds = bench.options.rounds.min(MOST_ROUNDS);
    for rate in RATES {
        let runs = (0..rounds).map(|_| run(bench, "probe", rate, ["0", "0"])).collect::<Result<Vec<_>>>()?;
        if let Some(failed) = runs.iter().find(|run| run.failed > 0) {
            return Err(Error::failed(format!("{} probes of a fast server failed", failed.failed)));
        }
        let row = |what: &str, unit: Unit, pick: fn(&Kept) -> f64| {
            Row::new(format!("probes at {} /s, {what}", number(rate.into())), unit, Figures::of(runs.iter().map(pick)))
        };
        findings.row(row("lag p99", Unit::Seconds, |run| run.lag_p99).target(Target::AtMost(0.001)));
        findings.row(row("late or not sent", Unit::Count, |run| f64::from(run.late)).target(Target::NeverAbove(0.0)));
        findings.row(row("memory", Unit::Bytes, |run| run.memory).target(Target::AtMost(64.0 * MIB)));
    }
    stalled(bench, findings, rounds)
}

/// A server that stalls for a second: probes that are due meanwhile are sent on time, and the percentiles show it.
fn stalled(bench: &Bench, findings: &mut Findings<'_>, rounds: usize) -> Result<()> {
    let (mut ours, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(run(bench, "probe", 100, STALL)?);
        closed.push(run(bench, "closed", 100, STALL)?);
    }
    let row = |what: &str, unit: Unit, pick: fn(&Kept) -> f64| {
        let row = Row::new(what, unit, Figures::of(ours.iter().map(pick)));
        row.against("send after answer", Figures::of(closed.iter().map(pick)))
    };
    let late = row("probes at 100 /s, server stalls 1 s: late or not sent", Unit::Count, |run| f64::from(run.late));
    findings.row(late.target(Target::NeverAbove(0.0)));
    let reported = row("probes at 100 /s, server stalls 1 s: p99 reported", Unit::Seconds, |run| run.latency_p99);
    findings.row(reported.target(Target::AtLeast(0.9)));
    Ok(())
}

/// Runs one client with one server.
fn run(bench: &Bench, client: &str, rate: u32, [after, lasts]: [&str; 2]) -> Result<Kept> {
    let mut server = Player::start(bench, &["serve", "--stall-after", after, "--stall", lasts])?;
    let address = server.line()?;
    Player::start(bench, &[client, &address, &rate.to_string(), &(rate * SECONDS).to_string()])?.result()
}
