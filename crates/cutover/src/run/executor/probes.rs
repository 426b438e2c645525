//! Answers the questions about the probes, and starts and stops the probes of prod.

use super::{Executor, LateAddresses, ProdWrite};
use crate::balancer::Balancer;
use crate::machine::question::{BaselineAnswer, GateAnswer, HoldAnswer, ProbesAnswer};
use crate::probe::{Clients, Control, Expect, Follow, Progress, Session, Site, Spec, Tally, Versions, is_plausible};
use crate::run::budget;
use ledger::ObjectStore;
use model::Color;
use model::record::{Phase, Sample};
use model::request::Op;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

impl<B: Balancer, S: ObjectStore, C: Clients> Executor<B, S, C> {
    async fn open(&mut self, site: Site) -> Option<C::Client> {
        let stack = self.stack.clone();
        let probe = &self.request.probe;
        let path = probe.path.as_ref().unwrap_or(&stack.probe_path);
        let opened = match stack.version_header(&probe.version) {
            Ok(header) => stack.clients.open(site, path, header).await,
            Err(problem) => Err(problem),
        };
        match opened {
            Ok(client) => Some(client),
            Err(problem) => {
                self.last_error = Some(problem);
                None
            }
        }
    }

    fn spec(&self, count: u32, interval: Duration) -> Spec {
        let probe = &self.request.probe;
        Spec {
            count,
            verify_at_least: 0,
            interval,
            timeout: probe.timeout,
            baseline: 0,
            max_in_flight: probe.max_in_flight,
            ok: self.stack.success_codes(probe),
            expected: self.expected.clone(),
            origin: self.began,
        }
    }

    /// Probes the environment through dev. All probes have to succeed, and to report one version.
    pub(super) async fn gate(&mut self, color: Color) -> GateAnswer {
        self.expected.clone_from(&self.request.probe.version.value);
        let count = self.request.gate.count;
        if count > 0 {
            let Some(client) = self.open(Site::Environment(color)).await else {
                return GateAnswer::Failed;
            };
            let spec = self.spec(count, budget::gate_interval(&self.request));
            let control = Control { phase: Phase::Gate, verifying: true, ..Control::default() };
            let session = Session::start(client, spec, control);
            let mut progress = session.progress();
            // An error would mean that the series was dropped, but the session keeps it.
            let _ = progress.wait_for(|progress| progress.complete).await;
            let tally = session.end().await;
            self.live.edit(|record| record.gate = Some(tally.counts()));
            if let Some(problem) = gate_problem(&tally) {
                self.last_error = Some(format!("{color} through the dev listener: {problem}"));
                return GateAnswer::Failed;
            }
            if self.expected.is_none() {
                self.expected = tally.seen().map(str::to_owned);
            }
        }
        let expected = self.expected.clone();
        self.live.edit(|record| record.versions.new = expected);
        GateAnswer::Passed
    }

    /// Begins to probe prod. If that is not possible, the baseline fails.
    pub(super) async fn start_probes(&mut self) {
        self.last_error = None;
        if let Some(client) = self.open(Site::Prod).await {
            let probe = &self.request.probe;
            let spec = Spec {
                baseline: probe.baseline,
                verify_at_least: budget::verify_at_least(&self.request),
                ..self.spec(probe.count, probe.interval)
            };
            let control = Control { phase: Phase::Baseline, ..Control::default() };
            let session = Session::start(client, spec, control);
            self.live.follow(session.live());
            self.session = Some(session);
        }
        self.cannot_probe.clone_from(&self.last_error);
    }

    async fn wait_for(&self, is_so: impl FnMut(&Progress) -> bool) -> Option<Progress> {
        let mut progress = self.session.as_ref()?.progress();
        let reached = progress.wait_for(is_so).await.ok()?;
        Some(*reached)
    }

    pub(super) async fn await_baseline(&mut self) -> BaselineAnswer {
        let most = self.request.probe.max_failures;
        let reached = self.wait_for(|progress| progress.baseline_done || progress.baseline_failures > most).await;
        let Some(session) = &self.session else {
            self.last_error = self.cannot_probe.take();
            return BaselineAnswer::Failed;
        };
        let tally = session.tally();
        let old = tally.version(Phase::Baseline).map(str::to_owned);
        self.live.edit(|record| record.versions.old.clone_from(&old));
        let is_looked_at = matches!(self.request.op, Op::Cutover | Op::Plan) && self.request.gate.count > 0;
        if let Some(old) = old.filter(|_| is_looked_at && self.expected.is_none()) {
            self.last_error = Some(format!("prod answers version {old}"));
            return BaselineAnswer::NoVersion;
        }
        if reached.is_some_and(|progress| progress.baseline_failures <= most) {
            return BaselineAnswer::Passed;
        }
        self.last_error = tally.first_failure().map(Sample::to_string);
        BaselineAnswer::Failed
    }

