//! The record of a run in progress. It is kept up to date in memory, and written to the ledger at every transition and
//! at most every 500 ms otherwise. Every single probe is written beside it. Must not know what the run does.

use super::budget::{RECORD_INTERVAL, SAMPLES_TIMEOUT};
use crate::probe::LiveTally;
use aws::clock::Clock;
use ledger::{Ledger, ObjectStore, RecordError, RecordWriter, SamplesWriter};
use model::Record;
use model::keys;
use model::record::{ListenerWrite, Outcome, ProbeReport, Sample, Samples, Step, StepKind, WriteResult};
use model::time::{between, millis};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A series of more probes than this is written less often, because each write contains all probes.
const MANY_SAMPLES: usize = 1500;

/// The live record.
#[derive(Debug)]
pub(super) struct Live<S> {
    shared: Arc<Shared<S>>,
    ticker: Option<JoinHandle<()>>,
    sampler: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<S> {
    clock: Clock,
    draft: Mutex<Draft>,
    writer: tokio::sync::Mutex<RecordWriter<S>>,
    samples: tokio::sync::Mutex<SamplesWriter<S>>,
    transition: Notify,
    stopped: watch::Sender<bool>,
}

#[derive(Debug)]
struct Draft {
    record: Record,
    probes: Option<LiveTally>,
}

impl<S> Drop for Live<S> {
    fn drop(&mut self) {
        for task in [&self.ticker, &self.sampler].into_iter().flatten() {
            task.abort();
        }
    }
}

impl<S: ObjectStore> Live<S> {
    pub(super) fn new(ledger: &Ledger<S>, clock: Clock, record: Record) -> Self {
        let shared = Shared {
            clock,
            draft: Mutex::new(Draft { record, probes: None }),
            writer: tokio::sync::Mutex::new(ledger.create()),
            samples: tokio::sync::Mutex::new(SamplesWriter::new(ledger.clone())),
            transition: Notify::new(),
            stopped: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared), ticker: None, sampler: None }
    }

    /// Changes the record in memory.
    pub(super) fn edit<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.shared.draft().record)
    }

    /// Asks for a write of the record now. Does not wait for it.
    pub(super) fn transition(&self) {
        self.shared.transition.notify_one();
    }

    /// From now on the record contains the counts of these probes, and each probe is written beside it.
    pub(super) fn follow(&mut self, probes: LiveTally) {
        self.shared.draft().probes = Some(probes);
        self.sampler.get_or_insert_with(|| tokio::spawn(write_samples(Arc::clone(&self.shared))));
    }

    /// The record as it is now.
    pub(super) fn snapshot(&self) -> Record {
        self.shared.snapshot()
    }

    /// The newest probe of prod that has ended.
    pub(super) fn newest_probe(&self) -> Option<Sample> {
        let draft = self.shared.draft();
        draft.probes.as_ref()?.look(|tally| tally.newest().cloned())
    }

    /// Milliseconds since the beginning of the run.
    pub(super) fn elapsed_ms(&self) -> u64 {
        let started = self.shared.draft().record.started;
        millis(between(started, self.shared.clock.now()))
    }

    /// Notes that a step begins. Returns its number for [`Live::ended`].
    pub(super) fn began(&self, kind: StepKind, name: String) -> usize {
        let start_ms = self.elapsed_ms();
        self.edit(|record| {
            // A step that a signal called off ends here.
            for open in record.steps.iter_mut().filter(|step| step.end_ms.is_none()) {
                open.end_ms = Some(start_ms);
                open.note = Some("called off".to_owned());
            }
            record.steps.push(Step { kind: Some(kind), name, start_ms, end_ms: None, note: None });
            record.steps.len() - 1
        })
    }

    /// Notes that a step has ended.
    pub(super) fn ended(&self, number: usize, note: Option<String>) {
        let end_ms = self.elapsed_ms();
        self.edit(|record| {
            if let Some(step) = record.steps.get_mut(number) {
                step.end_ms = Some(end_ms);
                step.note = note;
            }
        });
    }

    /// Notes that a write of a listener begins. Returns its number for [`Live::wrote`].
    pub(super) fn writing(&self, write: ListenerWrite) -> usize {
        self.edit(|record| {
            record.writes.push(write);
            record.writes.len() - 1
        })
    }

    /// Notes the result of a write.
    pub(super) fn wrote(&self, number: usize, end_us: u64, result: WriteResult) {
        self.edit(|record| {
            if let Some(write) = record.writes.get_mut(number) {
                (write.end_us, write.result) = (Some(end_us), result);
            }
        });
    }

    /// Writes the record now, and waits for the write.
    pub(super) async fn save(&self) -> Result<(), RecordError> {
        self.shared.save().await
    }

    /// Begins to write the record at transitions and at intervals.
    pub(super) fn start(&mut self) {
        if self.ticker.is_none() {
            self.ticker = Some(tokio::spawn(tick(Arc::clone(&self.shared))));
        }
    }

    /// Ends that. Waits for writes in progress, and for the last write of the probes.
    pub(super) async fn stop(&mut self) {
        self.shared.stopped.send_replace(true);
        for task in [self.ticker.take(), self.sampler.take()].into_iter().flatten() {
            // The task ends by itself. An error would mean that it was aborted, and nothing aborts it.
            let _ = task.await;
        }
    }
}

impl<S: ObjectStore> Shared<S> {
    async fn until_stopped(&self) {
        // It cannot close, because its sender is here.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        // No code panics while it holds the lock.
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Record {
        let draft = self.draft();
        let mut record = draft.record.clone();
        record.updated = record.finished.unwrap_or_else(|| self.clock.now());
        record.duration_ms = millis(between(record.started, record.updated));
        if let Some(probes) = &draft.probes {
            let new = record.versions.new.clone();
            let samples = Some(keys::samples(&record.id));
            probes.look(|tally| {
                let report = tally.report(new.as_deref());
                // If a failure ended the run, the number of probes says nothing about a rate.
                let whole = matches!(record.outcome, None | Some(Outcome::Done | Outcome::Planned));
                let bound95 = report.bound95.filter(|_| whole);
                record.probes = Some(ProbeReport { bound95, samples, ..report });
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

    /// Writes every probe so far, unless the store takes too long. Returns the number of probes.
    async fn save_samples(&self, complete: bool) -> usize {
        let samples = {
            let draft = self.draft();
            let probes = draft.probes.as_ref();
            probes.map(|probes| probes.look(|tally| Samples::encode(&draft.record.id, tally.samples(), complete)))
        };
        let Some(samples) = samples else { return 0 };
        let mut writer = self.samples.lock().await;
        match timeout(SAMPLES_TIMEOUT, writer.save(&samples)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the probes were not written"),
            Err(_) => tracing::warn!("the probes were not written in time"),
        }
        samples.rows.len()
    }
}

async fn write_samples<S: ObjectStore>(shared: Arc<Shared<S>>) {
    let mut pause = RECORD_INTERVAL;
    // The sender is in `shared`, so this ends only when it is stopped.
    while timeout(pause, shared.until_stopped()).await.is_err() {
        let many = shared.save_samples(false).await > MANY_SAMPLES;
        pause = RECORD_INTERVAL * if many { 4 } else { 1 };
    }
    shared.save_samples(true).await;
}

async fn tick<S: ObjectStore>(shared: Arc<Shared<S>>) {
    loop {
        tokio::select! {
            biased;
            () = shared.until_stopped() => return,
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
