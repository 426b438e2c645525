//! Answers the questions about the ledger: the lease and the records.

use super::{Executor, Interrupted, Steering};
use crate::balancer::Balancer;
use crate::machine::question::{ClaimAnswer, LeaseAnswer, LedgerDown, Saved, StoredRun, WayBack};
use crate::machine::{Route, Subject};
use crate::probe::Clients;
use crate::run::budget::{
    LEASE_TTL, RELEASE_TIMEOUT, ROLLBACK_BUDGET, SAVE_PAUSE, SAVE_TIMEOUT, SEARCHED, VERIFIED_TIMEOUT,
};
use ::ledger::{Holder, Lease, LeaseError, ObjectStore, RELEASE_GRACE, RecordError, StoreError};
use model::Color;
use model::keys;
use model::lease::Purpose;
use model::record::Outcome;
use model::request::Op;
use model::time::{between, millis};
use model::{Record, Request};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Pause between two reads of a lease that may expire.
const LEASE_PAUSE: Duration = Duration::from_secs(1);

impl<B: Balancer, S: ObjectStore, C: Clients> Executor<B, S, C> {
    pub(super) async fn load_run(&mut self) -> Result<StoredRun, LedgerDown> {
        match self.stack.ledger.load(&self.id).await {
            Ok(None) => Ok(StoredRun::Absent),
            Ok(Some(record)) => {
                let is_final = record.is_final();
                self.stored = Some(record);
                Ok(if is_final { StoredRun::Final } else { StoredRun::Unfinished })
            }
            Err(error) => Err(self.ledger_down(&error)),
        }
    }

    fn ledger_down(&mut self, error: &dyn std::fmt::Display) -> LedgerDown {
        self.last_error = Some(error.to_string());
        LedgerDown
    }

    pub(super) async fn acquire_lease(&mut self) -> Result<LeaseAnswer, LedgerDown> {
        match self.take_lease().await {
            Ok(lease) => {
                let interrupted = lease.interrupted().to_vec();
                self.live.edit(|record| record.epoch = lease.epoch());
                self.lease = Some(lease);
                match self.find_interrupted(&interrupted).await {
                    Ok(subject) => Ok(LeaseAnswer::Acquired(subject)),
                    Err(error) => Err(self.ledger_down(&error)),
                }
            }
            Err(LeaseError::Held(info)) => {
                self.last_error = Some(LeaseError::Held(info).to_string());
                Ok(LeaseAnswer::Held)
            }
            Err(error) => Err(self.ledger_down(&error)),
        }
    }

    /// Acquires the lease. If the current holder does not renew it, the holder may be dead, and a reconcile waits until
    /// the lease expires.
    async fn take_lease(&self) -> Result<Lease<S>, LeaseError> {
        let ledger = &self.stack.ledger;
        let mut seen: Option<Box<Holder>> = None;
        loop {
            let error = match ledger.acquire(Purpose::Cutover, &self.id, LEASE_TTL).await {
                Err(LeaseError::Held(info)) => info,
                other => return other,
            };
            let renewed = seen.as_ref().is_some_and(|seen| seen.version != error.version);
            let left = self.deadline.saturating_duration_since(Instant::now());
            if self.request.op != Op::Reconcile || renewed || left < ROLLBACK_BUDGET + LEASE_PAUSE {
                return Err(LeaseError::Held(error));
            }
            seen = Some(error);
            sleep(LEASE_PAUSE).await;
        }
    }

    /// Finds the interrupted run that has to be recovered, and takes its record over. Closes the records of the runs
    /// that had written nothing, even those that had no record yet: their processes may be alive, and must not go on. A
    /// run that has ended was interrupted before it released the lease, and perhaps before its notification was sent.
    async fn find_interrupted(&mut self, ids: &[String]) -> Result<Option<Subject>, RecordError> {
        for id in ids {
            let mut run = self.adopt(id).await?;
            if run.writer.is_none() {
                self.ended.push(run.record);
                continue;
            }
            if run.record.wrote && run.subject().is_some() && self.interrupted.is_none() {
                self.interrupted = Some(run);
            } else {
                let message = "Interrupted before it wrote anything.";
                self.close(&mut run, Outcome::Refused, message).await?;
            }
        }
        if self.interrupted.is_none() && self.request.op == Op::Reconcile {
            self.interrupted = self.find_failed().await?;
        }
        Ok(self.interrupted.as_ref().and_then(Interrupted::subject))
    }

