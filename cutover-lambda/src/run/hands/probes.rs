//! Effects on the probes.

use super::Hands;
use crate::Color;
use crate::balancer::Balancer;
use crate::ledger::ObjectStore;
use crate::machine::Event;
use crate::probe::{Clients, Control, Progress, Session, Site, Spec, Tally};
use crate::report::{Phase, Sample};
use crate::run::budget;
use std::time::Duration;

impl<B: Balancer, S: ObjectStore, C: Clients> Hands<B, S, C> {
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
                self.trouble = Some(problem);
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
            ok: probe.ok.clone(),
            expected: self.expected.clone(),
            origin: self.began,
        }
    }

    /// All probes of the gate have to succeed, and to tell one version.
    pub(super) async fn gate(&mut self, color: Color) -> Event {
        self.expected.clone_from(&self.request.probe.version.value);
        let count = self.request.gate.count;
        if count > 0 {
            let Some(client) = self.open(Site::Environment(color)).await else {
                return Event::GateFailed;
            };
            let spec = self.spec(count, budget::gate_interval(&self.request));
            let control = Control { phase: Phase::Gate, verifying: true, ..Control::default() };
            let session = Session::start(client, spec, control);
            let mut progress = session.progress();
            // An error would say that the series is gone, but the session holds it.
            let _ = progress.wait_for(|progress| progress.complete).await;
            let tally = session.end().await;
            self.live.edit(|record| record.gate = Some(tally.counts()));
            if let Some(problem) = gate_problem(&tally) {
                self.trouble = Some(format!("{color} through the dev listener: {problem}"));
                return Event::GateFailed;
            }
            if self.expected.is_none() {
                self.expected = tally.seen().map(str::to_owned);
            }
        }
        let expected = self.expected.clone();
        self.live.edit(|record| record.versions.new = expected);
        Event::GatePassed
    }

    /// Begins to probe prod; the baseline fails where that cannot be done.
    pub(super) async fn start_probes(&mut self) -> Event {
        self.trouble = None;
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
        self.cannot_probe.clone_from(&self.trouble);
        Event::Saved
    }

    async fn wait_for(&self, is_so: impl FnMut(&Progress) -> bool) -> Option<Progress> {
        let mut progress = self.session.as_ref()?.progress();
        let reached = progress.wait_for(is_so).await.ok()?;
        Some(*reached)
    }

    pub(super) async fn await_baseline(&mut self) -> Event {
        let most = self.request.probe.max_failures;
        let reached = self.wait_for(|progress| progress.baseline_done || progress.baseline_failures > most).await;
        let Some(session) = &self.session else {
            self.trouble = self.cannot_probe.take();
            return Event::BaselineFailed;
        };
        let tally = session.tally();
        let old = tally.version(Phase::Baseline).map(str::to_owned);
        self.live.edit(|record| record.versions.old = old);
        if reached.is_some_and(|progress| progress.baseline_failures <= most) {
            return Event::BaselinePassed;
        }
        self.trouble = tally.first_failure().map(in_words);
        Event::BaselineFailed
    }

    /// Waits for the end of the series. Where too many failed that is never: the alarm comes instead.
    pub(super) async fn await_probes(&mut self) -> Event {
        let most = self.request.probe.max_failures;
        let passed = |progress: &Progress| progress.complete && progress.counted_failures <= most;
        match self.wait_for(passed).await {
            Some(_) => Event::ProbesPassed,
            None => Event::ProbesFailed,
        }
    }

    pub(super) async fn stop_probes(&mut self) -> Event {
        if let Some(session) = self.session.take() {
            session.end().await;
        }
        Event::Saved
    }
}

fn gate_problem(tally: &Tally) -> Option<String> {
    if let Some(failed) = tally.first_failure() {
        let counts = tally.counts();
        return Some(format!("{} of {} probes failed, first {}", counts.failed, counts.due, in_words(failed)));
    }
    let versions = tally.versions();
    (versions.len() > 1).then(|| {
        let versions: Vec<_> = versions.into_iter().collect();
        format!("more than one version answers: {}", versions.join(", "))
    })
}

/// A failed probe in a few words.
pub(in crate::run) fn in_words(sample: &Sample) -> String {
    let failure = sample.failure.map(|failure| failure.to_string()).unwrap_or_default();
    let detail = sample.detail.as_deref().unwrap_or_default();
    format!("#{} to {}: {failure} ({detail})", sample.sequence, sample.address)
}