    /// What probes may answer in a phase. Nothing can be expected if both environments report the same version, or if
    /// the new one reports none.
    pub(super) fn expected_of_probes(&mut self, phase: Phase) -> Expect {
        let (new, old) = (self.expected.clone(), self.live.edit(|record| record.versions.old.clone()));
        let Some(new) = new.filter(|new| old.as_ref() != Some(new)) else { return Expect::Anything };
        let back = match phase {
            Phase::SwapDev | Phase::Shift | Phase::SwapProd => return Expect::Either(Versions { new, old }),
            Phase::Settle | Phase::Verify => false,
            Phase::RollBack => true,
            _ => return Expect::Anything,
        };
        let versions = match old {
            Some(old) if back => Versions { new: old, old: Some(new) },
            None if back => return Expect::Anything,
            old => Versions { new, old },
        };
        let write = match self.last_prod_write {
            Some(write) if write.back == back => write,
            _ => ProdWrite { back, at: Instant::now() },
        };
        self.last_prod_write = Some(write);
        let away = !back && self.request.op == Op::Rollback;
        Expect::Follow(Follow { versions, since: write.at, limit: self.request.settle_limit, back, away })
    }

    /// Waits until every address of the load balancer follows the last write, or until the time for that is over.
    pub(super) async fn await_settle(&mut self) {
        sleep(self.request.settle).await;
        let Expect::Follow(Follow { since, limit, back, .. }) = self.expect else { return };
        let until = if back {
            // The write back is done. The rest of the time is for the report.
            let end = self.deadline.checked_sub(budget::AFTER_SETTLING).unwrap_or(self.deadline);
            end.min(since + limit)
        } else {
            // After that limit, the probes that do not follow fail.
            let probe = &self.request.probe;
            since + limit + probe.timeout + 2 * probe.interval
        };
        let followed = timeout_at(until, self.wait_for(|progress| progress.followed == Some(since))).await;
        if followed.is_err()
            && let Some(session) = &self.session
        {
            let tally = session.tally();
            let addresses: Vec<String> = tally.behind(back).into_iter().map(str::to_owned).collect();
            self.last_error = Some(format!("{} did not follow within {} s", addresses.join(", "), limit.as_secs()));
            self.late = Some(LateAddresses { back, addresses });
        }
    }

    /// Waits for the duration of a step of the shift, and until the answers show its share.
    pub(super) async fn await_hold(&mut self, step: u8) -> HoldAnswer {
        let Some(step) = self.request.shift.get(usize::from(step)).copied() else { return HoldAnswer::Elapsed };
        let began = Instant::now();
        sleep(step.hold).await;
        let Expect::Either(Versions { new, .. }) = &self.expect else { return HoldAnswer::Elapsed };
        let (new, until) = (new.clone(), began + self.request.settle_limit.max(step.hold));
        let begin_us = u64::try_from((began - self.began).as_micros()).unwrap_or(u64::MAX);
        loop {
            let Some(session) = &self.session else { return HoldAnswer::Elapsed };
            let (hits, count) = session.live().look(|tally| tally.share(&new, begin_us));
            if is_plausible(hits, count, f64::from(step.weight) / 100.0) {
                return HoldAnswer::Elapsed;
            }
            if Instant::now() >= until {
                self.last_error =
                    Some(format!("{hits} of the last {count} answers come from it, {} % should", step.weight));
                return HoldAnswer::NotSettled;
            }
            sleep(self.request.probe.interval).await;
        }
    }

    /// Waits for the end of the series. If too many probes fail, the alarm comes first and ends this wait.
    pub(super) async fn await_probes(&mut self) -> ProbesAnswer {
        let most = self.request.probe.max_failures;
        let passed = |progress: &Progress| progress.complete && progress.counted_failures <= most;
        if self.wait_for(passed).await.is_none() {
            return ProbesAnswer::Failed;
        }
        let Some(problem) = self.slowness() else { return ProbesAnswer::Passed };
        self.last_error = Some(problem);
        ProbesAnswer::TooSlow
    }

    /// Why the new side is too slow, if the request limits that.
    fn slowness(&self) -> Option<String> {
        let report = self.session.as_ref()?.tally().report(None);
        let (before, after) = (report.before, report.after);
        let limit = self.request.probe.max_p99.map(|limit| limit.as_secs_f64() * 1000.0);
        if let Some((p99, limit)) = after.p99.zip(limit).filter(|(p99, limit)| p99 > limit) {
            return Some(format!("99 % of its answers came within {p99:.0} ms, {limit:.0} ms are allowed"));
        }
        let percent = self.request.probe.max_slowdown.map(f64::from)?;
        let (old, new) = before.p50.zip(after.p50)?;
        (new * 100.0 > old * percent).then(|| {
            format!("its median is {new:.1} ms, prod's was {old:.1} ms, and {percent:.0} % of that are allowed")
        })
    }

    pub(super) async fn stop_probes(&mut self) {
        if let Some(session) = self.session.take() {
            session.end().await;
        }
    }
}

fn gate_problem(tally: &Tally) -> Option<String> {
    if let Some(failed) = tally.first_failure() {
        let counts = tally.counts();
        return Some(format!("{} of {} probes failed, first {failed}", counts.failed, counts.due));
    }
    let versions = tally.versions();
    (versions.len() > 1).then(|| {
        let versions: Vec<_> = versions.into_iter().collect();
        format!("more than one version answers: {}", versions.join(", "))
    })
}