    /// Takes over the record of a run that has not ended. A run without a record gets one. The result has no writer if
    /// the run has ended.
    async fn adopt(&self, id: &str) -> Result<Interrupted<S>, RecordError> {
        let ledger = &self.stack.ledger;
        let (me, epoch) = self.live.edit(|record| (record.writer.clone(), record.epoch));
        let adopted = if let Some(adopted) = ledger.adopt(id, &me, epoch).await? {
            adopted
        } else {
            let now = self.stack.clock.now();
            let mut record = Record::begin(id.to_owned(), Request::default(), now, me.clone());
            record.epoch = epoch;
            let mut writer = ledger.create();
            match writer.save(&record).await {
                Ok(()) => (record, writer),
                // The run has created its record in the meantime.
                Err(RecordError::Taken(_)) => match ledger.adopt(id, &me, epoch).await? {
                    Some(adopted) => adopted,
                    None => return Err(RecordError::Gone { id: id.to_owned() }),
                },
                Err(error) => return Err(error),
            }
        };
        let (record, writer) = adopted;
        let writer = (!record.is_final()).then_some(writer);
        Ok(Interrupted { record, writer })
    }

    /// Finds the last run that wrote a listener, if that run did not end well.
    async fn find_failed(&self) -> Result<Option<Interrupted<S>>, RecordError> {
        let records = self.stack.ledger.list(SEARCHED).await?;
        // A reconcile that has recovered the run is newer, and names it.
        let last = records.into_iter().find(|record| record.wrote || !record.recovered.is_empty());
        let Some(record) = last.filter(|record| matches!(record.outcome, None | Some(Outcome::Failed))) else {
            return Ok(None);
        };
        if record.is_final() {
            return Ok(Some(Interrupted { record, writer: None }));
        }
        let adopted = self.adopt(&record.id).await?;
        Ok(adopted.writer.is_some().then_some(adopted))
    }

    /// Writes the outcome of an interrupted run into its record.
    async fn close(&self, run: &mut Interrupted<S>, outcome: Outcome, message: &str) -> Result<(), RecordError> {
        let now = self.stack.clock.now();
        let record = &mut run.record;
        record.outcome = Some(outcome);
        record.phase = outcome.into();
        message.clone_into(&mut record.message);
        record.finished = Some(now);
        record.updated = now;
        record.duration_ms = millis(between(record.started, now));
        record.recovered_by = Some(self.id.clone());
        match &mut run.writer {
            Some(writer) => writer.save(record).await,
            None => Ok(()),
        }
    }

