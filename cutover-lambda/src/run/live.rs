//! The record of a run while it runs: kept up to date in memory, written to the ledger at every transition, at most
//! every 500 ms otherwise. Must not know what the run does.

use super::budget::RECORD_INTERVAL;
use crate::Record;
use crate::clock::{Clock, between, millis};
use crate::ledger::{Ledger, ObjectStore, RecordError, RecordWriter};
use crate::probe::LiveTally;
use crate::report::Step;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The live record.
#[derive(Debug)]
pub(super) struct Live<S> {
    shared: Arc<Shared<S>>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<S> {
    clock: Clock,
    draft: Mutex<Draft>,
    writer: tokio::sync::Mutex<RecordWriter<S>>,
    transition: Notify,
    stop: Notify,
}

#[derive(Debug)]
struct Draft {
    record: Record,
    probes: Option<(LiveTally, Vec<String>)>,
}

impl<S> Drop for Live<S> {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}

impl<S: ObjectStore> Live<S> {
    pub(super) fn new(ledger: &Ledger<S>, clock: Clock, record: Record) -> Self {
        let shared = Shared {
            clock,
            draft: Mutex::new(Draft { record, probes: None }),
            writer: tokio::sync::Mutex::new(ledger.create()),
            transition: Notify::new(),
            stop: Notify::new(),
        };
        Self { shared: Arc::new(shared), ticker: None }
    }

    /// Changes the record in memory.
    pub(super) fn edit<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.shared.draft().record)
    }

    /// Says that the record is worth writing now. Does not wait for that.
    pub(super) fn transition(&self) {
        self.shared.transition.notify_one();
    }

    /// From now on the record tells of these probes.
    pub(super) fn follow(&self, probes: LiveTally, addresses: Vec<String>) {
        self.shared.draft().probes = Some((probes, addresses));
    }

    /// The record as it is now.
    pub(super) fn snapshot(&self) -> Record {
        self.shared.snapshot()
    }

    /// Milliseconds since the run's begin.
    pub(super) fn elapsed_ms(&self) -> u64 {
        let started = self.shared.draft().record.started;
        millis(between(started, self.shared.clock.now()))
    }

    /// Notes that something begins; returns its number for [`Live::ended`].
    pub(super) fn began(&self, name: String) -> usize {
        let start_ms = self.elapsed_ms();
        self.edit(|record| {
            // What an alarm called off has ended here.
            for open in record.steps.iter_mut().filter(|step| step.end_ms.is_none()) {
                open.end_ms = Some(start_ms);
                open.note = Some("called off".to_owned());
            }
            record.steps.push(Step { name, start_ms, end_ms: None, note: None });
            record.steps.len() - 1
        })
    }

    /// Notes that it ended.
    pub(super) fn ended(&self, number: usize, note: Option<String>) {
        let end_ms = self.elapsed_ms();
        self.edit(|record| {
            if let Some(step) = record.steps.get_mut(number) {
                step.end_ms = Some(end_ms);
                step.note = note;
            }
        });
    }

    /// Writes the record now and waits for that.
    pub(super) async fn save(&self) -> Result<(), RecordError> {
        self.shared.save().await
    }

    /// Begins to write the record at transitions and now and then.
    pub(super) fn start(&mut self) {
        if self.ticker.is_none() {
            self.ticker = Some(tokio::spawn(tick(Arc::clone(&self.shared))));
        }
    }

    /// Ends that, and waits for a write that is under way.
    pub(super) async fn stop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            self.shared.stop.notify_one();
            // It ends by itself; an error would say that it was aborted, and nobody did.
            let _ = ticker.await;
        }
    }
}

impl<S: ObjectStore> Shared<S> {
    fn draft(&self) -> MutexGuard<'_, Draft> {
        // Nothing panics while it holds the lock.
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Record {
        let draft = self.draft();
        let mut record = draft.record.clone();
        record.updated = record.finished.unwrap_or_else(|| self.clock.now());
        record.duration_ms = millis(between(record.started, record.updated));
        if let Some((probes, addresses)) = &draft.probes {
            let new = record.versions.new.clone();
            probes.look(|tally| {
                let mut report = tally.report(new.as_deref());
                report.addresses.clone_from(addresses);
                record.probes = Some(report);
                record.versions.seen = tally.seen().map(str::to_owned);
            });
        }
        record
    }

    async fn save(&self) -> Result<(), RecordError> {
        let mut writer = self.writer.lock().await;
        let record = self.snapshot();
        writer.save(&record).await
    }
}

async fn tick<S: ObjectStore>(shared: Arc<Shared<S>>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stop.notified() => return,
            () = shared.transition.notified() => {}
            () = tokio::time::sleep(RECORD_INTERVAL) => {}
        }
        match shared.save().await {
            Ok(()) => {}
            Err(error @ (RecordError::Taken(_) | RecordError::Gone { .. })) => {
                tracing::warn!(%error, "the live record is not ours any more");
                return;
            }
            Err(error) => tracing::warn!(%error, "the live record was not written"),
        }
    }
}
