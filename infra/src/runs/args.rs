//! The arguments of `cutover`, and those that `rollback` shares: the request to the function as command-line arguments.
//! Must not do anything.

use std::time::Duration;

use super::Order;
use crate::args::duration;
use model::Color;
use model::request::{OnFail, Op, Request, ShiftStep, StatusSet};

/// The arguments of a cutover.
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// Environment that becomes prod [default: the idle one].
    #[arg(long)]
    to: Option<Color>,
    /// Show what would happen without changing anything.
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// The arguments that a rollback takes too.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Refuse to start unless prod is this environment.
    #[arg(long, value_name = "COLOR")]
    expect: Option<Color>,
    /// Id of the run; if a run with this id exists, return its stored result and do nothing [default: generated].
    #[arg(long)]
    id: Option<String>,
    /// Wait for a deployment or run in progress instead of refusing.
    #[arg(long)]
    wait: bool,
    /// Number of probes, 1 to 3000 [default: 150].
    #[arg(long, value_name = "N")]
    probes: Option<u32>,
    /// Time between two probes, 20ms to 5s [default: 100ms].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
    /// Timeout of a probe, 100ms to 10s [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Path to probe [default: `probe_path` of `bluegreen.toml`].
    #[arg(long)]
    path: Option<String>,
    /// Status codes that make a probe a success, such as 200-299,304 [default: `cutover.success_codes` of
    /// `bluegreen.toml`].
    #[arg(long, value_name = "CODES")]
    ok: Option<StatusSet>,
    /// Number of failed probes to tolerate [default: 0].
    #[arg(long, value_name = "N")]
    max_failures: Option<u32>,
    /// Version that must respond after the swap [default: the version that the gate probes report].
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Number of gate probes through dev before the first change, 0 to 100 [default: 5].
    #[arg(long, value_name = "N")]
    gate: Option<u32>,
    /// Time after the swap during which both versions may respond, up to 60s [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    settle: Option<Duration>,
    /// Maximum time for the load balancer to follow the swap, 1s to 10m [default: `settle_limit` of `bluegreen.toml`].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    settle_limit: Option<Duration>,
    /// Roll back if the p99 latency of the new side exceeds this, 1ms to 10s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_p99: Option<Duration>,
    /// Roll back if the median latency of the new side exceeds this multiple of the baseline of prod, such as 1.5.
    #[arg(long, value_name = "TIMES", value_parser = times)]
    max_slowdown: Option<u32>,
    /// Shift prod gradually: percentage and duration of each step, such as 10:30s,50:30s.
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = step)]
    shift: Vec<ShiftStep>,
    /// What to do if probes fail after the swap: rollback or hold.
    #[arg(long, value_name = "WHAT", default_value = "rollback", value_parser = on_fail)]
    on_fail: OnFail,
}

impl CutoverArgs {
    /// The request to the function.
    pub fn order(&self) -> Order {
        let op = if self.plan { Op::Plan } else { Op::Cutover };
        let order = self.run.order(op);
        Order { request: Request { to: self.to, ..order.request }, ..order }
    }
}

impl RunArgs {
    /// The request to the function.
    pub fn order(&self, op: Op) -> Order {
        let mut request =
            Request { op, expect: self.expect, id: self.id.clone(), on_fail: self.on_fail, ..Request::default() };
        request.shift.clone_from(&self.shift);
        request.settle = self.settle.unwrap_or(request.settle);
        request.gate.count = self.gate.unwrap_or(request.gate.count);
        let probe = &mut request.probe;
        probe.path.clone_from(&self.path);
        probe.version.value.clone_from(&self.version);
        probe.count = self.probes.unwrap_or(probe.count);
        // The function does the same for a short run.
        probe.baseline = probe.baseline.min(probe.count / 2);
        probe.interval = self.interval.unwrap_or(probe.interval);
        probe.timeout = self.timeout.unwrap_or(probe.timeout);
        (probe.max_p99, probe.max_slowdown) = (self.max_p99, self.max_slowdown);
        probe.max_failures = self.max_failures.unwrap_or(probe.max_failures);
        probe.ok.clone_from(&self.ok);
        Order { request, settle_limit: self.settle_limit, wait: self.wait }
    }
}

fn on_fail(text: &str) -> Result<OnFail, String> {
    match text {
        "rollback" => Ok(OnFail::Rollback),
        "hold" => Ok(OnFail::Hold),
        _ => Err("must be rollback or hold".to_owned()),
    }
}

/// A factor, in percent.
fn times(text: &str) -> Result<u32, String> {
    let wrong = || "must be a factor from 1 to 100, such as 1.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let percent: u32 = format!("{whole}{part:0<2}").parse().map_err(|_| wrong())?;
    (100..=10_000).contains(&percent).then_some(percent).ok_or_else(wrong)
}

fn step(text: &str) -> Result<ShiftStep, String> {
    let (weight, hold) = text.split_once(':').map_or((text, None), |(weight, hold)| (weight, Some(hold)));
    let weight = weight.trim().trim_end_matches('%').parse().ok();
    let weight = weight.filter(|weight| (1..=99).contains(weight));
    let weight = weight.ok_or("a step must be a percentage from 1 to 99 and a time, such as 10:30s")?;
    Ok(ShiftStep { weight, hold: hold.map_or(Ok(ShiftStep::HOLD), duration)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn how_many_times_is_read_to_the_percent() {
        for (text, percent) in [("1", 100), ("1.5", 150), ("2.05", 205), ("100", 10_000)] {
            assert_eq!(times(text), Ok(percent), "{text}");
        }
        for text in ["", "0.9", "1.555", "-1", "1,5", "x", ".5", "101", "99999999999"] {
            assert!(times(text).is_err(), "{text}");
        }
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CutoverArgs,
    }

    fn order(arguments: &[&str]) -> Result<Order, String> {
        let all = ["cutover"].iter().chain(arguments);
        Line::try_parse_from(all).map(|line| line.arguments.order()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_it_is_the_default_request() {
        let order = order(&[]).unwrap();
        assert_eq!((order.request, order.wait), (Request::default(), false));
    }

    #[test]
    fn every_argument_reaches_the_request() {
        let line = "--to blue --expect green --id a --wait --probes 300 --interval 50ms --timeout 1s --path /x --ok 200,301-302 \
                    --max-failures 2 --version 7 --gate 9 --settle 1m --shift 10:30s,50 --on-fail hold --plan";
        let order = order(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let request = serde_json::to_value(order.request).unwrap();
        let expected = serde_json::json!({
            "op": "plan", "to": "blue", "id": "a", "expect": "green",
            "probe": {
                "path": "/x", "count": 300, "interval_ms": 50, "timeout_ms": 1000, "ok": [200, "301-302"],
                "max_failures": 2, "baseline": 10, "version": {"value": "7"}, "max_in_flight": 128,
            },
            "gate": {"count": 9}, "settle_ms": 60000, "on_fail": "hold",
            "shift": [{"weight": 10, "hold_ms": 30000}, {"weight": 50, "hold_ms": 30000}],
        });
        assert_eq!(request, expected);
        assert!(order.wait);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (arguments, problem) in [
            (&["--shift", "10:x"][..], "such as 250ms"),
            (&["--shift", "0:1s"], "from 1 to 99"),
            (&["--interval", "1x"], "such as 250ms"),
            (&["--ok", "20"], "100 to 599"),
            (&["--on-fail", "explode"], "rollback or hold"),
            (&["--to", "red"], "blue or green"),
        ] {
            let error = order(arguments).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