    pub(super) async fn claim(&mut self) -> Result<ClaimAnswer, LedgerDown> {
        let error = match self.live.save().await {
            Ok(()) => {
                self.live.start();
                if self.lease.is_some() {
                    self.steering = Some(Steering::begin(self.stack.ledger.clone(), self.id.clone()));
                }
                return Ok(ClaimAnswer::Created);
            }
            Err(RecordError::Taken(stored)) => {
                let id = stored.id.clone();
                self.stored = Some(*stored);
                if self.lease.is_none() {
                    return Ok(ClaimAnswer::Taken(None));
                }
                // If a person deleted the lease, the lease does not name this run. The run still has to be recovered.
                match self.find_interrupted_unless_known(&id).await {
                    Ok(subject) => return Ok(ClaimAnswer::Taken(subject)),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        Err(self.ledger_down(&error))
    }

    async fn find_interrupted_unless_known(&mut self, id: &str) -> Result<Option<Subject>, RecordError> {
        if self.interrupted.is_some() {
            return Ok(None);
        }
        self.find_interrupted(&[id.to_owned()]).await
    }

    /// Finds where the last cutover came from, whatever its outcome, or uses the given environment. Also finds whether
    /// that environment runs another release now.
    pub(super) async fn find_way_back(&mut self, side: Option<Color>) -> Result<Option<WayBack>, LedgerDown> {
        let records = match self.stack.ledger.list(SEARCHED).await {
            Ok(records) => records,
            Err(error) => return Err(self.ledger_down(&error)),
        };
        let moved = |record: &&Record| {
            let swaps = matches!(record.op, Op::Cutover | Op::Rollback) && record.wrote && record.from != record.to;
            swaps && matches!(record.outcome, Some(outcome) if outcome != Outcome::Refused)
        };
        let Some(last) = records.iter().filter(moved).max_by_key(|record| record.finished) else {
            return Ok(None);
        };
        let Some(to) = side.or(last.from) else { return Ok(None) };
        let live = last.releases.old.filter(|_| last.from == Some(to));
        let version = last.versions.old.clone().unwrap_or_default();
        let stack = self.stack.clone();
        // A read that fails is repeated before anything is written.
        let runs = self.look(stack.balancer.service(to)).await.and_then(|service| service.release);
        let replaced = live.is_some() && runs.is_some() && live != runs;
        if let (true, Some(live), Some(runs)) = (replaced, live, runs) {
            self.replaced =
                Some(format!("{to} runs release {runs} now, and release {live} (version {version}) was live"));
        }
        Ok(Some(WayBack { to, replaced }))
    }

    /// Finds where prod was at the end of the last run that decided that.
    pub(super) async fn find_last_prod(&mut self) -> Result<Option<Color>, LedgerDown> {
        let decided =
            |record: &&Record| matches!(record.outcome, Some(Outcome::Done | Outcome::RolledBack | Outcome::Held));
        match self.stack.ledger.list(SEARCHED).await {
            Ok(records) => {
                let last = records.iter().filter(decided).max_by_key(|record| record.finished);
                Ok(last.and_then(|record| record.prod))
            }
            Err(error) => Err(self.ledger_down(&error)),
        }
    }

    pub(super) async fn save(&mut self) -> Saved {
        let saved = timeout(SAVE_TIMEOUT, self.live.save()).await.unwrap_or_else(|_| {
            let cause = format!("no answer within {} s", SAVE_TIMEOUT.as_secs());
            let key = keys::run(&self.id);
            Err(StoreError::Unavailable { doing: "write", key, cause }.into())
        });
        match saved {
            Ok(()) => Saved::Done,
            Err(error @ (RecordError::Taken(_) | RecordError::Gone { .. })) => {
                self.last_error = Some(error.to_string());
                Saved::Taken
            }
            Err(error) => {
                self.last_error = Some(error.to_string());
                Saved::Failed
            }
        }
    }

    /// Records the intent. If that fails, this run has not written, whatever the ledger holds.
    pub(super) async fn save_intent(&mut self) -> Saved {
        self.live.edit(|record| record.wrote = true);
        let saved = self.save().await;
        self.live.edit(|record| record.wrote = saved == Saved::Done);
        saved
    }

    /// Writes the record. If listeners were written, tries for as long as there is time, because what users get does
    /// not depend on the ledger. Each write names the version that it replaces, so it cannot undo a later change.
    async fn save_patiently(&mut self) -> Saved {
        loop {
            let saved = self.save().await;
            let left = self.deadline.saturating_duration_since(Instant::now());
            let wrote = self.live.edit(|record| record.wrote);
            if saved != Saved::Failed || !wrote || left < SAVE_TIMEOUT + RELEASE_GRACE + RELEASE_TIMEOUT {
                return saved;
            }
            sleep(SAVE_PAUSE).await;
        }
    }

    pub(super) async fn save_verified(&mut self) -> Saved {
        timeout(VERIFIED_TIMEOUT, self.save()).await.unwrap_or(Saved::Failed)
    }

    pub(super) async fn save_recovered(&mut self, outcome: Outcome) -> Saved {
        let Some(mut run) = self.interrupted.take() else {
            return Saved::Done;
        };
        let message = match outcome {
            Outcome::Done => "Interrupted after it had verified the new side, and completed by the next run.",
            Outcome::Held => "Interrupted; traffic stays on the new side because the old side has no healthy targets.",
            _ => "Interrupted, and traffic was sent back to where it was.",
        };
        if let Some(state) = &self.state {
            let (prod, dev) = state.listeners();
            (run.record.prod, run.record.dev, run.record.weight) = (prod.and_then(Route::whole), dev, None);
        }
        match self.close(&mut run, outcome, message).await {
            Ok(()) => {
                self.live.edit(|record| record.recovered.push(run.record.id.clone()));
                // The notification of a run that had failed before was sent at that time.
                if run.writer.is_some() {
                    self.ended.push(run.record);
                }
                Saved::Done
            }
            Err(error @ (RecordError::Taken(_) | RecordError::Gone { .. })) => {
                self.last_error = Some(error.to_string());
                Saved::Taken
            }
            Err(error) => {
                self.last_error = Some(error.to_string());
                self.interrupted = Some(run);
                Saved::Failed
            }
        }
    }

    pub(super) async fn save_outcome(&mut self, outcome: Outcome) -> Saved {
        self.live.stop().await;
        self.conclude(outcome);
        let saved = self.save_patiently().await;
        if saved != Saved::Done {
            // Without a record in the ledger there is no outcome.
            self.live.edit(|record| record.outcome = None);
        }
        saved
    }

    pub(super) async fn release(&mut self) {
        self.notify().await;
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release().await
        {
            tracing::warn!(%error, "the lease was not given back; it will expire");
        }
    }
}
